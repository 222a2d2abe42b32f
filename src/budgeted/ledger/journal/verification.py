"""Reading a ledger's files without changing them, to see whether they are whole and tell the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal.checked_lines import Continued, Header
from budgeted.ledger.journal.host_lock import HostLock
from budgeted.ledger.memory.content_of_state import content_of
from budgeted.ledger.memory.state import State
from budgeted.ledger.whole_content import Content

LOCK_SECONDS = 10.0


class Found(msgspec.Struct):
    """What the files of a ledger hold.

    Args:
        state: the balances that they amount to.
        lines: how many lines were read.
        files: how many files.
        problems: what is damaged or contradicts itself, a sentence each.
    """

    state: State
    lines: int
    files: int
    problems: list[str]

    def content(self) -> Content:
        """All of it."""
        return content_of(self.state)


def read_files(directory: Path, tell: Callable[[int], object] = lambda _: None) -> Found:
    """Read every file of a ledger, while processes may be using it.

    Every line of every segment is checked, and every snapshot against the one before it and the segment in between.

    Args:
        directory: the ledger's own directory.
        tell: told of the bytes that were read.

    Raises:
        LedgerError: it cannot be locked or read at all.
    """
    found = Found(State(), 0, 0, [])
    opened, snapshots = _open(directory)
    try:
        state: State | None = None
        for number, (fd, size) in sorted(opened.items()):
            path = segment_files.journal_path(directory, number)
            stated = _snapshot(directory, number, found) if number in snapshots else None
            if stated is not None and state is not None and _figures(stated) != _figures(state):
                found.problems.append(
                    f"{segment_files.snapshot_path(directory, number)} does not tell what the files before it do"
                )
            state = stated or state or (State() if number == 1 else None)
            if state is None:
                found.problems.append(f"{path} has no snapshot before it, and no segment")
                continue
            if not _replay(fd, size, path, state, found, last=number == max(opened)):
                break
            tell(size)
        found.state = state or State()
    finally:
        for fd, _ in opened.values():
            os.close(fd)
    return found


def _open(directory: Path) -> tuple[dict[int, tuple[int, int]], list[int]]:
    """Every segment's open file and size, and the snapshots, as they are at one instant."""
    try:
        lock = HostLock(directory / "lock")
        try:
            lock.acquire(LOCK_SECONDS)
            try:
                snapshots = segment_files.numbers(directory, "snapshot")
                opened: dict[int, tuple[int, int]] = {}
                for number in segment_files.numbers(directory, "journal"):
                    fd = os.open(segment_files.journal_path(directory, number), os.O_RDONLY | os.O_CLOEXEC)
                    opened[number] = fd, os.fstat(fd).st_size
                return opened, snapshots
            finally:
                lock.release()
        finally:
            lock.close()
    except OSError as error:
        msg = f"the ledger directory {directory} cannot be read: {error.strerror}"
        raise LedgerError(msg) from error


def _snapshot(directory: Path, number: int, found: Found) -> State | None:
    """The state that a snapshot tells, or None with a problem."""
    found.files += 1
    try:
        return snapshot_files.read_snapshot(directory, number)
    except (LedgerError, msgspec.DecodeError, OSError) as error:
        found.problems.append(str(error))
        return None


def _replay(fd: int, size: int, path: Path, state: State, found: Found, *, last: bool) -> bool:
    """Apply a segment's lines. Returns False where it is damaged: nothing behind that can be trusted to follow."""
    found.files += 1
    crc = offset = 0
    following: Continued | None = None
    try:
        for data in checked_lines.pieces(fd, 0, size):
            records, crc, offset = checked_lines.read(data, crc, path, offset)
            found.lines += len(records)
            for record in records:
                if isinstance(record, Continued):
                    following = record
                    state.prune()
                elif not isinstance(record, Header):
                    state.apply(record)
    except (LedgerError, OSError) as error:
        found.problems.append(str(error))
        return False
    if following is None and not last:
        found.problems.append(f"{path} ends at byte {offset} without leading to the file behind it")
    return True


def _figures(state: State) -> Content:
    """What a state knows, in one order however it came about."""
    content = content_of(state)
    content.sort()
    return content
