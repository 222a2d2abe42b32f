"""Sessions that somebody has ended before their time: who has copied a cookie of one comes in with it no more."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

MOST = 10_000
"""Sessions that are kept in mind; of more, those that ended first are forgotten."""


class EndedSessions:
    """What was ended in this process, until it would have ended by itself.

    Args:
        clock: unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: OrderedDict[str, int] = OrderedDict()

    def add(self, nonce: str, until: int) -> None:
        """Keep in mind that a session was ended.

        Args:
            nonce: what tells it from others.
            until: unix seconds at which it would have ended by itself.
        """
        now = self._clock()
        with self._lock:
            for old in [one for one, ends in self._until.items() if ends <= now]:
                del self._until[old]
            self._until[nonce] = until
            if len(self._until) > MOST:
                self._until.popitem(last=False)

    def __contains__(self, nonce: str) -> bool:
        return nonce in self._until
