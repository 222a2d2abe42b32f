"""Reading a journal: where one has got to, and the balances up to there."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from budgeted.errors import LedgerCorruptError
from budgeted.ledger.journal import checked_lines, segment_files
from budgeted.ledger.journal.checked_lines import Continued, Header
from budgeted.ledger.journal.host_lock import HostLock
from budgeted.ledger.journal.origin import Known, Origin, Position
from budgeted.ledger.journal.repair_command import repair_command
from budgeted.ledger.journal.torn_ends import readable
from budgeted.ledger.memory.state import State
from budgeted.system import current as system

logger = logging.getLogger("budgeted")


class Follower:
    """Balances, and how far a journal is read into them. Whoever has it read holds the host's lock, or reads ahead.

    ``_applied`` is :attr:`State.applied` as of the last line that was read or written. It is behind or ahead of it if
    a change of the balances was interrupted.
    """

    directory: Path
    _state: State

    def __init__(self, directory: Path, state: State, origin: Origin) -> None:
        self.directory = directory
        self._state = state
        self._origin = origin
        self._fd = -1
        self._start()

    def _start(self) -> None:
        self._sync_lock = threading.Lock()
        self._applied = -1
        self._segment, self._offset, self._crc, self._lines = 0, 0, 0, 0
        self._path = self.directory
        self._failed: OSError | None = None
        """Why what was read, or written, is perhaps not on the disk and never will be."""

    def _close_segment(self) -> None:
        # Forgotten before it is closed: right afterwards its number may be another file's.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _take_over(self, other: Follower) -> None:
        """Go on with the file and the balances of another."""
        self._fd, self._path, self._origin = other._fd, other._path, other._origin
        self._segment, self._offset, self._crc = other._segment, other._offset, other._crc
        self._state, self._applied, self._lines = other._state, other._applied, other._lines
        other._fd = -1
        self._failed = self._failed or other._failed

    def _open_segment(self, segment: int) -> None:
        path = segment_files.journal_path(self.directory, segment)
        fd = system.open_file(path, os.O_RDWR | os.O_APPEND)
        # Not while a thread syncs: it has the old file in hand.
        with self._sync_lock:
            old, self._fd, self._path = self._fd, fd, path
            self._segment, self._offset, self._crc, self._lines = segment, 0, 0, 0
        if old >= 0:
            os.close(old)

    def _follow(self) -> int:
        """Apply what follows, through all segments. Returns the last one's size; -1 if a file is missing or shorter."""
        state = self._state
        while True:
            status = os.fstat(self._fd)
            size = status.st_size
            # Shorter than what was read: it is not the file that it was.
            if size < self._offset:
                return -1
            following = self._read(size)
            if not following:
                break
            state.prune()
            if not segment_files.journal_path(self.directory, following).exists():
                return -1
            # Whoever went on in another segment may have been killed before this one was on the disk, and nobody
            # syncs it later: what is acknowledged in the next would be lost with it.
            try:
                system.sync_content(self._fd)
            except OSError as error:
                self._failed = error
            self._open_segment(following)
        self._applied = state.applied
        # One that was removed and leads to no other is not what others go on with.
        return size if status.st_nlink else -1

    def _read(self, size: int) -> int:
        """Apply the lines of this segment up to its size. Returns the number of the next segment, or 0."""
        for data in checked_lines.pieces(self._fd, self._offset, size):
            found, crc, behind = checked_lines.read(data, self._crc, self._path, self._offset)
            if found and not self._offset:
                self._see_header(found.pop(0))
                self._lines += 1
            following = found.pop() if found and found[-1].__class__ is Continued else None
            self._state.replay(found)
            self._lines += len(found)
            self._crc, self._offset = crc, behind
            if isinstance(following, Continued):
                return following.segment
        return 0

    def _see_header(self, header: object) -> None:
        """Refuse a segment of another ledger, or of another of its generations."""
        if not isinstance(header, Header):
            return  # refused when it was read
        if header.segment != self._segment:
            msg = f"{self._path} says that it is segment {header.segment}: files were mixed up. Nothing was changed"
            raise LedgerCorruptError(msg)
        if not header.ledger:  # by a version that knew no identity
            return
        if self._origin.ledger and header.origin != self._origin:
            what = "another ledger" if header.ledger != self._origin.ledger else "another generation of the ledger"
            msg = (
                f"{self._path} is of {what}: it was put in place of the one that was there. Nothing was changed; "
                f"restore the ledger's own"
            )
            raise LedgerCorruptError(msg)
        self._origin = header.origin

    def _known(self) -> Known | None:
        """How far the journal was read, or None if it was not yet."""
        return Known(self._origin, self._segment, self._offset, self._crc) if self._offset else None

    def _check_mark(self, host: HostLock) -> None:
        """Refuse a journal that ends before what was acknowledged, or tell of what a power cut has taken."""
        position, mark = (self._segment, self._offset), host.mark
        if position >= mark or not host.ledger:  # a version that knew no identity left marks that say less
            return
        told = ends_before(self._path, position, mark)
        if position < (mark if host.of_this_boot() else host.synced):
            rest = system.read_at(self._fd, max(0, os.fstat(self._fd).st_size - self._offset), self._offset)
            behind = f"; {len(rest)} bytes stand there that are no lines, {readable(rest)}" if rest else ""
            msg = (
                f"{told}{behind}: it was cut off or replaced by an older copy, and less would count as spent. "
                f"{how_to_repair(self.directory)}"
            )
            raise LedgerCorruptError(msg)
        logger.warning(
            "budgeted: %s: the machine was started anew since, and they were not on the disk. What they charged, or "
            "set as limits, is lost; fsync='always' keeps it through a power cut",
            told,
        )


def ends_before(path: Path, position: Position, mark: Position) -> str:
    """That a journal ends too early, in words."""
    (segment, offset), (last, end) = position, mark
    missing = f"{end - offset} bytes of lines" if segment == last else f"lines up to byte {end} of journal-{last:08d}"
    return f"{path} ends at byte {offset}, and {missing} that were acknowledged are missing"


def how_to_repair(directory: Path) -> str:
    """What to do about a ledger whose files are damaged, as errors say it."""
    return (
        f"Nothing was changed. Have a process that still has it open call BudgetManager.repair(), restore the files "
        f"from a backup, or keep what is left with `{repair_command(directory)}`"
    )
