"""What a limit consists of: which amounts, models and dates there may be, and what goes together."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final, NamedTuple

from budgeted.limits.periods import Period, local_time
from budgeted.money import MAX_USD, NANO
from budgeted.units import Unit
from budgeted.validation import shown

MOST: Final[dict[Unit, int]] = {
    "usd": MAX_USD * NANO,
    "tokens": 10**15,
    "calls": 10**15,
    "input tokens": 10**15,
    "output tokens": 10**15,
    "tool calls": 10**15,
}
"""The largest amount of each unit; of nano-USD for ``"usd"``."""

_LONGEST_PATTERN: Final = 256


class LimitParts(NamedTuple):
    """What a limit consists of, already checked one by one."""

    unit: Unit
    amount: int
    period: Period | None = None
    models: str | None = None
    anchor: dt.datetime | None = None
    keep: int = 0


def check_together(parts: LimitParts) -> None:
    """Refuse parts that contradict each other.

    Raises:
        ValueError: they do; the text shows what can be written instead.
    """
    period, anchor = parts.period, parts.anchor
    if anchor is not None and period is None:
        raise ValueError(
            f"a limit for ever is not counted from a date, got {anchor_text(anchor)}: "
            'add a period, such as "$100/month from 2026-01-15", or leave the date out'
        )
    if anchor is not None and period is not None and period.rolling:
        raise ValueError(
            f"a {period} ends now, so it is counted from no date, got {anchor_text(anchor)}: "
            f'write "$5/{period}", or "$5/day from {anchor_text(anchor)}"'
        )
    if parts.keep and period is None:
        raise ValueError('what is left is kept when a period ends: write "$100/month, keep up to $50"')
    if parts.keep and period is not None and period.rolling:
        raise ValueError(
            f'a {period} never ends, so nothing of it is kept: write "$5/{period}", or "$100/month, keep up to $50"'
        )


def checked_amount(unit: Unit, amount: object) -> int:
    """An amount in nano-USD, tokens or calls.

    Raises:
        TypeError: it is not an int.
        ValueError: it is out of range.
    """
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise TypeError(f"an amount of {_unit_name(unit)} must be an int, got {shown(amount)}")
    if not 0 <= amount <= MOST[unit]:
        raise ValueError(f"an amount of {_unit_name(unit)} must be from 0 to {MOST[unit]:,}, got {shown(amount)}")
    return amount


def _unit_name(unit: Unit) -> str:
    return "nano-USD" if unit == "usd" else unit


def checked_models(pattern: object) -> str | None:
    """A glob of models in lower case; None for one that all models match.

    Raises:
        TypeError: it is not a str.
        ValueError: it is none, or would be read as two limits.
    """
    if not isinstance(pattern, str):
        raise TypeError(f'models must be a str such as "gpt-5*", got {shown(pattern)}')
    if not pattern or len(pattern) > _LONGEST_PATTERN or not pattern.isprintable() or re.search(r"[\s,]", pattern):
        raise ValueError(f'models must be one pattern without spaces or commas, such as "gpt-5*", got {shown(pattern)}')
    if re.search(r"\+[$\d]", pattern):
        raise ValueError(f'write "?" for the "+" in models={shown(pattern)}: it would separate two limits')
    return None if pattern == "*" else pattern.lower()


def checked_anchor(value: object) -> dt.datetime:
    """Bring an anchor into its one form: whole seconds, in UTC or naive.

    Raises:
        TypeError: it is neither a date, text nor a number.
        ValueError: it is no date from 1900 to 2999.
    """
    try:
        anchor = _datetime(value)
    except (ValueError, OverflowError, OSError):
        anchor = None
    # Outside these years the calendar's arithmetic may overflow, and a time in milliseconds would pass for one.
    if anchor is None or not 1900 <= anchor.year < 3000:
        raise ValueError(
            'periods are counted from a date such as "2026-01-15" or "2026-01-15T09:00Z", or from unix seconds, '
            f"from 1900 to 2999, got {shown(value)}"
        )
    return anchor


def _datetime(value: object) -> dt.datetime:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value.upper().replace(" Z", "Z"))
    if isinstance(value, dt.datetime):
        known = value.astimezone(dt.UTC) if value.tzinfo else value
        return known.replace(microsecond=0, fold=0)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001
    if isinstance(value, int | float) and not isinstance(value, bool):
        return local_time(math.floor(value), dt.UTC)
    raise TypeError(f"periods are counted from a date, a datetime, text or unix seconds, got {shown(value)}")


def anchor_text(anchor: dt.datetime) -> str:
    """Write an anchor, as short as it can be read again."""
    if anchor.tzinfo is None and anchor.time() == dt.time():
        return anchor.date().isoformat()
    text = anchor.replace(tzinfo=None).isoformat(timespec="seconds" if anchor.second else "minutes")
    return f"{text}Z" if anchor.tzinfo else text
