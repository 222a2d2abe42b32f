"""What is in a call's way, and where: a limit in a ledger, or a block's cap."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable

import msgspec

from budgeted.errors import BudgetExceededError, Parts, made_later
from budgeted.ledger.accounts import CALLS, USD, account_kind, account_name
from budgeted.ledger.admission import Refused
from budgeted.ledger.limit_conversion import unit_of
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.limits.periods import NEVER, local_time
from budgeted.payers import block_figures
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Group, Payer
from budgeted.telemetry import events

RETRY_SECONDS = 1.0
"""Seconds after which to try again, where only calls in flight are in the way."""

REPEATED = "repeated"
"""The reason of a refusal by a block's ``repeat_limit``, against which neither waiting nor a fallback helps."""


class Refusal(msgspec.Struct, frozen=True, eq=False):
    """What is in a call's way, and where.

    Args:
        refused: the limit that has no room.
        payer: whose limit it is.
        policy: what is to happen then.
        turns: where those stand in line who wait for it, in the queue that ``refused.account`` names.
        block: the block whose cap it is; None for a limit in the ledger.
        news: False where the log has told of it already.
    """

    refused: Refused
    payer: Payer
    policy: Policy
    turns: WaitQueues
    block: BlockFigures | None = None
    news: bool = True

    @property
    def kind(self) -> str:
        """The kind of the account whose limit it is: ``"global"``, ``"user"``, ``"tag"`` or ``"block"``."""
        return account_kind(self.refused.account) if self.block is None else "block"

    @property
    def name(self) -> str:
        """The account's name, as people know it."""
        return account_name(self.refused.account) if self.block is None else self.block.name


def by_ledger(refused: Refused, group: Group) -> Refusal:
    """A limit in the ledger has no room."""
    return Refusal(refused, group.payer, group.policy_of(refused.account), group.payer.ledger.turns)


def by_cap(refused: Refused, block: BlockFigures, *, news: bool = True) -> Refusal:
    """A block's cap has no room, or lets a request through no more often."""
    return Refusal(refused, block.payer, block.policy, block_figures.cap_turns, block, news)


def repeated(times: int, queue: str) -> Refused:
    """A request was made so often already, which is as often as a block allows."""
    return Refused(0, "", CALLS, times, times, 0, 1, 0, REPEATED, account=queue)


def behind(account: str) -> Refused:
    """Others wait for this account: line up behind them."""
    return Refused(0, "", USD, 0, 0, 0, 0, 0, "held", account=account)


def error_of(
    refusal: Refusal, *, model: str | None = None, max_output_tokens: int | None = None, asked: str = ""
) -> BudgetExceededError:
    """The error that tells of a refusal.

    Args:
        refusal: what is in the way.
        model: the model that was asked for.
        max_output_tokens: the largest output cap that would have fitted.
        asked: what needs so much, if it is no call.
    """
    return made_later(parts_of(refusal, refusal.kind, refusal.payer.clock(), model, max_output_tokens, asked))


def parts_of(
    refusal: Refusal, kind: str, now: float, model: str | None, max_output_tokens: int | None, asked: str = ""
) -> Callable[[], Parts]:
    """What works out the parts of the error that tells of a refusal, with what nobody knows any more by then.

    Args:
        refusal: what is in the way.
        kind: the kind of its account.
        now: unix seconds.
        model: the model that was asked for.
        max_output_tokens: the largest output cap that would have fitted.
        asked: what needs so much, if it is no call.
    """
    refused, payer = refusal.refused, refusal.payer
    name = refusal.name
    limit = f"repeat_limit={refused.amount}" if refused.reason == REPEATED else payer.limit_text(refused)
    known_as = events.known_as(payer, name, kind)
    return functools.partial(
        _parts,
        refused,
        payer.timezone,
        now,
        account=name,
        account_kind=kind,
        limit=limit,
        model=model,
        max_output_tokens=max_output_tokens,
        known_as=known_as,
        asked=asked,
    )


def _parts(
    refused: Refused,
    timezone: dt.tzinfo,
    now: float,
    *,
    account: str,
    account_kind: str,
    limit: str,
    model: str | None,
    max_output_tokens: int | None,
    known_as: str,
    asked: str,
) -> Parts:
    ends = 0 < refused.end < NEVER
    seconds = max(0.0, refused.end - now) if ends else None
    return {
        "account": account,
        "account_kind": account_kind,
        "limit": limit,
        "unit": unit_of(refused.limit, refused.unit),
        "amount": refused.amount,
        "spent": refused.spent,
        "held": refused.held,
        "requested": refused.requested,
        "reason": refused.reason,
        "retry_after": RETRY_SECONDS if refused.reason == "held" else seconds,
        "resets_at": local_time(refused.end, timezone) if ends else None,
        "model": model,
        "max_output_tokens": max_output_tokens,
        "known_as": known_as,
        "asked": asked,
    }
