"""When a key expires, as people state it: after some time, or with a day."""

from __future__ import annotations

import datetime as dt

from budgeted.limits.periods import NEVER, Period, local_time, parse_period, window
from budgeted.validation import shown

_LAST_YEAR = 2999


def expires_at(text: str, now: float, tz: dt.tzinfo) -> int:
    """From when on a key is refused, in unix seconds.

    Args:
        text: ``30d``, ``12h``, ``6 months`` from now on; ``2027-01-31``, of which it is the last day; or a moment, such
            as ``2027-01-31T12:00``.
        now: unix seconds.
        tz: in which days begin, and moments are told.

    Raises:
        ValueError: it is none of these, or past; the text quotes it.

    Example:
        >>> expires_at("2027-01-31", 0, dt.UTC) == dt.datetime(2027, 2, 1, tzinfo=dt.UTC).timestamp()
        True
    """
    at = _on_day(text.strip(), tz) or _after(text, now, tz)
    if at is None or not 0 < at < NEVER or _year(at, tz) > _LAST_YEAR:
        example = "after some time such as 30d, 12h or 6mo, or with a day such as 2027-01-31"
        msg = f"a key expires {example}, or never if nothing is said of it; got {shown(text)}"
        raise ValueError(msg)
    if at <= now:
        msg = f"a key that expires with {shown(text)} is of no use: that is past"
        raise ValueError(msg)
    return at


def _on_day(text: str, tz: dt.tzinfo) -> int | None:
    try:
        day = dt.date.fromisoformat(text) + dt.timedelta(days=1)
    except (ValueError, OverflowError):
        return _at_moment(text, tz)
    return _instant(dt.datetime(day.year, day.month, day.day, tzinfo=tz))


def _at_moment(text: str, tz: dt.tzinfo) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(text.upper().replace(" Z", "Z"))
    except ValueError:
        return None
    return _instant(moment if moment.tzinfo is not None else moment.replace(tzinfo=tz))


def _instant(moment: dt.datetime) -> int | None:
    try:
        return int(moment.timestamp())
    except (OverflowError, OSError, ValueError):
        return None


def _after(text: str, now: float, tz: dt.tzinfo) -> int | None:
    try:
        period = parse_period(text)
    except ValueError:
        return None
    if period.rolling:
        return None
    try:
        return window(Period(period.count, period.unit), local_time(int(now), tz), now, tz)[1]
    except (OverflowError, ValueError):
        return None


def _year(at: int, tz: dt.tzinfo) -> int:
    try:
        return local_time(at, tz).year
    except (OverflowError, ValueError):
        return _LAST_YEAR + 1
