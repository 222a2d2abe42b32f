"""How often each request was made in a block: hashes of them, in this process's memory alone."""

from __future__ import annotations

MOST_REQUESTS = 10_000
"""Requests of one block that are kept in mind; the one that was made longest ago is forgotten first."""


class Watching:
    """How many blocks came to count requests: in most programs none, and then nothing is hashed."""

    count = 0


watching = Watching()


class RepeatedRequests:
    """The requests of one block, under ``caps_lock``.

    Args:
        limit: how often the same one may be made.
    """

    __slots__ = ("_made", "_open", "_told", "limit")

    def __init__(self, limit: int) -> None:
        watching.count += 1
        self.limit = limit
        self._made: dict[bytes, int] = {}
        self._open: dict[int, bytes] = {}
        self._told: dict[bytes, None] = {}

    def spent(self, request: bytes) -> bool:
        """Whether a request was made as often as it may be."""
        return self._made.get(request, 0) >= self.limit

    def add(self, call: int, request: bytes) -> None:
        """A call makes a request, until it is given back."""
        made = self._made.pop(request, 0)
        if len(self._made) >= MOST_REQUESTS:
            del self._made[next(iter(self._made))]
        self._made[request] = made + 1
        self._open[call] = request

    def settle(self, call: int) -> None:
        """A call's request has been answered, or may have been."""
        self._open.pop(call, None)

    def give_back(self, call: int) -> None:
        """A call's request was not sent, or cost nothing."""
        request = self._open.pop(call, None)
        if request is not None and request in self._made:
            self._made[request] -= 1

    def over(self, call: int) -> bytes | None:
        """The request of an open call, if it is made more often than it may be."""
        request = self._open.get(call)
        return request if request is not None and self._made.get(request, 0) > self.limit else None

    def is_news(self, request: bytes) -> bool:
        """Whether nobody was told yet that a request is made too often; now somebody is."""
        if request in self._told:
            return False
        if len(self._told) >= MOST_REQUESTS:
            del self._told[next(iter(self._told))]
        self._told[request] = None
        return True
