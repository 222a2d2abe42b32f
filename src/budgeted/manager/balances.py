"""What an account has, as people read it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from budgeted.html_tables import Bar, Cell, amount, table
from budgeted.ledger.accounts import Account, Slot
from budgeted.ledger.limit_conversion import limit_of, present, resets_at
from budgeted.limits.periods import NEVER, local_time
from budgeted.money import to_usd
from budgeted.telemetry.forecast import Recent, exhausted_at


@dataclass(frozen=True, slots=True)
class Balance:
    """One limit of an account, now. Amounts are USD for a USD limit, else in its unit.

    Attributes:
        limit: what may be spent in the current period, with what it has besides the limit's own amount; None for an
            account without a limit.
        spent: charged in the current period; of a rolling limit, what still counts.
        held: set aside for calls in flight.
        remaining: what is left, never negative; None without a limit.
        period_start: when the current period began, or None for a limit for ever and a rolling one.
        resets_at: when it ends, or of a rolling limit the oldest charge stops counting; or None.
        uncertain: of ``spent``, what nobody has confirmed (USD).
        unit: ``"usd"``, ``"tokens"``, ``"calls"``, ``"input tokens"``, ``"output tokens"`` or ``"tool calls"``.
        text: the limit as it was stated, such as ``"$10/day"``.
        exhausted_at: when the limit is reached if spending goes on as it does: at the average rate since the period
            began (over at least a 24th of it), or for a limit for ever of the last seven days. None if it resets
            before that, or nothing is being spent.
    """

    limit: float | None
    spent: float
    held: float
    remaining: float | None
    period_start: dt.datetime | None = None
    resets_at: dt.datetime | None = None
    uncertain: float = 0.0
    unit: str = "usd"
    text: str = ""
    exhausted_at: dt.datetime | None = field(default=None, compare=False)  # another one a moment later

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return Balances([self])._repr_html_()


class Balances(list[Balance]):
    """The balances of one account: a list that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        head = ("limit", "", "spent", "held", "left", "resets at")
        return table("Balance" if len(self) == 1 else "Balances", head, map(_cells, self))


def _cells(balance: Balance) -> tuple[Cell, ...]:
    figures = (amount(figure, balance.unit) for figure in (balance.spent, balance.held, balance.remaining))
    resets_at = "-" if balance.resets_at is None else balance.resets_at.isoformat(" ", "minutes")
    return balance.text or "none", Bar(balance.spent, balance.held, balance.limit), *figures, resets_at


@dataclass(frozen=True, slots=True)
class UncertainCharge:
    """A charge that nobody confirmed, until :meth:`BudgetManager.reconcile` or a late answer replaces it.

    Attributes:
        id: for ``reconcile``.
        users: the users it was charged to.
        model, provider: what was called.
        cost: USD charged for now.
        held: USD that were set aside for the call: it cannot have cost more, as far as the request was bounded.
        reason: why it is not known.
        at: when it was charged.
    """

    id: str
    users: tuple[str, ...]
    model: str
    provider: str
    cost: float
    held: float
    reason: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class UncertainPage:
    """Some of the charges that nobody confirmed.

    Attributes:
        count: how many there are in all.
        cost: USD that all of them are charged for now.
        charges: the ones that were asked for, the oldest first.
    """

    count: int
    cost: float
    charges: tuple[UncertainCharge, ...]


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """An account in a listing.

    Attributes:
        name: as people know it.
        kind: ``"global"``, ``"user"``, ``"tag"`` or ``"block"``.
        balances: of each limit.
        stopped: why nothing may be spent for the time being, or "".
        team: the name of the account that pays whatever this one pays, or None.
        spent: USD charged in all since the last reset.
    """

    name: str
    kind: str
    balances: tuple[Balance, ...]
    stopped: str = ""
    team: str | None = None
    spent: float = 0.0


def of_slot(
    slot: Slot, at: float, tz: dt.tzinfo, uncertain: Mapping[str, int], recent: Recent | None = None
) -> Balance:
    """The balance of one limit.

    Args:
        slot: the limit's running numbers.
        at: now, in unix seconds.
        tz: the time zone whose calendar counts.
        uncertain: what nobody has confirmed of the account's calls in the present period: nano-USD by model.
        recent: what the account was charged lately.
    """
    limit, now = limit_of(slot), present(slot, at, tz)
    usd = limit.unit == "usd"
    amounts = (now.amount, now.spent, now.held, max(0, now.amount - now.spent - now.held))
    whole, spent, held, left = map(to_usd, amounts) if usd else amounts
    guessed = sum(nano for model, nano in uncertain.items() if limit.matches(model))
    ends = resets_at(now, at)
    return Balance(
        limit=whole,
        spent=spent,
        held=held,
        remaining=left,
        period_start=None if now.end >= NEVER else local_time(now.start, tz),
        resets_at=None if ends is None else local_time(ends, tz),
        uncertain=to_usd(min(guessed, now.spent) if usd else guessed),
        unit=limit.unit,
        text=str(limit),
        exhausted_at=exhausted_at(slot, at, tz, recent),
    )


def in_the_future(slot: Slot, tz: dt.tzinfo) -> str:
    """That a limit's period has not come yet, and what to do about it."""
    begins, ends = (local_time(at, tz).isoformat(" ", "minutes") for at in (slot.start, slot.end))
    return (
        f"{limit_of(slot)} is in a period that begins on {begins}, since a clock was wrong: it "
        f"counts in that one until {ends}. `budgeted repair --period` brings it back into the present one"
    )


def unlimited(account: Account | None, guessed: int) -> Balance:
    """The balance of an account without a USD limit, and with so many nano-USD that nobody confirmed."""
    if account is None:
        return Balance(None, 0.0, 0.0, None)
    return Balance(None, to_usd(account.usd), to_usd(account.held), None, uncertain=to_usd(min(guessed, account.usd)))
