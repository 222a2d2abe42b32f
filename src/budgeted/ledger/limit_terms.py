"""Limits that are more than an amount per period: rolling ones, those that keep what is left, those that were raised.

Pure arithmetic on a limit's running numbers, which every ledger agrees on.
"""

from __future__ import annotations

import copy
from typing import TypeAlias

import msgspec

from budgeted.ledger.accounts import LimitSpec, Slot, Terms, stated_amount

Past: TypeAlias = tuple[tuple[int, int, int], ...]
"""Charges of a rolling limit, as :class:`~budgeted.ledger.accounts.Terms` keeps them."""

PARTS = 60
"""Into how many parts a rolling limit's window is divided: charges of one part are forgotten with the last of them."""


def begin_period(slot: Slot, start: int, end: int) -> None:
    """Begin a later period of a limit: nothing is spent of it, and what may be carried over is."""
    amount, terms = slot.amount, slot.terms
    if terms is not None:
        stated = stated_amount(slot)
        left = max(0, stated + terms.carried - slot.spent - slot.held)
        # Of those that nobody has heard of nothing was spent. To the nearest: months and days are not all alike.
        idle = max(0, 2 * (start - slot.end) + terms.step) // (2 * terms.step) if terms.step else 0
        carried = min(terms.keep, left + idle * stated)
        amount = stated + carried
        terms = Terms(terms.window, terms.keep, terms.step, carried) if terms.keep or terms.window else None
    # All at once, behind the last call: a signal's handler comes before or after it.
    slot.amount, slot.terms, slot.start, slot.end, slot.spent, slot.held = amount, terms, start, end, 0, 0


def raise_for_period(slot: Slot, amount: int) -> None:
    """Add to what may be spent in a limit's present period."""
    before = slot.terms or Terms()
    slot.terms = msgspec.structs.replace(before, raised=before.raised + amount)
    slot.amount += amount


def restate(slot: Slot, spec: LimitSpec) -> None:
    """Give a limit the amount, and what else, that somebody states for it; what it was charged stays."""
    old = slot.terms or Terms()
    carried = min(old.carried, spec.keep)
    slot.amount = spec.amount + carried + old.raised
    if spec.keep or spec.window or old.raised:
        step = old.step if spec.window else spec.step  # a rolling one was stated when it was new
        slot.terms = Terms(spec.window, spec.keep, step, carried, old.raised, old.past)
    else:
        slot.terms = None


def begin_with(slot: Slot, spec: LimitSpec, spent: int) -> None:
    """Have a limit that is new to its account begin with what was charged before; one that rolls, as if just now."""
    slot.spent = spent
    if spec.window and spent:
        slot.terms = Terms(spec.window, past=((spec.step, spec.step, spent),))


def forget_spent(slot: Slot) -> None:
    """Set what was spent of a limit back to nothing."""
    slot.spent = 0
    if slot.terms is not None:
        slot.terms = msgspec.structs.replace(slot.terms, past=())


def past_at(slot: Slot, at: int) -> Past:
    """What of a rolling limit's charges still counts at a time, in unix seconds."""
    terms = slot.terms
    if terms is None:
        return ()
    past = terms.past
    if not past or past[0][1] + terms.window > at:
        return past
    return tuple(part for part in past if part[1] + terms.window > at)


def at_time(slot: Slot, at: int) -> tuple[int, Terms | None]:
    """What is spent of a limit at a time (unix seconds), and its terms then."""
    terms = slot.terms
    if terms is None or not terms.window:
        return slot.spent, terms
    past = past_at(slot, at)
    return spent_in(past), terms if past == terms.past else msgspec.structs.replace(terms, past=past)


def charged(slot: Slot, at: int, amount: int, before: tuple[int, int] | None = None) -> tuple[int, Terms | None]:
    """The same with a charge that is made then, or with a difference to an earlier one; see :func:`correct`."""
    terms = slot.terms
    if terms is None or not terms.window:
        return max(0, slot.spent + amount), terms
    past = past_at(slot, at)
    if amount and before is None:
        past = charge(past, terms.window, at, amount)
    elif amount and before is not None:
        past = correct(past, terms.window, at, amount, *before)
    return spent_in(past), msgspec.structs.replace(terms, past=past)


def charge(past: Past, window: int, at: int, amount: int) -> Past:
    """The same with a charge that is made now."""
    if past:
        first, last, before = past[-1]
        at = max(at, last)  # a clock set back takes nothing out of the window
        if at < first + max(1, window // PARTS):
            return (*past[:-1], (first, at, before + amount))
    return (*past, (at, at, amount))


def correct(past: Past, window: int, at: int, difference: int, opened: int, charged: int) -> Past:
    """The same with a difference to a charge that was made earlier, if that may still count.

    Args:
        past: what counts.
        window: seconds.
        at: now, in unix seconds.
        difference: what is added; less than nothing is taken off what was charged since the call began.
        opened: when the call began, before which it was not charged.
        charged: when it was charged or corrected last, after which it was not charged.
    """
    if difference > 0:
        return past if charged + window <= at else charge(past, window, at, difference)
    if opened + window <= at:  # it may be forgotten, and then this was others'
        return past
    parts = []
    for first, last, before in past:
        less = min(before, -difference) if last >= opened else 0
        difference += less
        parts.append((first, last, before - less))
    return tuple(parts)


def spent_in(past: Past) -> int:
    """What a rolling limit was charged in all."""
    return sum(amount for _, _, amount in past)


def as_of(slot: Slot, start: int, end: int, at: int) -> Slot:
    """A limit in the period of a call that is about to be held, at this time (unix seconds); a copy of it.

    One that has begun a later period already stays in that.
    """
    now = copy.copy(slot)
    if now.start < start:
        begin_period(now, start, end)
    if now.terms is not None and now.terms.window:
        now.spent, now.terms = at_time(now, at)
    return now


def free_at(slot: Slot, needed: int) -> int:
    """When a rolling limit has room for so much, if nothing else is spent: unix seconds, or 0 if nobody can tell."""
    terms = slot.terms
    missing = needed + slot.spent + slot.held - slot.amount
    for _, last, amount in terms.past if terms is not None else ():
        missing -= amount
        if missing <= 0:
            return last + terms.window if terms is not None else 0
    return 0
