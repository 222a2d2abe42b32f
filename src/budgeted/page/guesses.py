"""How often somebody may guess a token."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

MOST = 10
"""Wrong tokens that one address may send in a minute."""

SECONDS = 60.0

ADDRESSES = 10_000
"""Addresses that are kept in mind."""


class Guesses:
    """Counts wrong tokens by address.

    Args:
        timer: seconds that only go forwards.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._by_address: OrderedDict[str, list[float]] = OrderedDict()

    def too_many(self, address: str) -> bool:
        """Whether an address has guessed too often of late."""
        with self._lock:
            since = self._timer() - SECONDS
            return len([at for at in self._by_address.get(address, ()) if at > since]) >= MOST

    def wrong(self, address: str) -> None:
        """One more was wrong."""
        with self._lock:
            since = self._timer() - SECONDS
            guesses = [at for at in self._by_address.pop(address, ()) if at > since]
            self._by_address[address] = [*guesses, self._timer()][-MOST:]
            if len(self._by_address) > ADDRESSES:
                self._by_address.popitem(last=False)
