"""Whether the clients of a server live: it speaks for them to the ledger, which cannot see them."""

from __future__ import annotations

import threading

from budgeted.ledger.interface import Ledger
from budgeted.system.clocks import boot_time

MOST_CLIENTS = 10_000
"""Clients that are kept in mind; beyond, those that were not heard of for longest are forgotten."""


class Clients:
    """The owners of holds that came over HTTP, and until when the ledger counts each as alive.

    A client that renews its lease is taken for dead when that has run out. One that never does, such as a program in
    another language that only holds and settles, is counted as alive for as long as its holds may last.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, bool]] = {}  # until when, and whether by its own word

    def renew(self, owner: str, seconds: float) -> None:
        """An owner says that it lives, for so many seconds more; 0: that it ends."""
        self._vouch(owner, seconds, said=True)

    def hold(self, owner: str) -> None:
        """An owner is about to hold something: see to it that the ledger does not take it for dead meanwhile."""
        # Without the lock: at worst, two requests of one owner both renew its lease.
        until, said = self._known.get(owner, (0.0, False))
        lasts = self._ledger.hold_timeout
        if until < boot_time() + (0 if said else lasts):
            self._vouch(owner, 2 * lasts, said=False)

    def any_alive(self) -> bool:
        """Whether a client that keeps a lease has one."""
        now = boot_time()
        return any(said and until >= now for until, said in list(self._known.values()))

    def _vouch(self, owner: str, seconds: float, *, said: bool) -> None:
        self._ledger.renew(owner, seconds)
        now = boot_time()
        with self._lock:
            # The last to be heard of stands last. One that is forgotten is vouched for anew with its next hold.
            self._known.pop(owner, None)
            self._known[owner] = now + seconds, said
            if len(self._known) > MOST_CLIENTS:
                del self._known[next(iter(self._known))]
