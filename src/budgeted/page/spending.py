"""What projects spent over time, and who spent most today: summed up beside the pages, and hours watched.

A sum over a million users takes seconds, for which nobody waits: see :mod:`budgeted.page.kept_answers`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

from budgeted.manager.project_status import Busiest, busiest_today
from budgeted.page.kept_answers import MOST_KEPT, SHARE, KeptAnswers
from budgeted.page.sources import PageSource
from budgeted.page.spend_by_hour import EVERY, HOURS, SpendByHour
from budgeted.page.spend_over_time import Period, SpendOverTime, heading_over_time, spend_by_days

PATIENCE: Final = 0.1
"""Seconds that a page waits for a sum."""

THREADS: Final = 2
"""How many sums are made at once."""

_Sum: TypeAlias = tuple[str, str, Period]
"""A project, what is told apart in it, and what one amount is of."""


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
        threads = ThreadPoolExecutor(THREADS, "budgeted-spending")
        self._sums = KeptAnswers(self._sum, threads, timer)
        self._busiest = KeptAnswers(self._find_busiest, threads, timer)
        self._lock = threading.Lock()
        self._watched: OrderedDict[tuple[str, str], _Watched] = OrderedDict()

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
        return self._sums.of((project, by, period), PATIENCE)

    def busiest(self, project: str) -> Busiest | None:
        """Who had spent most today, a moment ago.

        Args:
            project: its name.

        Returns:
            None while that is looked up for the first time.

        Raises:
            LedgerError: the ledger is away.
        """
        return self._busiest.of(project, PATIENCE)

    def watch(self, project: str, by: str = "model") -> None:
        """Have the hours of a project be known from now on, for as long as somebody asks within two days.

        Args:
            project: its name.
            by: what is told apart.
        """
        watched = self._watched_by(project, by)
        watched.asked_at = self._timer()
        if watched.due <= self._timer():
            self._sums.make_beside((project, by, "hour"))

    def look_again(self) -> None:
        """Note what was spent since the last look, wherever somebody has looked at hours in the last two days."""
        now = self._timer()
        with self._lock:
            for key, watched in list(self._watched.items()):
                if now - watched.asked_at > HOURS * 3600:
                    del self._watched[key]
            due = [key for key, watched in self._watched.items() if watched.due <= now]
        for project, by in due:
            self._sums.make_beside((project, by, "hour"))

    def _sum(self, key: _Sum) -> SpendOverTime:
        project, by, period = key
        with self._source.books(project) as books:
            if period != "hour":
                return spend_by_days(books, by, period)
            watched, began = self._watched_by(project, by), self._timer()
            made = watched.hours.look(books)
        ended = self._timer()
        # A little less, so that one who looks every so many seconds comes in time.
        watched.due = ended + max(0.9 * EVERY, SHARE * (ended - began))
        return made

    def _find_busiest(self, project: str) -> Busiest:
        with self._source.books(project) as books:
            return busiest_today(books)

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
