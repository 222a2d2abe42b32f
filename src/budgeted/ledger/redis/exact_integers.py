"""What Lua counts exactly: it has doubles only. What is larger is refused before it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import USD, Amendment, LimitSpec, Slot
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
        if limit.amount + kept(limit) >= EXACT:
            raise too_large_limit(limit)


def kept(limit: LimitSpec | Slot) -> int:
    """What a limit may have besides its amount, of what the period before has left."""
    if isinstance(limit, LimitSpec):
        return limit.keep
    return limit.terms.keep - limit.terms.carried if limit.terms is not None else 0


def too_large_limit(limit: LimitSpec | Slot, *, is_raised: bool = False) -> LedgerError:
    """That a limit is too large to be counted; ``is_raised``: only with what was added to it for its period."""

    def written(amount: int) -> str:
        return format_usd(amount) if limit.unit == USD else str(amount)

    more = [f"{written(kept(limit))} that may be kept"] if kept(limit) else []
    more += ["what was added to it for this period"] if is_raised else []
    what = f"{written(limit.amount)}, with {' and '.join(more)}," if more else written(limit.amount)
    msg = f"a limit of {what} is too large for Redis, which counts exactly up to {written(EXACT - 1)}; write less"
    return LedgerError(msg)


def too_large_raise(change: Amendment) -> LedgerError:
    """That a limit would become too large to be counted."""
    limit, amount, _, _ = change.raised or ("", 0, 0, 0)
    msg = (
        f"the limit {limit!r} with {amount} more is too large for Redis, which counts exactly up to {EXACT - 1} "
        f"({format_usd(EXACT - 1)}); add less"
    )
    return LedgerError(msg)


def check_used(used: Used) -> None:
    """Refuse a charge that is too large to be counted."""
    if max(used.usd, used.input_tokens, used.output_tokens) >= EXACT:
        msg = f"a charge of {used} is too large for Redis, which counts exactly up to {format_usd(EXACT - 1)}"
        raise LedgerError(msg)
