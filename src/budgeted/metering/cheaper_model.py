"""Another model for the end of a limit: which one is asked for once so much of a limit is spent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import Slot
from budgeted.ledger.limit_conversion import counts, limit_of
from budgeted.ledger.limit_terms import as_of
from budgeted.metering.call_bound import Bounded
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Group, Payer
from budgeted.pricing import price_registry
from budgeted.wire.normalized_request import Request

logger = logging.getLogger("budgeted")


def cheaper(call: Bounded) -> Request | None:
    """What a call asks for instead, by what is spent of its accounts' limits and of its blocks' caps, if anything.

    Args:
        call: which has no hold yet.
    """
    request = call.request
    if request.fixed is not None:  # a tool's call, or one by its cost: there is no cheaper one
        return None
    _, model = max(_reached(call), default=(Fraction(0), request.model))
    if model == request.model:
        return None
    if price_registry.find(model, request.provider or None, request.base_url) is None:
        text = "budgeted: no price is known for the fallback %s, and %s goes on"
        call.groups[0].payer.repeats.log((text, model), call.at, logging.WARNING, text, (model, request.model), {})
        return None
    logger.info("budgeted: %s is asked instead of %s, as a limit nears its end", model, request.model)
    return msgspec.structs.replace(request, model=model, instead=())


def _reached(call: Bounded) -> Iterator[tuple[Fraction, str]]:
    for group in call.groups:
        for name in group.everybody():
            policy = group.policy_of(name)
            if policy.fallback:
                yield from _of_account(call, group, name, policy)
    for block in call.blocks:
        for slot in block.checked if block.policy.fallback else ():
            if slot.counts(call.request):
                found = block.policy.instead(slot.spent + sum(list(slot.holds.values())), slot.amount)
                if found is not None:
                    yield found


def _of_account(call: Bounded, group: Group, name: str, policy: Policy) -> Iterator[tuple[Fraction, str]]:
    try:
        account = group.payer.ledger.read(name)
    except LedgerError:  # it is the hold's to say so
        return
    for slot in account.slots if account is not None else ():
        limit = limit_of(slot)
        if counts(limit, call.request.provider, call.request.model):
            now = as_of(slot, *limit.window(call.at, group.payer.timezone), call.at)
            held = now.held - (_set_aside(call, group.payer, name, now) if limit.models is None else 0)
            found = policy.instead(now.spent + max(0, held), now.amount)
            if found is not None:
                yield found


def _set_aside(call: Bounded, payer: Payer, account: str, limit: Slot) -> int:
    """What is held of an account's limit for the calls of a block that the call is made in: it is there to be spent."""
    for block in reversed(call.blocks):
        taken = block.taken
        if taken is not None and taken.at(payer):
            if account in taken.accounts and limit.unit in taken.units and limit.start <= taken.since:
                return next(slot.room for slot in block.slots if slot.unit == limit.unit)
            return 0
    return 0
