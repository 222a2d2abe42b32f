"""What projects spent over time, for whoever looks: sums are kept for a moment, and hours are watched meanwhile.

A sum over a million users takes a while. It is kept for longer the longer it took, so that looking takes a twentieth of
the time at most, however many look.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from budgeted.errors import BudgetError
from budgeted.manager.budget_manager import BudgetManager
from budgeted.page.sources import PageSource
from budgeted.page.spend_by_hour import EVERY, HOURS, SpendByHour
from budgeted.page.spend_over_time import Period, SpendOverTime, spend_by_days

logger = logging.getLogger("budgeted")

FRESH: Final = 2.0
"""Seconds for which a sum is kept at least: a page asks for its numbers and its picture."""

SHARE: Final = 20
"""Of the time, summing up takes one part in so many at most."""

MOST_KEPT: Final = 200
"""Sums that are kept, and projects and headings whose hours are watched; those not asked for longest are dropped."""


class _Kept(NamedTuple):
    made: SpendOverTime
    until: float


class _Watched:
    """The hours of one project under one heading."""

    def __init__(self, by: str) -> None:
        self.hours = SpendByHour(by)
        self.asked_at = 0.0
        self.due = float("-inf")


_Heading: TypeAlias = tuple[str, str]
"""A project, and what is told apart in it."""


class Spending:
    """What projects spent over time. Thread-safe.

    Args:
        timer: seconds that only go forwards.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._watched: OrderedDict[_Heading, _Watched] = OrderedDict()
        self._kept: OrderedDict[tuple[str, str, Period], _Kept] = OrderedDict()

    def of(self, books: BudgetManager, by: str, period: Period) -> SpendOverTime:
        """What a project spent, as :func:`spend_by_days` tells it, or by the hours that were watched.

        Args:
            books: the project's.
            by: what is told apart.
            period: of one amount.

        Raises:
            ValueError: ``by`` is not known; the text quotes it.
            LedgerError: the ledger is away.
        """
        key = books.project_name, by, period
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and self._timer() < kept.until:
            return kept.made
        began = self._timer()
        made = self._look(self._asked_for(books, by), books) if period == "hour" else spend_by_days(books, by, period)
        ended = self._timer()
        with self._lock:
            self._kept[key] = _Kept(made, ended + max(FRESH, SHARE * (ended - began)))
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return made

    def watch(self, books: BudgetManager, by: str = "model") -> None:
        """Have the hours of a project be known from now on, for as long as somebody asks within two days.

        Args:
            books: the project's.
            by: what is told apart.
        """
        watched = self._asked_for(books, by)
        if watched.due <= self._timer():
            self._look(watched, books)

    def look_again(self, source: PageSource) -> None:
        """Note what was spent since the last look, in all projects that somebody has looked at in the last two days.

        Args:
            source: of the projects.
        """
        with self._lock:
            for key, watched in list(self._watched.items()):
                if self._timer() - watched.asked_at > HOURS * 3600:
                    del self._watched[key]
            due = [(key, watched) for key, watched in self._watched.items() if watched.due <= self._timer()]
        for (project, by), watched in due:
            try:
                with source.books(project) as books:
                    self._look(watched, books)
            except BudgetError as error:  # what is missed is told by the next look
                logger.debug("budgeted: what %r spent by %s is not known for now: %s", project, by, error)

    def _asked_for(self, books: BudgetManager, by: str) -> _Watched:
        key, fresh = (books.project_name, by), _Watched(by)
        with self._lock:
            watched = self._watched.setdefault(key, fresh)
            self._watched.move_to_end(key)
            while len(self._watched) > MOST_KEPT:
                self._watched.popitem(last=False)
        watched.asked_at = self._timer()
        return watched

    def _look(self, watched: _Watched, books: BudgetManager) -> SpendOverTime:
        began = self._timer()
        found = watched.hours.look(books)
        ended = self._timer()
        # A little less, so that one who looks every so many seconds comes in time.
        watched.due = ended + max(0.9 * EVERY, SHARE * (ended - began))
        return found
