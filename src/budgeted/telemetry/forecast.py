"""When a limit will be reached, if spending goes on as it does.

The rate is what was charged in the current period, divided by the time since the period began, but at least by a
twenty-fourth of the period, so that the first call after midnight foretells no ruin. A limit for ever has no such
period: its rate is what its account was charged on the last seven days, today among them, from the first of these on
that anything was charged; at least one day.
"""

from __future__ import annotations

import datetime as dt

from budgeted.ledger.accounts import TOKENS, USD, Slot
from budgeted.ledger.interface import Ledger
from budgeted.ledger.limit_conversion import day_number
from budgeted.limits.periods import NEVER, local_time

LEAST_PART = 24
"""The rate is measured over at least one part in so many of a period."""

DAYS = 7
"""Days over which the rate of a limit for ever is measured."""

Recent = tuple[int, int, int, int]
Rates = dict[str, Recent]
"""By account: USD in nano-USD, tokens and calls, and the seconds in which they were charged."""

_DAY = 86_400


def recent_rates(ledger: Ledger, at: float, tz: dt.tzinfo, account: str | None = None) -> Rates:
    """What accounts were charged lately: one read of the ledger.

    Args:
        ledger: whose report rows.
        at: now, in unix seconds.
        tz: where days begin.
        account: the one to read; None for all, which may be many.
    """
    now = local_time(at, tz)
    today, seconds_of_today = day_number(at, tz), now.hour * 3600 + now.minute * 60 + now.second
    rows = ledger.rollups(today - DAYS + 1, account)
    sums: dict[str, list[int]] = {}
    for row in rows:
        if row.day <= today:  # a clock may have been set back
            one = sums.setdefault(row.account, [0, 0, 0, today])
            one[0] += row.usd
            one[1] += row.input_tokens + row.output_tokens
            one[2] += row.calls
            one[3] = min(one[3], row.day)
    return {
        account: (usd, tokens, calls, max(_DAY, (today - first) * _DAY + seconds_of_today))
        for account, (usd, tokens, calls, first) in sums.items()
    }


def seconds_left(slot: Slot, at: float, recent: Recent | None = None) -> float | None:
    """Seconds until a limit is reached at the present rate; None if it resets before, or nothing is being spent.

    Args:
        slot: the limit's running numbers.
        at: now, in unix seconds.
        recent: what its account was charged lately, of :func:`recent_rates`, for a limit for ever.
    """
    if slot.end <= at:
        return None
    left = slot.amount - slot.spent - slot.held
    if left <= 0:
        return 0.0
    if slot.end < NEVER:
        spent, seconds = slot.spent, max(at - slot.start, (slot.end - slot.start) / LEAST_PART)
    elif recent is not None:
        spent, seconds = recent[0 if slot.unit == USD else 1 if slot.unit == TOKENS else 2], recent[3]
    else:
        return None
    if spent <= 0:
        return None
    needed = left * seconds / spent
    return needed if at + needed < slot.end else None


def exhausted_at(slot: Slot, at: float, tz: dt.tzinfo, recent: Recent | None = None) -> dt.datetime | None:
    """When a limit is reached at the present rate; None if it resets before, or in this century it is not."""
    left = seconds_left(slot, at, recent)
    if left is None or left > 100 * 366 * _DAY:
        return None
    return local_time(at + left, tz)
