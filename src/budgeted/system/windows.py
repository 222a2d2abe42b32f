"""Windows. No process forks, and what somebody has open cannot be removed, replaced or renamed by others.

A lock is on a byte far behind what a file holds: bytes that are locked can be read by nobody else. The system gives it
back when its process ends: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-lockfile
"""

from __future__ import annotations

import _winapi
import contextlib
import ctypes
import errno
import mmap
import msvcrt
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from ctypes import wintypes
from pathlib import Path
from typing import Final
from urllib.parse import unquote

assert sys.platform == "win32"  # noqa: S101 - what type checkers go by

OPEN_FILES_ARE_REMOVED: Final = False
"""Whether a file that somebody has open can be removed and replaced."""

IGNORES_CASE: Final = True
"""Whether names that differ in capital letters alone are mostly those of one file."""

_PATIENCE: Final = 1.0
"""Seconds that are given to those who are through in a moment."""

_LOCKED: Final = (0, 1 << 8, 1, 0)
"""Where the byte is that stands for a file, and how many that are: 32 bits of each at a time. It is the 2**40th."""

_AT_END: Final = 0xFFFF_FFFF
"""As both halves of an offset: where the file ends."""

_ARROWS: Final = {
    "H": "\x1b[A",
    "P": "\x1b[B",
    "I": "\x1b[5~",
    "Q": "\x1b[6~",
    "G": "\x1b[H",
    "O": "\x1b[F",
}
"""What other systems send for keys that have two codes here, by the second."""

_LOCKED_BY_ANOTHER, _NOT_LOCKED = 33, 158
"""https://learn.microsoft.com/windows/win32/debug/system-error-codes"""


class _Overlapped(ctypes.Structure):
    """Where to write: https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-overlapped."""

    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )


# Not through Python's own functions, for the same reason as on the other systems: these keep the interpreter.
_kernel32 = ctypes.PyDLL("kernel32", use_last_error=True)
_lock_file, _unlock_file = _kernel32.LockFile, _kernel32.UnlockFile
_write_file, _get_file_size = _kernel32.WriteFile, _kernel32.GetFileSizeEx
_lock_file.argtypes = _unlock_file.argtypes = [wintypes.HANDLE, *[wintypes.DWORD] * 4]
_write_file.argtypes = [wintypes.HANDLE, ctypes.c_char_p, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p]
_get_file_size.argtypes = [wintypes.HANDLE, ctypes.c_void_p]


# -- locks: they vanish with their process, however that ends


def try_lock(fd: int) -> bool:
    """Take a file's lock, if nobody has it and nothing is wrong with it. Returns whether it was taken."""
    try:
        return bool(_lock_file(msvcrt.get_osfhandle(fd), *_LOCKED))
    except OSError:
        return False


def lock(fd: int) -> None:
    """Take a file's lock, if nobody has it.

    Raises:
        BlockingIOError: somebody has, which may be this process.
        OSError: the file cannot be locked.
    """
    if not _lock_file(msvcrt.get_osfhandle(fd), *_LOCKED):
        number = ctypes.get_last_error()
        if number == _LOCKED_BY_ANOTHER:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        raise ctypes.WinError(number)


def unlock(fd: int) -> None:
    """Give a file's lock back.

    Raises:
        OSError: the file is not open.
    """
    if not _unlock_file(msvcrt.get_osfhandle(fd), *_LOCKED):
        number = ctypes.get_last_error()
        if number not in (_NOT_LOCKED, _LOCKED_BY_ANOTHER):
            raise ctypes.WinError(number)


def make_locked(path: Path) -> int:
    """Make a file that nobody can remove for as long as this process lives, and return its number."""
    fd = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        # Who looks whether it is locked has the lock himself meanwhile.
        _tried(lambda: lock(fd), BlockingIOError)
    except BaseException:
        os.close(fd)
        raise
    return fd


def first_bytes(fd: int, path: Path, size: int) -> bytes:  # noqa: ARG001 - as below
    """What a locked file begins with. Empty if the disk does not say."""
    # Not by its own number, where threads would move each other's place.
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(size)
    return b""


# -- files


def open_file(path: Path, flags: int) -> int:
    """Open a file of ours, which is no link. Returns its number."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return os.open(path, flags | os.O_BINARY | os.O_NOINHERIT, 0o600)


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Read from an offset of a file, which one thread has to itself; less at its end."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)


def write_at(fd: int, data: bytes, offset: int) -> int:
    """Write at an offset of a file, which one thread has to itself. Returns how many bytes were written."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.write(fd, data)


def write(fd: int, data: bytes) -> int:
    """Write behind the end of a file. Returns how many bytes were written.

    Raises:
        OSError: none was.
    """
    written = wintypes.DWORD()
    where = _Overlapped(offset=_AT_END, offset_high=_AT_END)
    if not _write_file(msvcrt.get_osfhandle(fd), data, len(data), ctypes.byref(written), ctypes.byref(where)):
        raise ctypes.WinError(ctypes.get_last_error())
    return written.value


def replace(source: Path, target: Path) -> None:
    """Rename a file, in place of another one or not, in one step."""
    # Who reads the other one, or a virus scanner that reads what is new, is through in a moment.
    _tried(lambda: os.replace(source, target), PermissionError)  # noqa: PTH105 - of both kinds of paths


def move_if_new(source: Path, target: Path) -> None:
    """Rename a file in one step, unless something has that name.

    Raises:
        FileExistsError: it has; the source stays.
    """
    _tried(lambda: os.rename(source, target), PermissionError)  # noqa: PTH104 - which replaces nothing here


def _tried(action: Callable[[], object], passing: type[OSError]) -> None:
    """Do something, again and again while it fails so."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            action()
        except passing:
            if time.monotonic() > until:
                raise
            time.sleep(0.001)
        else:
            return


def remove(path: Path) -> None:
    """Remove a file, if it is there. One that somebody has open may stay, for whoever removes more later."""
    with contextlib.suppress(PermissionError):
        path.unlink(missing_ok=True)


def close_and_remove(fd: int, path: Path | None) -> None:
    """Close a file, and remove it by its path, if that is given. What the disk refuses is left."""
    with contextlib.suppress(OSError):
        os.close(fd)
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()


def is_at(fd: int, path: Path) -> bool:  # noqa: ARG001 - nobody can have put another one in its place
    """Whether an open file is still the one that others find by its path."""
    return os.path.lexists(path)


def status_reader() -> Callable[[int, int], bool]:
    """Make a function of a file and a size, which tells whether the file has that size."""
    found = ctypes.c_longlong()
    into = ctypes.byref(found)
    return lambda fd, size: bool(_get_file_size(msvcrt.get_osfhandle(fd), into)) and found.value == size


# -- what is on the disk


def sync(fd: int) -> None:
    """Have a file on the disk, as far as a power cut is to leave it."""
    os.fsync(fd)


sync_content = sync


def sync_directory(directory: Path) -> None:
    """Nothing: the file system's own journal keeps the names, in the order in which they were given."""


def sync_memory(memory: mmap.mmap, fd: int) -> None:
    """Have a file that is in memory on the disk."""
    memory.flush()  # which does not wait for the disk: https://docs.python.org/3/library/mmap.html#mmap.mmap.flush
    sync(fd)


# -- names


def path_of_url(path: str) -> str:
    """The path that a ``file:`` URL names, by its own: a drive stands behind a slash there."""
    path = unquote(path)
    return f"{path[1]}:{path[3:]}" if re.match(r"/[A-Za-z][:|]", path) else path


def has_drive(path: str) -> bool:
    """Whether a path begins with the letter of a drive, which looks like a URL's beginning."""
    return path[1:2] == ":" and path[0].isalpha()


def about_length(path: Path) -> str:
    """What a path's length may have to do with it, if something was not found or made there."""
    length = len(str(path))
    if length + _INSIDE <= _LONGEST_PATH:
        return ""
    return (
        f" (its path has {length} letters, and with those of its files Windows takes {_LONGEST_PATH}, unless it was "
        f"told to take long paths; name a shorter one)"
    )


_LONGEST_PATH: Final = 259
"""https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation"""

_INSIDE: Final = 20
"""Letters that the paths of a ledger's files are longer than its own."""


def who_may_write(path: Path) -> str:  # noqa: ARG001 - its mode does not tell
    """Nobody, as far as Python tells: who else may write is in a list that it does not read."""
    return ""


def others_may_read(fd: int) -> bool:  # noqa: ARG001 - as above
    """Whether anybody but its owner may read an open file: not in directories of his own, as Windows makes them."""
    return False


def command_line(words: Iterable[str]) -> str:
    """A command as it is typed."""
    from subprocess import list2cmdline

    return list2cmdline(words)


# -- processes


def is_process(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        handle = _winapi.OpenProcess(_winapi.SYNCHRONIZE, False, pid)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    try:
        return _winapi.WaitForSingleObject(handle, 0) == _winapi.WAIT_TIMEOUT
    finally:
        _winapi.CloseHandle(handle)


def is_in_foreground() -> bool:
    """Whether its terminal's keys are for this process: for all that share the terminal."""
    return True


def takes_lines(terminal: int) -> bool:  # noqa: ARG001 - the other system's are asked
    """Nobody knows: so that nothing is drawn upon."""
    return False


@contextlib.contextmanager
def keys_at_once(terminal: int) -> Iterator[None]:  # noqa: ARG001 - the other system's has to be told
    """Have a terminal give each key as it is pressed: one does."""
    yield


def pressed(terminal: int, seconds: float) -> str:  # noqa: ARG001 - there is only one
    """The keys that are pressed within a time, as terminals of other systems send them; "" if there is none."""
    until = time.monotonic() + seconds
    while not msvcrt.kbhit():
        if time.monotonic() > until:
            return ""
        time.sleep(0.02)
    key = msvcrt.getwch()
    if key == "\x03":
        raise KeyboardInterrupt
    return _ARROWS.get(msvcrt.getwch(), "") if key in {"\x00", "\xe0"} else key


def how_to_end(pid: int) -> str:
    """What to do about a process that hangs."""
    return f"end it (taskkill /F /PID {pid})"


def boot() -> str:
    """Nothing: no text tells that the machine was started again, whatever its clock was set to."""
    return ""


def largest_file() -> int | None:
    """None: no limit is set for a process."""
    return None


def allow_open_files(needed: int) -> int | None:  # noqa: ARG001 - there is nobody to ask
    """None: no limit is set for a process."""
    return None


def has_unread(fd: int) -> bool:
    """Whether something has come over a connection that nobody has read, be it only its end.

    Args:
        fd: of its socket.
    """
    return bool(select.select([fd], [], [], 0)[0])
