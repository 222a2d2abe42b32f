"""The file in which charges wait that a ledger could not take: a process that ends, however it ends, loses none.

There is one for each project and ledger, in ``.unposted`` below the user's state directory (or ``BUDGETED_HOME``). Any
number of processes append to it; one at a time takes up what it holds, and it is gone once all of it was taken.

Each line has a check of its own, as who dies while he writes must not spoil the lines of others: eight hex digits of
CRC-32, a blank, JSON. A line that fails its check is no charge that anybody can post: it is moved to a file beside this
one, and told.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from budgeted.ledger.journal.segment_files import write_new
from budgeted.ledger.spending_records import Used
from budgeted.system import current as system
from budgeted.system.forks import at_fork

FOLDER = ".unposted"
"""Below the directory of ledgers. No project's folder is called so: theirs have no dot."""

LOCK_SECONDS = 1.0
"""How long is waited for another process that appends."""

LONGEST_NAME = 40
"""Letters of a project's name that its file's name begins with."""


def name_for(project: str, place: str) -> str:
    """The name of what is kept of one project and ledger: one that people recognise, and no other project has."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", project)[:LONGEST_NAME]
    digest = hashlib.sha256(f"{project}\n{place}".encode()).hexdigest()[:16]
    return f"{readable}-{digest}"


class Unposted(msgspec.Struct, frozen=True, tag="charge"):
    """A charge that no ledger has taken, with all that it takes to find its route anew.

    Args:
        id: by which a ledger knows whether it has taken it.
        accounts: the ledger's names of who pays.
        provider: of the call.
        model: of the call.
        at: when the call began, in unix seconds.
        used: what is to be charged.
        reason: why nobody knows that for sure, or "".
        doubtful: whether a ledger may have taken it, and have forgotten that since.
    """

    id: str
    accounts: tuple[str, ...]
    provider: str
    model: str
    at: int
    used: Used
    reason: str = ""
    doubtful: bool = False


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """What was done with charges, by where their lines begin: a ledger has them, or is being given them."""

    taken: tuple[int, ...] = ()
    tried: tuple[int, ...] = ()


class Found(msgspec.Struct):
    """What a file holds.

    Args:
        waiting: charges, by where their lines begin.
        size: bytes that were read.
        damaged: lines that fail their check.
    """

    waiting: dict[int, Unposted]
    size: int = 0
    damaged: list[bytes] = []


_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Unposted | Progress] = msgspec.json.Decoder(Unposted | Progress)


class SpillFile:
    """The file of one project and ledger.

    Args:
        root: the directory of ledgers.
        project: the namespace in the ledger.
        place: where the ledger is, without credentials.

    Attributes:
        path: the file; it is there only while charges wait in it.
    """

    def __init__(self, root: Path, project: str, place: str) -> None:
        self._folder = root / FOLDER
        self.path = self._folder / name_for(project, place)
        self._taking = self._folder / f"{self.path.name}.lock"
        # Where nobody can replace a file that he has open, another one is locked for it.
        self._changing = self.path if system.OPEN_FILES_ARE_REMOVED else self._folder / f"{self.path.name}.changing"
        self.damaged = self._folder / f"{self.path.name}.damaged"

    def exists(self) -> bool:
        """Whether charges wait in it."""
        try:
            return self.path.lstat().st_size > 0
        except OSError:
            return False

    def append(self, lines: Sequence[Unposted | Progress]) -> None:
        """Add lines, and have them on the disk.

        Raises:
            OSError: the disk refuses, or another process keeps the file; then nothing was added.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._folder.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(self._folder))
        with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT) as fd:
            size = os.fstat(fd).st_size
            text = b"".join(map(_line, lines))
            if size and system.read_at(fd, 1, size - 1) != b"\n":  # whoever wrote the last line has died over it
                text = b"\n" + text
            try:
                _write(fd, text)
                if not size:
                    system.sync_directory(self._folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size)
                raise

    @contextlib.contextmanager
    def taken_up(self, seconds: float) -> Iterator[bool]:
        """Around posting what waits: one at a time, of all threads and processes.

        Args:
            seconds: to wait for another.

        Yields:
            Whether it is this one.
        """
        with _to_lock(self._taking, os.O_RDWR | os.O_CREAT) as fd:
            try:
                _lock(fd, time.monotonic() + seconds)
            except BlockingIOError:
                yield False
                return
            yield True

    def read(self) -> Found:
        """What waits in it.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with self._opened(os.O_RDWR) as fd:
                return _read(fd)
        except FileNotFoundError:
            return Found({})

    def finish(self, found: Found, left: Sequence[Unposted]) -> None:
        """Keep of what was read only these charges, and what was appended since; without any the file goes.

        Only for whom :meth:`taken_up` yields True.

        Raises:
            OSError: the disk refuses; then all is as it was.
        """
        with self._alone(os.O_RDWR) as locked:
            with self._own(locked, os.O_RDWR) as fd:
                appended = _all_of(fd, found.size)
            if found.damaged:
                self._set_aside(found.damaged)
            # Notes of how far it came are about where lines began before.
            later = [text for text in appended.split(b"\n") if not isinstance(_checked(text), Progress)]
            kept = b"".join([*map(_line, left), *(text + b"\n" for text in later if text)])
            if kept:
                new = self._folder / f"{self.path.name}.new"
                new.unlink(missing_ok=True)
                write_new(new, (kept,))
                system.replace(new, self.path)
            else:
                self.path.unlink()
            system.sync_directory(self._folder)

    def _set_aside(self, lines: Sequence[bytes]) -> None:
        with _to_lock(self.damaged, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as fd:
            _write(fd, b"".join(line + b"\n" for line in lines))

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        """The file, while no other process appends to it or replaces it."""
        with self._alone(flags) as locked, self._own(locked, flags) as fd:
            yield fd

    @contextlib.contextmanager
    def _alone(self, flags: int) -> Iterator[int]:
        """What is locked, while no other process appends to the file or replaces it."""
        until = time.monotonic() + LOCK_SECONDS
        if self._changing != self.path:
            flags |= os.O_CREAT
        while True:
            with _to_lock(self._changing, flags) as fd:
                _lock(fd, until)
                # Who had the lock before may have replaced or removed it.
                if system.is_at(fd, self._changing):
                    yield fd
                    return

    @contextlib.contextmanager
    def _own(self, locked: int, flags: int) -> Iterator[int]:
        """The file, by what is locked if that is the same."""
        if self._changing == self.path:
            yield locked
            return
        fd = system.open_file(self.path, flags)
        try:
            yield fd
        finally:
            os.close(fd)


@contextlib.contextmanager
def _to_lock(path: Path, flags: int) -> Iterator[int]:
    """An open file that may be locked meanwhile."""
    fd = system.open_file(path, flags)
    _open.add(fd)
    try:
        yield fd
    finally:
        # Not by closing it alone: a child that was forked meanwhile may have it open, too.
        with contextlib.suppress(OSError):
            system.unlock(fd)
        _open.discard(fd)
        os.close(fd)


_open: set[int] = set()


def _after_fork() -> None:
    """A child must not keep a lock for a parent that dies."""
    while _open:
        os.close(_open.pop())


at_fork(after_in_child=_after_fork)


def _lock(fd: int, until: float) -> None:
    while True:
        try:
            system.lock(fd)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.002)
        else:
            return


def _write(fd: int, text: bytes) -> None:
    """Write all of it, and have it on the disk."""
    if os.write(fd, text) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    system.sync(fd)


def _line(record: Unposted | Progress) -> bytes:
    payload = _encode(record)
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def _all_of(fd: int, offset: int) -> bytes:
    parts = []
    while data := system.read_at(fd, 1 << 20, offset):
        parts.append(data)
        offset += len(data)
    return b"".join(parts)


def _read(fd: int) -> Found:
    data = _all_of(fd, 0)
    found = Found({}, len(data))
    offset = 0
    for text in data.split(b"\n"):
        record = _checked(text)
        if isinstance(record, Unposted):
            found.waiting[offset] = record
        elif record is not None:
            for begin in record.taken:
                found.waiting.pop(begin, None)
            for begin in record.tried:
                if begin in found.waiting:
                    found.waiting[begin] = msgspec.structs.replace(found.waiting[begin], doubtful=True)
        elif text:
            found.damaged.append(text)
        offset += len(text) + 1
    return found


def _checked(text: bytes) -> Unposted | Progress | None:
    try:
        if int(text[:8], 16) == zlib.crc32(text[9:]):
            return _decoder.decode(text[9:])
    except (ValueError, msgspec.MsgspecError):
        pass
    return None
