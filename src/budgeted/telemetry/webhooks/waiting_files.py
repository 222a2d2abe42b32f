"""Files of events that wait to be taken: a process that ends before they are leaves them to the next one.

There is a folder for each project and ledger, in ``.alerts`` below the user's state directory (or ``BUDGETED_HOME``).
Each process has a file of its own there, which it keeps locked for as long as it lives, and a file for each event that
waits. Whoever gets the lock of a process that is gone sends what that has left. No URL is in any of them.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from budgeted.ledger.spill_file import name_for
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.system import current as system
from budgeted.system.forks import at_fork

logger = logging.getLogger("budgeted")

FOLDER: Final = ".alerts"
"""Below the directory of ledgers. No project's folder is called so: theirs have no dot."""

_LOCK, _EVENT, _UNFINISHED = ".lock", ".json", ".new"


class Waiting(msgspec.Struct, frozen=True):
    """An event that waits to be taken.

    Args:
        id: by which a receiver knows it again.
        to: the id of its destination.
        at: unix seconds since when it waits.
        body: what is sent.
        owner: the process whose file it is in; "" for one in memory alone.
    """

    id: str
    to: str
    at: float
    body: str
    owner: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Waiting).decode


class WaitingFiles:
    """The files of one project and ledger.

    Args:
        root: the directory of ledgers.
        project: the namespace in the ledger.
        place: where the ledger is, without credentials.

    Attributes:
        folder: where they are; it is there once something has waited.
    """

    def __init__(self, root: Path, project: str, place: str) -> None:
        self.folder = root / FOLDER / name_for(project, place)
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._owner = ""
        # By whose they are, this process's and those taken over: the open file, and what it is kept open for.
        self._locks: dict[str, int] = {}
        self._waiting: dict[str, set[Path]] = {}
        # Reentrant: a signal's handler may make a call that alerts while this thread writes.
        self._changing = threading.RLock()

    def keep(self, waiting: Waiting) -> Waiting:
        """Write an event to a file. Returns it as it is found there.

        Raises:
            OSError: the disk refuses.
        """
        with self._changing:
            if self._owner and not system.is_at(self._locks[self._owner], self._lock_of(self._owner)):
                self._let_go(self._owner)  # somebody has removed the folder
            if not self._owner:
                self._begin_to_own()
            kept = msgspec.structs.replace(waiting, owner=self._owner)
            path = self._path(kept)
            unfinished = path.with_suffix(_UNFINISHED)
            # Not synced: who is killed loses nothing, and a power cut takes no more than the last seconds' events.
            fd = system.open_file(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(_encode(kept))
                system.replace(unfinished, path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            self._waiting[self._owner].add(path)
            return kept

    def drop(self, waiting: Waiting) -> None:
        """Remove the file of an event that needs none any more. What the disk refuses is left."""
        with self._changing, contextlib.suppress(OSError):
            path = self._path(waiting)
            path.unlink(missing_ok=True)
            paths = self._waiting.get(waiting.owner, set())
            paths.discard(path)
            if not paths:
                self._let_go(waiting.owner)

    def take_over(self, known: frozenset[str], since: float, most: int) -> Iterator[Waiting]:
        """The events that processes left which are gone, the oldest of each first. From now on this one sends them.

        Args:
            known: ids of the destinations that this process sends to; what goes elsewhere is left.
            since: unix seconds: what waits for longer is removed, wherever it goes.
            most: of so many events on, no further process's are taken.
        """
        with self._changing:
            try:
                # One that begins with a dot is being made.
                locks = [path for path in self.folder.iterdir() if path.suffix == _LOCK and path.name[0] != "."]
            except OSError:  # mostly as nothing has waited yet
                return
            for path in locks:
                if most > 0 and path.stem not in self._locks and self._lock(path):
                    found = self._left_by(path.stem, known, since)
                    most -= len(found)
                    yield from found

    def _left_by(self, owner: str, known: frozenset[str], since: float) -> list[Waiting]:
        found: list[Waiting] = []
        given_up = self._files_of(owner, _UNFINISHED)
        for path in self._files_of(owner, _EVENT):
            waiting = _read(path)
            if waiting is None or waiting.at < since or waiting.owner != owner or self._path(waiting) != path:
                given_up.append(path)
            elif waiting.to in known:
                found.append(waiting)
                self._waiting[owner].add(path)
        for path in given_up:
            with contextlib.suppress(OSError):
                path.unlink()
        if given_up:
            text = "budgeted: %d events that a process which is gone has left are too old or damaged, and not sent"
            logger.warning(text, len(given_up))
        if not found:
            self._let_go(owner)
        return sorted(found, key=lambda one: one.at)

    def _begin_to_own(self) -> None:
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.folder.is_symlink() or self.folder.parent.is_symlink():
            msg = "a link is not written to"
            raise OSError(msg)
        owner = secrets.token_hex(8)
        self._locks[owner] = system.make_locked(self._lock_of(owner))
        self._waiting[owner] = set()
        self._owner = owner

    def _lock(self, path: Path) -> bool:
        """Take the place of a process that is gone. False if it is not, or another one has taken it."""
        try:
            fd = system.open_file(path, os.O_RDWR)
        except OSError:
            return False
        try:
            system.lock(fd)
            # Who had the lock before may have removed the file.
            if system.is_at(fd, path):
                self._locks[path.stem] = fd
                self._waiting[path.stem] = set()
                return True
        except OSError:
            pass
        os.close(fd)
        return False

    def _let_go(self, owner: str) -> None:
        """Leave what is there of a process to others, and nothing where nothing is."""
        fd = self._locks.pop(owner, None)
        self._waiting.pop(owner, None)
        if owner == self._owner:
            self._owner = ""
        if fd is not None:
            empty = not self._files_of(owner, _EVENT)
            system.close_and_remove(fd, self._lock_of(owner) if empty else None)

    def _lock_of(self, owner: str) -> Path:
        return self.folder / f"{owner}{_LOCK}"

    def _files_of(self, owner: str, suffix: str) -> list[Path]:
        try:
            every = list(self.folder.iterdir())
        except OSError:
            return []
        return [path for path in every if path.name.startswith(f"{owner}.") and path.suffix == suffix]

    def _path(self, waiting: Waiting) -> Path:
        return self.folder / f"{waiting.owner}.{waiting.id}.{waiting.to}{_EVENT}"

    def leave(self) -> None:
        """Leave what waits to the next process, and nothing where nothing does."""
        with self._changing:
            for owner in list(self._locks):
                with contextlib.suppress(OSError):
                    self._let_go(owner)

    def forget(self) -> None:
        """Leave all of it to the parent, in a forked child: with its files open, it would keep their locks."""
        for fd in self._locks.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._begin()


def _read(path: Path) -> Waiting | None:
    """The event in a file; None if there is none that could be sent."""
    try:
        fd = system.open_file(path, os.O_RDONLY)
        with os.fdopen(fd, "rb") as file:
            return _decode(file.read(1 << 20))
    except (OSError, msgspec.MsgspecError):
        return None


_all: WeakRegistry[WaitingFiles] = WeakRegistry()


def _after_fork() -> None:
    for one in _all.alive():
        one.forget()


def _at_exit() -> None:
    for one in _all.alive():
        one.leave()


at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
