"""A call's hold on the blocks of this process that it is made in; those without a cap only keep count."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from budgeted.ledger.accounts import USD, Slot
from budgeted.ledger.admission import Ask, Refused, admit
from budgeted.ledger.spending_records import Used
from budgeted.metering.blocking_limit import Refusal, behind, by_cap, repeated
from budgeted.payers import block_figures
from budgeted.payers.block_figures import BlockFigures, caps_lock
from budgeted.payers.cap_slots import NO_END, used_of
from budgeted.payers.repeated_requests import watching
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_hash import hash_of

NOTHING = Used()


def hold(blocks: Sequence[BlockFigures], call: int, request: Request, ask: Ask, queued: int) -> int | Refusal:
    """Hold on every block, or on none.

    Args:
        blocks: those that the call is made in.
        call: which call it is, for :func:`give_back` and :func:`end`.
        request: what is asked, by which some limits count it and others do not.
        ask: what it may need.
        queued: how many calls wait, this one the first of them; 0 if it has not lined up.

    Returns:
        The output tokens that it may ask for, or the refusal of a cap.
    """
    if block_figures.cap_turns.queues and not (queued or ask.costs_nothing):
        crowded = block_figures.cap_turns.crowded([block.queue for block in blocks])
        if crowded is not None:
            return by_cap(behind(crowded), next(block for block in blocks if block.queue == crowded))
    made = hash_of(request) if watching.count and any(block.repeats is not None for block in blocks) else None
    with caps_lock:
        if made is not None:
            refusal = _too_often(blocks, made)
            if refusal is not None:
                return refusal
        granted = ask.most
        for block in blocks:
            if block.checked:  # most have no cap: no look at any more
                decision = _admitted(blocks, request, ask)
                if isinstance(decision, Refusal):
                    return decision
                granted = decision
                break
        usd = ask.usd_for(granted)
        for block in blocks:
            block.slot.holds[call] = usd
            if block.more:
                _hold_more(block, call, request, ask, granted)
            if made is not None and block.repeats is not None:
                block.repeats.add(call, made)
    return granted


def _admitted(blocks: Sequence[BlockFigures], request: Request, ask: Ask) -> int | Refusal:
    """The output tokens that all caps have room for, or the refusal of one."""
    slots, limited = _limits(blocks, request)
    if not slots:
        return ask.most
    decision = admit(ask, slots, [block.soft for block in limited])
    if isinstance(decision, Refused):
        block = limited[decision.index]
        return by_cap(msgspec.structs.replace(decision, account=block.queue, end=0), block)
    return decision


def _limits(blocks: Sequence[BlockFigures], request: Request) -> tuple[list[tuple[Slot, int, int]], list[BlockFigures]]:
    """The limits of caps that count a call, with what is held of them now, and the block of each."""
    slots: list[tuple[Slot, int, int]] = []
    limited: list[BlockFigures] = []
    for block in blocks:
        for slot in block.checked:
            if slot.counted is None or slot.counts(request):
                slot.held = sum(slot.holds.values())
                if slot.aside:
                    slot.held = slot.on_hold_for([mine for one in blocks for mine in one.checked])
                slots.append((slot, 0, NO_END))
                limited.append(block)
    return slots, limited


def _too_often(blocks: Sequence[BlockFigures], made: bytes) -> Refusal | None:
    """The refusal of the first block that lets a request through no more often."""
    for block in blocks:
        repeats = block.repeats
        if repeats is not None and not block.soft and repeats.spent(made):
            return by_cap(repeated(repeats.limit, block.queue), block, news=repeats.is_news(made))
    return None


def _hold_more(block: BlockFigures, call: int, request: Request, ask: Ask, granted: int) -> None:
    """Hold on a cap's limits besides the one in USD."""
    for slot in block.more:
        if slot.counts(request):
            slot.holds[call] = ask.need(slot.unit, granted)


def shrink(blocks: Sequence[BlockFigures], call: int, usd: int, ask: Ask, granted: int) -> None:
    """Hold no more for a call than what it was granted needs.

    Args:
        blocks: those that the call is made in.
        call: which call it is.
        usd: nano-USD that it needs.
        ask: what it asked for.
        granted: the output tokens that it may ask for.
    """
    with caps_lock:
        for block in blocks:
            block.slot.holds[call] = usd
            for slot in block.more:
                if call in slot.holds:
                    slot.holds[call] = ask.need(slot.unit, granted)


def give_back(blocks: Sequence[BlockFigures], call: int) -> None:
    """Give back all that is held for a call; nothing, if that was done before."""
    with caps_lock:
        for block in blocks:
            for slot in block.more:
                slot.give_back(call)
            if block.repeats is not None:
                block.repeats.give_back(call)
            block.slot.give_back(call)


def end(blocks: Sequence[BlockFigures], call: int, used: Used | None) -> None:
    """Replace a hold by what the call used, None for nothing: once, however often it is tried."""
    cost = 0 if used is None else used.usd
    with caps_lock:
        for block in blocks:
            if block.more:
                for slot in block.more:
                    slot.settle(call, used_of(slot.unit, used))
            if block.repeats is not None:
                if used is None:
                    block.repeats.give_back(call)
                else:
                    block.repeats.settle(call)
            block.slot.settle(call, cost)  # at last: by it is seen whether all of this has been done
    if block_figures.cap_turns.queues:  # as wake() asks, too: nearly always there is nobody to call it for
        wake(blocks)


def charge(
    blocks: Sequence[BlockFigures], call: int, request: Request, used: Used, before: Used | None = NOTHING
) -> None:
    """Charge what a call used beside what it holds, or has been charged.

    Args:
        blocks: those that the call is made in.
        call: which call it is.
        request: what is asked.
        used: what it used.
        before: what of that is charged already; None where the call does not even count as one.
    """
    with caps_lock:
        for block in blocks:
            for slot in block.more:
                if slot.counts(request):
                    slot.charge(call, used_of(slot.unit, used) - used_of(slot.unit, before))
            block.slot.charge(call, used.usd - used_of(USD, before))


def repeated_in(blocks: Sequence[BlockFigures], call: int) -> list[tuple[BlockFigures, int, bool]]:
    """The blocks whose ``repeat_limit`` an open call's request has passed, as they only warn.

    Returns:
        Each with that limit, and whether nobody was told of this request before.
    """
    found = []
    with caps_lock:
        for block in blocks:
            made = None if block.repeats is None else block.repeats.over(call)
            if block.repeats is not None and made is not None:
                found.append((block, block.repeats.limit, block.repeats.is_news(made)))
    return found


def count(blocks: Sequence[BlockFigures], *, clamped: int = 0, refused: int = 0) -> None:
    """Count a call's fate."""
    with caps_lock:
        for block in blocks:
            block.count(clamped=clamped, refused=refused)


def wake(blocks: Sequence[BlockFigures]) -> None:
    """Let those look again who wait for what these blocks hold."""
    if block_figures.cap_turns.queues:
        block_figures.cap_turns.freed([block.queue for block in blocks])
