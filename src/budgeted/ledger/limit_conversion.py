"""Limits as people write them, and as ledgers keep them."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Final

from budgeted.ledger.accounts import CALLS, UNITS, USD, LimitSpec, Slot, Terms, stated_amount
from budgeted.ledger.limit_terms import as_of, past_at
from budgeted.limits.limit import Limit
from budgeted.limits.limit_ids import unit_of_id
from budgeted.limits.periods import NEVER, Period, local_time
from budgeted.pricing.tool_prices import TOOL
from budgeted.units import Unit

EPOCH = dt.date(1970, 1, 1).toordinal()
"""The day that a report's rows count from."""

_DAY: Final = 86_400


def limit_of(slot: Slot) -> Limit:
    """A limit as it was stated: without what its period has besides."""
    return limit_of_id(slot.limit, stated_amount(slot), 0 if slot.terms is None else slot.terms.keep)


@functools.lru_cache(maxsize=4096)
def limit_of_id(id: str, amount: int, keep: int = 0) -> Limit:
    """The limit that a ledger keeps under an id, with so much.

    Args:
        id: the limit's.
        amount: in nano-USD, tokens or calls.
        keep: of what is left when a period ends, at most, in the same.

    Raises:
        ValueError: it is no id of a limit, such as one that another client made up.
    """
    return Limit.from_id(id, amount, keep)


@functools.lru_cache(maxsize=4096)
def text_of_id(id: str, amount: int) -> str:
    """The limit that a ledger keeps under an id, with so much, as it would be written.

    Args:
        id: the limit's.
        amount: in nano-USD, tokens or calls.

    Raises:
        ValueError: it is no id of a limit.
    """
    return str(limit_of_id(id, amount))


@functools.lru_cache(maxsize=4096)
def unit_of(id: str, unit: int) -> str:
    """What a limit is counted in, for people: ledgers count calls of models and of tools alike.

    Args:
        id: the limit's.
        unit: the ledger's number of its unit.
    """
    return unit_of_id(id) or UNITS[unit]


def spec(limit: Limit, now: float, tz: dt.tzinfo) -> LimitSpec:
    """A limit as a ledger takes it, in the period that it is in now.

    Args:
        limit: as it is stated.
        now: unix seconds.
        tz: the time zone whose calendar counts.
    """
    start, end = limit.window(now, tz)
    period = limit.period
    window = step = 0
    if period is not None and period.rolling:
        window, step = period.seconds, int(now)
    elif period is not None and limit.keep:
        step = period.seconds
    since = _since(limit, now - window if window else start, tz)
    return LimitSpec(limit.id, ledger_unit(limit.unit), limit.amount, start, end, since, window, limit.keep, step)


def _since(limit: Limit, start: float, tz: dt.tzinfo) -> int:
    """From which day on past charges count in a limit that is new to its account; -1 for none of them."""
    period = limit.period
    # Past charges are known by the day and the account: not by the hour, and not whether it was a tool that was called.
    if limit.models is not None or limit.unit == "tool calls" or (period is not None and _is_short(period)):
        return -1
    return 0 if period is None else max(0, day_number(start, tz))


def _is_short(period: Period) -> bool:
    return period.seconds < _DAY if period.rolling else period.unit in ("second", "minute", "hour")


def ledger_unit(unit: Unit) -> int:
    """The ledger's number of a unit, in which calls of tools are calls."""
    return CALLS if unit == "tool calls" else UNITS.index(unit)


def spec_of(slot: Slot) -> LimitSpec:
    """A limit that an account has already, with all that was stated of it."""
    terms = slot.terms or Terms()
    stated = stated_amount(slot)
    return LimitSpec(
        slot.limit, slot.unit, stated, slot.start, slot.end, window=terms.window, keep=terms.keep, step=terms.step
    )


def counts(limit: Limit, provider: str, model: str) -> bool:
    """Whether a call counts in a limit: a tool's in USD and in tool calls, a model's in all but these.

    Args:
        limit: the limit.
        provider: of the call; :data:`TOOL` for a tool's.
        model: of the call, or the tool's name.
    """
    if limit.unit != "usd" and (limit.unit == "tool calls") != (provider == TOOL):
        return False
    return limit.matches(model)


def present(slot: Slot, at: float, tz: dt.tzinfo) -> Slot:
    """A limit's running numbers at a time; a copy, where they are others than those of its last call.

    A period that has ended by then counts as begun anew, with what is carried over; of a rolling limit, what still
    counts is spent.

    Args:
        slot: as the ledger has it.
        at: unix seconds.
        tz: the time zone whose calendar counts.
    """
    if slot.end > at:
        return slot if slot.terms is None else as_of(slot, slot.start, slot.end, int(at))
    return as_of(slot, *limit_of(slot).window(at, tz), int(at))


def rolls(slot: Slot) -> bool:
    """Whether a limit looks back, and has no period that ends."""
    return slot.terms is not None and slot.terms.window > 0


def counted_from(slot: Slot, at: float) -> int:
    """From when on calls count in a limit as it is at a time; both in unix seconds."""
    return slot.start if slot.terms is None or not slot.terms.window else max(0, int(at) - slot.terms.window + 1)


def resets_at(slot: Slot, at: float) -> int | None:
    """When a limit's period ends, or of a rolling one the oldest charge stops counting: unix seconds.

    Args:
        slot: the limit's present numbers.
        at: now, in unix seconds.

    Returns:
        None, where neither happens.
    """
    if slot.terms is not None and slot.terms.window:
        past = past_at(slot, int(at))
        return past[0][1] + slot.terms.window if past else None
    return slot.end if slot.end < NEVER else None


def slot_of(spec: LimitSpec) -> Slot:
    """The running numbers of a limit that is new to its account."""
    return Slot(spec.limit, spec.unit, spec.amount, spec.start, spec.end)


def is_budget(slot: Slot) -> bool:
    """Whether a limit is what LiteLLM calls a budget: USD, for all models."""
    return slot.unit == USD and limit_of(slot).models is None


def day_number(at: float, tz: dt.tzinfo) -> int:
    """Days from 1970-01-01 to the local date of a time."""
    return local_time(at, tz).date().toordinal() - EPOCH
