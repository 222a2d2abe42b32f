"""Opening a ledger's files, and refusing what is less than somebody knew to be there.

The lock file tells which ledger it is and up to where its journal was acknowledged; who had the ledger open knows that,
too. Files that are missing, older, or another ledger's are refused: taken for the truth, they would have spent less.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal.following import Follower, ends_before, how_to_repair
from budgeted.ledger.journal.host_lock import HostLock
from budgeted.ledger.journal.origin import Known, Origin, new_origin
from budgeted.ledger.memory.state import State
from budgeted.system import current as system


def traces(directory: Path) -> list[str]:
    """Files and folders of a ledger beside its lock, by name."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are what is wanted
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name == "owners" or name.startswith(("journal-", "snapshot-")))


def refuse_without_lock(directory: Path) -> None:
    """Refuse a directory with a ledger's files but no lock, before a new one is made.

    Raises:
        LedgerCorruptError: it is one.
    """
    found = traces(directory)
    # Looked for afterwards: who makes a ledger makes the lock first.
    if found and not os.path.lexists(directory / "lock"):
        msg = (
            f"{directory / 'lock'} is missing beside {', '.join(found[:3])}: the lock file was removed, and processes "
            f"that have the ledger open would not see each other. {how_to_repair(directory)}"
        )
        raise LedgerCorruptError(msg)


class Ahead(Follower):
    """A ledger as its files tell it without its lock: others go on while a large one is opened.

    Raises:
        OSError, LedgerError, msgspec.DecodeError: it is to be read with the lock, which says what is wrong.
    """

    def __init__(self, directory: Path) -> None:
        number = segment_files.numbers(directory, "snapshot")[-1]
        origin, state = snapshot_files.read_snapshot(directory, number)
        super().__init__(directory, state, origin)
        try:
            self._open_segment(number)
            self._follow()
        except BaseException:
            self._close_segment()
            raise

    def goes_on(self) -> bool:
        """Whether it is still the beginning of what stands there."""
        return system.is_at(self._fd, self._path)

    def close(self) -> None:
        """Close the file, as it is of no use."""
        self._close_segment()


def read_ahead(directory: Path) -> Ahead | None:
    """Read a ledger without its lock, if there is much to read."""
    try:
        return Ahead(directory)
    except (OSError, IndexError, LedgerError, msgspec.DecodeError):
        return None


class Loaded(Follower):
    """A ledger as its files tell it, from the newest intact snapshot on. The caller has its lock.

    Args:
        directory: the ledger's own.
        host: its lock.
        known: what this process has read of it before.
        ahead: what was read without the lock.

    Raises:
        LedgerCorruptError: files are damaged or missing, or less than they were known to be.
    """

    def __init__(self, directory: Path, host: HostLock, known: Known | None, ahead: Ahead | None = None) -> None:
        if host.damaged:
            msg = f"{host.path} is damaged, or no ledger's lock. {how_to_repair(directory)}"
            raise LedgerCorruptError(msg)
        snapshots = segment_files.numbers(directory, "snapshot")
        journals = segment_files.numbers(directory, "journal")
        if not snapshots and not journals:
            _refuse_gone(directory, host, known)
            segment_files.create(directory, 1, new_origin())
            journals = [1]
        if ahead is not None and ahead.goes_on():
            super().__init__(directory, State(), Origin())
            self._take_over(ahead)
        else:
            if ahead is not None:
                ahead.close()
            self._begin_anew(directory, host, snapshots, journals)
        try:
            self._read_all({*journals, *snapshots}, set(snapshots))
            self._check_origin(host)
            self._check_mark(host)
            if known is not None:
                self._check_known(known)
        except BaseException:
            self._close_segment()
            raise

    def _begin_anew(self, directory: Path, host: HostLock, snapshots: list[int], journals: list[int]) -> None:
        """Begin at the newest snapshot that is intact."""
        state, segment, origin = snapshot_files.newest(directory, snapshots, journals)
        if segment not in journals:
            # Who began a generation and died has left its snapshot only, which is whole by itself.
            if not origin.generation or origin.generation <= host.generation:
                msg = f"{segment_files.journal_path(directory, segment)} is missing. {how_to_repair(directory)}"
                raise LedgerCorruptError(msg)
            segment_files.create(directory, segment, origin)
        super().__init__(directory, state, origin)
        self._open_segment(segment)

    def _read_all(self, numbers: set[int], snapshots: set[int]) -> None:
        """Read every segment that there is, or raise."""
        complete = self._follow() >= 0
        behind = [n for n in numbers if n > self._segment]
        # A new segment that nothing leads to and that holds nothing is what a crash leaves.
        if not complete or [n for n in behind if n in snapshots or not segment_files.is_empty(self.directory, n)]:
            following = segment_files.journal_path(self.directory, max(behind, default=self._segment + 1)).name
            msg = (
                f"{self._path} ends without leading to {following}: "
                f"files are missing or cut off. {how_to_repair(self.directory)}"
            )
            raise LedgerCorruptError(msg)

    def _check_origin(self, host: HostLock) -> None:
        """Refuse files of another ledger than the lock's, or of another generation."""
        origin = self._origin
        if not origin.ledger or not self._lines:  # by a version that knew no identity
            return
        # What a crash leaves between the making of a journal and that the lock tells of it: only a header.
        untouched = self._lines == 1 and (self._segment == 1 or origin.generation > 0)
        told = ""
        if not host.ledger:
            told = "" if untouched else "does not know the ledger any more: it was emptied or replaced"
        elif host.ledger != origin.ledger:
            told = "tells of another ledger than the journal"
        elif host.generation > origin.generation:
            told = "tells of a later generation than the journal, which is an older copy"
        elif host.generation < origin.generation and not untouched:
            told = "tells of an earlier generation than the journal: it is an older copy"
        if told:
            msg = f"{host.path} {told}. {how_to_repair(self.directory)}"
            raise LedgerCorruptError(msg)

    def _check_known(self, known: Known) -> None:
        """Refuse files that do not go on from what this process has read of them."""
        origin, before = self._origin, known.origin
        position = self._segment, self._offset
        told = ""
        if before.ledger and origin.ledger and origin.ledger != before.ledger:
            told = "is another ledger than the one that this process had open there"
        elif origin.generation < before.generation:
            told = "is an older copy of what this process had open there"
        elif origin.generation > before.generation:
            if origin.ends[before.generation] < known.position:
                told = "was repaired by a process that knew less than this one"
        elif position < known.position:
            told = f"is less than this process has read: {ends_before(self._path, position, known.position)}"
        elif not _goes_on(self.directory, known):
            told = "is not what this process has read of it: an older copy was put in place, and others went on from it"
        if told:
            msg = f"{self.directory} {told}. {how_to_repair(self.directory)}"
            raise LedgerCorruptError(msg)


def check(directory: Path, host: HostLock) -> None:
    """Read a ledger as whoever opens it does.

    Raises:
        LedgerCorruptError: as :class:`Loaded`.
    """
    Loaded(directory, host, None)._close_segment()  # noqa: SLF001 - of this module


def _refuse_gone(directory: Path, host: HostLock, known: Known | None) -> None:
    """Refuse to begin a ledger where one has been: its limits are gone."""
    told = "a process had it open" if known is not None else ""
    if host.ledger or host.mark != (0, 0):
        told = told or "its lock file tells of one"
    elif "owners" in traces(directory):
        told = told or "processes had announced themselves there"
    if told:
        msg = (
            f"{directory} has no journal and no snapshot any more, and there was a ledger ({told}): its limits and "
            f"what was spent are gone. {how_to_repair(directory)}, with --anew, since nothing "
            f"is left but to set limits again"
        )
        raise LedgerCorruptError(msg)


def _goes_on(directory: Path, known: Known) -> bool:
    """Whether the last line that was read still stands where it did. Segments that are gone were folded."""
    try:
        fd = system.open_file(segment_files.journal_path(directory, known.segment), os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        return checked_lines.ends_with(fd, known.offset, known.crc)
    finally:
        os.close(fd)
