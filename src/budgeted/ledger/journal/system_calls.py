"""The system calls of every verb on a journal, made without letting other threads of this process run meanwhile.

Each of them returns at once: the file is in the machine's cache, and a lock is only tried. In Python's own functions,
threads that wait for the ledger take the interpreter over meanwhile, find the ledger busy, and hand it back: that costs
eight of them, with a processor idle, more than half of what they get done.
"""

from __future__ import annotations

import ctypes
import fcntl
import os

_libc = ctypes.PyDLL(None)
_flock, _write = _libc.flock, _libc.write
_TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


def try_lock(fd: int) -> bool:
    """Take a file's lock, if nobody else has it and nothing is wrong with it. Returns whether it was taken."""
    return not _flock(fd, _TRY)


def unlock(fd: int) -> None:
    """Give a file's lock back.

    Raises:
        OSError: the file is not open.
    """
    if _flock(fd, fcntl.LOCK_UN):
        fcntl.flock(fd, fcntl.LOCK_UN)  # which says what is wrong


def write(fd: int, data: bytes) -> int:
    """Write to a file. Returns how many bytes were written.

    Raises:
        OSError: none was.
    """
    written: int = _write(fd, data, len(data))
    return written if written >= 0 else os.write(fd, data)  # which says what is wrong, or that it was nothing lasting
