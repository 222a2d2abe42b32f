"""What Lua counts exactly: it has doubles only. What is larger is refused before it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import USD, LimitSpec, Slot
from budgeted.ledger.admission import Ask
from budgeted.ledger.spending_records import Used
from budgeted.money import format_usd

EXACT = 2**53
"""Integers below this are exact in Lua. In nano-USD it is $9,007,199.25."""

PER_TOKEN = 2**43
"""Rates and output tokens below this leave room for a factor of 1000."""


def check_ask(ask: Ask) -> None:
    """Refuse a call that may cost more than can be counted, or whose price may."""
    most = ask.most
    if (
        ask.usd_rate < PER_TOKEN
        and most < PER_TOKEN
        and ask.least < PER_TOKEN
        and ask.floor < PER_TOKEN
        and ask.usd - (-ask.usd_rate * most // 1000) < EXACT
        and ask.tokens + ask.tokens_rate * most < EXACT
    ):
        return
    msg = (
        f"a call that may cost {format_usd(ask.usd_for(most))} and {ask.tokens_for(most)} tokens is too large for "
        f"Redis, which counts exactly up to {format_usd(EXACT - 1)}; cap its output, or correct its price"
    )
    raise LedgerError(msg)


def check_limits(limits: Sequence[LimitSpec | Slot]) -> None:
    """Refuse limits that are too large to be counted."""
    for limit in limits:
        if limit.amount >= EXACT:
            amount = format_usd(limit.amount) if limit.unit == USD else str(limit.amount)
            most = format_usd(EXACT - 1) if limit.unit == USD else str(EXACT - 1)
            msg = f"a limit of {amount} is too large for Redis, which counts exactly up to {most}; write less"
            raise LedgerError(msg)


def check_used(used: Used) -> None:
    """Refuse a charge that is too large to be counted."""
    if max(used.usd, used.input_tokens, used.output_tokens) >= EXACT:
        msg = f"a charge of {used} is too large for Redis, which counts exactly up to {format_usd(EXACT - 1)}"
        raise LedgerError(msg)
