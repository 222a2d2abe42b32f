"""What an SQL ledger does with a database that went back to an earlier state, or that lost what it had."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from budgeted.ledger.accounts import Account, LimitSpec
from budgeted.ledger.acknowledged_verbs import amended_back, written_back
from budgeted.ledger.memory.change_records import (
    Amended,
    Change,
    Deleted,
    Held,
    LimitsSet,
    PeriodsSet,
    Posted,
    Restored,
    WasReset,
)
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.network_ledger import RemoteLedger, Standing
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.account_transactions import AccountTransactions
from budgeted.ledger.sql.database import GoneError
from budgeted.ledger.sql.ended_ids import EndedIds
from budgeted.ledger.sql.in_memory_working_copy import Scratch
from budgeted.ledger.sql.opening import AnyDatabase
from budgeted.ledger.sql.row_locking import Verb


class LostState(RemoteLedger):
    """The part of :class:`~budgeted.ledger.sql.ledger.SQLLedger` that notices such a database, and makes it good."""

    _database: AnyDatabase
    _rows: AccountTransactions
    _old: EndedIds
    _project: str
    _identity: str
    _payers: dict[str, tuple[str, ...]]

    def _standing(self, deadline: float) -> Standing:
        try:
            return self._rows.look(deadline)
        except GoneError as error:
            return Standing(0, str(error))

    def _write_limits_back(self, deadline: float, *, gone: bool) -> int:
        if gone:
            self._identity = self._database.begin_anew(self._project, self._identity, deadline)
            self._rows.counts.identity = self._identity
        self._rows.skip_versions(deadline)
        lacking = self._rows.lacking(deadline, self._told.limits())
        for account in lacking:
            change = written_back(account)
            verb, since = functools.partial(set_limits, change, create=False), counted_from(change.limits)
            self._rows.reshape_again(deadline, account.id, since, verb, account.version)
            rest = functools.partial(amend_back, account)
            self._rows.reshape_again(deadline, account.id, None, rest, account.version)
        return len(lacking)

    def _do_again(self, change: Change, deadline: float) -> int:
        if isinstance(change, LimitsSet):
            verb = functools.partial(set_limits, change, create=False)
            return self._rows.reshape_again(deadline, change.account, counted_from(change.limits), verb)
        if isinstance(change, PeriodsSet):
            since = counted_from(change.limits)
            return self._rows.reshape_again(deadline, change.account, since, functools.partial(set_periods, change))
        if isinstance(change, Amended):
            return self._rows.reshape_again(deadline, change.account, None, functools.partial(amend, change))
        if isinstance(change, Deleted):
            return self._rows.reshape_again(deadline, change.account, None, functools.partial(delete, change))
        if isinstance(change, WasReset):
            account, at = change.account, change.at
            return self._rows.change_again(Verb("", (account,), lambda scratch: scratch.reset(account, at), deadline))
        if isinstance(change, Restored):
            return self._rows.restore_again(deadline, change)
        one, absent = change, set[str]()
        names = row_mapping.payers(one.route) if isinstance(one, Held | Posted) else self._payers.get(one.id, ())

        def again(scratch: Scratch) -> None:
            absent.update(name for name in names if name not in scratch.known)
            if not absent and (scratch.find(one.id) is not None or not self._old.knows(scratch.driver, one.id)):
                scratch.again(one)

        number = self._rows.change_again(Verb(one.id, names, again, deadline))
        while absent:  # of which no limits are known: or else it would be charged to nobody
            self._do_again(LimitsSet(absent.pop(), explicit=False, limits=()), deadline)
            if not absent:
                number = self._rows.change_again(Verb(one.id, names, again, deadline))
        return number


def set_limits(told: LimitsSet, ledger: MemoryLedger, *, create: bool) -> None:
    """Give an account the limits that it was told to have; ``create`` leaves an existing account alone."""
    ledger.set_limits(told.account, told.limits, explicit=told.explicit, create=create)


def set_periods(told: PeriodsSet, ledger: MemoryLedger) -> None:
    """Put limits of an account back into the periods that it was told to have."""
    ledger.set_periods(told.account, told.limits)


def amend(told: Amended, ledger: MemoryLedger) -> None:
    """Change what it was told that changes of an account."""
    ledger.amend(told.account, told.change)


def amend_back(known: Account, ledger: MemoryLedger) -> None:
    """Give an account what else was known of it than limits."""
    for one in amended_back(known, ledger.read(known.id)):
        amend(one, ledger)


def delete(told: Deleted, ledger: MemoryLedger) -> None:
    """Forget an account."""
    ledger.delete(told.account)


def counted_from(limits: Sequence[LimitSpec]) -> int | None:
    """The day from which on past charges count in one of these limits; None for none."""
    return min((spec.since for spec in limits if spec.since >= 0), default=None)
