"""Which processes are alive: each keeps a lock on a file of its own for as long as it lives.

A lock vanishes with its process however that ends, and no process id is trusted, so that neither reused ids nor
containers with their own numbering are mistaken for one another. Who ends while calls of it are open leaves its file:
one that is missing was removed by somebody else, and says nothing of its process. For a process of another host, which
cannot lock a file here, somebody here vouches: its file is dated to when that ends.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from budgeted.system import current as system


class Owners:
    """The ``owners`` directory of a ledger."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._fd = -1
        self._path: Path | None = None
        self._missed: set[str] = set()

    def in_place(self) -> bool:
        """Whether others find the file that announces this process."""
        return self._path is not None and system.is_at(self._fd, self._path)

    def announce(self, owner: str) -> bool:
        """Have this process announced, as it was or anew. Returns whether its file had been removed meanwhile."""
        if self.in_place():
            return False
        before = self._path
        self.forget()
        self.register(owner)
        return before is not None

    def register(self, owner: str) -> None:
        """Announce this process, until it ends or :meth:`withdraw`."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        path = self.directory / owner
        # Nobody may find it unlocked and take its owner for dead.
        self._fd = system.make_locked(path)
        self._path = path

    def vouch(self, owner: str, until: float) -> None:
        """Count a process elsewhere as alive until then (unix seconds)."""
        path = self.directory / owner
        os.close(system.open_file(path, os.O_RDWR | os.O_CREAT))
        os.utime(path, (until, until))

    def withdraw(self, *, holds: bool) -> None:
        """Give the announcement up. With open holds its file stays, unlocked: they pass for a dead process's."""
        # With its name and unlocked, it passes for a dead process's, which is as good.
        self._let_go(None if holds else self._path)

    def forget(self) -> None:
        """Close the file without withdrawing, as a forked child does with its parent's."""
        self._let_go(None)

    def _let_go(self, path: Path | None) -> None:
        if self._fd >= 0:
            system.close_and_remove(self._fd, path)
        self._fd, self._path = -1, None

    def dead(self, owners: Iterable[str]) -> frozenset[str]:
        """Those of these owners whose process is gone. One whose file is missing is not: what it holds runs out."""
        return frozenset(owner for owner in owners if self._is_dead(owner))

    def missing(self, owners: Iterable[str]) -> frozenset[str]:
        """Those of these owners whose file was removed, as far as that was not told before."""
        found = frozenset(owner for owner in owners if owner not in self._missed and not self._stands(owner))
        self._missed |= found
        return found

    def _stands(self, owner: str) -> bool:
        return os.path.lexists(self.directory / owner)

    def bury(self, keep: Iterable[str]) -> None:
        """Remove the files of dead owners, except those in ``keep``."""
        keep = set(keep)
        with contextlib.suppress(OSError):
            for entry in list(self.directory.iterdir()):
                mine_or_new = entry == self._path or entry.name.startswith(".")
                if not mine_or_new and entry.name not in keep and self._is_dead(entry.name):
                    # It may be in somebody's hands, who looks as well, or is about to announce himself by it.
                    with contextlib.suppress(OSError):
                        entry.unlink()

    def _is_dead(self, owner: str) -> bool:
        try:
            fd = system.open_file(self.directory / owner, os.O_RDWR)
        except OSError:
            return False
        try:
            # Only who is gone can be relieved of it; what was taken here is given back as the file is closed.
            system.lock(fd)
        except BlockingIOError:
            return False
        else:
            return os.fstat(fd).st_mtime < time.time()
        finally:
            os.close(fd)
