"""The system calls of every verb on a journal, made without letting other threads of this process run meanwhile.

Each of them returns at once: the file is in the machine's cache, and a lock is only tried. In Python's own functions,
threads that wait for the ledger take the interpreter over meanwhile, find the ledger busy, and hand it back: that costs
eight of them, with a processor idle, more than half of what they get done.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from collections.abc import Callable
from typing import Final

_libc = ctypes.PyDLL(None)
_flock, _write = _libc.flock, _libc.write
_TRY: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
_GIVE_BACK: Final = fcntl.LOCK_UN


def try_lock(fd: int) -> bool:
    """Take a file's lock, if nobody else has it and nothing is wrong with it. Returns whether it was taken."""
    return not _flock(fd, _TRY)


def unlock(fd: int) -> None:
    """Give a file's lock back.

    Raises:
        OSError: the file is not open.
    """
    if _flock(fd, _GIVE_BACK):
        fcntl.flock(fd, fcntl.LOCK_UN)  # which says what is wrong


def write(fd: int, data: bytes) -> int:
    """Write to a file. Returns how many bytes were written.

    Raises:
        OSError: none was.
    """
    written: int = _write(fd, data, len(data))
    return written if written >= 0 else os.write(fd, data)  # which says what is wrong, or that it was nothing lasting


def status_reader() -> Callable[[int, int], bool]:
    """Make a function of a file and a size, which tells whether the file has that size and still has a name.

    Each ledger makes its own, which only the thread that has its lock may call.
    """
    if _statx is None:
        return _unchanged
    statx = _statx
    buffer = ctypes.create_string_buffer(256)
    words = memoryview(buffer).cast("B").cast("q")
    links = memoryview(buffer).cast("B").cast("I")

    def unchanged(fd: int, size: int) -> bool:
        return not statx(fd, b"", _EMPTY_PATH, _WANTED, buffer) and words[5] == size and links[4] > 0

    return unchanged


def _unchanged(fd: int, size: int) -> bool:
    status = os.fstat(fd)
    return status.st_size == size and status.st_nlink > 0


# Not fstat: it asks for the times of the file as well, and Linux then has the next write note its own more exactly,
# which takes as long again (https://docs.kernel.org/filesystems/multigrain-ts.html). `struct statx` is the same on
# every machine: https://man7.org/linux/man-pages/man2/statx.2.html
_EMPTY_PATH = 0x1000
_WANTED = 0x4 | 0x200  # the number of links, 4 bytes at 16, and the size, 8 bytes at 40
_statx = getattr(_libc, "statx", None) if sys.platform == "linux" else None
