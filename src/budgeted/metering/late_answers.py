"""Answers that come after their call has ended: what was charged for want of news, or given back, is put right."""

from __future__ import annotations

import msgspec

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.spending_records import Used
from budgeted.metering import block_hold, ledger_hold
from budgeted.metering.call import Call
from budgeted.metering.ledger_hold import LedgerHold
from budgeted.pricing.usage import Counts, Usage
from budgeted.telemetry import counters


def settle(call: Call, usage: Counts | None, cost: int | None) -> None:
    """Charge what a call that has ended really cost, unless it was charged that already.

    Args:
        call: which was charged an estimate, or released.
        usage: what it used.
        cost: nano-USD, where that is known without a price.

    Raises:
        UnpricedModelError: only its usage is known, and no price of its model.
    """
    if call.outcome == "settled" or (usage is None and cost is None):
        return
    before = call.endings[0][0] if call.endings else None
    for part in call.parts:
        try:
            used: Used | None = _settle_part(call, part, usage, cost)
        except LedgerError as error:  # it waits, as any other charge does
            used = _used(call, usage, cost)
            part.keep(call.request, call.at, used, "", error)
        if used is not None:
            block_hold.charge(call.blocks, id(call), call.request, used, before)
            call.cost, before = used.usd, used
    call.outcome = "settled"


def _settle_part(call: Call, part: LedgerHold, usage: Counts | None, cost: int | None) -> Used | None:
    """What is charged now at one payer; None if somebody has confirmed another figure before."""
    payer, estimated = part.group.payer, call.outcome == "estimated"
    if payer.kept(part.ledger).waits():
        msg = "charges that came before this one wait"
        raise LedgerUnavailableError(msg)  # the estimate may be among them
    charge = part.ledger.ended(part.id) if estimated else None
    if charge is not None:
        if not charge.reason:
            return None
        payer.correct(part.id, usage, cost)
        charge = part.ledger.ended(part.id)
        return None if charge is None else charge.used
    used = _used(call, usage, cost)
    # An estimate that is not known any more got lost, or else it was confirmed and forgotten.
    late = msgspec.structs.replace(part.charge(call.request, call.at, used, ""), doubtful=estimated)
    ledger_hold.settle_or_post(part.group, part.ledger, late, int(payer.clock()))
    counters.correct(used.usd - call.cost)
    return used


def _used(call: Call, usage: Counts | None, cost: int | None) -> Used:
    counts = usage or Usage()
    if cost is None:
        cost = 0 if call.price is None else call.price.cost(counts, call.at)
    return Used(cost, counts.input_tokens, counts.output_tokens)
