"""A ledger in memory that decides about rows: made of the few that were locked and read, and asked what has changed.

So what all ledgers agree on is written once, in :mod:`budgeted.ledger.memory`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.memory.change_records import Change, Held, HeldInParts, Posted, Released, Settled, is_reservation
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.memory.snapshot import Saved
from budgeted.ledger.memory.state import State
from budgeted.ledger.spending_records import RollupRow, Used
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.driver_interface import Driver, StoredRow
from budgeted.ledger.wait_queues import WaitQueues

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

    Attributes:
        driver: the connection, in the transaction that it was read in.
        found: the hold, as it was found.
        payers: the accounts that the hold is charged to.
        now: the server's clock, in unix seconds.
    """

    def __init__(self, driver: Driver, id: str, accounts: Iterable[StoredRow], holds: Iterable[StoredRow]) -> None:
        super().__init__(State())
        self.driver = driver
        state = self._state
        self.now = 0.0
        self._id = id
        self._accounts = {}
        for row in accounts:
            self.now = row[-1]
            if not row_mapping.is_gone(row):
                account = row_mapping.account(row)
                state.accounts[account.id] = account
                self._accounts[account.id] = row
        self.found: Held | Ended | None = None
        self.payers: tuple[str, ...] = ()
        for row in holds:
            one = self.found = row_mapping.hold(row)
            bound = state.bind(bytes(one.route))
            self.payers = bound.names
            if isinstance(one, Held):
                state.holds[one.id] = one, bound
            else:
                state.charges.put(one)
        self._around: Held | None = None
        self._around_names: tuple[str, ...] = ()

    @property
    def within(self) -> str:
        """The id of the reservation that the hold has drawn on, or ""."""
        one = self.found
        return one.within if isinstance(one, HeldInParts) and one.within != one.id else ""

    def add_reservation(self, holds: Iterable[StoredRow]) -> None:
        """Know the reservation that a call is made in, if it is open."""
        for row in holds:
            one = row_mapping.hold(row)
            if is_reservation(one) and isinstance(one, Held):
                bound = self._state.bind(bytes(one.route))
                self._around, self._around_names = one, bound.names
                self._state.holds[one.id] = one, bound

    @property
    def known(self) -> Mapping[str, Account]:
        """The accounts that are there."""
        return self._state.accounts

    def changed_accounts(self, project: str) -> list[row_mapping.Row]:
        """The rows of the accounts that are not what they were."""
        self._state.fold()
        held = self._state.held()  # of this hold alone: the accounts have others
        before = self.found.usd if isinstance(self.found, Held) else 0
        around = 0 if self._around is None else self._around.usd
        for name, account in self.known.items():
            account.held += held.get(name, 0)
            account.held -= (before if name in self.payers else 0) + (around if name in self._around_names else 0)
        now = [(row_mapping.account_row(project, self.known[name]), row) for name, row in self._accounts.items()]
        return [row for row, old in now if not row_mapping.same(row, old)]

    def changed_hold(self) -> Held | Ended | None:
        """The hold, if it is not what it was."""
        state = self._state
        one = state.holds[self._id][0] if self._id in state.holds else state.charges.get(self._id)
        return None if one is self.found else one

    def changed_reservation(self) -> Held | None:
        """The reservation that was drawn on, if it is not what it was."""
        if self._around is None:
            return None
        one, _ = self._state.holds[self._around.id]
        return None if one is self._around else one

    def change(self) -> Change | None:
        """What happened to the hold, as others would have to be told of it."""
        one = self.changed_hold()
        if isinstance(one, Ended):
            if one.used is None:
                return Released(one.id)
            # By its route, so that it can be charged where the hold is not known.
            kind = Corrected if _is_sure(self.found) else Posted
            return kind(one.id, one.at, one.used, one.route, one.reason)
        return one

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
