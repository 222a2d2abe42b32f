"""Writing a damaged ledger anew from what is intact of its files: explicit, never on its own."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.journal import checked_lines, loading, segment_files, snapshot_files, torn_ends, writing_back
from budgeted.ledger.journal.checked_lines import Continued, Header
from budgeted.ledger.journal.disk_errors import unavailable
from budgeted.ledger.journal.following import ends_before
from budgeted.ledger.journal.host_lock import HostLock
from budgeted.ledger.journal.origin import Origin, new_origin
from budgeted.ledger.journal.repair_command import repair_command
from budgeted.ledger.memory.change_records import Record
from budgeted.ledger.memory.state import State
from budgeted.ledger.told_steps import Step, untold


class Repaired(msgspec.Struct, frozen=True):
    """What a repair has done.

    Attributes:
        set_aside: bytes that were cut off or not used.
        missing: bytes that were acknowledged once and that no file has any more.
        records: records of calls and limits that could still be read in what was set aside.
        files: where it was set aside.
        told: sentences for whoever asked for the repair: what was lost, by ids and amounts in USD where they are known.
    """

    set_aside: int = 0
    missing: int = 0
    records: int = 0
    files: tuple[Path, ...] = ()
    told: tuple[str, ...] = ()


def repair(directory: str | os.PathLike[str], *, anew: bool = False, step: Step = untold) -> Repaired:
    """Keep everything before the first damage, and set the rest aside as ``*.cut-...``.

    Args:
        directory: the ledger's own directory, as the error named it. No process should have it open: one that has, and
            that knows more than the files, refuses to go on with them.
        anew: whether to begin a new, empty ledger where no journal and no snapshot is left. All limits have to be set
            again then, and nothing counts as spent.
        step: entered around each step.

    Returns:
        What was lost. Nothing is changed where nothing is wrong.

    Raises:
        LedgerError: it is no ledger's directory.
        LedgerCorruptError: nothing is left of the ledger, and ``anew`` was not given.
        LedgerLockedError: a process keeps its lock.
        LedgerUnavailableError: the disk refuses, or, on Windows, a process has it open.

    Example:
        >>> for line in repair("/var/lib/budgeted/my-app").told:
        ...     print(line)
    """
    directory = Path(directory)
    if not directory.is_dir() or directory.is_symlink():
        msg = f"{directory} is no directory; name the ledger's own, as the error did"
        raise LedgerError(msg)
    segment_files.refuse_other_files(directory)
    lock = HostLock(directory / "lock")
    lock.acquire(10)
    try:
        return _Repair(directory, lock).run(anew=anew, step=step)
    except OSError as error:
        told = f"{directory} cannot be repaired; if a process has it open, call BudgetManager.repair() in it, or end it"
        raise unavailable(error, told) from error
    finally:
        lock.release()
        lock.close()


class _Found:
    """What is intact of a ledger's files, and what is to be set aside. Reading changes nothing."""

    def __init__(self, directory: Path, lock: HostLock) -> None:
        self.directory = directory
        self.origin = Origin()
        self.ledger = self._which(lock.ledger)
        self.segment = self.offset = 0
        self.cuts: list[tuple[Path, int]] = []
        """Files, and up to where each is kept."""
        self.told: list[str] = []
        self.state, start = self._find_start()
        if self.state is not None:
            self._read_segments(self.state, start)

    def _which(self, told: str) -> str:
        """The identity of the ledger that is looked for: the lock's, unless no file is of that one."""
        found = [origin.ledger for origin in writing_back.origins(self.directory) if origin.ledger]
        return told if told in found or not found else found[-1]

    def _find_start(self) -> tuple[State | None, int]:
        """The newest snapshot that can be read, or the beginning of the first segment."""
        for number in reversed(segment_files.numbers(self.directory, "snapshot")):
            try:
                origin, state = snapshot_files.read_snapshot(self.directory, number)
            except (LedgerCorruptError, msgspec.DecodeError):
                told = "damaged, or not the one of its name"
            else:
                if origin.ledger in ("", self.ledger):
                    self.origin = origin
                    return state, number
                told = "another ledger's"
            path = segment_files.snapshot_path(self.directory, number)
            self.cuts.append((path, 0))
            self.told.append(f"{path.name} is {told}")
        return (State() if 1 in segment_files.numbers(self.directory, "journal") else None), 1

    def _read_segments(self, state: State, start: int) -> None:
        journals = segment_files.numbers(self.directory, "journal")
        following = self.segment = start
        for number in [n for n in journals if n >= start]:
            path = segment_files.journal_path(self.directory, number)
            records, good = checked_lines.intact(path)
            # Behind a damage nothing can be trusted to belong together.
            if number != following or not records or not self._belongs(records[0], number):
                self.cuts.append((path, 0))
                continue
            self.segment, self.offset, following = number, good, 0
            last = records[-1]
            if isinstance(last, Continued):
                following = last.segment
            state.replay(records[1 : -1 if following else None])
            if following in journals:
                state.prune()
            if good < path.stat().st_size:
                self.cuts.append((path, good))
        if following and self.segment not in journals:
            self.told.append(f"journal-{start:08d} is missing")
        elif following:
            self.told.append(
                f"journal-{self.segment:08d} leads to journal-{following:08d}, which cannot be gone on with"
            )

    def _belongs(self, header: Record, number: int) -> bool:
        """Whether a segment is of the ledger that was read so far."""
        if not isinstance(header, Header) or header.segment != number or header.ledger not in ("", self.ledger):
            return False
        if not header.ledger:  # by a version that knew no identity
            return True
        if self.origin.ledger and header.origin != self.origin:
            return False
        self.origin = header.origin
        return True


class _Repair:
    """One repair of a ledger at rest, whose lock is taken."""

    def __init__(self, directory: Path, lock: HostLock) -> None:
        self.directory = directory
        self.lock = lock
        self.bytes = self.records = 0
        self.files: list[Path] = []
        self.told: list[str] = []

    def run(self, *, anew: bool, step: Step) -> Repaired:
        with step("reading"):
            if self._is_fine():
                return Repaired()
            found = _Found(self.directory, self.lock)
        if found.state is None and not anew:
            msg = (
                f"nothing is left of the ledger in {self.directory} that balances could be read from: its limits and "
                f"what was spent are gone. Restore the files from a backup; or begin a new, empty ledger with "
                f"`{repair_command(self.directory)} --anew`, and set all limits again"
            )
            raise LedgerCorruptError(msg)
        with step("writing what is intact", changes=True):
            return self._write(found)

    def _write(self, found: _Found) -> Repaired:
        """Set aside what is not intact, and write the rest anew."""
        mark = self.lock.mark
        self.told += found.told
        if found.state is None:
            self.told.append("nothing was left: the ledger is new and empty, and all limits have to be set again")
            found.cuts = [(path, 0) for path in self._segments()]
        position = found.segment, found.offset
        if not self.lock.ledger:
            self.told.append("the lock file did not know the ledger any more: whether lines are missing cannot be told")
        elif position < mark:
            self.told.append(ends_before(segment_files.journal_path(self.directory, found.segment), position, mark))
        for path, good in found.cuts:
            self._cut(path, good)
        above = max(found.segment, *(segment_files.number_of(path) for path in self._segments()), 0)
        writing_back.begin_generation(
            self.directory, self.lock, self._next_origin(found), found.state or State(), above
        )
        missing = max(0, mark[1] - found.offset - self.bytes) if found.segment == mark[0] else 0
        return Repaired(self.bytes, missing, self.records, tuple(self.files), tuple(self.told))

    def _is_fine(self) -> bool:
        """Whether who opens the ledger would not complain."""
        if not loading.traces(self.directory) and not self.lock.ledger and self.lock.mark == (0, 0):
            return not self.lock.damaged
        try:
            loading.check(self.directory, self.lock)
        except LedgerCorruptError:
            return False
        return True

    def _segments(self) -> list[Path]:
        kinds = ("journal", segment_files.journal_path), ("snapshot", segment_files.snapshot_path)
        return [
            path(self.directory, number)
            for kind, path in kinds
            for number in segment_files.numbers(self.directory, kind)
        ]

    def _cut(self, path: Path, good: int) -> None:
        """Set aside what a file holds from an offset on; of nothing else the file is removed."""
        data = path.read_bytes()[good:]
        self.files.append(torn_ends.set_aside(path, good, data))
        self.bytes += len(data)
        self.records += len(torn_ends.records(data))
        self.told.append(
            f"{len(data)} bytes of {path.name} from byte {good} on are set aside; {torn_ends.readable(data)}"
        )
        if good:
            os.truncate(path, good)
        else:
            path.unlink()

    def _next_origin(self, found: _Found) -> Origin:
        """A generation behind every one that somebody may have open."""
        if found.state is None:
            return new_origin()
        origin = found.origin
        if not origin.ledger:
            origin = Origin(self.lock.ledger) if self.lock.ledger else new_origin()
        # One that the lock tells of and the files do not is lost: whoever has read any of it knows more.
        lost = ((0, 0),) * max(0, self.lock.generation - origin.generation)
        return Origin(origin.ledger, (*origin.ends, *lost, (found.segment, found.offset)))
