"""Transactions on the rows of a project: lock, read, have a ledger in memory decide, write what has changed, commit.

Accounts are locked in the order of their ids, so that no two transactions wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.acknowledged_verbs import WentBackError
from budgeted.ledger.combined_calls import Combiner, NotSentError
from budgeted.ledger.memory.change_records import Change, Held
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.changed_rows import ChangedRows, changed_rows
from budgeted.ledger.sql.database import BusyError
from budgeted.ledger.sql.driver_interface import Cursor, Driver, Given, StoredRow, Value
from budgeted.ledger.sql.in_memory_working_copy import Scratch
from budgeted.ledger.sql.opening import AnyDatabase
from budgeted.ledger.sql.statements import Query
from budgeted.ledger.sql.uncertain_sums import UncertainSums
from budgeted.ledger.sql.verb_counts import Done, VerbCounts

T = TypeVar("T")

MOST_TOGETHER = 64
"""Verbs that are done in one transaction: other processes wait for their accounts meanwhile."""


class Verb(NamedTuple, Generic[T]):
    """What decides about a hold (``""`` for none) and accounts.

    Attributes:
        id: the hold's.
        names: the accounts'.
        decide: what decides.
        deadline: by ``time.monotonic()``.
        told: what it does, where that is not to be seen by the hold.
        within: the id of the reservation that the call is made in, or "".
    """

    id: str
    names: Collection[str]
    decide: Callable[[Scratch], T]
    deadline: float
    told: Change | None = None
    within: str = ""


class Transactions:
    """The transactions on a project's rows: what is decided about is locked and read, and what has changed, written.

    Args:
        database: where the rows are.
        project: the project's name as it is stored.
    """

    def __init__(self, database: AnyDatabase, project: str) -> None:
        self._database = database
        self._sql = database.statements
        self._project = project
        self.doubts = UncertainSums(self._sql, project)
        self._errors: tuple[type[Exception], ...] = (*database.errors, WentBackError, LedgerError)
        # Only one thread at a time uses a file; what is spared with a server is round trips and commits.
        self._together: Combiner[Verb[Any], Any] | None = (
            Combiner(self.change_together, MOST_TOGETHER, errors=self._errors) if database.remote else None
        )
        self.counts: VerbCounts
        """Those of this process's verbs."""

    def find(self, deadline: float, statement: str, given: Mapping[str, Given]) -> list[StoredRow]:
        """The rows of one query, of this project."""
        of_project = {**given, "project_": self._project}

        def query(driver: Driver) -> list[StoredRow]:
            return list(driver.execute(statement, of_project).fetchall())

        return self._database.run(query, deadline, alone=True)

    def find_at_one_instant(self, deadline: float, *queries: tuple[str, Mapping[str, Value]]) -> list[list[StoredRow]]:
        """The rows of several queries, of this project, which all see the same; nobody waits for it."""
        project = {"project_": self._project}

        def work(driver: Driver) -> list[list[StoredRow]]:
            driver.execute(self._database.begin_reading)
            found = [driver.execute(statement, {**given, **project}).fetchall() for statement, given in queries]
            driver.execute("COMMIT")
            return found

        return self._database.run(work, deadline, alone=True)

    def find_checked(self, deadline: float, statement: str, given: Mapping[str, Given]) -> list[StoredRow]:
        """As :meth:`find`, of a database that is in the state that it acknowledged.

        Raises:
            WentBackError: it is not.
        """
        of_project = {**given, "project_": self._project}

        def query(driver: Driver) -> list[StoredRow]:
            before = self.counts.told.sent()
            rows, standing = driver.execute(statement, of_project), self.counts.ask(driver)
            found = list(rows.fetchall())
            self.counts.checked(standing.fetchall(), before)
            return found

        # Without a transaction: in SQLite that would wait for whoever writes.
        return self._database.run(query, deadline, alone=True)

    def do(self, deadline: float, statement: str, given: Mapping[str, Value]) -> None:
        """Run one statement that changes rows."""
        self._database.run(lambda driver: driver.execute(statement, given), deadline, alone=True)

    def change(self, verb: Verb[T]) -> T:
        """Have a verb decide about a hold and accounts: at once, or with those that come while others do.

        A hold's own accounts are locked, too: where it turns out to have others, all is locked again.

        Raises:
            WentBackError: the database is not in the state that it acknowledged; nothing was done.
        """
        if self._together is None:
            [found] = self.change_together((verb,))
            if isinstance(found, Exception):
                raise found
            return found
        while True:
            try:
                answer: T = self._together.call(verb, verb.deadline)
            except NotSentError:
                msg = "with other calls of this process"
                raise BusyError(msg) from None
            except TimeoutError:
                if time.monotonic() >= verb.deadline:
                    raise
                # That of another verb, which it went with, came before its own. Doing it twice changes nothing.
            else:
                return answer

    def change_together(self, verbs: Sequence[Verb[T]]) -> list[T | Exception]:
        """Have verbs decide one after the other, in one transaction. Returns what each came to.

        Raises:
            WentBackError: as :meth:`change`.
        """
        try:
            answers, done = self._change(verbs, again=False)
        except self._errors as error:
            if len(verbs) == 1 or not self._database.is_of_rows(error):
                raise
            return list(map(self._alone, verbs))
        for one in done:
            one.note(self.counts.told)
        return answers

    def _alone(self, verb: Verb[T]) -> T | Exception:
        """What a verb comes to in a transaction of its own: rows that it may have nothing to do with are in the way."""
        try:
            [answer] = self.change_together((verb,))
        except self._errors as error:
            return error
        return answer

    def change_again(self, verb: Verb[object]) -> int:
        """As :meth:`change`, of what was done before, and is lost. Returns the number that it gets."""
        [answer], done = self._change((verb,), again=True)
        if isinstance(answer, Exception):
            raise answer
        return done[0].number() if done else 0

    def _change(self, verbs: Sequence[Verb[T]], *, again: bool) -> tuple[list[T | Exception], list[Done]]:
        wanted = {name for verb in verbs for name in verb.names}
        for _ in range(2):
            done = self._database.run(
                lambda driver: self._decide(driver, verbs, wanted, again=again), verbs[0].deadline
            )
            if done is not None:
                return done
        ids = ", ".join(repr(verb.id) for verb in verbs)
        msg = f"hold {ids} is charged to other accounts every time that it is looked at"
        raise LedgerUnavailableError(msg)

    def _decide(
        self, driver: Driver, verbs: Sequence[Verb[T]], wanted: set[str], *, again: bool
    ) -> tuple[list[T | Exception], list[Done]] | None:
        """What verbs come to; None where they need more accounts than the wanted ones, which are added to these."""
        before = self.counts.told.sent()
        scratch, found = self._load(driver, [verb.id for verb in verbs if verb.id], wanted)
        number = self.counts.checked(found, before, again=again)
        payers = {name for verb in verbs for name in scratch.payers(verb.id)}
        if not payers <= wanted:
            # From the beginning: to lock more on top of these would break the order of locking.
            wanted.update(payers)
            driver.rollback()
            return None
        scratch.add(self._reservations(driver, verbs, scratch))
        answers, changes = _decided(verbs, scratch)
        holds = scratch.changed_holds()
        rows = changed_rows(self._project, scratch.changed_accounts(self._project), holds, scratch.charged())
        if not (rows.accounts or holds or again):
            driver.rollback()
            return answers, []
        changes = changes or [None]
        room = any(not isinstance(change, Held) for change in changes)
        counted = self._save(driver, rows, holds, self.counts.counting(number, len(changes), room=room))
        last = self.counts.last(counted, number + len(changes))
        return answers, [Done(before, last, one, behind=len(changes) - n) for n, one in enumerate(changes, 1)]

    def check(self, deadline: float) -> None:
        """See whether the database counts what it has acknowledged.

        Raises:
            WentBackError: it does not.
        """
        before = self.counts.told.sent()
        found = self._database.run(lambda driver: self.counts.ask(driver).fetchall(), deadline)
        self.counts.checked(found, before)

    def _load(self, driver: Driver, ids: Collection[str], names: Collection[str]) -> tuple[Scratch, list[StoredRow]]:
        """Lock and read accounts and holds, and ask where this owner stands."""
        accounts = holds = None
        if names:
            accounts = self._ask(driver, *self._sql.lock_accounts(list(map(row_mapping.written, names))))
        # Sent without waiting for the accounts: all are answered in one round trip.
        if ids:
            holds = self._ask(driver, *self._sql.lock_holds(list(map(row_mapping.written, ids))))
        standing = self.counts.ask(driver)
        self._database.answered(driver)
        scratch = Scratch(driver, accounts.fetchall() if accounts else (), holds.fetchall() if holds else ())
        return scratch, standing.fetchall()

    def _reservations(self, driver: Driver, verbs: Sequence[Verb[T]], scratch: Scratch) -> list[StoredRow]:
        """The rows of the reservations that calls are made in, whose accounts are locked."""
        ids = {around for verb in verbs if (around := verb.within or scratch.within(verb.id)) != verb.id}
        wanted = [row_mapping.written(id) for id in ids if id and scratch.find(id) is None]
        return list(self._ask(driver, *self._sql.lock_holds(wanted)).fetchall()) if wanted else []

    def _ask(self, driver: Driver, statement: str, given: Mapping[str, Given]) -> Cursor:
        return driver.execute(statement, {**given, "project_": self._project})

    def _save(
        self,
        driver: Driver,
        rows: ChangedRows,
        holds: Sequence[tuple[Held | Ended | None, Held | Ended]],
        counting: Query,
    ) -> Cursor:
        """Write what has changed, and count the verbs that did it."""
        for before, now in holds:
            self.doubts.replace(driver, before, now)
        return self._database.write_and_count(driver, rows, counting)


def _decided(verbs: Sequence[Verb[T]], scratch: Scratch) -> tuple[list[T | Exception], list[Change | None]]:
    """What verbs come to, one after the other, and what those changed that changed something."""
    answers: list[T | Exception] = []
    changes: list[Change | None] = []
    for verb in verbs:
        try:
            answer, change = scratch.decide(verb.id, verb.decide)
        except LedgerError as error:  # its own, such as of an id that was used before
            answers.append(error)
            continue
        answers.append(answer)
        if change is not None or verb.told is not None:
            changes.append(change or verb.told)
    return answers, changes
