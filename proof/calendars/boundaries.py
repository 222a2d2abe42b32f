"""Where periods begin, laid out one after the other on the calendar, and looked up."""

from __future__ import annotations

import bisect
import calendar
import datetime as dt
from collections.abc import Iterator

from budgeted.limits.periods import Period
from proof.calendars.zone_table import DAY, EPOCH, ZoneTable

ELAPSED = {"second": 1, "minute": 60, "hour": 3600}
MONDAY = dt.datetime(1970, 1, 5)  # noqa: DTZ001 - a local time


def window(period: Period, anchor: dt.date | None, at: int, zone: ZoneTable) -> tuple[int, int]:
    """The period that an instant is in, as ``budgeted.limits.periods.window`` has it.

    Args:
        period: how long.
        anchor: from when it is counted; None for the calendar's own beginning.
        at: unix seconds.
        zone: whose clocks count.
    """
    if period.unit not in ELAPSED:
        return _around(at, [zone.instant(one) for one in _calendar(period, anchor, zone.local(at), zone)])
    step = period.count * ELAPSED[period.unit]
    if anchor is None and DAY % step == 0:
        midnight, following = window(Period(1, "day"), None, at, zone)
        return _around(at, [*range(midnight, following, step), following])
    begin = zone.epoch if anchor is None else _instant_of(anchor, zone)
    count = (at - begin) // step
    return begin + count * step, begin + (count + 1) * step


def _around(at: int, instants: list[int]) -> tuple[int, int]:
    following = bisect.bisect_right(instants, at)
    return instants[following - 1], instants[following]


def _instant_of(anchor: dt.date, zone: ZoneTable) -> int:
    if not isinstance(anchor, dt.datetime):
        anchor = dt.datetime.combine(anchor, dt.time())
    return zone.instant(anchor) if anchor.tzinfo is None else int(anchor.timestamp() // 1)


def _base(period: Period, anchor: dt.date | None, zone: ZoneTable) -> dt.datetime:
    if anchor is None:
        return MONDAY if period.unit == "week" else EPOCH
    if not isinstance(anchor, dt.datetime):
        return dt.datetime.combine(anchor, dt.time())
    if anchor.tzinfo is not None:
        return zone.local(int(anchor.timestamp() // 1))
    return anchor.replace(microsecond=0)


def _calendar(period: Period, anchor: dt.date | None, near: dt.datetime, zone: ZoneTable) -> Iterator[dt.datetime]:
    """Local beginnings of the periods around a local time, in order."""
    base = _base(period, anchor, zone)
    if period.unit in ("day", "week"):
        step = dt.timedelta(days=period.count * (7 if period.unit == "week" else 1))
        begin = base + step * ((near - base) // step - 3)
        yield from (begin + step * count for count in range(8))
        return
    months = period.count * (12 if period.unit == "year" else 1)
    past = (near.year - base.year) * 12 + near.month - base.month
    for count in range(past // months - 3, past // months + 5):
        year, month = divmod(base.year * 12 + base.month - 1 + count * months, 12)
        if 1 <= year <= 9998:
            last = calendar.monthrange(year, month + 1)[1]
            yield base.replace(year=year, month=month + 1, day=min(base.day, last))
