"""A limit that is new to an account: what of the account's past, and of its calls in flight, counts in it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from budgeted.ledger.accounts import CALLS, INPUT_TOKENS, TOKENS, USD, Account, LimitSpec, Slot
from budgeted.ledger.cost_routing import Leg, decode_route
from budgeted.ledger.memory.change_records import Held, parts_of
from budgeted.ledger.memory.daily_rollups import Reports


def spent_since(account: Account, spec: LimitSpec, reports: Reports) -> int:
    """What of an account's past counts in a limit it did not have.

    The rows know days, the account's totals know the last reset: the lower of the two is exact, whichever of
    the reset and the period's start came last.
    """
    since_reset = account.usd if spec.unit == USD else account.calls if spec.unit == CALLS else account.tokens
    if spec.since == 0 and spec.unit <= CALLS:
        return since_reset
    rows = reports.of(account.id, spec.since)
    if spec.unit == USD:
        in_period = sum(row.usd for row in rows)
    elif spec.unit == TOKENS:
        in_period = sum(row.input_tokens + row.output_tokens for row in rows)
    elif spec.unit == CALLS:
        in_period = sum(row.calls for row in rows)
    else:
        in_period = sum(row.input_tokens if spec.unit == INPUT_TOKENS else row.output_tokens for row in rows)
    return min(since_reset, in_period)


def put_back(account: Account, limits: Sequence[LimitSpec], reports: Reports) -> list[Slot]:
    """Put limits that have begun a later period back into these; returns those that had.

    What was spent in the later one counts: it was spent now. So does what had been spent in the one that comes back,
    as far as the rows tell. Nothing is held yet: see :func:`hold_in`.
    """
    back = {spec.limit: spec for spec in limits}
    moved = []
    for slot in account.slots:
        spec = back.get(slot.limit)
        if spec is not None and slot.start > spec.start:
            past = spent_since(account, spec, reports) if spec.since >= 0 else 0
            slot.start, slot.end, slot.held = spec.start, spec.end, 0
            slot.spent = max(slot.spent, past)
            moved.append(slot)
    return moved


def hold_in(held: Held, account: str, slots: Sequence[Slot]) -> Held:
    """Count an open hold on an account's limits that were put back, also if it was opened in the later period."""
    day, provider, model, legs = decode_route(held.route)
    leg = next(leg for leg in legs if leg.account == account)
    back = {slot.limit: slot for slot in slots}
    limits = []
    for limit, start, end in leg.limits:
        slot = back.get(limit)
        if slot is None or start < slot.start:
            limits.append((limit, start, end))
        else:
            limits.append((limit, slot.start, slot.end))
            slot.held += parts_of(held)[slot.unit]
    counted = Leg(account, tuple(limits))
    route = msgspec.json.encode((day, provider, model, tuple(counted if one is leg else one for one in legs)))
    return msgspec.structs.replace(held, route=msgspec.Raw(route))


def count_in(held: Held, account: str, slot: Slot, *, catches_up: bool) -> Held:
    """Count an open hold on a limit that is new to an account, if it belongs there; returns the hold as it is now."""
    day, provider, model, legs = decode_route(held.route)
    leg = next(leg for leg in legs if leg.account == account)
    window = next(((start, end) for limit, start, end in leg.limits if limit == slot.limit), None)
    if window is None:
        if not catches_up or held.at < slot.start:
            return held
        counted = Leg(account, (*leg.limits, (slot.limit, slot.start, slot.end)))
        legs = tuple(counted if one is leg else one for one in legs)
        route = msgspec.json.encode((day, provider, model, legs))
        held = msgspec.structs.replace(held, route=msgspec.Raw(route))
    elif window[0] > slot.start:  # the hold has seen a later period: a clock set back does not reopen an earlier one
        slot.start, slot.end, slot.spent, slot.held = *window, 0, 0
    elif window[0] < slot.start:
        return held
    slot.held += parts_of(held)[slot.unit]
    return held
