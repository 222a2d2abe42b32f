"""Answers that take long, made beside the pages: nobody waits for one, but is shown that of before.

One is kept for longer the longer it took, so that making it takes a twentieth of the time at most, however many ask.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, NamedTuple, TypeVar

from budgeted.errors import BudgetError

logger = logging.getLogger("budgeted")

FRESH: Final = 2.0
"""Seconds for which an answer is kept at least: a page asks for its numbers and its picture."""

SHARE: Final = 20
"""Of the time, making one answer takes one part in so many at most."""

MOST_KEPT: Final = 200
"""Answers that are kept; those that were made longest ago are dropped."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Kept(NamedTuple, Generic[T]):
    made: T
    until: float


class KeptAnswers(Generic[K, T]):
    """Answers by what is asked. Thread-safe.

    Args:
        make: makes one; it is called in a thread, once for all who ask meanwhile.
        threads: where it is called.
        timer: seconds that only go forwards.
    """

    def __init__(self, make: Callable[[K], T], threads: ThreadPoolExecutor, timer: Callable[[], float]) -> None:
        self._make, self._threads, self._timer = make, threads, timer
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, _Kept[T]] = OrderedDict()
        self._being_made: dict[K, Future[T]] = {}

    def of(self, key: K, patience: float) -> T | None:
        """An answer: as it was a moment ago, or made anew if that takes no longer than somebody waits.

        Args:
            key: what is asked.
            patience: seconds that are waited.

        Returns:
            None while it is made for the first time.

        Raises:
            LedgerError: the ledger is away.
        """
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and self._timer() < kept.until:
            return kept.made
        try:
            return self.make_beside(key).result(patience)
        except TimeoutError:
            return None if kept is None else kept.made

    def make_beside(self, key: K) -> Future[T]:
        """Have an answer be made in a thread of its own, once for all who want it."""
        with self._lock:
            being_made = self._being_made.get(key)
            if being_made is None:
                being_made = self._being_made[key] = self._threads.submit(self._kept_for_a_moment, key)
            return being_made

    def _kept_for_a_moment(self, key: K) -> T:
        try:
            began = self._timer()
            made = self._make(key)
            ended = self._timer()
        except BaseException as error:
            if isinstance(error, BudgetError):  # whoever waits for it is told; the next look tells what was missed
                logger.debug("budgeted: %r is not known for now: %s", key, error)
            with self._lock:
                del self._being_made[key]
            raise
        with self._lock:
            # In one step: who finds the answer too old is not to be given it again as one that is being made.
            del self._being_made[key]
            self._kept[key] = _Kept(made, ended + max(FRESH, SHARE * (ended - began)))
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return made
