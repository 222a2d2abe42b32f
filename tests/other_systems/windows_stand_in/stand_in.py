"""Takes from a Python on Linux what one on Windows lacks, and has files behave as there.

Its folder is one for ``PYTHONPATH``: every process that is started with it, and each of its children, has no ``fcntl``,
forks, flags and signals, and has a ``kernel32`` whose locks are real ones between processes. A file that any process
has open cannot be removed, renamed or replaced. What it is not: paths with backslashes (:mod:`pathlib` is the system's
own), and timing.

What imports other things where it finds Windows is imported before: the modules named in ``STAND_IN_IMPORTS``.
"""

from __future__ import annotations

import asyncio.subprocess  # noqa: F401
import contextlib
import ctypes
import errno
import fcntl
import importlib
import multiprocessing.popen_spawn_posix  # noqa: F401 - it knows forks
import os
import selectors  # noqa: F401
import signal
import sqlite3  # noqa: F401
import ssl  # noqa: F401
import subprocess  # noqa: F401
import sys
import sysconfig
import tempfile  # noqa: F401
import time
import types
import zoneinfo  # noqa: F401
from typing import Any, cast

sysconfig.get_config_vars()

O_BINARY, O_NOINHERIT = 0x8000, 0x80
MISSING_MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog")
MISSING_OF_OS = (
    "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_TMPFILE O_SYNC O_DSYNC chown fchown fdatasync fork forkpty getegid geteuid "
    "getgid getgroups getpgid getsid getuid initgroups killpg lchown lockf mkfifo nice pread preadv pwrite pwritev "
    "register_at_fork sched_getaffinity setsid setuid statvfs sync uname"
).split()
MISSING_OF_SIGNAL = "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGCONT SIGTSTP SIGUSR1 SIGUSR2".split()
MISSING_OF_TIME = ("clock_gettime", "clock_gettime_ns", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME", "tzset")
LOCK_VIOLATION, NOT_LOCKED = 33, 158


# -- files


session = os.getsid


def is_open(path: Any) -> bool:
    """Whether any process of this session has a file open."""
    wanted = os.path.realpath(path)
    mine = session(0)
    for process in os.scandir("/proc"):
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if session(int(process.name)) != mine:
                    continue
                for fd in os.scandir(f"/proc/{process.name}/fd"):
                    with contextlib.suppress(OSError):
                        if os.readlink(fd.path) == wanted:
                            return True
    return False


def refusing(real: Any, *, both: bool = False, new: bool = False) -> Any:
    """A function of a path, or of two, that refuses those which are open, and a second one that is there."""

    def call(path: Any, *rest: Any, **more: Any) -> Any:
        if new and os.path.lexists(rest[0]):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(rest[0]))
        for one in (path, *(rest[:1] if both else ())):
            if not os.path.isdir(one) and is_open(one):
                raise PermissionError(errno.EACCES, "is used by another process", os.fspath(one))
        return real(path, *rest, **more)

    return call


real_open = os.open


def open_file(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
    """``os.open``; what the package opens is no text, whose newlines would be changed."""
    if sys._getframe(1).f_globals.get("__name__", "").startswith("budgeted.system"):
        assert flags & O_BINARY, path
        assert not os.path.isdir(path), "no directory can be opened"
    return real_open(path, flags & ~(O_BINARY | O_NOINHERIT), mode, **more)


# -- locks and writing, by the numbers of files

held: dict[int, tuple[int, int]] = {}
last_error = [0]


def has_locked(fd: int) -> bool:
    """Whether this process has locked an open file by this number."""
    found = os.fstat(fd)
    return held.get(fd) == (found.st_dev, found.st_ino)


def failed(number: int) -> int:
    """What a function returns that has failed."""
    last_error[0] = number
    return 0


real_flock, EXCLUSIVE, AT_ONCE, GIVEN_BACK = fcntl.flock, fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN


def lock_file(fd: int, low: int, high: int, count: int, more: int) -> int:
    """A lock, which the same number has only once."""
    assert (low, high, count, more) == (0, 256, 1, 0)
    if has_locked(fd):
        return failed(LOCK_VIOLATION)
    try:
        real_flock(fd, EXCLUSIVE | AT_ONCE)
    except BlockingIOError:
        return failed(LOCK_VIOLATION)
    found = os.fstat(fd)
    held[fd] = found.st_dev, found.st_ino
    return 1


def unlock_file(fd: int, *_: int) -> int:
    """Giving it back, which is an error for who has it not."""
    if not has_locked(fd):
        return failed(NOT_LOCKED)
    del held[fd]
    real_flock(fd, GIVEN_BACK)
    return 1


real_close = os.close


def close(fd: int) -> None:
    """``os.close``, which gives a lock back."""
    held.pop(fd, None)
    real_close(fd)


def write_file(fd: int, data: bytes, size: int, written: Any, where: Any) -> int:
    """Writing behind the end."""
    assert where._obj.offset & 0xFFFFFFFF == where._obj.offset_high & 0xFFFFFFFF == 0xFFFFFFFF
    os.lseek(fd, 0, os.SEEK_END)
    written._obj.value = os.write(fd, data[:size])
    return 1


def get_file_size(fd: int, into: Any) -> int:
    """How large a file is."""
    into._obj.value = os.fstat(fd).st_size
    return 1


def get_osfhandle(fd: int) -> int:
    """The number itself, of an open file."""
    os.fstat(fd)
    return fd


def library(name: str, **_: Any) -> Any:
    """What is loaded by its name."""
    assert name == "kernel32", name
    return types.SimpleNamespace(
        LockFile=lock_file, UnlockFile=unlock_file, WriteFile=write_file, GetFileSizeEx=get_file_size
    )


# -- processes


def open_process(access: int, inherit: bool, pid: int) -> int:
    """A handle of a process, which is its number."""
    if pid <= 0 or not os.path.exists(f"/proc/{pid}"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return pid


def wait_for_single_object(handle: int, milliseconds: int) -> int:
    """Whether a process goes on."""
    with contextlib.suppress(OSError), open(f"/proc/{handle}/stat", encoding="ascii") as file:
        if file.read().rpartition(")")[2].split()[0] not in "ZX":
            return 258
    return 0


real_kill = os.kill


def kill(pid: int, number: int) -> None:
    """``os.kill``, by which 0 asks nothing there: it is a Ctrl+C for others, or ends them."""
    assert number != 0, "os.kill(pid, 0) does not ask on Windows"
    real_kill(pid, number)


def take_away() -> None:
    """Take from this process what Windows lacks, and give it what that has instead."""
    for module in os.environ.get("STAND_IN_IMPORTS", "").split():
        importlib.import_module(module)
    for name in MISSING_MODULES:
        sys.modules[name] = cast("types.ModuleType", None)  # which importing refuses
    for lacking, names in ((os, MISSING_OF_OS), (signal, MISSING_OF_SIGNAL), (time, MISSING_OF_TIME)):
        for name in names:
            vars(lacking).pop(name, None)
    os.O_BINARY, os.O_NOINHERIT = O_BINARY, O_NOINHERIT  # type: ignore[attr-defined]
    os.open, os.close, os.kill = open_file, close, kill  # type: ignore[assignment]
    os.unlink, os.remove = refusing(os.unlink), refusing(os.remove)
    os.rename, os.replace = refusing(os.rename, both=True, new=True), refusing(os.replace, both=True)
    os.link = refusing(os.link, new=True)
    sys.modules["msvcrt"] = cast("types.ModuleType", types.SimpleNamespace(get_osfhandle=get_osfhandle))
    sys.modules["_winapi"] = cast(
        "types.ModuleType",
        types.SimpleNamespace(
            OpenProcess=open_process,
            WaitForSingleObject=wait_for_single_object,
            CloseHandle=lambda handle: None,
            SYNCHRONIZE=0x100000,
            WAIT_TIMEOUT=258,
        ),
    )
    ctypes.PyDLL = library  # type: ignore[assignment, misc]
    ctypes.get_last_error = lambda: last_error[0]  # type: ignore[attr-defined]
    ctypes.WinError = lambda number: OSError(errno.EIO, f"[WinError {number}]")  # type: ignore[attr-defined]
    sys.platform = "win32"
