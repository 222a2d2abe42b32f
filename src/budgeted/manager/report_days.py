"""The days that a report is of, as people state them."""

from __future__ import annotations

import datetime as dt

from budgeted.validation import shown


def days_between(since: object, until: object, tz: dt.tzinfo) -> tuple[dt.date | None, dt.date | None]:
    """The first and the last day of a report; None for no bound.

    Args:
        since: the first day: a date, a datetime or ISO text of these, whose time of day does not matter; a time with an
            offset is of the day that it is in ``tz``.
        until: the last day, likewise; it is one of the report's.
        tz: the time zone whose calendar counts.

    Raises:
        ValueError: one is no day, or the last one comes before the first.
    """
    first, last = _day(since, "since", tz), _day(until, "until", tz)
    if first is not None and last is not None and last < first:
        msg = f"until={shown(until)} is before since={shown(since)}; write the first day as since, the last as until"
        raise ValueError(msg)
    return first, last


def _day(given: object, what: str, tz: dt.tzinfo) -> dt.date | None:
    if given is None:
        return None
    try:
        value = dt.datetime.fromisoformat(given.strip()) if isinstance(given, str) else given
        if isinstance(value, dt.datetime):
            return (value if value.tzinfo is None else value.astimezone(tz)).date()
    except (ValueError, OverflowError):
        value = None
    if isinstance(value, dt.date):
        return value
    msg = f"{what} must be a day such as '2026-11-01', as text, date or datetime; got {shown(given)}"
    raise ValueError(msg)
