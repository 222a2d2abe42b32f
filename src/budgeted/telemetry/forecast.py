"""When a limit will be reached, if spending goes on as it does.

The rate is what was charged in the current period, divided by the time since the period began, but at least by a
twenty-fourth of the period, so that the first call after midnight foretells no ruin. A limit for ever has no such
period: its rate is what its account was charged on the last seven days, today among them, from the first of these on
that anything was charged; at least one day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from budgeted.ledger.accounts import Slot
from budgeted.ledger.interface import Ledger
from budgeted.ledger.limit_conversion import day_number, rolls, unit_of
from budgeted.ledger.limit_terms import past_at, spent_in
from budgeted.ledger.spending_records import RollupRow
from budgeted.limits.periods import NEVER, local_time
from budgeted.pricing.tool_prices import TOOL

LEAST_PART = 24
"""The rate is measured over at least one part in so many of a period."""

DAYS = 7
"""Days over which the rate of a limit for ever is measured."""

_DAY = 86_400


class Recent(NamedTuple):
    """What was charged lately, by what limits are counted in, and the seconds in which that was; USD in nano-USD."""

    usd: int
    tokens: int
    calls: int
    input_tokens: int
    output_tokens: int
    tool_calls: int
    seconds: int

    def of(self, unit: str) -> int:
        """What was charged of that unit."""
        charged: int = getattr(self, unit.replace(" ", "_"))
        return charged


Rates = dict[str, Recent]
"""By account."""


def goes_by_recent(slot: Slot) -> bool:
    """Whether a limit's own numbers do not tell when it is reached: it is one for ever."""
    return slot.end >= NEVER and not rolls(slot)


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
    by_account: dict[str, list[RollupRow]] = {}
    for row in ledger.rollups(today - DAYS + 1, account):
        if row.day <= today:  # a clock may have been set back
            by_account.setdefault(row.account, []).append(row)
    return {name: _recent(rows, today, seconds_of_today) for name, rows in by_account.items()}


def _recent(rows: Sequence[RollupRow], today: int, seconds_of_today: int) -> Recent:
    """The sums of an account's rows."""
    input_tokens, output_tokens = sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows)
    first = min(row.day for row in rows)
    return Recent(
        usd=sum(row.usd for row in rows),
        tokens=input_tokens + output_tokens,
        calls=sum(row.calls for row in rows if row.provider != TOOL),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        tool_calls=sum(row.calls for row in rows if row.provider == TOOL),
        seconds=max(_DAY, (today - first) * _DAY + seconds_of_today),
    )


def seconds_left(slot: Slot, at: float, recent: Recent | None = None) -> float | None:
    """Seconds until a limit is reached at the present rate; None if it resets before, or nothing is being spent.

    Args:
        slot: the limit's running numbers.
        at: now, in unix seconds.
        recent: what its account was charged lately, of :func:`recent_rates`, for a limit for ever.
    """
    if slot.end <= at:
        return None
    if rolls(slot):
        return _seconds_until_full(slot, at)
    left = slot.amount - slot.spent - slot.held
    if left <= 0:
        return 0.0
    if slot.end < NEVER:
        spent, seconds = slot.spent, max(at - slot.start, (slot.end - slot.start) / LEAST_PART)
    elif recent is not None:
        spent, seconds = recent.of(unit_of(slot.limit, slot.unit)), recent.seconds
    else:
        return None
    if spent <= 0:
        return None
    needed = left * seconds / spent
    return needed if at + needed < slot.end else None


def _seconds_until_full(slot: Slot, at: float) -> float | None:
    """Seconds until a rolling limit is reached, at the rate at which what counts in it now was charged.

    What is charged from now on counts for longer than it takes to know: within a window, or never at that rate.
    """
    past, window = past_at(slot, int(at)), slot.terms.window if slot.terms is not None else 0
    spent = spent_in(past)
    left: float = slot.amount - spent - slot.held
    if left <= 0:
        return 0.0
    if not spent:
        return None
    rate = spent / max(at - past[0][0], window / LEAST_PART)
    for _, last, amount in past:
        leaves = last + window - at
        if left / rate <= leaves:
            return left / rate
        left += amount
    return left / rate if left / rate <= window else None


def exhausted_at(slot: Slot, at: float, tz: dt.tzinfo, recent: Recent | None = None) -> dt.datetime | None:
    """When a limit is reached at the present rate; None if it resets before, or in this century it is not."""
    left = seconds_left(slot, at, recent)
    if left is None or left > 100 * 366 * _DAY:
        return None
    return local_time(at + left, tz)
