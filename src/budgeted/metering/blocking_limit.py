"""What is in a call's way, and where: a limit in a ledger, or a block's cap."""

from __future__ import annotations

import msgspec

from budgeted.ledger.accounts import USD
from budgeted.ledger.admission import Refused
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.payers import block_figures
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Group, Payer


class Refusal(msgspec.Struct, frozen=True, eq=False):
    """What is in a call's way, and where.

    Args:
        refused: the limit that has no room.
        payer: whose limit it is.
        policy: what is to happen then.
        turns: where those stand in line who wait for it, in the queue that ``refused.account`` names.
        block: the block whose cap it is; None for a limit in the ledger.
    """

    refused: Refused
    payer: Payer
    policy: Policy
    turns: WaitQueues
    block: BlockFigures | None = None


def by_ledger(refused: Refused, group: Group) -> Refusal:
    """A limit in the ledger has no room."""
    return Refusal(refused, group.payer, group.policy_of(refused.account), group.payer.ledger.turns)


def by_cap(refused: Refused, block: BlockFigures) -> Refusal:
    """A block's cap has no room."""
    return Refusal(refused, block.payer, block.policy, block_figures.cap_turns, block)


def behind(account: str) -> Refused:
    """Others wait for this account: line up behind them."""
    return Refused(0, "", USD, 0, 0, 0, 0, 0, "held", account=account)
