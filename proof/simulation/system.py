"""What the journal's modules ask the system for, answered by a simulated machine.

:func:`installed` puts stand-ins of ``os``, ``fcntl``, ``mmap``, ``time`` and ``Path`` into them. What they begin to use
and is not simulated raises an ``AttributeError`` that says so.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl as real_fcntl
import io
import os as real_os
import posixpath
import stat as real_stat
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import pytest

from budgeted.ledger import background_worker
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory import fork_safety
from proof.simulation.disk import Directory, File
from proof.simulation.world import Killed, OpenFile, Process, World, release_lock

_world: World


class Simulated:
    """A stand-in for a module: it has what is simulated, and nothing else."""

    def __init__(self, name: str, **members: Any) -> None:
        self.__dict__.update(members, _name=name)

    def __getattr__(self, name: str) -> Any:
        msg = f"{self._name}.{name} is not simulated: add it to proof/simulation/system.py"
        raise AttributeError(msg)


# -- files


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "No such file or directory", path)


def _open(path: Any, flags: int, mode: int = 0o777) -> int:
    path = str(path)
    process = _world.call("open", path, (errno.EMFILE, errno.EIO))
    directory, name = _world.disk.parent(path)
    node = directory.entries.get(name) if name else directory
    if node is None:
        if not flags & real_os.O_CREAT:
            raise _missing(path)
        node = _world.disk.new_file()
        node.modified = _world.now
        directory.link(name, node)
    elif flags & real_os.O_CREAT and flags & real_os.O_EXCL:
        raise FileExistsError(errno.EEXIST, "File exists", path)
    elif isinstance(node, File) and flags & real_os.O_TRUNC:
        node.truncate(0)
    file = OpenFile(node, flags, path)
    process.files[file.fd] = file
    _world.after("open", path)
    return file.fd


def _file(process: Process, fd: int) -> OpenFile:
    try:
        return process.files[fd]
    except KeyError:
        raise OSError(errno.EBADF, "Bad file descriptor") from None


def _content(process: Process, fd: int) -> File:
    node = _file(process, fd).node
    assert isinstance(node, File)
    return node


def _close(fd: int) -> None:
    process = _world.current
    # A finaliser may close what a process that is dead had open: that was closed before.
    if process is not None and fd in process.files:
        release_lock(process.files.pop(fd))


def _pread(fd: int, count: int, offset: int) -> bytes:
    process = _world.call("read", "", (errno.EIO,))
    return bytes(_content(process, fd).cached[offset : offset + count])


def _read(fd: int, count: int) -> bytes:
    process = _world.call("read", "", (errno.EIO,))
    file = _file(process, fd)
    data = bytes(_content(process, fd).cached[file.position : file.position + count])
    file.position += len(data)
    return data


def _write(fd: int, data: Any) -> int:
    world, data = _world, bytes(data)
    here = world.current
    path = here.files[fd].path if here is not None and fd in here.files else ""
    process = world.call("write", path, (errno.ENOSPC, errno.EIO))
    file, node = _file(process, fd), _content(process, fd)
    offset = len(node.cached) if file.flags & real_os.O_APPEND else file.position
    if not process.spared:
        rng, faults = world.rng, world.faults
        if faults.strikes("torn write", rng):
            torn = data[: rng.randint(0, len(data))]
            world.tell("torn write", f"{process.pid} {len(torn)} of {len(data)} bytes, then kill -9, {path}")
            node.write(offset, torn)
            process.die()
            raise Killed
        if faults.strikes("short write", rng):
            data = data[: rng.randint(0, len(data) - 1)] if data else data
            world.tell("short write", f"{process.pid} {len(data)} bytes {path}")
        elif faults.strikes("misdirected write", rng) and offset:
            astray = rng.randrange(offset)
            world.tell("misdirected write", f"{process.pid} to {astray} instead of {offset} {path}")
            node.write(astray, data)
            return len(data)
        elif faults.strikes("lost write", rng):
            world.tell("lost write", f"{process.pid} at {offset} {path}")
            return len(data)
    node.write(offset, data)
    node.modified = world.now
    file.position = offset + len(data)
    world.after("write", path)
    return len(data)


def _pwrite(fd: int, data: bytes, offset: int) -> int:
    process = _world.call("write", "", (errno.ENOSPC,))
    _content(process, fd).write(offset, bytes(data))
    return len(data)


def _ftruncate(fd: int, size: int) -> None:
    process = _world.call("ftruncate", "", (errno.EIO,))
    _content(process, fd).truncate(size)
    _world.after("ftruncate")


def _truncate(path: Any, size: int) -> None:
    _world.call("ftruncate", str(path), (errno.EIO,))
    node = _world.disk.find(str(path))
    if not isinstance(node, File):
        raise _missing(str(path))
    node.truncate(size)


def _sync(fd: int) -> None:
    process = _world.call("fsync")
    file = _file(process, fd)
    if isinstance(file.node, File):
        if not process.spared and _world.faults.strikes("failed fsync", _world.rng):
            _world.tell("failed fsync", f"{process.pid} {file.path}")
            file.node.fail_to_sync()
        if file.errors < file.node.errors:
            # As Linux has it: https://www.kernel.org/doc/html/latest/filesystems/vfs.html#handling-errors-during-writeback
            file.errors = file.node.errors
            raise OSError(errno.EIO, "Input/output error", file.path)
    file.node.sync()
    _world.after("fsync", file.path)


def _status(node: File | Directory) -> SimpleNamespace:
    if isinstance(node, Directory):
        return SimpleNamespace(st_mode=real_stat.S_IFDIR | 0o700, st_dev=1, st_ino=id(node), st_nlink=2, st_size=0)
    return SimpleNamespace(
        st_mode=real_stat.S_IFREG | 0o600,
        st_dev=1,
        st_ino=node.number,
        st_nlink=node.links,
        st_size=len(node.cached),
        st_mtime=node.modified,
        st_uid=0,
    )


def _fstat(fd: int) -> SimpleNamespace:
    return _status(_file(_world.call("fstat"), fd).node)


def _stat(path: Any) -> SimpleNamespace:
    _world.call("stat", str(path))
    node = _world.disk.find(str(path))
    if node is None:
        raise _missing(str(path))
    return _status(node)


def _lexists(path: Any) -> bool:
    _world.call("stat", str(path))
    return _world.disk.find(str(path)) is not None


def _listdir(path: Any) -> list[str]:
    _world.call("listdir", str(path), (errno.EIO,))
    node = _world.disk.find(str(path))
    if not isinstance(node, Directory):
        raise _missing(str(path))
    return sorted(node.entries)


def _utime(path: Any, times: tuple[float, float]) -> None:
    _world.call("utime", str(path))
    node = _world.disk.find(str(path))
    if not isinstance(node, File):
        raise _missing(str(path))
    node.modified = times[1]


def _unlink(path: Any) -> None:
    path = str(path)
    _world.call("unlink", path, (errno.EIO,))
    directory, name = _world.disk.parent(path)
    if name not in directory.entries:
        raise _missing(path)
    directory.unlink(name)
    _world.after("unlink", path)


def _rename(source: Any, target: Any) -> None:
    source, target = str(source), str(target)
    _world.call("rename", source, (errno.EIO, errno.ENOSPC))
    directory, name = _world.disk.parent(source)
    other, new = _world.disk.parent(target)
    node = directory.entries.get(name)
    if node is None:
        raise _missing(source)
    assert other is directory, "a file is only renamed within its directory"
    directory.link(new, node, was=name)
    _world.after("rename", source)


def _mkdir(path: Any, mode: int = 0o777) -> None:
    path = str(path)
    _world.call("mkdir", path)
    directory, name = _world.disk.parent(path)
    if name in directory.entries:
        raise FileExistsError(errno.EEXIST, "File exists", path)
    directory.link(name, Directory())
    _world.after("mkdir", path)


def _flock(fd: int, operation: int) -> None:
    process = _world.call("flock")
    file = _file(process, fd)
    assert isinstance(file.node, File)
    if operation & real_fcntl.LOCK_UN:
        release_lock(file)
        _world.after("flock")
        return
    assert operation & real_fcntl.LOCK_NB, "nobody may wait in the kernel for ever"
    if file.node.locked_by not in (None, file):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    file.node.locked_by = file
    _world.after("flock")


def _kill(pid: int, signal: int) -> None:
    assert signal == 0, "nobody kills here"
    if not any(process.pid == pid and not process.dead for process in _world.processes):
        raise ProcessLookupError(errno.ESRCH, "No such process")


class Memory:
    """A file in memory, as ``mmap`` gives it."""

    def __init__(self, fd: int, size: int) -> None:
        self._process = _world.call("mmap", "", (errno.ENOMEM,))
        self._node = _content(self._process, fd)
        self._node.mapped = True
        self._size = size

    def __getitem__(self, key: Any) -> Any:
        found = self._node.cached[key]
        return bytes(found) if isinstance(key, slice) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._process.dead:
            raise Killed
        self._node.cached[key] = value

    def __len__(self) -> int:
        return self._size

    def flush(self) -> None:
        """Have it on the disk."""
        _world.call("msync")
        self._node.sync()

    def close(self) -> None:
        """Nothing: the file stays as it is."""


class SimulatedPath(PurePosixPath):
    """A path on the simulated disk."""

    def exists(self) -> bool:
        return _lexists(self)

    def is_dir(self) -> bool:
        return isinstance(_world.disk.find(str(self)), Directory)

    def is_file(self) -> bool:
        return isinstance(_world.disk.find(str(self)), File)

    def is_symlink(self) -> bool:
        return False

    def stat(self) -> SimpleNamespace:
        return _stat(self)

    lstat = stat

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:  # noqa: FBT002 - as in pathlib
        try:
            _mkdir(self, mode)
        except FileNotFoundError:
            if not parents:
                raise
            self.parent.mkdir(parents=True, exist_ok=True)
            self.mkdir(mode, exist_ok=exist_ok)
        except FileExistsError:
            if not exist_ok:
                raise

    def unlink(self, missing_ok: bool = False) -> None:  # noqa: FBT002 - as in pathlib
        try:
            _unlink(self)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rename(self, target: Any) -> Self:
        _rename(self, target)
        return type(self)(target)

    replace = rename

    def iterdir(self) -> Iterator[Self]:
        return (self / name for name in _listdir(self))

    def read_bytes(self) -> bytes:
        _world.call("read", str(self), (errno.EIO,))
        node = _world.disk.find(str(self))
        if not isinstance(node, File):
            raise _missing(str(self))
        return bytes(node.cached)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "r") -> io.BytesIO:
        assert mode == "rb", mode
        return io.BytesIO(self.read_bytes())


# -- other modules


def _try_lock(fd: int) -> bool:
    try:
        _flock(fd, real_fcntl.LOCK_EX | real_fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _status_reader() -> Callable[[int, int], bool]:
    def unchanged(fd: int, size: int) -> bool:
        try:
            found = _fstat(fd)
        except OSError:
            return False
        return bool(found.st_size == size and found.st_nlink > 0)

    return unchanged


def _pauses(seconds: float, first: float, longest: float) -> Iterator[bool]:
    deadline, pause = _world.now + seconds, first
    while (left := deadline - _world.now) > 0:
        _world.sleep(min(pause, left))
        yield True
        pause = min(1.5 * pause, longest)


def _token_hex(count: int) -> str:
    return _world.rng.getrandbits(8 * count).to_bytes(count, "big").hex()


def _later(job: Callable[[], None]) -> None:
    """Have something done by the current process, when it gets to it."""
    process = _world.current
    if process is not None:
        process.jobs.append(job)


_O = {name: value for name, value in vars(real_os).items() if name.startswith("O_")}

_os = Simulated(
    "os",
    **_O,
    PathLike=real_os.PathLike,
    close=_close,
    fdatasync=_sync,
    fspath=real_os.fspath,
    fstat=_fstat,
    fsync=_sync,
    ftruncate=_ftruncate,
    getpid=lambda: _world.call("getpid").pid,
    kill=_kill,
    listdir=_listdir,
    mkdir=_mkdir,
    open=_open,
    path=Simulated(
        "os.path",
        lexists=_lexists,
        exists=_lexists,
        samestat=real_os.path.samestat,
        abspath=posixpath.normpath,
        realpath=posixpath.normpath,
    ),
    pread=_pread,
    pwrite=_pwrite,
    read=_read,
    rename=_rename,
    replace=_rename,
    stat=_stat,
    strerror=real_os.strerror,
    truncate=_truncate,
    unlink=_unlink,
    utime=_utime,
    write=_write,
)

STANDINS: dict[str, Any] = {
    "_in_a_thread": _later,
    "Path": SimulatedPath,
    "boot": lambda: str(_world.boot),
    "boot_id": lambda: _world.boot.to_bytes(16, "big"),
    "fcntl": Simulated(
        "fcntl",
        flock=_flock,
        **{name: getattr(real_fcntl, name) for name in ("LOCK_EX", "LOCK_NB", "LOCK_SH", "LOCK_UN")},
    ),
    "mmap": Simulated("mmap", mmap=Memory),
    "os": _os,
    "pauses": _pauses,
    "secrets": Simulated("secrets", token_hex=_token_hex),
    "status_reader": _status_reader,
    "time": Simulated("time", time=lambda: _world.now, monotonic=lambda: _world.now),
    "try_lock": _try_lock,
    "unlock": lambda fd: _flock(fd, real_fcntl.LOCK_UN),
    "write": _write,
}
"""By the names that modules have them under."""


def _modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.startswith(("budgeted.ledger.journal.", "budgeted.system.")):
            yield module
    yield sys.modules["budgeted.ledger.memory.ledger"]


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Have the journal's modules run on the machine that :func:`on` names."""
    with pytest.MonkeyPatch.context() as patch:
        for module in _modules():
            for name, standin in STANDINS.items():
                if name in vars(module):
                    patch.setattr(module, name, standin)
        patch.setattr(background_worker, "enqueue", _later)
        patch.setattr(background_worker, "wanted", lambda _: None)
        patch.setattr(background_worker, "drain", drain)
        yield


def on(world: World) -> None:
    """Have the modules run on this machine from now on."""
    global _world  # noqa: PLW0603 - modules are what is simulated
    _world = world


def forget_ledgers() -> None:
    """Have no finaliser, and no exit, do anything for the ledgers of a machine that is over."""
    for ledger in fork_safety.ledgers.alive():
        if isinstance(ledger, JournalLedger):
            ledger.closed = True
            ledger._host = None
            ledger._fd = -1
            ledger._owners._fd = -1


def drain() -> None:
    """Do what the current process has put off."""
    process = _world.current
    while process is not None and process.jobs:
        process.jobs.pop(0)()
