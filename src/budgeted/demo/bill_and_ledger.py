"""Every call of the race, looked up in the provider's bill and in the ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from budgeted.demo.planned_calls import CALLS, EVERYBODY, LIMITS, STARTS, USERS, PlannedCall, Race
from budgeted.manager.budget_manager import BudgetManager
from budgeted.money import NANO, nano_usd
from budgeted.testing import Billed


class Column(msgspec.Struct):
    """What became of the calls of everybody, or of a user. Amounts are nano-USD.

    Attributes:
        limit: what may be spent; None for a user without a limit.
        calls: how many were planned.
        refused: how many were refused.
        sent: how many the provider billed.
        reported: what it billed for answers that said what they used.
        settled: the charges for these in the ledger.
        unreported: what it billed for the others, whose client had left or was killed.
        uncertain: the charges for these in the ledger.
        spent: all that the ledger has charged to the account.
        held: what it still holds there.
    """

    limit: int | None = None
    calls: int = 0
    refused: int = 0
    sent: int = 0
    reported: int = 0
    settled: int = 0
    unreported: int = 0
    uncertain: int = 0
    spent: int = 0
    held: int = 0

    @property
    def agrees(self) -> bool:
        """Whether all is as it is promised."""
        kept = self.limit is None or self.spent <= self.limit
        booked = self.spent == self.settled + self.uncertain and not self.held
        return kept and booked and self.reported == self.settled and self.unreported <= self.uncertain


class Comparison(msgspec.Struct):
    """The books of a race.

    Attributes:
        columns: by everybody and by user.
        wrong: calls that are not in the ledger as they are on the bill, in words.
    """

    columns: dict[str, Column]
    wrong: list[str]

    @property
    def good(self) -> bool:
        """Whether all is as it is promised, and the limit was put to a test."""
        everybody = self.columns[EVERYBODY]
        agree = all(column.agrees for column in self.columns.values())
        return agree and not self.wrong and bool(everybody.refused) and bool(everybody.uncertain)


def spent_by_bill(bill: Iterable[Billed], race: Race) -> dict[str, int]:
    """What the provider billed for the calls of everybody and of each user, in nano-USD."""
    found = dict.fromkeys((EVERYBODY, *USERS), 0)
    for billed in bill:
        call = race.call(int(str(billed.body["user"]).removeprefix("call-")))
        for payer in (EVERYBODY, call.user):
            found[payer] += billed.nano_usd
    return found


def compare(bill: Sequence[Billed], manager: BudgetManager, race: Race, refused: set[int]) -> Comparison:
    """Look every call up.

    Args:
        bill: the provider's.
        manager: of the budgets.
        race: whose calls they are.
        refused: those that a process was refused.
    """
    limits = {payer: nano_usd(limit, "limit", up=False) for payer, limit in LIMITS.items()}
    found = Comparison({payer: Column(limits.get(payer)) for payer in (EVERYBODY, *USERS)}, [])
    billed = {str(one.body["user"]): one for one in bill}
    unsure = {user for charge in manager.uncertain() for user in charge.users}
    names = {info.name for info in manager.accounts("call-", count=2 * STARTS * CALLS)}
    for number in range(STARTS * CALLS):
        call = race.call(number)
        spent = _nano(manager.balance(call.name).spent) if call.name in names else 0
        one = billed.get(call.name)
        for payer in (EVERYBODY, call.user):
            _enter(found.columns[payer], one, spent, refused=number in refused, unsure=call.name in unsure)
        wrong = _disagreement(call, one, spent, unsure=call.name in unsure)
        if wrong is not None:
            found.wrong.append(wrong)
    for payer, column in found.columns.items():
        balance = manager.balance(None if payer == EVERYBODY else payer)
        column.spent, column.held = _nano(balance.spent), _nano(balance.held)
    return found


def _enter(column: Column, billed: Billed | None, spent: int, *, refused: bool, unsure: bool) -> None:
    """Enter a call into a column."""
    column.calls += 1
    column.refused += refused
    cost = 0 if billed is None else billed.nano_usd
    column.sent += billed is not None
    if unsure:
        column.unreported += cost
        column.uncertain += spent
    else:
        column.reported += cost
        column.settled += spent


def _disagreement(call: PlannedCall, billed: Billed | None, spent: int, *, unsure: bool) -> str | None:
    """What is wrong about a call; None if nothing is."""
    cost = 0 if billed is None else billed.nano_usd
    if unsure:
        return f"{call.name}: billed {cost}, charged only {spent}" if spent < cost else None
    return None if spent == cost else f"{call.name}: billed {cost}, recorded {spent} nano-USD"


def _nano(usd: float) -> int:
    """Nano-USD: the public figures are floats, far finer than that at these sizes."""
    return math.floor(usd * NANO + 0.5)
