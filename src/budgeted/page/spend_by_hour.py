"""What was spent in each hour that somebody watched: the ledger's rows are of whole days, so they are looked at often.

Each look notes what was added to the rows since the one before, in the hour that it is now. What came while nobody
looked for longer, and the hour has changed, is of no hour that is known: it is told as such, and put into none.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budgeted.limits.periods import Period, local_time, window
from budgeted.manager.budget_manager import BudgetManager
from budgeted.page.spend_over_time import (
    NOTHING,
    SpendOverTime,
    Spent,
    heading_over_time,
    over_time,
    sums_by,
)

HOURS: Final = 48
"""Hours that are looked back on, the present one among them."""

EVERY: Final = 60.0
"""Seconds between two looks."""

LONGEST_GAP: Final = 3 * EVERY
"""Seconds between two looks from which on what came in between is put into no hour, where the hour has changed."""

MOST_NAMES: Final = 1_000
"""Names that are told apart: the dearest of a day. What others spend is known as theirs together."""

_HOUR: Final = Period(1, "hour")


class SpendByHour:
    """What one project spends per hour under one heading, from the first look on. Thread-safe.

    Args:
        by: the heading, as :func:`spend_over_time.heading_over_time` takes it.
    """

    def __init__(self, by: str) -> None:
        self._by, self._heading = by, heading_over_time(by)
        self._lock = threading.Lock()
        self._since = self._seen_at = 0.0
        self._seen: dict[dt.date, Spent] | None = None
        self._hours: dict[int, Spent] = {}
        self._unwatched: dict[int, int] = {}

    def look(self, books: BudgetManager) -> SpendOverTime:
        """Note what was spent since the last look; what is known by now of the last 48 hours.

        Args:
            books: of the project, always the same one.
        """
        with self._lock:
            zone, at = books.payer.timezone, books.payer.clock()
            yesterday = local_time(at, zone).date() - dt.timedelta(days=1)
            now = {day: _dearest(one) for day, one in sums_by(books, self._heading, yesterday, lambda day: day).items()}
            hour = _start(at, zone)
            if self._seen is None:
                self._since = at
            else:
                self._note(hour, at, zone, _difference(now, self._seen))
            self._seen, self._seen_at = now, at
            return self._known(hour, at, zone)

    def _note(self, hour: int, at: float, zone: dt.tzinfo, spent: Spent) -> None:
        if hour != _start(self._seen_at, zone) and at - self._seen_at > LONGEST_GAP:
            self._unwatched[hour] = self._unwatched.get(hour, 0) + spent.total
        else:
            self._hours[hour] = _dearest(_sum(self._hours.get(hour, NOTHING), spent))

    def _known(self, hour: int, at: float, zone: dt.tzinfo) -> SpendOverTime:
        starts = [hour]
        while len(starts) < HOURS:
            starts.append(_start(starts[-1] - 1, zone))
        starts.reverse()
        for kept in (self._hours, self._unwatched):
            for start in [one for one in kept if one < starts[0]]:
                del kept[start]
        times = [local_time(start, zone) for start in starts]
        now = local_time(at, zone)
        found = over_time(self._by, "hour", now, times, [self._hours.get(start, NOTHING) for start in starts])
        since = local_time(self._since, zone) if self._since > starts[0] else None
        return replace(found, since=since, unwatched=sum(self._unwatched.values()))


def _start(at: float, zone: dt.tzinfo) -> int:
    """When the hour began that it is at a time, in unix seconds."""
    return window(_HOUR, None, at, zone)[0]


def _dearest(spent: Spent) -> Spent:
    """The same, with no more names than are told apart."""
    if len(spent.named) <= MOST_NAMES:
        return spent
    names = sorted(spent.named, key=lambda name: (-spent.named[name], name))[:MOST_NAMES]
    return spent._replace(named={name: spent.named[name] for name in names})


def _difference(now: Mapping[dt.date, Spent], before: Mapping[dt.date, Spent]) -> Spent:
    """What was added to the sums of these days, and taken from them where a charge was corrected."""
    found = NOTHING
    for day, one in now.items():
        seen = before.get(day, NOTHING)
        # Of a name that comes up among others that are not told apart, nobody knows what it had spent before.
        all_known = len(seen.named) < MOST_NAMES
        known = {name: usd for name, usd in one.named.items() if all_known or name in seen.named}
        found = _sum(found, one._replace(named=known), _negated(seen, known))
    return found


def _negated(spent: Spent, known: Mapping[str, int]) -> Spent:
    named = {name: -usd for name, usd in spent.named.items() if name in known}
    return Spent(named, -spent.rest, -spent.total, -spent.shared)


def _sum(*several: Spent) -> Spent:
    named: dict[str, int] = {}
    for one in several:
        for name, usd in one.named.items():
            named[name] = named.get(name, 0) + usd
    rest, total = sum(one.rest for one in several), sum(one.total for one in several)
    return Spent(named, rest, total, sum(one.shared for one in several))
