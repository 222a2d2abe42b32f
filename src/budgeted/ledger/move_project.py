"""Moving a project from one ledger to another: nothing lost, and checked."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import Slot, account_name
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.interface import Ledger, all_accounts
from budgeted.ledger.limit_conversion import counts, limit_of
from budgeted.ledger.memory.daily_rollups import shortened
from budgeted.ledger.spending_records import Charge, RollupRow
from budgeted.ledger.told_steps import Step, Tell, untold
from budgeted.ledger.whole_content import Content

T = TypeVar("T")
Reported = TypeVar("Reported", RollupRow, Charge)

BATCH = 500
"""Accounts, rows or charges that are handed over at a time."""

DAY_SECONDS = 86_400


def content(ledger: Ledger) -> Content:
    """Read a whole ledger, with names of models and providers that every ledger takes."""
    found = ledger.everything()
    found.rows = list(map(_named, found.rows))
    found.charges = list(map(_named, found.charges))
    found.sort()
    return found


def _named(one: Reported) -> Reported:
    return msgspec.structs.replace(one, provider=shortened(one.provider), model=shortened(one.model))


def is_empty(ledger: Ledger) -> bool:
    """Whether nothing is known there: no limit, no charge."""
    return not (ledger.accounts(count=1) or ledger.open_holds() or ledger.rollups() or ledger.uncertain())


def migrate(source: Ledger, target: Ledger, *, overwrite: bool = False, step: Step = untold) -> Content:
    """Copy accounts, limits with their spend, report rows and uncertain charges, and check that they are equal.

    Who makes calls must be stopped before: calls in flight are refused. Holds of processes that died are charged first,
    as ever. Nothing of the source is changed. Repeating it after it was interrupted is safe.

    Args:
        source: where from.
        target: where to. What it has of the same names is replaced.
        overwrite: True to go on where the target is in use already.
        step: entered around each step.

    Returns:
        What both have now.

    Raises:
        LedgerError: calls are in flight, the target is in use, or the source was changed meanwhile.
    """
    with step("reading"):
        source.sweep()
        _refuse_in_flight(source)
        taken = content(source)
    if not overwrite:
        with step("looking at what is there"):
            refuse_used(target, taken)
    with step("copying", taken.size, changes=True) as tell:
        hand_over(taken, target, tell)
    # Read again: whoever made calls in spite of all is noticed here.
    with step("comparing", 2 * taken.size) as tell:
        again = f"{source!r} was changed meanwhile: stop what uses it, then migrate again"
        compare(taken, content(source), again, tell=tell)
        compare(taken, content(target), f"{target!r} did not take everything over", extra=overwrite, tell=tell)
    return taken


def _refuse_in_flight(source: Ledger) -> None:
    in_flight = len(source.open_holds())
    if in_flight:
        msg = (
            f"{in_flight} calls are in flight in {source!r}; stop what makes them and try again. Those of killed "
            f"processes are charged when their lease runs out"
        )
        raise LedgerError(msg)


def hand_over(taken: Content, target: Ledger, tell: Tell = lambda _: None) -> None:
    """Have a ledger take over accounts, the report's rows and uncertain charges, as they are; nothing is counted.

    Args:
        taken: what is handed over.
        target: the ledger.
        tell: told how many have been.
    """
    # In batches: what is handed over at once is written under one lock, or in one transaction.
    for accounts in _batches(taken.accounts):
        target.restore(accounts, (), ())
        tell(len(accounts))
    for rows in _batches(taken.rows):
        target.restore((), rows, ())
        tell(len(rows))
    routes = _Routes(taken)
    for charges in _batches([(charge, routes.of(charge)) for charge in taken.charges]):
        target.restore((), (), charges)
        tell(len(charges))


def refuse_used(target: Ledger, taken: Content) -> None:
    """Refuse a ledger that is in use: it may hold what an interrupted migration left, and nothing else.

    Raises:
        LedgerError: it holds something else; the text names an account.
    """
    known = {account.id: account for account in taken.accounts}
    for account in all_accounts(target):
        used = account.usd or account.held or account.calls or (account.explicit and account.id not in known)
        mine = known.get(account.id)
        if used and (mine is None or (mine.usd, mine.calls) != (account.usd, account.calls)):
            msg = (
                f"{target!r} is in use: {account_name(account.id)!r} has limits or charges there that are not those of "
                f"the source; name another project, or replace what it has of the same names with --overwrite"
            )
            raise LedgerError(msg)


class _Routes:
    """Where charges were counted, so that later corrections are counted there too."""

    def __init__(self, taken: Content) -> None:
        charged = {name for charge in taken.charges for name in charge.accounts}
        self._slots = {account.id: account.slots for account in taken.accounts if account.id in charged}
        self._days: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for row in taken.rows:
            if row.account in charged:
                self._days[row.account, row.provider, row.model].append(row.day)

    def of(self, charge: Charge) -> Route:
        slots = {name: self._slots.get(name, ()) for name in charge.accounts}  # one may be deleted since
        legs = [
            Leg(name, tuple((slot.limit, slot.start, slot.end) for slot in slots[name] if _counted(slot, charge)))
            for name in charge.accounts
        ]
        model = charge.provider, charge.model
        days = [day for name in charge.accounts for day in self._days.get((name, *model), ())]
        opened = charge.opened // DAY_SECONDS
        day = min(days, key=lambda one: abs(one - opened), default=opened)
        return Route.make(legs, [1] * len(legs), day, *model)


def _counted(slot: Slot, charge: Charge) -> bool:
    if not slot.start <= charge.opened < slot.end:
        return False
    try:
        return counts(limit_of(slot), charge.provider, charge.model)
    except ValueError:  # a limit that some other client named
        return True


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))


def compare(one: Content, other: Content, problem: str, *, extra: bool = False, tell: Tell = lambda _: None) -> None:
    """Raise if what two ledgers have is not equal.

    Args:
        one: what one of them has.
        other: what the other has.
        problem: what the error says before it names what differs.
        extra: whether the other may have more.
        tell: told of each that was compared.

    Raises:
        LedgerError: they differ.
    """
    mine, theirs = list(one.comparable()), list(other.comparable())
    if extra:
        wanted = {name for name, _ in mine}
        theirs = [(name, what) for name, what in theirs if name in wanted]
    for left, right in itertools.zip_longest(mine, theirs):
        if left != right:
            name = (left or right)[0]
            msg = f"{problem} ({name} differs)"
            raise LedgerError(msg)
        tell(1)
