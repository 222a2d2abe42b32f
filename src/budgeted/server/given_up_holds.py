"""Holds that their clients have given up before the server came to them."""

from __future__ import annotations

import threading

MOST_GIVEN_UP = 10_000
"""Ids that are kept in mind; beyond, those that were given up first are forgotten."""


class GivenUp:
    """The ids of holds that were released when nobody knew them.

    A client whose request has no answer asks again, and gives the hold back where it is refused then or never hears at
    all. The first request may come through after that, as when the server was busy for seconds: nobody would end that
    hold.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[str, None] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def add(self, id: str) -> None:
        """Its client has no use for it."""
        with self._lock:
            self._ids[id] = None
            if len(self._ids) > MOST_GIVEN_UP:
                del self._ids[next(iter(self._ids))]

    def discard(self, id: str) -> None:
        """The ledger knows it as one that has ended."""
        with self._lock:
            self._ids.pop(id, None)
