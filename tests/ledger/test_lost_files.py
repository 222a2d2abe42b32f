"""A ledger on disk that disappears, is replaced or goes backwards: it is refused, and written back when asked."""

from __future__ import annotations

import logging
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from forking import forked
from ledgers import ALICE, AT, charge, check, dump, finish, give, held, hold, python, replayed, route, spent, usd

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.journal import checked_lines, segment_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.journal.repair import repair
from budgeted.ledger.opening import exists, projects_beside
from budgeted.ledger.spending_records import Used


def filled(ledger: JournalLedger) -> bytes:
    """A ledger with limits, charges and an open hold; returns what it knows."""
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(500))
    charge(ledger, 100, GLOBAL, ALICE)
    hold(ledger, 200, GLOBAL)
    return dump(ledger)


def journal_of(directory: Path) -> Path:
    return segment_files.journal_path(directory, segment_files.numbers(directory, "journal")[-1])


def remove_directory(directory: Path, old: Path) -> None:
    shutil.rmtree(directory)


def remove_journal(directory: Path, old: Path) -> None:
    journal_of(directory).unlink()


def cut_journal(directory: Path, old: Path) -> None:
    path = journal_of(directory)
    os.truncate(path, path.stat().st_size - 10)


def empty_journal(directory: Path, old: Path) -> None:
    os.truncate(journal_of(directory), 0)


def overwrite_journal(directory: Path, old: Path) -> None:
    journal_of(directory).write_bytes((old / "journal-00000001").read_bytes())


def replace_journal(directory: Path, old: Path) -> None:
    shutil.copy(old / "journal-00000001", old / "copy")
    (old / "copy").rename(journal_of(directory))


def replace_directory(directory: Path, old: Path) -> None:
    directory.rename(directory.with_name("away"))
    shutil.copytree(old, directory)


def move_directory(directory: Path, old: Path) -> None:
    directory.rename(directory.with_name("away"))


def remove_lock(directory: Path, old: Path) -> None:
    (directory / "lock").unlink()


def replace_by_another(directory: Path, old: Path) -> None:
    directory.rename(directory.with_name("away"))
    with closing(JournalLedger(directory)) as other:
        give(other, GLOBAL, usd(10**9))


SEEN_AT_ONCE = [
    remove_directory,
    remove_journal,
    cut_journal,
    empty_journal,
    overwrite_journal,
    replace_journal,
]
SEEN_IN_A_ROUND = [replace_directory, move_directory, remove_lock, replace_by_another]
Loss = Callable[[Path, Path], None]


@pytest.fixture
def old(directory: Path, tmp_path: Path) -> Path:
    """A copy of the ledger as it was at its beginning."""
    with closing(JournalLedger(directory)) as first:
        give(first, GLOBAL, usd(10**6))
    return shutil.copytree(directory, tmp_path / "old")


@pytest.fixture
def ledger(old: Path, directory: Path) -> JournalLedger:
    return JournalLedger(directory)


@pytest.mark.parametrize("lose", SEEN_AT_ONCE)
def test_the_next_hold_refuses_what_is_gone_or_less(
    ledger: JournalLedger, directory: Path, old: Path, lose: Loss, caplog: pytest.LogCaptureFixture
) -> None:
    filled(ledger)
    where = route(ledger, GLOBAL)
    lose(directory, old)
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"repair\(\)") as error:
            ledger.hold(ledger.new_id(), where, _cost(1), AT)
    for figure in ("2 accounts", "$0.0000001 charged", "1 calls in flight for $0.0000002"):
        assert figure in str(error.value)
    assert [record.levelname for record in caplog.records if "still knows" in record.message] == ["ERROR"]
    ledger.close()
    assert "closed without repair" in caplog.text


@pytest.mark.parametrize("lose", SEEN_IN_A_ROUND)
def test_what_a_hold_does_not_see_is_seen_by_the_next_round_of_the_background(
    ledger: JournalLedger, directory: Path, old: Path, lose: Loss
) -> None:
    before = filled(ledger)
    lose(directory, old)
    ledger.upkeep()
    with pytest.raises(LedgerCorruptError):
        hold(ledger, 1, GLOBAL)
    assert ledger._state.encode()
    if lose is move_directory:
        directory.with_name("away").rename(directory)
        assert dump(ledger) == before
        charge(ledger, 1, GLOBAL)
        check(ledger)
    ledger.close()


def test_a_settlement_on_a_removed_ledger_is_not_lost(ledger: JournalLedger, directory: Path, old: Path) -> None:
    give(ledger, GLOBAL, usd(1000))
    one = hold(ledger, 200, GLOBAL)
    remove_directory(directory, old)
    try:
        ledger.settle(one.id, Used(150), AT)
    except LedgerCorruptError:
        ledger.repair()
        ledger.settle(one.id, Used(150), AT)
    ledger.repair()
    assert (spent(ledger), held(ledger)) == (150, 0)
    ledger.close()
    with closing(JournalLedger(directory)) as again:
        assert spent(again) == 150
        check(again)


@pytest.mark.parametrize(
    "lose", [*SEEN_AT_ONCE, replace_directory, move_directory, remove_lock], ids=lambda lose: lose.__name__
)
def test_repair_writes_back_exactly_what_the_process_knew(
    ledger: JournalLedger, directory: Path, old: Path, lose: Loss
) -> None:
    before = filled(ledger)
    lose(directory, old)
    ledger.upkeep()
    assert ledger.repair() == 3
    assert dump(ledger) == before
    assert ledger.repair() == 0
    assert isinstance(hold(ledger, 10**6, GLOBAL), Refused)
    charge(ledger, 5, GLOBAL)
    check(ledger)
    after = dump(ledger)
    [open_one] = ledger.open_holds()
    with closing(JournalLedger(directory)) as other:
        assert dump(other) == after
        ledger.settle(open_one.id, Used(7), AT)
        assert spent(other) == 112
        assert dump(other) == dump(ledger) == replayed(directory)
    ledger.close()


def test_repair_does_not_write_over_another_ledger(ledger: JournalLedger, directory: Path, old: Path) -> None:
    before = filled(ledger)
    replace_by_another(directory, old)
    ledger.upkeep()
    with pytest.raises(LedgerCorruptError, match="another ledger was made there"):
        ledger.repair()
    with closing(JournalLedger(directory)) as other:
        assert spent(other) == 0
    shutil.rmtree(directory)
    ledger.repair()
    assert dump(ledger) == before
    ledger.close()


@pytest.mark.parametrize("lose", [*SEEN_AT_ONCE, remove_lock], ids=lambda lose: lose.__name__)
def test_the_second_process_goes_on_with_what_the_first_has_repaired(
    ledger: JournalLedger, directory: Path, old: Path, lose: Loss
) -> None:
    filled(ledger)
    second = JournalLedger(directory)
    charge(second, 30, GLOBAL)
    charge(ledger, 40, GLOBAL)
    mine = hold(second, 20, GLOBAL)
    before = dump(ledger)
    lose(directory, old)
    for one in (ledger, second):
        one.upkeep()
    assert ledger.repair() > 0
    with closing(JournalLedger(directory)) as third:
        charge(third, 1, GLOBAL)
    assert second.repair() == 0
    second.settle(mine.id, Used(20), AT)
    assert spent(ledger) == spent(second) == 100 + 30 + 40 + 1 + 20
    assert before != dump(ledger) == dump(second) == replayed(directory)
    for one in (ledger, second):
        one.close()


@pytest.mark.parametrize("lose", [remove_lock, remove_directory, move_directory], ids=lambda lose: lose.__name__)
def test_the_second_process_sees_a_repair_at_its_next_verb(
    ledger: JournalLedger, directory: Path, old: Path, lose: Loss
) -> None:
    filled(ledger)
    with closing(JournalLedger(directory)) as second:
        charge(second, 30, GLOBAL)
        one = hold(second, 20, GLOBAL)
        dump(ledger)
        dump(second)
        lose(directory, old)
        assert ledger.repair() > 0
        second.settle(one.id, Used(20), AT)
        assert dump(second) == dump(ledger) == replayed(directory)
    ledger.close()


def test_what_others_had_written_before_the_files_were_removed_is_written_back_too(
    ledger: JournalLedger, directory: Path, old: Path
) -> None:
    filled(ledger)
    second = JournalLedger(directory)
    for _ in range(5):
        charge(second, 30, GLOBAL)
    before = dump(second)
    remove_directory(directory, old)
    assert ledger.repair() > 0
    assert dump(ledger) == dump(second) == before
    for one in (ledger, second):
        one.close()


def test_who_knows_less_than_another_living_process_does_not_repair(
    ledger: JournalLedger, directory: Path, old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(ledger)
    program = """
        import sys
        from ledgers import *
        from budgeted.errors import LedgerCorruptError
        ledger = JournalLedger(sys.argv[1])
        charge(ledger, 30, GLOBAL)
        print("ready", flush=True)
        if sys.stdin.readline() == "repair\\n":
            print(ledger.repair(), spent(ledger), flush=True)
        os._exit(0)
    """
    other = python(program, directory)
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    cut_journal(directory, old)
    with pytest.raises(LedgerCorruptError, match=f"process {other.pid} had acknowledged lines"):
        ledger.repair()
    other.stdin.write("repair\n")
    other.stdin.flush()
    assert other.stdout.readline() == "3 130\n"
    finish(other)
    assert spent(ledger) == 130
    ledger.close()


def test_what_a_dead_process_knew_is_told_as_missing(
    ledger: JournalLedger, directory: Path, old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(ledger)
    program = """
        import sys
        from ledgers import *
        charge(JournalLedger(sys.argv[1]), 30, GLOBAL)
        os._exit(0)
    """
    finish(python(program, directory))
    cut_journal(directory, old)
    ledger.repair()
    assert spent(ledger) == 100
    assert "lacks what others knew" in caplog.text
    ledger.close()


def test_a_process_that_knows_more_than_what_was_repaired_refuses(
    ledger: JournalLedger, directory: Path, old: Path
) -> None:
    filled(ledger)
    size = journal_of(directory).stat().st_size
    charge(ledger, 30, GLOBAL)
    os.truncate(journal_of(directory), size)
    done = repair(directory)
    assert done.missing > 0
    assert "acknowledged are missing" in done.told[0]
    with pytest.raises(LedgerCorruptError, match="knew less than this one"):
        hold(ledger, 1, GLOBAL)
    with pytest.raises(LedgerCorruptError, match="knew less than this one"):
        ledger.repair()
    ledger.close()


def test_an_older_copy_that_others_have_gone_on_from_is_refused_and_not_written_over(
    ledger: JournalLedger, directory: Path, old: Path
) -> None:
    filled(ledger)
    replace_directory(directory, old)
    with closing(JournalLedger(directory)) as other:
        for _ in range(20):
            charge(other, 1, GLOBAL)
        ledger.upkeep()
        with pytest.raises(LedgerCorruptError, match="others went on from it"):
            hold(ledger, 1, GLOBAL)
        with pytest.raises(LedgerCorruptError, match="have gone on from it"):
            ledger.repair()
        assert spent(other) == 20
    ledger.close()


def test_a_forked_child_knows_what_its_parent_knew(ledger: JournalLedger, directory: Path, old: Path) -> None:
    filled(ledger)
    remove_directory(directory, old)

    def child() -> None:
        with pytest.raises(LedgerCorruptError, match="was removed while"):
            hold(ledger, 1, GLOBAL)
        assert not directory.exists()

    forked(child)
    ledger.repair()
    forked(lambda: charge(ledger, 3, GLOBAL) and None)
    assert spent(ledger) == 103
    ledger.close()


def test_an_owner_file_that_is_removed_is_made_again(
    ledger: JournalLedger, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(ledger)
    second = JournalLedger(directory)
    shutil.rmtree(directory / "owners")
    second.upkeep()
    second.sweep()
    assert held(second) == 200
    assert f"files of {ledger.owner} are missing" in caplog.text
    ledger.upkeep()
    assert f"owners/{ledger.owner} was removed while in use" in caplog.text
    second.sweep()
    assert held(second) == 200
    for one in (ledger, second):
        one.close()


def test_holds_of_a_process_that_closed_are_charged_by_the_next(ledger: JournalLedger, directory: Path) -> None:
    filled(ledger)
    ledger.close()
    with closing(JournalLedger(directory)) as again:
        assert [one.reason for one in again.uncertain()] == ["the process died"]


# -- opening


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (["journal-00000001"], "no journal and no snapshot any more"),
        (["lock"], "lock is missing beside"),
        (["lock", "journal-00000001"], "lock is missing beside owners"),
        (["journal-00000001", "owners"], "its lock file tells of one"),
    ],
)
def test_an_opener_refuses_what_is_left_of_a_ledger(
    ledger: JournalLedger, directory: Path, gone: list[str], told: str
) -> None:
    filled(ledger)
    ledger.close()
    for name in gone:
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    left = sorted(path.name for path in directory.iterdir())
    with pytest.raises(LedgerCorruptError, match=told):
        JournalLedger(directory)
    assert sorted(path.name for path in directory.iterdir()) == left


def test_what_is_left_of_a_ledger_counts_as_one(tmp_path: Path) -> None:
    JournalLedger(tmp_path / "p").close()
    (tmp_path / "p" / "lock").unlink()
    (tmp_path / "other").mkdir()
    assert exists(tmp_path, "p")
    assert not exists(tmp_path, "other")
    assert projects_beside(tmp_path) == (str(tmp_path), ["p"])


@pytest.mark.parametrize("size", [0, 64, 128])
def test_an_emptied_lock_is_refused(ledger: JournalLedger, directory: Path, size: int) -> None:
    filled(ledger)
    ledger.close()
    (directory / "lock").write_bytes(bytes(size))
    with pytest.raises(LedgerCorruptError, match="does not know the ledger any more"):
        JournalLedger(directory)
    repair(directory)
    with closing(JournalLedger(directory)) as again:
        assert spent(again) == 300


def test_files_of_another_ledger_are_refused(ledger: JournalLedger, directory: Path, tmp_path: Path) -> None:
    filled(ledger)
    ledger.close()
    with closing(JournalLedger(tmp_path / "other")) as other:
        filled(other)
        for _ in range(9):
            charge(other, 1, GLOBAL)
    for name in ("lock", "journal-00000001"):
        kept = (directory / name).read_bytes()
        (directory / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(LedgerCorruptError, match="tells of another ledger"):
            JournalLedger(directory)
        (directory / name).write_bytes(kept)
    JournalLedger(directory).close()


def test_where_only_a_lock_is_left_a_new_ledger_needs_consent(ledger: JournalLedger, directory: Path) -> None:
    filled(ledger)
    ledger.close()
    journal_of(directory).unlink()
    with pytest.raises(LedgerCorruptError, match="anew"):
        repair(directory)
    assert "limits have to be set again" in " ".join(repair(directory, anew=True).told)
    with closing(JournalLedger(directory)) as again:
        assert again.read(GLOBAL) is None
        give(again, GLOBAL, usd(5))
        check(again)


def test_a_ledger_of_a_version_that_knew_no_identity_is_given_one(directory: Path, tmp_path: Path) -> None:
    with closing(JournalLedger(tmp_path / "new")) as new:
        filled(new)
        new.release(new.open_holds()[0].id, AT)
    lines = (tmp_path / "new" / "journal-00000001").read_bytes().splitlines()
    payloads = [b'["budgeted",1,1]', *(line[9:] for line in lines[1:])]
    crc, whole = 0, b""
    for payload in payloads:
        crc = checked_lines.crc32(payload, crc)
        whole += checked_lines.line(payload, crc)
    (directory / "owners").mkdir(parents=True, mode=0o700)
    (directory / "journal-00000001").write_bytes(whole)
    (directory / "lock").write_bytes(struct.pack("<qqq", 1, 1, len(whole) + 50).ljust(64, b"\0"))
    for total in (100, 101):
        ledger = JournalLedger(directory)
        second = JournalLedger(directory)
        assert spent(ledger) == total
        charge(ledger, 1, GLOBAL)
        assert spent(second) == total + 1
        ledger._applied = -1  # as an interruption leaves it
        assert spent(ledger) == total + 1
        check(ledger)
        ledger.close()
        second.close()
    cut_journal(directory, directory)
    with pytest.raises(LedgerCorruptError, match="acknowledged are missing"):
        JournalLedger(directory)


# -- ends of journals


def test_lines_lost_in_a_power_cut_are_told_and_those_that_were_synced_are_required(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(1000))
    ledger.flush()
    synced = journal_of(directory).stat().st_size
    charge(ledger, 100, GLOBAL)
    monkeypatch.setattr(ledger, "flush", lambda: None)
    ledger.close()
    monkeypatch.setattr("budgeted.ledger.journal.host_lock._booted", b"another boot....")
    os.truncate(journal_of(directory), synced)
    with closing(JournalLedger(directory)) as again:
        assert spent(again) == 0
        check(again)
    [told] = [record for record in caplog.records if "acknowledged are missing" in record.message]
    assert told.levelname == "WARNING"
    os.truncate(journal_of(directory), synced - 1)
    monkeypatch.setattr("budgeted.ledger.journal.host_lock._booted", b"a third boot....")
    with pytest.raises(LedgerCorruptError, match="acknowledged are missing"):
        JournalLedger(directory)


@pytest.mark.parametrize("end", [bytes(500), b"\0" * 30 + b'\n["h","x.1",1' * 3, b"rubbish"])
def test_what_is_no_half_line_is_kept_and_told_before_it_is_cut_off(
    ledger: JournalLedger, directory: Path, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = filled(ledger)
    path = journal_of(directory)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(end.replace(b"\n", b""))
    assert dump(ledger) == before
    [kept] = directory.glob("journal-*.cut-*")
    assert kept.read_bytes() == end.replace(b"\n", b"")
    assert kept.name == f"{path.name}.cut-{size}"
    assert kept.stat().st_mode & 0o777 == 0o600
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert f"{len(kept.read_bytes())} bytes" in told.message
    check(ledger)
    ledger.close()
    JournalLedger(directory).close()
    assert kept.exists()


def test_what_can_still_be_read_of_what_is_cut_off_is_told(
    ledger: JournalLedger, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(ledger)
    charged = charge(ledger, 30, GLOBAL)
    ledger.close()
    path = journal_of(directory)
    whole = bytearray(path.read_bytes())
    lines = bytes(whole).splitlines(keepends=True)
    at = sum(map(len, lines[:-3]))
    whole[at + 12] ^= 1
    path.write_bytes(whole)
    told = " ".join(repair(directory).told)
    assert f"the charge {charged} of $0.00000003" in told
    assert f"{len(whole) - at} bytes of {path.name} from byte {at} on are set aside" in told


def test_half_a_line_of_a_process_that_died_is_cut_off_without_a_word(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = """
        import sys
        from ledgers import *
        import budgeted.ledger.journal.ledger as j
        ledger = JournalLedger(sys.argv[1])
        give(ledger, GLOBAL, usd(1000))
        def half(fd, data):
            os.write(fd, data[:40])
            os._exit(0)
        j.write = half
        hold(ledger, 10, GLOBAL)
    """
    finish(python(program, directory))
    caplog.set_level(logging.INFO)
    with closing(JournalLedger(directory)) as ledger:
        assert held(ledger) == 0
        check(ledger)
    assert caplog.records == []
    assert list(directory.glob("*.cut-*")) == []


def test_a_limit_of_the_process_is_not_called_a_full_disk(directory: Path) -> None:
    program = """
        import resource, signal, sys
        from ledgers import *
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ledger = JournalLedger(sys.argv[1])
        give(ledger, GLOBAL, usd(10**6))
        where = route(ledger, GLOBAL)
        for room in (0, 20):
            size = segment_files.journal_path(ledger.directory, 1).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
            try:
                ledger.hold("x.1", where, cost(1), AT)
            except Exception as error:
                print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    """
    [text] = finish(python(program, directory))
    assert text.count("RLIMIT_FSIZE") == 2
    assert "space" not in text


# -- who may write


@pytest.mark.parametrize(("mode", "who"), [(0o777, "everybody"), (0o770, "its group")])
@pytest.mark.parametrize("which", ["own", "above"])
def test_a_directory_that_others_may_write_is_told(
    tmp_path: Path, mode: int, who: str, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    above = tmp_path / "ledgers"
    own = above / "project"
    own.mkdir(parents=True)
    above.chmod(0o700)
    own.chmod(0o700)
    (own if which == "own" else above).chmod(mode)
    JournalLedger(own).close()
    [told] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert who in told
    assert "chmod g" in told
    caplog.clear()
    (own if which == "own" else above).chmod(mode | 0o1000)
    JournalLedger(own).close()
    assert caplog.records == []


def test_a_project_directory_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    JournalLedger(tmp_path / "real").close()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(LedgerError, match="is a symbolic link"):
        JournalLedger(tmp_path / "link")
    (tmp_path / "above").symlink_to(tmp_path)
    JournalLedger(tmp_path / "above" / "real").close()


def _cost(amount: int) -> object:
    from ledgers import cost

    return cost(amount)
