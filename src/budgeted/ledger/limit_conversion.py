"""Limits as people write them, and as ledgers keep them."""

from __future__ import annotations

import datetime as dt
import functools

from budgeted.ledger.accounts import UNITS, USD, LimitSpec, Slot
from budgeted.limits.limit import Limit
from budgeted.limits.periods import NEVER, local_time

EPOCH = dt.date(1970, 1, 1).toordinal()
"""The day that a report's rows count from."""


@functools.lru_cache(maxsize=4096)
def limit_of(id: str, amount: int) -> Limit:
    """The limit that a ledger keeps under an id."""
    return Limit.from_id(id, amount)


def spec(limit: Limit, now: float, tz: dt.tzinfo) -> LimitSpec:
    """A limit as a ledger takes it, in the period that it is in now."""
    start, end = limit.window(now, tz)
    if limit.models is not None or (limit.period is not None and limit.period.unit in ("second", "minute", "hour")):
        since = -1
    else:
        since = 0 if end >= NEVER else day_number(start, tz)
    return LimitSpec(limit.id, UNITS.index(limit.unit), limit.amount, start, end, since)


def spec_of(slot: Slot) -> LimitSpec:
    """A limit that an account has already."""
    return LimitSpec(slot.limit, slot.unit, slot.amount, slot.start, slot.end)


def is_budget(slot: Slot) -> bool:
    """Whether a limit is what LiteLLM calls a budget: USD, for all models."""
    return slot.unit == USD and limit_of(slot.limit, slot.amount).models is None


def day_number(at: float, tz: dt.tzinfo) -> int:
    """Days from 1970-01-01 to the local date of a time."""
    return local_time(at, tz).date().toordinal() - EPOCH
