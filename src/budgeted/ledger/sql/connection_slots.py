"""How many connections a process uses at once, and who gets the next one that is given back."""

from __future__ import annotations

import collections
import threading
import time


class ConnectionSlots:
    """So many connections, taken in the order of asking: who comes back at once does not get before those that wait."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: collections.deque[threading.Lock] = collections.deque()

    def take(self, deadline: float) -> None:
        """Wait for a connection, until ``deadline`` by ``time.monotonic()``.

        Raises:
            TimeoutError: there was none.
        """
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return
            # A lock for each that waits: giving a connection back wakes the first of them and no other.
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return
        except BaseException:  # such as that of a signal's handler
            if not self._leave(turn):
                self.give_back()
            raise
        if self._leave(turn):
            raise TimeoutError

    def _leave(self, turn: threading.Lock) -> bool:
        """Wait no longer; False if a connection was given this instant."""
        with self._lock:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def give_back(self) -> None:
        """Give a connection back: who has waited longest gets it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
