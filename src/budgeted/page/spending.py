"""What projects spent over time, for whoever looks: summed up beside the pages, kept for a moment, hours watched.

A sum over a million users takes seconds. Nobody waits for it: the one of before is shown, or that it is being made. It
is kept for longer the longer it took, so that summing up takes a twentieth of the time at most, however many look.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeAlias

from budgeted.errors import BudgetError
from budgeted.page.sources import PageSource
from budgeted.page.spend_by_hour import EVERY, HOURS, SpendByHour
from budgeted.page.spend_over_time import Period, SpendOverTime, heading_over_time, spend_by_days

logger = logging.getLogger("budgeted")

PATIENCE: Final = 0.2
"""Seconds that a page waits for a sum."""

FRESH: Final = 2.0
"""Seconds for which a sum is kept at least: a page asks for its numbers and its picture."""

SHARE: Final = 20
"""Of the time, summing up one thing takes one part in so many at most."""

MOST_KEPT: Final = 200
"""Sums that are kept, and projects and headings whose hours are watched; those not asked for longest are dropped."""

THREADS: Final = 2
"""How many sums are made at once."""

_Sum: TypeAlias = tuple[str, str, Period]
"""A project, what is told apart in it, and what one amount is of."""


class _Kept(NamedTuple):
    made: SpendOverTime
    until: float


class _Watched:
    """The hours of one project under one heading."""

    def __init__(self, by: str) -> None:
        self.hours = SpendByHour(by)
        self.asked_at, self.due = 0.0, float("-inf")


class Spending:
    """What projects spent over time. Thread-safe.

    Args:
        source: of the projects.
        timer: seconds that only go forwards.
    """

    def __init__(self, source: PageSource, timer: Callable[[], float] = time.monotonic) -> None:
        self._source, self._timer = source, timer
        self._threads = ThreadPoolExecutor(THREADS, "budgeted-spending")
        self._lock = threading.Lock()
        self._watched: OrderedDict[tuple[str, str], _Watched] = OrderedDict()
        self._kept: OrderedDict[_Sum, _Kept] = OrderedDict()
        self._being_made: dict[_Sum, Future[SpendOverTime]] = {}

    def of(self, project: str, by: str, period: Period) -> SpendOverTime | None:
        """What a project spent, as :func:`spend_by_days` tells it, or by the hours that were watched.

        Args:
            project: its name.
            by: what is told apart.
            period: of one amount.

        Returns:
            What was known a moment ago; None while it is summed up for the first time.

        Raises:
            ValueError: ``by`` is not known; the text quotes it.
            LedgerError: the ledger is away.
        """
        heading_over_time(by)
        key = project, by, period
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and self._timer() < kept.until:
            return kept.made
        try:
            return self._make_beside(key).result(PATIENCE)
        except TimeoutError:
            return None if kept is None else kept.made

    def watch(self, project: str, by: str = "model") -> None:
        """Have the hours of a project be known from now on, for as long as somebody asks within two days.

        Args:
            project: its name.
            by: what is told apart.
        """
        watched = self._watched_by(project, by)
        watched.asked_at = self._timer()
        if watched.due <= self._timer():
            self._make_beside((project, by, "hour"))

    def look_again(self) -> None:
        """Note what was spent since the last look, wherever somebody has looked at hours in the last two days."""
        now = self._timer()
        with self._lock:
            for key, watched in list(self._watched.items()):
                if now - watched.asked_at > HOURS * 3600:
                    del self._watched[key]
            due = [key for key, watched in self._watched.items() if watched.due <= now]
        for project, by in due:
            self._make_beside((project, by, "hour"))

    def _make_beside(self, key: _Sum) -> Future[SpendOverTime]:
        """A sum that is made in a thread of its own, once for all who want it."""
        with self._lock:
            being_made = self._being_made.get(key)
            if being_made is None:
                being_made = self._being_made[key] = self._threads.submit(self._make, key)
            return being_made

    def _make(self, key: _Sum) -> SpendOverTime:
        project, by, _ = key
        try:
            return self._kept_for_a_moment(key)
        except BudgetError as error:  # whoever waits for it is told; the next look tells what was missed
            logger.debug("budgeted: what %r spent by %s is not known for now: %s", project, by, error)
            raise
        finally:
            with self._lock:
                del self._being_made[key]

    def _kept_for_a_moment(self, key: _Sum) -> SpendOverTime:
        project, by, period = key
        began = self._timer()
        with self._source.books(project) as books:
            if period == "hour":
                made = self._watched_by(project, by).hours.look(books)
            else:
                made = spend_by_days(books, by, period)
        ended = self._timer()
        pause = SHARE * (ended - began)
        if period == "hour":  # a little less, so that one who looks every so many seconds comes in time
            self._watched_by(project, by).due = ended + max(0.9 * EVERY, pause)
        with self._lock:
            self._kept[key] = _Kept(made, ended + max(FRESH, pause))
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return made

    def _watched_by(self, project: str, by: str) -> _Watched:
        fresh = _Watched(by)
        with self._lock:
            watched = self._watched.setdefault((project, by), fresh)
            if watched is fresh:
                watched.asked_at = self._timer()
            self._watched.move_to_end((project, by))
            while len(self._watched) > MOST_KEPT:
                self._watched.popitem(last=False)
            return watched
