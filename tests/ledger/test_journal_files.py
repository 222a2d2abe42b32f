"""The files of a ledger on disk: what damage does, and that nothing damaged is ever believed."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from ledgers import ALICE, AT, BOB, canonical, charge, check, finish, give, hold, python, replayed, spent, usd

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import checked_lines, repair, segment_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.state import State
from budgeted.ledger.opening import open_ledger


def small(directory: Path) -> Path:
    """A ledger with a few lines of each kind, closed; returns its journal."""
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(100))
    charge(ledger, 10, GLOBAL, ALICE)
    ledger.release(hold(ledger, 5, GLOBAL).id, 1)
    ledger.reset(ALICE, 1)
    give(ledger, BOB)
    ledger.delete(BOB)
    charge(ledger, 3, GLOBAL)
    ledger.close()
    return segment_files.journal_path(directory, 1)


def states(journal: Path) -> dict[int, bytes]:
    """The balances behind each line of a journal, by its offset."""
    state, after = State(), {0: canonical(State())}
    crc = offset = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        [record], crc, offset = checked_lines.read(line, crc, journal, offset)
        if not isinstance(record, checked_lines.Header):
            state.apply(record)
        after[offset] = canonical(state)
    return after


@pytest.mark.slow
def test_a_journal_cut_off_anywhere_is_refused_and_repaired_to_the_balances_of_its_whole_lines(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournalLedger, "sweep", lambda self: 0)  # what dead processes held is not charged here
    journal = small(directory)
    whole, after = journal.read_bytes(), states(journal)
    for size in range(len(whole) + 1):
        copy = tmp_path / "copy"
        shutil.copytree(directory, copy)
        os.truncate(copy / journal.name, size)
        if size < len(whole):
            with pytest.raises(LedgerCorruptError, match=r"acknowledged are missing|byte 0"):
                JournalLedger(copy)
            assert (copy / journal.name).stat().st_size == size
            repaired = repair.repair(copy)
            assert repaired.set_aside + repaired.missing == len(whole) - max(at for at in after if at <= size)
        ledger = JournalLedger(copy)
        last = max(offset for offset in after if offset <= size)
        assert canonical(ledger._state) == after[last], size
        if not size % 50:
            give(ledger, ALICE, usd(77))
            check(ledger)
        ledger.close()
        shutil.rmtree(copy)


@pytest.mark.slow
def test_no_flipped_bit_is_ever_believed(directory: Path, tmp_path: Path) -> None:
    """Either the balances are right, or the error names the file and the byte; the file is left as it was."""
    journal = small(directory)
    whole = journal.read_bytes()
    right = replayed(directory)
    for i in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[i // 8] ^= 1 << i % 8
        journal.write_bytes(damaged)
        try:
            assert replayed(directory) == right
        except LedgerCorruptError as error:
            assert f"{journal} is damaged at byte" in str(error)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    journal.write_bytes(damaged)
    with pytest.raises(LedgerCorruptError, match=r"journal-00000001 is damaged at byte \d+"):
        JournalLedger(directory)
    assert journal.read_bytes() == damaged


@pytest.mark.parametrize("change", ["lost", "twice", "moved", "zeroed"])
def test_a_line_lost_repeated_moved_or_zeroed_is_damage(directory: Path, change: str) -> None:
    journal = small(directory)
    lines = journal.read_bytes().splitlines(keepends=True)
    if change == "lost":
        del lines[3]
    elif change == "twice":
        lines.insert(3, lines[3])
    elif change == "moved":
        lines[3], lines[4] = lines[4], lines[3]
    else:
        lines[3] = bytes(len(lines[3]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    with pytest.raises(LedgerCorruptError, match="fails its check"):
        JournalLedger(directory)


def test_repair_keeps_what_stands_before_the_damage_and_sets_the_rest_aside(directory: Path) -> None:
    journal = small(directory)
    whole, after = bytearray(journal.read_bytes()), states(journal)
    offsets = sorted(after)
    whole[offsets[5] + 20] ^= 4
    journal.write_bytes(whole)
    done = repair.repair(directory)
    assert (done.set_aside, done.missing) == (len(whole) - offsets[5], 0)
    assert journal.read_bytes() == whole[: offsets[5]]
    [kept] = done.files
    assert kept.read_bytes() == whole[offsets[5] :]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    ledger = JournalLedger(directory)
    assert canonical(ledger._state).startswith(after[offsets[5]][:40])
    check(ledger)
    ledger.close()
    assert repair.repair(directory) == repair.Repaired()


def rotated(directory: Path, monkeypatch: pytest.MonkeyPatch, lines: int = 60) -> None:
    """A ledger of several segments, closed."""
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 20)
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(10**6))
    for _ in range(lines // 2):
        charge(ledger, 1, GLOBAL)
        ledger.flush()
    ledger.close()


def test_two_snapshots_and_what_follows_them_are_kept(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotated(directory, monkeypatch, 150)
    snapshots, journals = segment_files.numbers(directory, "snapshot"), segment_files.numbers(directory, "journal")
    assert len(snapshots) == 2
    assert journals == snapshots
    ledger = JournalLedger(directory)
    assert spent(ledger) == 75
    check(ledger)
    ledger.close()


def test_a_damaged_snapshot_falls_back_to_the_one_before_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotated(directory, monkeypatch, 150)
    right = replayed(directory)
    newest = segment_files.snapshot_path(directory, segment_files.numbers(directory, "snapshot")[-1])
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    ledger = JournalLedger(directory)
    assert canonical(ledger._state) == right
    ledger.close()


def test_a_damaged_first_snapshot_falls_back_to_the_first_line(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated(directory, monkeypatch, 30)
    right = replayed(directory)
    assert replayed(directory, whole=True) == right
    [only] = segment_files.numbers(directory, "snapshot")
    segment_files.snapshot_path(directory, only).write_bytes(b"")
    ledger = JournalLedger(directory)
    assert canonical(ledger._state) == right
    ledger.close()


def test_damage_without_anything_to_fall_back_to_is_an_error(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotated(directory, monkeypatch, 150)
    for number in segment_files.numbers(directory, "snapshot"):
        segment_files.snapshot_path(directory, number).write_bytes(b"nothing")
    with pytest.raises(LedgerCorruptError, match=r"snapshot-0000000\d is damaged"):
        JournalLedger(directory)


@pytest.mark.parametrize("missing", ["journal", "snapshot"])
def test_missing_files_are_never_made_up(directory: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    rotated(directory, monkeypatch, 150)
    for number in segment_files.numbers(directory, missing)[-1 if missing == "journal" else 0 :]:
        (directory / f"{missing}-{number:08d}").unlink()
    with pytest.raises(LedgerCorruptError, match="missing"):
        JournalLedger(directory)


def test_a_segment_that_does_not_lead_to_the_next_is_damage(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotated(directory, monkeypatch, 150)
    number = segment_files.numbers(directory, "snapshot")[-1]
    segment_files.snapshot_path(directory, number).unlink()
    before = segment_files.journal_path(directory, number - 1)
    before.write_bytes(b"".join(before.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(LedgerCorruptError, match="without leading to"):
        JournalLedger(directory)


def test_files_are_private_and_no_user_is_in_a_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotated(directory, monkeypatch)
    ledger = JournalLedger(directory)
    charge(ledger, 1, GLOBAL)
    give(ledger, "u:../../mallory", usd(1))
    for path in [directory, *directory.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert "mallory" not in path.name
    ledger.close()


@pytest.mark.parametrize("name", ["lock", "journal-00000001", "owners"])
def test_symbolic_links_are_not_followed(directory: Path, tmp_path: Path, name: str) -> None:
    directory.mkdir()
    target = tmp_path / "target"
    target.write_text("precious")
    (directory / name).symlink_to(target)
    with pytest.raises(LedgerError):
        JournalLedger(directory)
    assert target.read_text() == "precious"


def test_a_path_that_is_a_file_or_runs_through_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/ledger"):
        with pytest.raises(LedgerError, match="needs a directory"):
            JournalLedger(tmp_path / path)


def test_a_directory_of_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(LedgerError, match=r"thesis\.tex"):
        JournalLedger(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_foreign_file_or_a_later_format_is_told(directory: Path) -> None:
    directory.mkdir()
    (directory / "lock").touch()
    journal = segment_files.journal_path(directory, 1)
    journal.write_bytes(b"Dear diary,\n")
    with pytest.raises(LedgerCorruptError, match="damaged at byte 0"):
        JournalLedger(directory)
    payload = checked_lines.encode(checked_lines.Header(2, 1))
    journal.write_bytes(checked_lines.line(payload, checked_lines.crc32(payload)))
    with pytest.raises(LedgerError, match=r"has format 2.*upgrade"):
        JournalLedger(directory)
    assert not isinstance(LedgerError, LedgerUnavailableError)


def test_a_directory_that_one_may_not_read_is_an_error(directory: Path) -> None:
    small(directory)
    program = """
        import os, sys
        from budgeted.errors import LedgerUnavailableError
        from budgeted.ledger.journal.ledger import JournalLedger
        import budgeted.ledger.journal.repair
        if os.getuid() == 0:  # who may read everything, until it is somebody else
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        else:
            os.chmod(sys.argv[1], 0)
        try:
            JournalLedger(sys.argv[1])
        except LedgerUnavailableError as error:
            print(error)
    """
    [text] = finish(python(program, directory))
    assert "cannot be used: Permission denied" in text


def test_a_ledger_is_one_object_per_path_and_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = open_ledger("x", "p", fsync="background")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    assert open_ledger(tmp_path / "y", "p", fsync="background") is one
    assert open_ledger(f"file://{tmp_path}/x", "p", fsync="background") is one
    other = open_ledger("x", "../p", fsync="background")
    assert other is not one
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["%2E%2E%2Fp", "p"]
    one.close()
    again = open_ledger("x", "p", fsync="background")
    assert again is not one
    for ledger in (other, again):
        ledger.close()


@pytest.mark.parametrize("where", ["", "mysql://x", "file://host/x", "file:x://", b"x"])
def test_a_ledger_that_is_not_known_is_told(where: str) -> None:
    with pytest.raises(LedgerError, match="ledger="):
        open_ledger(where, "p", fsync="background")


def test_a_closed_ledger_says_so(journal: JournalLedger) -> None:
    journal.close()
    journal.close()
    with pytest.raises(LedgerError, match="is closed") as error:
        give(journal, ALICE)
    assert not isinstance(error.value, LedgerLockedError)


def test_what_was_to_be_repeated_on_a_closed_ledger_is_given_up_once(
    journal: JournalLedger, caplog: pytest.LogCaptureFixture
) -> None:
    journal.close()
    background_worker.enqueue(lambda: journal.release("x.1", AT))
    background_worker.retry(lambda: journal.release("x.1", AT))
    for _ in range(2):
        background_worker.drain()
    assert background_worker.refused() == 0
    [told] = [record.message for record in caplog.records]
    assert told.endswith("is closed")


def test_an_abandoned_ledger_gives_its_files_back(directory: Path) -> None:
    def files() -> set[str]:
        return {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.exists()}

    ledger = JournalLedger(directory)
    assert any(str(directory) in name for name in files())
    del ledger
    assert not any(str(directory) in name for name in files())


@pytest.mark.parametrize("added", [b"", b'["budgeted",1,1]'], ids=["an empty line", "a second header"])
def test_a_line_that_checks_but_cannot_stand_where_it_does_is_damage(directory: Path, added: bytes) -> None:
    journal = small(directory)
    whole = journal.read_bytes()
    _, crc, _ = checked_lines.read(whole, 0, journal, 0)
    journal.write_bytes(whole + checked_lines.line(added, checked_lines.crc32(added, crc)))
    with pytest.raises(LedgerCorruptError, match=f"at byte {len(whole)}"):
        JournalLedger(directory)
    assert repair.repair(directory).set_aside > 0
    assert journal.read_bytes() == whole


def test_a_line_longer_than_a_piece_is_read(directory: Path) -> None:
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(10))
    give(ledger, "u:" + "x" * 5 * checked_lines.PIECE, usd(10))
    charge(ledger, 3, GLOBAL)
    ledger.close()
    again = JournalLedger(directory)
    assert spent(again) == 3
    check(again)
    again.close()


@pytest.mark.parametrize("data", [bytes(200), b"hello world" * 10, b"hello world\n"], ids=["zeros", "text", "a line"])
def test_a_journal_that_does_not_begin_as_one_is_damage_not_a_new_ledger(tmp_path: Path, data: bytes) -> None:
    ledger = JournalLedger(tmp_path / "ledger")
    give(ledger, GLOBAL, usd(1000))
    ledger.close()
    path = segment_files.journal_path(tmp_path / "ledger", 1)
    path.write_bytes(data)
    with pytest.raises(LedgerCorruptError, match="byte 0"):
        JournalLedger(tmp_path / "ledger")
    assert path.read_bytes() == data
