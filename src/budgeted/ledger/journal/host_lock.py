"""One lock for all processes of a host, with a deadline that names who keeps it."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

from budgeted.errors import LedgerLockedError
from budgeted.ledger.backoff import pauses

_PID = struct.Struct("<q")
_SIZE = 64
MARK = slice(8, 24)
"""Where in ``HostLock.memory`` its holders leave each other 16 bytes."""

SIGNED = slice(0, 24)
"""The same behind the pid of the last holder."""


class HostLock:
    """An exclusive ``flock`` on a small file, which also carries a mark that the lock's holders leave each other.

    The mark is read far faster than a file's size is asked for. It is lost with the machine's memory, never trusted
    for more than "nothing has changed since I set this".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(self.fd).st_size < _SIZE:
                # Really written, not only truncated to size: touching a hole on a full disk kills the process.
                os.pwrite(self.fd, bytes(_SIZE), 0)
            self.memory = mmap.mmap(self.fd, _SIZE)
        except BaseException:
            os.close(self.fd)
            raise
        # Packed once: every verb writes it. A forked child opens a lock of its own.
        self._pid = _PID.pack(os.getpid())

    def acquire(self, timeout: float) -> None:
        """Take the lock within ``timeout`` seconds, or raise :class:`LedgerLockedError` with the holder's pid.

        A process that has it already keeps it.
        """
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.wait(timeout)
        self.sign()

    def sign(self) -> None:
        """Say who has the lock: whoever takes it does so, unless the last holder was the same process."""
        self.memory[:8] = self._pid

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def holder(self) -> int:
        """The pid of the process that took the lock last."""
        return int(_PID.unpack(self.memory[:8])[0])

    def replaced(self) -> bool:
        """Whether somebody removed the file, so that others lock another one."""
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(self.fd))
        except OSError:
            return True

    def close(self) -> None:
        """Close the file; a lock still held is given back, unless a forked relative has the file open too."""
        self.memory.close()
        with contextlib.suppress(OSError):
            os.close(self.fd)

    def wait(self, timeout: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Take the lock that somebody else has, or raise as :meth:`acquire`; the taker signs for itself.

        ``meanwhile`` is done before each further try.
        """
        # flock has no deadline of its own, and a stopped process would block us for ever.
        # Looking again sooner costs more than it brings: with eight processes at it, a quarter of what they get done.
        for _ in pauses(timeout, 0.0005, 0.002):
            meanwhile()
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        pid = self.holder()
        msg = (
            f"{self.path} is locked by process {pid} for more than {timeout:g} seconds; "
            f"if that process hangs or is stopped, continue or end it (kill -CONT {pid}, kill {pid})"
        )
        raise LedgerLockedError(msg)
