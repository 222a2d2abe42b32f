"""A call's hold on the blocks of this process that it is made in; those without a cap only keep count."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from budgeted.ledger.admission import Ask, Refused, admit
from budgeted.metering.blocking_limit import Refusal, behind, by_cap
from budgeted.payers import block_figures
from budgeted.payers.block_figures import NO_CAP, BlockFigures, caps_lock


def hold(blocks: Sequence[BlockFigures], call: int, ask: Ask, queued: int) -> int | Refusal:
    """Hold on every block, or on none.

    Args:
        blocks: those that the call is made in.
        call: which call it is, for :func:`give_back` and :func:`end`.
        ask: what it may need.
        queued: how many calls wait, this one the first of them; 0 if it has not lined up.

    Returns:
        The output tokens that it may ask for, or the refusal of a cap.
    """
    if block_figures.cap_turns.queues and not (queued or ask.costs_nothing):
        crowded = block_figures.cap_turns.crowded([block.queue for block in blocks])
        if crowded is not None:
            return by_cap(behind(crowded), next(block for block in blocks if block.queue == crowded))
    with caps_lock:
        granted = ask.most
        if any(block.slot.amount < NO_CAP for block in blocks):
            for block in blocks:
                block.slot.held = sum(block.holds.values())
            decision = admit(ask, [(block.slot, 0, NO_CAP) for block in blocks], [block.soft for block in blocks])
            if isinstance(decision, Refused):
                block = blocks[decision.index]
                return by_cap(msgspec.structs.replace(decision, account=block.queue, end=0), block)
            granted = decision
        usd = ask.usd_for(granted)
        for block in blocks:
            block.holds[call] = usd
    return granted


def shrink(blocks: Sequence[BlockFigures], call: int, usd: int) -> None:
    """Hold no more than so much for a call (nano-USD)."""
    with caps_lock:
        for block in blocks:
            block.holds[call] = usd


def give_back(blocks: Sequence[BlockFigures], call: int) -> None:
    """Give back all that is held for a call; nothing, if that was done before."""
    with caps_lock:
        for block in blocks:
            block.give_back(call)


def end(blocks: Sequence[BlockFigures], call: int, cost: int) -> None:
    """Replace a hold by what the call cost (nano-USD): once, however often it is tried."""
    with caps_lock:
        for block in blocks:
            block.end(call, cost)
    wake(blocks)


def charge(blocks: Sequence[BlockFigures], call: int, usd: int) -> None:
    """Charge so much (nano-USD, or less than nothing) for a call beside what it holds."""
    with caps_lock:
        for block in blocks:
            block.charge(call, usd)


def count(blocks: Sequence[BlockFigures], *, clamped: int = 0, refused: int = 0) -> None:
    """Count a call's fate."""
    with caps_lock:
        for block in blocks:
            block.count(clamped=clamped, refused=refused)


def wake(blocks: Sequence[BlockFigures]) -> None:
    """Let those look again who wait for what these blocks hold."""
    if block_figures.cap_turns.queues:
        block_figures.cap_turns.freed([block.queue for block in blocks])
