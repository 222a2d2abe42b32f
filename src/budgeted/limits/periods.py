"""Calendar periods: what a day or 30 days mean in a time zone, and where the current one starts and ends.

Boundaries are computed on the local calendar and then converted to UTC, so a day may last 23 or 25 hours.
They depend on nothing but the period, its anchor, the time zone and the time: all processes agree on them.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
import zoneinfo
from calendar import monthrange
from dataclasses import dataclass
from typing import Final, Literal, cast

from budgeted.validation import shown

Unit = Literal["second", "minute", "hour", "day", "week", "month", "year"]
NEVER: Final = 2**62
"""The end of a period that does not end, in unix seconds."""

_SECONDS: Final = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 604_800,
    "month": 2_629_746,  # months and years: the Gregorian average
    "year": 31_556_952,
}
_LONGEST: Final = 1000 * _SECONDS["year"]
_DAY: Final = _SECONDS["day"]

# So many of a unit are one of the next. A week is no such step: 7 days do not start on Mondays.
_STEPS: Final = {"second": (60, "minute"), "minute": (60, "hour"), "hour": (24, "day"), "month": (12, "year")}

_NOT_ROLLING: Final = ("month", "year")

# Where counting starts without an anchor: local time, so that days start at midnight and weeks on Mondays.
_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001
_MONDAY: Final = dt.datetime(1970, 1, 5)  # noqa: DTZ001

_SPELLINGS: Final[tuple[tuple[int, Unit, str], ...]] = (
    (1, "second", "s sec secs second seconds"),
    (1, "minute", "m min mins minute minutes"),
    (1, "hour", "h hr hrs hour hours"),
    (1, "day", "d day days"),
    (1, "week", "w wk wks week weeks"),
    (1, "month", "mo mos mon month months"),
    (3, "month", "quarter quarters"),
    (1, "year", "y yr yrs year years"),
)
_NAMES: Final = {name: (count, unit) for count, unit, names in _SPELLINGS for name in names.split()}
_ADVERBS: Final[dict[str, tuple[int, Unit]]] = {
    "hourly": (1, "hour"),
    "daily": (1, "day"),
    "weekly": (1, "week"),
    "monthly": (1, "month"),
    "quarterly": (3, "month"),
    "yearly": (1, "year"),
    "annually": (1, "year"),
}
WORDS: Final = (*(name for name in _NAMES if len(name) > 2), *_ADVERBS)
"""What periods are called, for whoever suggests a spelling."""

_PERIOD: Final = re.compile(
    r"""\s*+ (?: (?:/|(?:per|an?|each|every)\b) \s*+ )? (?P<rolling>(?:rolling|sliding)(?:\s++|-))?
    (?P<count>\d{1,15})? \s*+ (?:(?<=\d)-)? (?P<of>(?<!\w)(?:rolling|sliding)\s++)? (?P<name>[a-z]+)
    (?: \s++ (?:window|period) )? (?P<rolls>\s++(?:rolling|sliding))? \s*+""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time on the calendar, such as a day or 30 days.

    What makes up a larger unit becomes that unit: 24 hours are a day, and so follow the calendar, and 12 months
    are a year. ``str`` gives ``"day"`` or ``"30 days"``. One that rolls is elapsed time that ends now:
    ``"rolling day"`` is the last 24 hours, whenever it is looked at, and seven such days are a rolling week.

    Args:
        count: how many units, at least 1.
        unit: ``"second"``, ``"minute"``, ``"hour"``, ``"day"``, ``"week"``, ``"month"`` or ``"year"``.
        rolling: whether it ends now, and not where the calendar has it.

    Raises:
        TypeError: the count is not an int.
        ValueError: the count is below 1, the unit is unknown, the period is longer than 1000 years, or it is one of
            months or years that is to roll.
    """

    count: int
    unit: Unit
    rolling: bool = False

    def __post_init__(self) -> None:
        if type(self.count) is not int:
            raise TypeError(f"a period's count must be an int, got {shown(self.count)}")
        if self.unit not in _SECONDS:
            raise ValueError(f"a period's unit must be one of {', '.join(_SECONDS)}, got {shown(self.unit)}")
        if self.count < 1:
            raise ValueError(f"a period lasts at least 1 {self.unit}, got {shown(self.count)}")
        if self.count * _SECONDS[self.unit] > _LONGEST:
            raise ValueError(f"a period lasts at most 1000 years: a limit that never resets has none, got {self}")
        count, unit = self.count, cast("str", self.unit)
        while unit in _STEPS and count % _STEPS[unit][0] == 0:
            size, unit = _STEPS[unit]
            count //= size
        if self.rolling and unit in _NOT_ROLLING:
            days = 365 * count if unit == "year" else 30 * count
            raise ValueError(f'months and years do not roll, as they differ in length: write "rolling {days} days"')
        if self.rolling and unit == "day" and count % 7 == 0:
            count, unit = count // 7, "week"
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "unit", unit)

    def __str__(self) -> str:
        length: str = self.unit if self.count == 1 else f"{self.count} {self.unit}s"
        return f"rolling {length}" if self.rolling else length

    @property
    def seconds(self) -> int:
        """How long it is, in seconds; on the average, where the calendar has it be now longer and now shorter."""
        return self.count * _SECONDS[self.unit]


def parse_period(text: str | Period) -> Period:
    """Read a period: ``"day"``, ``"daily"``, ``"30 days"``, ``"30d"``, ``"24h"``, ``"1mo"``, ``"a week"``, ...

    Args:
        text: the period, in upper or lower case. ``"30m"`` is minutes, as LiteLLM has it; ``"m"`` alone is
            refused. ``"rolling 24 hours"`` and ``"24h rolling"`` are the last 24 hours.

    Raises:
        TypeError: ``text`` is not a str.
        ValueError: it is no period; the error lists what is.

    Example:
        >>> parse_period("daily"), str(parse_period("30d"))
        (Period(count=1, unit='day'), '30 days')
    """
    if isinstance(text, Period):
        return text
    if not isinstance(text, str):
        raise TypeError(f'a period must be a str such as "daily" or "30 days", got {shown(text)}')
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise _no_period(text)
    count, name = found["count"], found["name"].lower()
    named = _NAMES.get(name) or (_ADVERBS.get(name) if count is None else None)
    if named is None or (name == "m" and count is None):
        raise _no_period(text)
    return Period(int(count or 1) * named[0], named[1], rolling=bool(found["rolling"] or found["of"] or found["rolls"]))


def zone(name: str | dt.tzinfo) -> dt.tzinfo:
    """Look up a time zone by its IANA name, such as ``"Europe/Berlin"``; a ``tzinfo`` is taken as it is.

    Raises:
        TypeError: ``name`` is neither a str nor a ``tzinfo``.
        ValueError: there is no such zone, or no time zone database to find it in.
    """
    if isinstance(name, dt.tzinfo):
        # Only pytz's zones have this attribute. Used as any other tzinfo, they are wrong; zoneinfo knows them too.
        pytz_name = getattr(name, "zone", None)
        return zone(pytz_name) if isinstance(pytz_name, str) else name
    if not isinstance(name, str):
        raise TypeError(f'a time zone must be a name such as "Europe/Berlin" or a tzinfo, got {shown(name)}')
    if name.upper() == "UTC":
        return dt.UTC  # known without a database
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones
        close = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1)
        meant = f"did you mean {close[0]!r}?" if close else 'write a name such as "Europe/Berlin" or "UTC".'
        raise ValueError(
            f"no time zone {shown(name)}: {meant} On a machine without a time zone database: pip install tzdata"
        ) from None


def local_time(at: float, tz: dt.tzinfo) -> dt.datetime:
    """A time by the clocks of a time zone.

    Args:
        at: in unix seconds, as long ago or as far ahead as a ``datetime`` can be.
        tz: the zone.

    Raises:
        OverflowError: no ``datetime`` can be that.
    """
    try:
        return dt.datetime.fromtimestamp(at, tz)
    except OSError:  # on Windows, before 1970 and after the year 3000
        return (_UNIX_EPOCH + dt.timedelta(seconds=at)).astimezone(tz)


_UNIX_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def window(period: Period | None, anchor: dt.date | None, at: float, tz: dt.tzinfo) -> tuple[int, int]:
    """Return the start and the end of the period that ``at`` is in, as unix seconds: ``start <= at < end``.

    Consecutive windows leave no gap and do not overlap. Without an anchor, periods are counted from 1970-01-01
    local time, weeks from a Monday, so that days, months and years start where the calendar's do. Seconds, minutes
    and hours that divide a day are counted from each local day's start, and cut off at its end.

    With an anchor, days and longer are counted on the local calendar from its local time, forwards and backwards:
    a month from the 31st starts on the last day of shorter months. Hours and shorter are elapsed time.

    A local time that the clock skips is taken as far after the jump as it would have been from it; of one that
    the clock shows twice, the first is meant.

    Args:
        period: None, or one that rolls, means one window that never ends: ``(0, NEVER)``.
        anchor: an aware datetime, or a naive one or a date that is local to ``tz``, or None.
        at: unix seconds.
        tz: the time zone whose calendar counts.
    """
    if period is None or period.rolling:
        return 0, NEVER
    at = math.floor(at)
    if anchor is not None:
        return _window_at(period, anchor, at, tz)
    # Windows do not overlap, so one that the time is in is the one; and most users have limits of the same periods.
    found = _latest.get((period, tz))
    if found is None or not found[0] <= at < found[1]:
        if len(_latest) >= _MOST_LATEST:
            _latest.clear()
        found = _latest[period, tz] = _window_at(period, None, at, tz)
    return found


_MOST_LATEST: Final = 1_000
_latest: dict[tuple[Period, dt.tzinfo], tuple[int, int]] = {}
"""The last window of a period in a zone that was asked for."""


def _window_at(period: Period, anchor: dt.date | None, at: int, tz: dt.tzinfo) -> tuple[int, int]:
    if period.unit in ("hour", "minute", "second"):
        return _elapsed_window(period.count * _SECONDS[period.unit], anchor, at, tz)
    return _calendar_window(period, anchor, at, tz)


def _elapsed_window(step: int, anchor: dt.date | None, at: int, tz: dt.tzinfo) -> tuple[int, int]:
    if anchor is None and _DAY % step == 0:
        midnight, next_midnight = _calendar_window(Period(1, "day"), None, at, tz)
        start = at - (at - midnight) % step
        return start, min(start + step, next_midnight)
    start = at - (at - _instant(_EPOCH if anchor is None else anchor, tz)) % step
    return start, start + step


def _calendar_window(period: Period, anchor: dt.date | None, at: int, tz: dt.tzinfo) -> tuple[int, int]:
    base = _base(period, anchor, tz)
    index = _index(period, base, local_time(at, tz))
    start, end = (_instant(_nth(period, base, index + i), tz) for i in (0, 1))
    # The index is that of the local date. It is one too high before the hour of the day at which the period
    # starts, and may be off where the clock was changed across a boundary.
    while at >= end:
        index += 1
        start, end = end, _instant(_nth(period, base, index + 1), tz)
    while at < start:
        index -= 1
        start, end = _instant(_nth(period, base, index), tz), start
    return start, end


def _base(period: Period, anchor: dt.date | None, tz: dt.tzinfo) -> dt.datetime:
    """Return the local time, without its zone, from which periods are counted."""
    if anchor is None:
        return _MONDAY if period.unit == "week" else _EPOCH
    if not isinstance(anchor, dt.datetime):
        return dt.datetime(anchor.year, anchor.month, anchor.day)  # noqa: DTZ001
    local = anchor if anchor.tzinfo is None else anchor.astimezone(tz)
    return local.replace(tzinfo=None, microsecond=0, fold=0)


def _index(period: Period, base: dt.datetime, local: dt.datetime) -> int:
    """Return the number of the period that starts last before the end of the day ``local``."""
    if period.unit in ("day", "week"):
        days = local.toordinal() - base.toordinal()
        return days // (period.count * (7 if period.unit == "week" else 1))
    months = (local.year - base.year) * 12 + local.month - base.month
    return months // (period.count * (12 if period.unit == "year" else 1))


def _nth(period: Period, base: dt.datetime, index: int) -> dt.datetime:
    """Return the local start of the ``index``-th period after ``base``."""
    count = index * period.count
    if period.unit in ("day", "week"):
        return base + dt.timedelta(days=count * (7 if period.unit == "week" else 1))
    months = base.year * 12 + base.month - 1 + count * (12 if period.unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    # Counted from the base every time, so that the 31st comes back after a short month.
    return base.replace(year=year, month=month, day=min(base.day, monthrange(year, month)[1]))


def _instant(local: dt.date, tz: dt.tzinfo) -> int:
    """Return the unix seconds of a local time; an aware datetime keeps its own zone."""
    if not isinstance(local, dt.datetime):
        local = dt.datetime(local.year, local.month, local.day)  # noqa: DTZ001
    return math.floor((local if local.tzinfo else local.replace(tzinfo=tz)).timestamp())


def _no_period(text: str) -> ValueError:
    if text.strip(" /").lower() in ("rolling", "sliding"):
        return ValueError(f'no period {shown(text)}: say how long it is, as in "rolling 24 hours"')
    close = difflib.get_close_matches(text.strip().lower(), WORDS, n=1)
    meant = f"did you mean {close[0]!r}? Else " if close else ""
    return ValueError(
        f"no period {shown(text)}: {meant}write {', '.join(_ADVERBS)}, or a number of seconds, minutes, hours, days, "
        'weeks, months or years, such as "30 days", "30d", "24h", "1mo" or "rolling 24 hours"'
    )
