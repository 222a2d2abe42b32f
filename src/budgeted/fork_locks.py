"""Locks that a thread takes before it forks, so that no child inherits one from a thread that it has not got.

Only what was taken is given back. A lock may be kept by a thread that is stopped, or by a greenlet that cannot run
while another one forks: it stays its own.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Protocol

SECONDS = 1.0
"""How long a lock is waited for. A thread that forks inside of it, in a signal's handler, would wait for itself."""


class Lock(Protocol):
    """What is asked of a lock."""

    def acquire(self, *, timeout: float) -> bool:
        """Take it."""

    def release(self) -> None:
        """Give it back."""


class ForkLocks:
    """The locks that were taken for a fork, by thread: several may fork at once."""

    def __init__(self) -> None:
        self._taken: dict[int, list[Lock]] = {}

    def take(self, lock: Lock, seconds: float = SECONDS) -> bool:
        """Take a lock, before the fork. Returns whether it was taken.

        Args:
            lock: which somebody else may keep.
            seconds: to wait for it.
        """
        taken = False
        with contextlib.suppress(Exception):  # such as gevent's, where nobody else could ever give it back
            taken = lock.acquire(timeout=seconds)
        if taken:
            self._taken.setdefault(threading.get_ident(), []).append(lock)
        return taken

    def give_back(self) -> None:
        """Release what this thread has taken, in the parent; in a child too, where it does not make new locks."""
        for lock in self._taken.pop(threading.get_ident(), ()):
            lock.release()

    def forget(self) -> None:
        """Leave what was taken to the parent, in a child that makes new locks."""
        self._taken.clear()
