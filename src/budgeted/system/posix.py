"""Linux and macOS. What every verb on a journal calls does not let other threads of this process run meanwhile.

Each of those calls returns at once: the file is in the machine's cache, and a lock is only tried. In Python's own
functions, threads that wait for the ledger take the interpreter over meanwhile, find the ledger busy, and hand it back:
that costs eight of them, with a processor idle, more than half of what they get done.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import select
import shlex
import stat
import sys
import termios
import tty
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

assert sys.platform != "win32"  # noqa: S101 - what type checkers go by

OPEN_FILES_ARE_REMOVED: Final = True
"""Whether a file that somebody has open can be removed and replaced. He goes on with what he has open."""

IGNORES_CASE: Final = sys.platform == "darwin"
"""Whether names that differ in capital letters alone are mostly those of one file."""

_libc = ctypes.PyDLL(None)
_flock, _write = _libc.flock, _libc.write
_TRY: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
_GIVE_BACK: Final = fcntl.LOCK_UN


# -- locks: they vanish with their process, however that ends


def try_lock(fd: int) -> bool:
    """Take a file's lock, if nobody else has it and nothing is wrong with it. Returns whether it was taken."""
    return not _flock(fd, _TRY)


def lock(fd: int) -> None:
    """Take a file's lock, if nobody else has it.

    Raises:
        BlockingIOError: somebody has.
        OSError: the file cannot be locked.
    """
    fcntl.flock(fd, _TRY)


def unlock(fd: int) -> None:
    """Give a file's lock back.

    Raises:
        OSError: the file is not open.
    """
    if _flock(fd, _GIVE_BACK):
        fcntl.flock(fd, fcntl.LOCK_UN)  # which says what is wrong


def make_locked(path: Path) -> int:
    """Make a file that nobody finds unlocked for as long as this process lives, and return its number."""
    # Locked before it has its name.
    unnamed = path.with_name(f".{path.name}")
    unnamed.unlink(missing_ok=True)  # left by an interruption
    fd = open_file(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    lock(fd)
    os.rename(unnamed, path)  # noqa: PTH104 - as `replace`
    return fd


def first_bytes(fd: int, path: Path, size: int) -> bytes:  # noqa: ARG001 - the other system reads it there
    """What a locked file begins with. Empty if the disk does not say."""
    with contextlib.suppress(OSError):
        return os.pread(fd, size, 0)
    return b""


# -- files


def open_file(path: Path, flags: int) -> int:
    """Open a file of ours, which is no link, and which nobody else may read if it is made. Returns its number."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Read from an offset of a file, without minding where it was read last; less at its end."""
    return os.pread(fd, size, offset)


def write_at(fd: int, data: bytes, offset: int) -> int:
    """Write at an offset of a file. Returns how many bytes were written."""
    return os.pwrite(fd, data, offset)


def write(fd: int, data: bytes) -> int:
    """Write to a file. Returns how many bytes were written.

    Raises:
        OSError: none was.
    """
    written: int = _write(fd, data, len(data))
    return written if written >= 0 else os.write(fd, data)  # which says what is wrong, or that it was nothing lasting


def replace(source: Path, target: Path) -> None:
    """Rename a file, in place of another one or not, in one step."""
    os.rename(source, target)  # noqa: PTH104 - one name for both kinds of paths


def move_if_new(source: Path, target: Path) -> None:
    """Rename a file in one step, unless something has that name.

    Raises:
        FileExistsError: it has; the source stays.
    """
    os.link(source, target)
    source.unlink()


def remove(path: Path) -> None:
    """Remove a file, if it is there. One that somebody has open may stay, for whoever removes more later."""
    path.unlink(missing_ok=True)


def close_and_remove(fd: int, path: Path | None) -> None:
    """Close a file, and remove it by its path, if that is given. What the disk refuses is left."""
    if path is not None:
        # While it is still locked: nobody finds it unlocked.
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        os.close(fd)


def is_at(fd: int, path: Path) -> bool:
    """Whether an open file is still the one that others find by its path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


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


# -- what is on the disk


def sync(fd: int) -> None:
    """Have a file on the disk, as far as a power cut is to leave it."""
    if sys.platform == "darwin":
        _sync_fully(fd)
    else:
        os.fsync(fd)


def sync_content(fd: int) -> None:
    """The same, but for its times and its like."""
    if sys.platform == "darwin":
        _sync_fully(fd)
    else:
        os.fdatasync(fd)


if sys.platform == "darwin":

    def _sync_fully(fd: int) -> None:
        # There, fsync leaves it in the disk's own cache:
        # https://developer.apple.com/library/archive/documentation/System/Conceptual/ManPages_iPhoneOS/man2/fsync.2.html
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        except OSError:  # a file system that does not know it
            os.fsync(fd)


def sync_directory(directory: Path) -> None:
    """Make new and renamed files of a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def sync_memory(memory: mmap.mmap, fd: int) -> None:
    """Have a file that is in memory on the disk."""
    memory.flush()
    if sys.platform == "darwin":
        sync(fd)


# -- names


def path_of_url(path: str) -> str:
    """The path that a ``file:`` URL names, by its own."""
    return unquote(path)


def has_drive(path: str) -> bool:  # noqa: ARG001 - there are none
    """Whether a path begins with the letter of a drive, which looks like a URL's beginning."""
    return False


def about_length(path: Path) -> str:  # noqa: ARG001 - the system says so itself
    """What a path's length may have to do with it, if something was not found or made there."""
    return ""


def who_may_write(path: Path) -> str:
    """Who besides its owner may remove or replace what is in a directory: ``"everybody"``, ``"its group"``, or nobody.

    Raises:
        OSError: it cannot be looked at.
    """
    mode = path.stat().st_mode
    if mode & stat.S_ISVTX or not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    return "everybody" if mode & stat.S_IWOTH else "its group"


def others_may_read(fd: int) -> bool:
    """Whether anybody but its owner may read an open file, or write to it."""
    return bool(os.fstat(fd).st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def command_line(words: Iterable[str]) -> str:
    """A command as it is typed."""
    return shlex.join(words)


# -- processes


def is_process(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0


def is_in_foreground() -> bool:
    """Whether this process's group is the one that its terminal's keys are for."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def takes_lines(terminal: int) -> bool:
    """Whether a terminal gives its programs whole lines, as none of them reads each key and draws where it likes.

    Args:
        terminal: a descriptor of it.
    """
    try:
        return bool(termios.tcgetattr(terminal)[3] & termios.ICANON)
    except (OSError, termios.error):
        return False


@contextlib.contextmanager
def keys_at_once(terminal: int) -> Iterator[None]:
    """Have a terminal give each key as it is pressed, and not show it; afterwards as it did before.

    Args:
        terminal: a descriptor of it.
    """
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)  # keeping what was pressed before
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def pressed(terminal: int, seconds: float) -> str:
    """The keys that are pressed within a time, as a terminal sends them; "" if there is none.

    Raises:
        EOFError: the terminal has gone.
    """
    if not select.select([terminal], [], [], seconds)[0]:
        return ""
    found = os.read(terminal, 1024)
    if not found:
        raise EOFError
    return found.decode(errors="replace")


def how_to_end(pid: int) -> str:
    """What to do about a process that hangs."""
    return f"continue or end it (kill -CONT {pid}, kill {pid})"


def boot() -> str:
    """A text that changes each time the machine starts; "" where it does not tell."""
    return _mac_boot_session() if sys.platform == "darwin" else _linux_boot()


def _linux_boot() -> str:
    try:
        # https://www.kernel.org/doc/html/latest/admin-guide/sysctl/kernel.html#random
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _mac_boot_session() -> str:
    size = ctypes.c_size_t(64)
    buffer = ctypes.create_string_buffer(64)
    failed = ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", buffer, ctypes.byref(size), None, 0)
    return "" if failed else buffer.value.decode("ascii")


def largest_file() -> int | None:
    """Bytes that a file of this process may have; None if the system sets it no limit of its own."""
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if most == resource.RLIM_INFINITY else most


def allow_open_files(needed: int) -> int | None:
    """Ask for that many open files. Returns how many this process may have; None for any number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return None if soft == resource.RLIM_INFINITY else soft


def has_unread(fd: int) -> bool:
    """Whether something has come over a connection that nobody has read, be it only its end.

    Args:
        fd: of its socket.
    """
    poll = select.poll()  # which takes any number of open files
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
