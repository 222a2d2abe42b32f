"""Transactions on the rows of a project: lock, read, have a ledger in memory decide, write what has changed, commit.

Accounts are locked in the order of their ids, so that no two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from budgeted.errors import LedgerUnavailableError
from budgeted.ledger.memory.change_records import Change
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.driver_interface import Driver, StoredRow, Value
from budgeted.ledger.sql.in_memory_working_copy import Scratch
from budgeted.ledger.sql.opening import AnyDatabase
from budgeted.ledger.sql.statements import CHANGING, DRAWN
from budgeted.ledger.sql.uncertain_sums import UncertainSums
from budgeted.ledger.sql.verb_counts import Done, VerbCounts

T = TypeVar("T")


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
        self.counts: VerbCounts
        """Those of this process's verbs."""

    def find(self, deadline: float, statement: str, given: Mapping[str, Value]) -> list[StoredRow]:
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

    def find_checked(self, deadline: float, statement: str, given: Mapping[str, Value]) -> list[StoredRow]:
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

    def change(
        self,
        deadline: float,
        id: str,
        names: Collection[str],
        verb: Callable[[Scratch], T],
        told: Change | None = None,
        within: str = "",
    ) -> T:
        """Have a verb decide about a hold (``""`` for none) and accounts.

        The hold's own accounts are locked, too: where it turns out to have others, all is locked again.

        Args:
            deadline: by ``time.monotonic()``.
            id: the hold's.
            names: accounts.
            verb: what decides.
            told: what it does, where that is not to be seen by the hold.
            within: the id of the reservation that the call is made in, or "".

        Raises:
            WentBackError: the database is not in the state that it acknowledged; nothing was done.
        """
        result, done = self._change(deadline, id, names, verb, told, again=False, within=within)
        if done is not None:
            done.note(self.counts.told)
        return result

    def change_again(self, deadline: float, id: str, names: Collection[str], verb: Callable[[Scratch], object]) -> int:
        """As :meth:`change`, of what was done before, and is lost. Returns the number that it gets."""
        _, done = self._change(deadline, id, names, verb, None, again=True)
        return done.number() if done else 0

    def _change(
        self,
        deadline: float,
        id: str,
        names: Collection[str],
        verb: Callable[[Scratch], T],
        told: Change | None,
        *,
        again: bool,
        within: str = "",
    ) -> tuple[T, Done | None]:
        wanted = set(names)

        def work(driver: Driver) -> tuple[T, Done | None] | None:
            before = self.counts.told.sent()
            scratch, found = self._load(driver, id, wanted)
            verbs = self.counts.checked(found, before, again=again)
            if not wanted.issuperset(scratch.payers):
                # From the beginning: to lock more on top of these would break the order of locking.
                wanted.update(scratch.payers)
                driver.rollback()
                return None
            around = within if within != id else ""
            if around or scratch.within:
                scratch.add_reservation(self._reservation(driver, around or scratch.within))
            result = verb(scratch)
            if not self._save(driver, scratch) and not again:
                driver.rollback()
                return result, None
            return result, Done(before, self.counts.count(driver, verbs), scratch.change() or told)

        for _ in range(2):
            done = self._database.run(work, deadline)
            if done is not None:
                return done
        msg = f"hold {id!r} is charged to other accounts every time that it is looked at"
        raise LedgerUnavailableError(msg)

    def check(self, deadline: float) -> None:
        """See whether the database counts what it has acknowledged.

        Raises:
            WentBackError: it does not.
        """
        before = self.counts.told.sent()
        found = self._database.run(lambda driver: self.counts.ask(driver).fetchall(), deadline)
        self.counts.checked(found, before)

    def _load(self, driver: Driver, id: str, names: Collection[str]) -> tuple[Scratch, list[StoredRow]]:
        """Lock and read accounts and a hold, and ask where this owner stands."""
        project = {"project_": self._project}
        accounts = hold = None
        if names:
            ids = {f"id{i}": row_mapping.written(name) for i, name in enumerate(names)}
            accounts = driver.execute(self._sql.lock_accounts(len(names)), ids | project)
        # Sent without waiting for the accounts: all are answered in one round trip.
        if id:
            hold = driver.execute(self._sql.lock_hold, {"id_": row_mapping.written(id), **project})
        standing = self.counts.ask(driver)
        self._database.answered(driver)
        scratch = Scratch(driver, id, accounts.fetchall() if accounts else (), hold.fetchall() if hold else ())
        return scratch, standing.fetchall()

    def _reservation(self, driver: Driver, id: str) -> list[StoredRow]:
        """The row of a reservation, whose accounts are locked."""
        given = {"id_": row_mapping.written(id), "project_": self._project}
        return list(driver.execute(self._sql.lock_hold, given).fetchall())

    def _save(self, driver: Driver, scratch: Scratch) -> bool:
        """Write what has changed. Returns whether anything has."""
        accounts = scratch.changed_accounts(self._project)
        for row in accounts:
            driver.execute(self._sql.update_account, row | {"project_": self._project, "id_": row["id"]})
        hold = scratch.changed_hold()
        if hold is not None:
            row = row_mapping.hold_row(self._project, hold)
            if scratch.found is None:
                driver.execute(self._sql.insert_hold, row)
            else:
                self._update_hold(driver, row)
            self.doubts.replace(driver, scratch.found, hold)
        drawn = scratch.changed_reservation()
        if drawn is not None:
            row = row_mapping.hold_row(self._project, drawn)
            given = {name: row[name] for name in DRAWN}
            driver.execute(self._sql.draw_hold, given | {"project_": self._project, "id_": row["id"]})
        for figures in scratch.charged():
            driver.execute(self._sql.add_report, row_mapping.report_row(self._project, figures))
        return bool(accounts) or hold is not None

    def _update_hold(self, driver: Driver, row: row_mapping.Row) -> None:
        given = {name: row[name] for name in CHANGING}
        driver.execute(self._sql.update_hold, given | {"project_": self._project, "id_": row["id"]})
