"""What calls cost, as ledgers keep it: charges, and their sums per account, day, provider and model."""

from __future__ import annotations

import msgspec

from budgeted.ledger.accounts import Count


class Used(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a call really used, or several that are charged as one.

    Args:
        usd: nano-USD.
        input_tokens: tokens sent.
        output_tokens: tokens received.
        calls: how many calls it was.
    """

    usd: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    calls: Count = 1


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What became of a hold. With a ``reason`` it is uncertain: nobody has confirmed it.

    Args:
        id: of the hold.
        opened: when it was held, in unix seconds.
        at: when it was charged, in unix seconds.
        accounts: the ids of those that paid.
        provider: as genai-prices names it.
        model: that was asked for.
        used: what was charged.
        held: nano-USD that were set aside.
        reason: why the figure is uncertain; "" where it is known.
    """

    id: str
    opened: int
    at: int
    accounts: tuple[str, ...]
    provider: str
    model: str
    used: Used
    held: int
    reason: str


class UncertainPage(msgspec.Struct, frozen=True, array_like=True):
    """Some of the charges that nobody confirmed.

    Args:
        count: how many there are in all.
        usd: nano-USD that all of them are.
        charges: the ones that were asked for, the oldest first.
    """

    count: int
    usd: int
    charges: list[Charge]


class RollupRow(msgspec.Struct, array_like=True, gc=False):
    """What an account was charged for one model on one day.

    Args:
        day: days since 1970-01-01, in the manager's time zone.
        account: its id.
        provider: as genai-prices names it.
        model: that was asked for.
        calls: how many there were.
        usd: nano-USD.
        input_tokens: tokens sent.
        output_tokens: tokens received.
        uncertain: of ``usd``, what nobody has confirmed, in nano-USD.
    """

    day: int
    account: str
    provider: str
    model: str
    calls: int = 0
    usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncertain: int = 0
