"""Reading a ledger's files without changing them, to see whether they are whole and tell the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal.checked_lines import Continued, Header
from budgeted.ledger.journal.following import ends_before
from budgeted.ledger.journal.host_lock import HostLock
from budgeted.ledger.journal.origin import Origin, Position
from budgeted.ledger.memory.content_of_state import content_of
from budgeted.ledger.memory.state import State
from budgeted.ledger.told_steps import Step, Tell, untold
from budgeted.ledger.whole_content import Content
from budgeted.system import current as system

LOCK_SECONDS = 10.0
"""How long the ledger's lock is waited for."""


class Found(msgspec.Struct):
    """What the files of a ledger hold.

    Args:
        state: the balances that they amount to.
        lines: how many lines were read.
        files: how many files.
        problems: what is damaged or contradicts itself, a sentence each.
    """

    state: State
    lines: int = 0
    files: int = 0
    problems: list[str] = []

    def content(self) -> Content:
        """All of it."""
        return content_of(self.state)


def read_files(directory: Path, step: Step = untold) -> Found:
    """Read every file of a ledger, while processes may be using it.

    Every line of every segment is checked, every snapshot against the one before it and the segment in between, and
    the end of the last segment against what the lock file says was acknowledged.

    Args:
        directory: the ledger's own directory.
        step: entered around reading them; told of bytes.

    Raises:
        LedgerError: it cannot be locked or read at all.
    """
    with contextlib.ExitStack() as stack:
        reading = _Reading(directory, stack)
        with step(f"checking {reading.size:,} bytes", reading.size) as tell:
            return reading.run(tell)


class _Reading:
    """What there was at one instant, under the lock; it is read without."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self.found = Found(State())
        self.segments: dict[int, tuple[int, int]] = {}
        """Every segment's open file and size."""
        self.origin = Origin()
        self.leads = True
        """Whether the segment that was read last says that the journal goes on in another."""
        self.end: Position = 0, 0
        self.ledger, self.generation, self.mark = "", 0, (0, 0)
        try:
            with self._locked() as lock:
                if lock is not None:
                    self.ledger, self.generation, self.mark = lock.ledger, lock.generation, lock.mark
                self.snapshots = segment_files.numbers(directory, "snapshot")
                for number in segment_files.in_use(directory):
                    path = segment_files.journal_path(directory, number)
                    fd = system.open_file(path, os.O_RDONLY)
                    stack.callback(os.close, fd)
                    self.segments[number] = fd, os.fstat(fd).st_size
        except OSError as error:
            msg = f"the ledger directory {directory} cannot be read: {error.strerror}"
            raise LedgerError(msg) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[HostLock | None]:
        """Around a look at the directory. Without a lock file, nobody can keep others out, and there is a problem."""
        try:
            lock = HostLock(self.directory / "lock", create=False)
        except FileNotFoundError:
            self.found.problems.append(f"{self.directory / 'lock'} is missing")
            yield None
            return
        try:
            lock.acquire(LOCK_SECONDS)
            try:
                yield lock
            finally:
                lock.release()
        finally:
            lock.close()

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(size for _, size in self.segments.values())

    def run(self, tell: Tell) -> Found:
        found, state = self.found, None
        for number, (fd, size) in self.segments.items():
            path = segment_files.journal_path(self.directory, number)
            before, led = self.origin, self.leads
            origin, stated = self._snapshot(number) if number in self.snapshots else (before, None)
            goes_on = state is not None and origin.generation == before.generation
            if stated is not None and state is not None and goes_on and _figures(stated) != _figures(state):
                snapshot = segment_files.snapshot_path(self.directory, number)
                found.problems.append(f"{snapshot} does not tell what the files before it do")
            state = stated or state or (State() if number == 1 else None)
            if state is None:
                found.problems.append(f"{path} has no snapshot before it, and no segment")
                break
            self.leads = False
            if not self._replay(fd, size, path, number, state, tell):
                break
            if goes_on and not led and self.origin.generation == before.generation:
                found.problems.append(f"{path} is not what the file before it leads to")
        else:
            self._compare_with_lock()
        found.state = state or found.state
        return found

    def _snapshot(self, number: int) -> tuple[Origin, State | None]:
        """Which ledger a snapshot is of, and the state that it tells, or None with a problem."""
        self.found.files += 1
        try:
            return snapshot_files.read_snapshot(self.directory, number)
        except FileNotFoundError:  # meanwhile a newer one has taken its place
            return self.origin, None
        except (LedgerError, msgspec.DecodeError, OSError) as error:
            self.found.problems.append(str(error))
            return self.origin, None

    def _replay(self, fd: int, size: int, path: Path, number: int, state: State, tell: Tell) -> bool:
        """Apply a segment's lines. Returns False where it is damaged: nothing behind that can be trusted to follow."""
        self.found.files += 1
        crc = offset = 0
        try:
            for data in checked_lines.pieces(fd, 0, size):
                records, crc, offset = checked_lines.read(data, crc, path, offset)
                self.found.lines += len(records)
                tell(len(data))
                for record in records:
                    if isinstance(record, Continued):
                        self.leads = True
                        state.prune()
                    elif isinstance(record, Header):
                        self.origin = record.origin
                    else:
                        state.apply(record)
        except (LedgerError, OSError) as error:
            self.found.problems.append(str(error))
            return False
        self.end = number, offset
        return True

    def _compare_with_lock(self) -> None:
        """See whether the last segment is the one that the lock file tells of, and as long."""
        if not self.ledger:  # by a version that knew no identity
            return
        lock = self.directory / "lock"
        if self.origin.ledger and (self.origin.ledger, self.origin.generation) != (self.ledger, self.generation):
            self.found.problems.append(f"{lock} tells of another ledger, or another generation of it, than the journal")
        elif self.end < self.mark:
            path = segment_files.journal_path(self.directory, self.end[0])
            self.found.problems.append(ends_before(path, self.end, self.mark))


def _figures(state: State) -> Content:
    """What a state knows, in one order however it came about."""
    content = content_of(state)
    content.sort()
    return content
