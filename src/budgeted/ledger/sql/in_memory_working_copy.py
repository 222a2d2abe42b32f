"""A ledger in memory that decides about rows: made of the few that were locked and read, and asked what has changed.

So what all ledgers agree on is written once, in :mod:`budgeted.ledger.memory`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.memory.change_records import Change, Held, HeldInParts, Posted, Released, Settled
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.memory.snapshot import Saved
from budgeted.ledger.memory.state import State
from budgeted.ledger.spending_records import RollupRow, Used
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.driver_interface import Driver, StoredRow
from budgeted.ledger.wait_queues import WaitQueues

T = TypeVar("T")

_nobody = WaitQueues()


class Corrected(Posted, tag="c"):
    """A charge that replaced a figure which somebody was sure of: only such a one is put in the place of another."""


class Deciding(MemoryLedger):
    """A ledger in memory for one decision on a few accounts and holds."""

    def __init__(self, state: State) -> None:
        # Not the constructor of ledgers that live on: nobody waits for this one, or looks after it.
        self._state = state
        self._lock = threading.Lock()
        self._watched = True
        self._kept = self._synced_always = False
        self.turns = _nobody


class Scratch(Deciding):
    """One that knows what it was made of, and what of that has changed.

    Verbs decide one after the other, each on what those before it left. One that is refused, or raises, leaves nothing.

    Args:
        driver: the connection, in the transaction that all was read in.
        accounts: their rows, locked, each with the server's clock.
        holds: rows of holds, locked.

    Attributes:
        now: the server's clock, in unix seconds.
    """

    def __init__(self, driver: Driver, accounts: Iterable[StoredRow], holds: Iterable[StoredRow]) -> None:
        super().__init__(State())
        self.driver = driver
        self.now = 0.0
        self._accounts: dict[str, StoredRow] = {}
        self._found: dict[str, Held | Ended] = {}
        self._held: dict[str, int] = {}
        for row in accounts:
            self.now = row[-1]
            if not row_mapping.is_gone(row):
                account = row_mapping.account(row)
                self._state.accounts[account.id] = account
                self._accounts[account.id] = row
        self.add(holds)

    def add(self, holds: Iterable[StoredRow]) -> None:
        """Know these holds as well, such as the reservation that a call is made in."""
        state = self._state
        for row in holds:
            one = self._found[row_mapping.read(row[0])] = row_mapping.hold(row)
            if isinstance(one, Held):
                bound = state.bind(bytes(one.route))
                state.holds[one.id] = one, bound
                for name in bound.names:
                    self._held[name] = self._held.get(name, 0) + one.usd
            else:
                state.charges.put(one)

    @property
    def known(self) -> Mapping[str, Account]:
        """The accounts that are there."""
        return self._state.accounts

    def find(self, id: str) -> Held | Ended | None:
        """A hold as it is now, or what became of it."""
        entry = self._state.holds.get(id)
        return self._state.charges.get(id) if entry is None else entry[0]

    def payers(self, id: str) -> tuple[str, ...]:
        """The accounts that a hold is charged to."""
        one = self.find(id)
        return () if one is None else self._state.bind(bytes(one.route)).names

    def within(self, id: str) -> str:
        """The id of the reservation that a hold has drawn on, or ""."""
        one = self.find(id)
        return one.within if isinstance(one, HeldInParts) and one.within != one.id else ""

    def decide(self, id: str, verb: Callable[[Scratch], T]) -> tuple[T, Change | None]:
        """Have a verb decide about a hold. Returns its answer, and what happened to the hold."""
        before = self.find(id)
        result = verb(self)
        now = self.find(id)
        return result, None if now is before else _change(before, now)

    def changed_accounts(self, project: str) -> list[row_mapping.Row]:
        """The rows of the accounts that are not what they were."""
        state = self._state
        state.fold()
        held = state.held()  # of these holds alone: the accounts have others
        changed = []
        for name, row in self._accounts.items():
            account = state.accounts[name]
            account.held += held.get(name, 0) - self._held.get(name, 0)
            now = row_mapping.account_row(project, account)
            if not row_mapping.same(now, row):
                changed.append(now)
        return changed

    def changed_holds(self) -> list[tuple[Held | Ended | None, Held | Ended]]:
        """The holds that are not what they were: as they were found, and as they are."""
        state, charges = self._state, self._state.charges
        ids = {*self._found, *state.holds, *charges.uncertain, *charges.latest, *charges.before}
        pairs = [(self._found.get(id), self.find(id)) for id in sorted(ids)]
        return [(before, now) for before, now in pairs if now is not None and now is not before]

    def again(self, change: Held | Posted | Settled | Released) -> None:
        """Make a change that was made before, and is lost, unless it is known: what came of it later is left alone."""
        state, id = self._state, change.id
        ended = state.charges.get(id)
        if isinstance(change, Held):
            if not state.knows(id):
                self._do(change)
        elif isinstance(change, Released):
            if id in state.holds:
                self._do(change)
            elif ended is not None and ended.reason:  # others took this process for dead meanwhile
                self._do(Settled(id, ended.at, Used()))
        elif id in state.holds:
            self._do(Settled(id, change.at, change.used, change.reason))
        elif ended is None:
            if isinstance(change, Posted):
                self._do(Posted(id, change.at, change.used, change.route, change.reason))
        elif _is_sure(ended) and not isinstance(change, Corrected):
            pass  # others were faster: it has been corrected, or what is to come is a guess
        elif (ended.used, ended.reason) != (change.used, change.reason):
            self._do(Settled(id, change.at, change.used, change.reason))

    def charged(self) -> Iterable[RollupRow]:
        """What the report's rows get added."""
        return self._state.reports.since(0)


def _change(before: Held | Ended | None, now: Held | Ended | None) -> Change | None:
    """What happened to a hold, as others would have to be told of it."""
    if isinstance(now, Ended):
        if now.used is None:
            return Released(now.id)
        # By its route, so that it can be charged where the hold is not known.
        kind = Corrected if _is_sure(before) else Posted
        return kind(now.id, now.at, now.used, now.route, now.reason)
    return now


def _is_sure(one: Held | Ended | None) -> bool:
    """Whether it was charged, and somebody has confirmed that."""
    return isinstance(one, Ended) and one.used is not None and not one.reason


def state_of(
    version: int, accounts: Iterable[StoredRow], holds: Iterable[StoredRow], past: Iterable[StoredRow]
) -> State:
    """All that calls in flight and the past mean for an account's limits."""
    present = [row_mapping.account(row) for row in accounts if not row_mapping.is_gone(row)]
    in_flight = [one for row in holds if isinstance(one := row_mapping.hold(row), Held)]
    saved = Saved(version, present, in_flight, [], [], [], [row_mapping.report(row) for row in past])
    return State.decode(msgspec.json.encode(saved))
