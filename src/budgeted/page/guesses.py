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

    def may_guess(self, address: str) -> bool:
        """Whether an address may try another token, which is counted as a wrong one until :meth:`was_right`."""
        with self._lock:
            now = self._timer()
            guesses = [at for at in self._by_address.pop(address, ()) if at > now - SECONDS]
            may = len(guesses) < MOST
            self._by_address[address] = [*guesses, now] if may else guesses
            if len(self._by_address) > ADDRESSES:
                self._by_address.popitem(last=False)
            return may

    def was_right(self, address: str, *, forget: bool) -> None:
        """The last one was right.

        Args:
            address: of whom.
            forget: whether the wrong ones before it are forgotten. By a token that opens little they are not: whoever
                has one could go on guessing another.
        """
        with self._lock:
            guesses = self._by_address.pop(address, [])
            if not forget and guesses[:-1]:
                self._by_address[address] = guesses[:-1]
