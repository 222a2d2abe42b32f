"""Errors of the disk, crashes between any two steps, and exceptions that come at any time."""

from __future__ import annotations

import errno
import linecache
import logging
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ledgers import ALICE, AT, charge, check, dump, finish, give, hold, python, replayed, route, spent, usd

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import segment_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.journal.repair import repair
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.spending_records import Used
from budgeted.system import current as system


def test_a_full_disk_refuses_leaves_balances_alone_and_is_got_over(directory: Path) -> None:
    """Every possible length of the line that no longer fits."""
    program = """
        import resource, signal, sys
        from ledgers import *
        from budgeted.errors import LedgerUnavailableError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ledger = JournalLedger(sys.argv[1])
        give(ledger, GLOBAL, usd(10**6))
        one = hold(ledger, 10, GLOBAL)
        path = segment_files.journal_path(ledger.directory, 1)
        for room in range(200):
            before = dump(ledger)
            limit = path.stat().st_size + room
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            id = ledger.new_id()
            try:
                hold(ledger, 1, GLOBAL, id=id)
            except LedgerUnavailableError as error:
                assert "free some space" in str(error) or "File too large" in str(error), error
                assert dump(ledger) == before
                try:
                    ledger.settle(one.id, Used(5), AT, "x" * 200)
                except LedgerUnavailableError:
                    assert dump(ledger) == before
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            check(ledger)
            charge(ledger, 1, GLOBAL)
            check(ledger)
        assert spent(ledger) >= 200
        print("done")
    """
    assert finish(python(program, directory)) == ["done\n"]


def test_a_half_written_line_that_cannot_be_cut_back_is_cut_before_the_next(
    journal: JournalLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(journal, GLOBAL, usd(1000))
    other = JournalLedger(journal.directory)
    before = dump(journal)
    dump(other)
    write, ruined = os.write, iter([True])

    def half(fd: int, data: bytes) -> int:
        if next(ruined, False):
            return write(fd, data[:20])
        return write(fd, data)

    def fail(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr("budgeted.ledger.journal.ledger.write", half)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(LedgerUnavailableError):
            hold(journal, 1, GLOBAL)
        with pytest.raises(LedgerUnavailableError):
            hold(other, 1, GLOBAL)
    assert dump(other) == dump(journal) == before
    charge(other, 1, GLOBAL)
    charge(journal, 1, GLOBAL)
    check(other)
    other.close()


def broken_sync(times: float) -> Callable[[int], None]:
    """An ``fdatasync`` that fails so often."""
    left = [times]
    real = os.fdatasync

    def sync(fd: int) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    return sync


def test_a_failed_sync_goes_on_in_a_new_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have dropped what it could not write, and would report the next sync of that file as done."""
    ledger = JournalLedger(directory, fsync="always")
    give(ledger, GLOBAL, usd(1000))
    monkeypatch.setattr(os, "fdatasync", broken_sync(1))
    one = hold(ledger, 10, GLOBAL)
    assert segment_files.numbers(directory, "snapshot") == [2]
    ledger.settle(one.id, Used(5), AT)
    check(ledger)
    segment_files.journal_path(directory, 1).unlink()
    other = JournalLedger(directory)
    assert spent(other) == 5
    other.close()
    ledger.close()


def test_where_nothing_can_be_synced_calls_are_refused_until_it_can(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = JournalLedger(directory, fsync="always")
    give(ledger, GLOBAL, usd(1000))
    real = os.fsync
    monkeypatch.setattr(os, "fdatasync", broken_sync(1))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    for _ in range(3):
        with pytest.raises(LedgerUnavailableError, match="cannot be synced"):
            hold(ledger, 10, GLOBAL)
    monkeypatch.setattr(os, "fsync", real)
    charge(ledger, 10, GLOBAL)
    assert len(segment_files.numbers(directory, "snapshot")) == 1
    check(ledger)
    ledger.close()


def test_who_keeps_the_lock_is_not_known_where_the_disk_does_not_say(
    journal: JournalLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = JournalLedger(journal.directory)

    def fail(fd: int, count: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, journal._entered():
        patch.setattr(os, "pread", fail)
        with pytest.raises(LedgerLockedError, match="is locked by process 0"):
            other.release("x.1", AT, timeout=0)
    other.close()


def noted_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the size in bytes of each file that is synced from now on."""
    synced: list[int] = []
    real = os.fdatasync

    def note(fd: int) -> None:
        real(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fdatasync", note)
    return synced


def test_fsync_always_syncs_before_it_acknowledges(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = JournalLedger(directory, fsync="always")
    give(ledger, GLOBAL, usd(1000))
    synced = noted_syncs(monkeypatch)
    path = segment_files.journal_path(directory, 1)
    one = hold(ledger, 1, GLOBAL)
    assert synced[-1] == path.stat().st_size
    ledger.settle(one.id, Used(1), AT)
    assert synced[-1] == path.stat().st_size
    ledger.set_limits(ALICE, [usd(1)], explicit=True)
    assert synced[-1] == path.stat().st_size
    before = len(synced)
    ledger.read(ALICE)
    assert len(synced) == before
    ledger.close()


def test_who_asks_for_fsync_always_gets_it_where_the_ledger_is_open_already(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(directory, "p", fsync="background")
    give(ledger, GLOBAL, usd(1000))
    synced = noted_syncs(monkeypatch)
    path = segment_files.journal_path(directory / "p", 1)
    assert open_ledger(directory, "p", fsync="always") is ledger
    assert synced[-1] == path.stat().st_size
    hold(ledger, 1, GLOBAL)
    assert synced[-1] == path.stat().st_size
    assert open_ledger(directory, "p", fsync="background") is ledger
    hold(ledger, 1, GLOBAL)
    assert synced[-1] == path.stat().st_size
    ledger.close()


def test_one_sync_serves_all_threads_that_wait_for_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = JournalLedger(directory, fsync="always")
    give(ledger, GLOBAL, usd(10**6))
    where = route(ledger, GLOBAL)
    gate, syncs = threading.Event(), []
    real = os.fdatasync

    def slow(fd: int) -> None:
        syncs.append(fd)
        gate.wait(10)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    threads = [threading.Thread(target=ledger.post, args=(f"x.{i}", where, Used(1), AT)) for i in range(20)]
    for thread in threads:
        thread.start()
    while ledger._state.applied < 21:
        threading.Event().wait(0.001)
    gate.set()
    for thread in threads:
        thread.join()
    assert len(syncs) <= 4
    check(ledger)
    ledger.close()


STEPS = ["open", "write", "fsync", "fdatasync", "unlink", "rename", "ftruncate", "close"]


class Died(BaseException):
    """The process ends here."""


def test_a_crash_between_any_two_steps_of_a_rotation_loses_nothing(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory as it is before each system call is what another process finds."""
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 10)
    # Each sync is this thread's own: the background comes before none, as it would from the first verb on.
    monkeypatch.setattr("budgeted.ledger.background_worker.wanted", lambda _: None)
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(10**6))
    copies: list[tuple[Path, int]] = []
    done = 0

    def copying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                with copied:  # not amid a copy: of a file that goes meanwhile it would have nothing
                    return real(*args, **more)
            if watching:
                watching.clear()
                copy = tmp_path / f"copy{len(copies)}"
                with copied:
                    shutil.copytree(directory, copy)
                copies.append((copy, done))
                watching.append(True)
            return real(*args, **more)

        return call

    copied = threading.Lock()
    watching: list[bool] = []
    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, copying(getattr(os, name)))
        patch.setattr("budgeted.ledger.journal.ledger.write", copying(system.write))
        watching.append(True)
        for _ in range(18):
            ledger.post(f"x.{done}", route(ledger, GLOBAL), Used(1), AT)
            ledger.flush()
            done += 1
        watching.clear()
    assert segment_files.numbers(directory, "snapshot")[-1] == 3
    assert len(copies) > 50
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 10**6)
    for copy, least in copies:
        found = JournalLedger(copy)
        assert least <= spent(found) <= least + 1, copy
        charge(found, 1, GLOBAL)
        check(found)
        found.close()
    ledger.close()


def copies_at_each_step(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]
) -> list[Path]:
    """The directory as it is before each system call of some work, and after it."""
    copies: list[Path] = []
    watching = [True]
    me = threading.get_ident()  # what syncs in the background takes copies beside these, which are in no order

    def copy_now() -> None:
        watching.clear()
        copies.append(tmp_path / f"copy{len(copies)}")
        if directory.exists():
            shutil.copytree(directory, copies[-1])
        watching.append(True)

    def copying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if watching and threading.get_ident() == me:
                copy_now()
            return real(*args, **more)

        return call

    with monkeypatch.context() as patch:
        for name in (*STEPS, "mkdir", "pwrite", "listdir"):
            patch.setattr(os, name, copying(getattr(os, name)))
        patch.setattr("budgeted.ledger.journal.ledger.write", copying(system.write))
        work()
        watching.clear()
    shutil.copytree(directory, tmp_path / "last")
    return [*copies, tmp_path / "last"]


def test_a_crash_between_any_two_steps_of_the_making_of_a_ledger_leaves_one_that_opens(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> None:
        ledger = JournalLedger(directory)
        give(ledger, GLOBAL, usd(1000))
        ledger.close()

    copies = copies_at_each_step(directory, tmp_path, monkeypatch, make)
    assert len(copies) > 15
    for copy in copies:
        found = JournalLedger(copy)
        give(found, GLOBAL, usd(1000))
        charge(found, 1, GLOBAL)
        check(found)
        found.close()
    assert caplog.records == []


@pytest.mark.parametrize("lost", ["everything", "the journal", "the end of the journal", "the lock"])
def test_a_crash_between_any_two_steps_of_a_repair_leaves_a_ledger_that_opens_whole_or_is_refused(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(1000))
    charge(ledger, 30, GLOBAL)
    charge(ledger, 70, GLOBAL)
    journal = segment_files.journal_path(directory, 1)
    if lost == "everything":
        shutil.rmtree(directory)
    elif lost == "the journal":
        journal.unlink()
    elif lost == "the lock":
        (directory / "lock").unlink()
    else:
        os.truncate(journal, journal.stat().st_size - 60)
    copies = copies_at_each_step(directory, tmp_path, monkeypatch, lambda: ledger.repair() and None)
    assert len(copies) > 10
    whole = 0
    for copy in copies:
        try:
            found = JournalLedger(copy)
        except LedgerCorruptError:
            assert not whole
        else:
            account = found.read(GLOBAL)
            # Of a removed directory nothing tells until the first snapshot is there.
            assert account is not None or (lost == "everything" and not whole)
            whole += account is not None
            if account is not None:
                assert spent(found) == 100
                charge(found, 1, GLOBAL)
            check(found)
            found.close()
    assert whole > 1
    ledger.close()


def test_a_crash_between_any_two_steps_of_a_repair_at_rest_is_got_over_by_the_next(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(1000))
    charge(ledger, 30, GLOBAL)
    size = segment_files.journal_path(directory, 1).stat().st_size
    charge(ledger, 70, GLOBAL)
    ledger.close()
    with segment_files.journal_path(directory, 1).open("r+b") as file:
        file.seek(size + 20)
        file.write(b"?")
    copies = copies_at_each_step(directory, tmp_path, monkeypatch, lambda: repair(directory) and None)
    assert len(copies) > 10
    for copy in copies:
        repair(copy)
        assert list(copy.glob("journal-00000001.cut-*"))
        found = JournalLedger(copy)
        assert spent(found) == 30
        charge(found, 1, GLOBAL)
        check(found)
        found.close()


def test_readers_follow_rotations_of_others_even_two_behind(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 10)
    writer, reader = JournalLedger(directory), JournalLedger(directory)
    give(writer, GLOBAL, usd(10**6))
    total = 0
    for lines in (3, 10, 25, 100):
        for _ in range(lines):
            charge(writer, 1, GLOBAL)
            writer.flush()
        total += lines
        assert spent(reader) == total
        charge(reader, 1, GLOBAL)
        reader.flush()
        total += 1
        assert dump(writer) == dump(reader)
        check(reader)
    writer.close()
    reader.close()


def test_a_rotation_that_fails_is_tried_again_later(
    journal: JournalLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 20)
    journal._rotate_at = 20
    give(journal, GLOBAL, usd(10**6))
    with monkeypatch.context() as patch:
        patch.setattr(
            segment_files, "write_new", lambda path, *parts: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
        )
        for _ in range(12):
            charge(journal, 1, GLOBAL)
    assert "cannot go on in a new file yet" in caplog.text
    assert journal._segment == 1
    for _ in range(5):
        charge(journal, 1, GLOBAL)
    assert journal._segment == 2
    check(journal)


class Interrupted(BaseException):
    """What a signal's handler raises."""


@pytest.fixture
def interrupts() -> Iterator[Callable[[float], None]]:
    """Have an exception raised in the main thread after so many seconds, by a signal's handler."""

    def handler(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    # Repeated, as an exception raised within a finaliser is swallowed.
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may hit a finaliser
@pytest.mark.parametrize("kind", ["memory", "journal"])
def test_an_exception_at_any_moment_leaves_the_ledger_consistent(
    directory: Path, kind: str, interrupts: Callable[[float], None]
) -> None:
    """Whatever the interrupted verb has done, it has done whole."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)
    ledger = MemoryLedger() if kind == "memory" else JournalLedger(directory)
    give(ledger, GLOBAL, usd(10**12))
    give(ledger, ALICE, usd(10**12))
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    hits = 0
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(1500):
            id = ""
            try:
                interrupts(chance.uniform(1e-6, 3e-4))
                while True:
                    id = ledger.new_id()
                    hold(ledger, 7, GLOBAL, ALICE, id=id)
                    ledger.settle(id, Used(5, 1, 1), AT, chance.choice(["", "timed out"]))
                    id = ledger.new_id()
                    hold(ledger, 7, GLOBAL, id=id)
                    ledger.release(id, AT)
            except Interrupted:
                interrupts(0)
                hits += 1
            for one in ledger.open_holds():
                ledger.release(one.id, AT)
            charges = sum(row.calls for row in ledger.rollups() if row.account == GLOBAL)
            assert spent(ledger) == spent(ledger, ALICE) == ledger.read(ALICE).usd == 5 * charges
            assert ledger.read(ALICE).tokens == 2 * charges
        check(ledger)
    finally:
        sys.setswitchinterval(0.005)
        logging.getLogger("budgeted").setLevel(logging.NOTSET)
    assert hits == 1500
    ledger.close()


def test_a_mutation_interrupted_between_any_two_steps_is_finished() -> None:
    """A trace function that raises at each line stands for a signal's handler, at places that a timer rarely hits."""
    expected = None
    for line in range(200):
        ledger = MemoryLedger()
        give(ledger, GLOBAL, usd(1000))
        give(ledger, ALICE, usd(1000))
        one = hold(ledger, 9, GLOBAL, ALICE)
        left = [line]

        def trace(frame: Any, event: str, arg: Any, left: list[int] = left) -> Any:
            if frame.f_code.co_name not in ("_book", "add_to"):
                return trace if event == "call" else None
            # Handlers run where a loop begins its next round.
            source = source_line(frame)
            if event == "line" and source.startswith("for "):
                left[0] -= 1
                if left[0] == -1:
                    sys.settrace(None)
                    raise Interrupted
            return trace

        sys.settrace(trace)
        try:
            ledger.settle(one.id, Used(5, 1, 1), AT, "timed out")
            ledger.read(ALICE)
        except Interrupted:
            pass
        else:
            sys.settrace(None)
            break
        finally:
            sys.settrace(None)
        check(ledger)
        if expected is None:
            expected = dump(ledger).replace(one.id.encode(), b"id")
        assert dump(ledger).replace(one.id.encode(), b"id") == expected
    assert line > 8


def source_line(frame: Any) -> str:
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def test_an_unencodable_name_is_an_error_that_changes_nothing(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(10))
    before = dump(journal)
    with pytest.raises((ValueError, LedgerError)):
        give(journal, "u:\ud800", usd(1))
    assert dump(journal) == before
    check(journal)


def test_a_journal_that_is_copied_opens_with_its_open_holds_charged(journal: JournalLedger, tmp_path: Path) -> None:
    """Nobody of the copy's owners is alive."""
    give(journal, GLOBAL, usd(100))
    hold(journal, 10, GLOBAL)
    shutil.copytree(journal.directory, tmp_path / "copy")
    copy = JournalLedger(tmp_path / "copy")
    assert copy.open_holds() == []
    assert [one.reason for one in copy.uncertain()] == ["the process died"]
    assert replayed(copy.directory) == dump(copy)
    copy.close()


class Killed(BaseException):
    """Nothing that the process would have done comes any more."""


def killed(*args: object) -> None:
    raise Killed


def names_of_synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled with the path of each file and directory that is synced from now on."""
    names: list[str] = []
    for call in ("fsync", "fdatasync"):
        real = getattr(os, call)

        def sync(fd: int, real: Callable[[int], None] = real) -> None:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
            real(fd)

        monkeypatch.setattr(os, call, sync)
    return names


def test_names_that_a_killed_process_has_not_synced_are_synced_by_the_next(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(system, "sync_directory", killed)
        JournalLedger(directory, fsync="always")
    names = names_of_synced(monkeypatch)
    JournalLedger(directory, fsync="always").close()
    assert {str(directory), str(directory.parent)} <= set(names)
    names.clear()
    JournalLedger(directory, fsync="always").close()
    assert str(directory) not in names


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_segment_that_a_killed_process_has_not_synced_is_synced_by_who_goes_on(
    opened_before: bool, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_worker, "wanted", lambda kept: None)  # the dead do nothing in the background
    dying = JournalLedger(directory)
    give(dying, GLOBAL, usd(1000))
    other = JournalLedger(directory, fsync="always") if opened_before else None
    charge(dying, 1, GLOBAL)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 1)
        patch.setattr(os, "fdatasync", killed)
        with dying._entered():
            dying._rotate_at = 1
    names = names_of_synced(monkeypatch)
    other = other or JournalLedger(directory, fsync="always")
    charge(other, 2, GLOBAL)
    assert spent(other) == 3
    first, second = (str(segment_files.journal_path(directory, number)) for number in (1, 2))
    assert names.index(first) < names.index(second)
    other.close()
