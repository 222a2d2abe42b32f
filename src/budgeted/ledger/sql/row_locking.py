"""Transactions on the rows of a project: lock, read, have a ledger in memory decide, write what has changed, commit.

Accounts are locked in the order of their ids, so that no two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from budgeted.errors import LedgerUnavailableError
from budgeted.ledger.accounts import Account
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.interface import in_flight
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Charge, RollupRow
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.driver_interface import Driver, StoredRow, Value
from budgeted.ledger.sql.in_memory_working_copy import Deciding, Scratch, state_of
from budgeted.ledger.sql.opening import AnyDatabase

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

    def do(self, deadline: float, statement: str, given: Mapping[str, Value]) -> None:
        """Run one statement that changes rows."""
        self._database.run(lambda driver: driver.execute(statement, given), deadline, alone=True)

    def change(self, deadline: float, id: str, names: Collection[str], verb: Callable[[Scratch], T]) -> T:
        """Have a verb decide about a hold (``""`` for none) and accounts.

        The hold's own accounts are locked, too: where it turns out to have others, all is locked again.
        """
        wanted = set(names)

        def work(driver: Driver) -> list[T]:
            scratch = self._load(driver, id, wanted)
            if not wanted.issuperset(scratch.payers):
                # From the beginning: to lock more on top of these would break the order of locking.
                wanted.update(scratch.payers)
                driver.rollback()
                return []
            result = verb(scratch)
            if not self._save(driver, scratch):
                driver.rollback()
            return [result]

        for _ in range(2):
            found = self._database.run(work, deadline)
            if found:
                return found[0]
        msg = f"hold {id!r} is charged to other accounts every time that it is looked at"
        raise LedgerUnavailableError(msg)

    def restore(
        self,
        deadline: float,
        accounts: Sequence[Account],
        rollups: Sequence[RollupRow],
        uncertain: Sequence[tuple[Charge, Route]],
    ) -> None:
        """Write accounts, report rows and uncertain charges of another ledger, instead of those of the same names."""
        project = {"project_": self._project}

        def work(driver: Driver) -> None:
            version = self._version(driver.execute(self._sql.lock_project, {"project": self._project}).fetchall())
            found = {}
            # In the order in which every verb locks them.
            for name in sorted(account.id for account in accounts):
                one = {"id0": row_mapping.written(name), **project}
                found[name] = driver.execute(self._sql.lock_accounts(1), one).fetchall()
            held = state_of(version, [], driver.execute(self._sql.open_holds, project).fetchall(), []).held()
            for account in accounts:
                if account.held or account.id in held:
                    raise in_flight(account.id)
                version += 1
                taken = msgspec.structs.replace(account, version=version)
                self._save_account(driver, account.id, taken, found[account.id], named=False)
            driver.execute(self._sql.update_project, {"project": self._project, "to_version": version})
            for row in rollups:
                driver.execute(self._sql.put_report, row_mapping.report_row(self._project, row))
            for charge, route in uncertain:
                self._put_charge(driver, charge, route)

        self._database.run(work, deadline)

    def reshape(self, deadline: float, account: str, since: int | None, verb: Callable[[MemoryLedger], object]) -> None:
        """Have a verb change what an account is, with the calls that it has in flight. One process at a time does."""
        project = {"project_": self._project}

        def work(driver: Driver) -> None:
            def ask(statement: str, given: Mapping[str, Value]) -> list[StoredRow]:
                answer = driver.execute(statement, given)
                self._database.answered(driver)
                return list(answer.fetchall())

            version = self._version(ask(self._sql.lock_project, {"project": self._project}))
            found = ask(self._sql.lock_accounts(1), {"id0": row_mapping.written(account), **project})
            holds: list[StoredRow] = []
            past: list[StoredRow] = []
            if found:
                holds = ask(self._sql.open_holds, project)
                if since is not None:
                    past = ask(
                        self._sql.account_reports, {"account_": row_mapping.written(account), "since": since, **project}
                    )
            state = state_of(version, found, holds, past)
            before = {id: (bytes(held.route), account in bound.names) for id, (held, bound) in state.holds.items()}
            verb(Deciding(state))
            if state.version != version:
                driver.execute(self._sql.update_project, {"project": self._project, "to_version": state.version})
            now = state.accounts.get(account)
            if now is not None:
                now.held = state.held().get(account, 0)
            self._save_account(driver, account, now, found, named=any(names for _, names in before.values()))
            for id, (held, _) in state.holds.items():
                if bytes(held.route) != before[id][0]:
                    self._update_hold(driver, row_mapping.hold_row(self._project, held))

        self._database.run(work, deadline)

    def _load(self, driver: Driver, id: str, names: Collection[str]) -> Scratch:
        """Lock and read accounts and a hold."""
        project = {"project_": self._project}
        accounts = hold = None
        if names:
            ids = {f"id{i}": row_mapping.written(name) for i, name in enumerate(names)}
            accounts = driver.execute(self._sql.lock_accounts(len(names)), ids | project)
        # Sent without waiting for the accounts: both are answered in one round trip.
        if id:
            hold = driver.execute(self._sql.lock_hold, {"id_": row_mapping.written(id), **project})
        self._database.answered(driver)
        return Scratch(driver, id, accounts.fetchall() if accounts else (), hold.fetchall() if hold else ())

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
        for figures in scratch.charged():
            driver.execute(self._sql.add_report, row_mapping.report_row(self._project, figures))
        return bool(accounts) or hold is not None

    def _update_hold(self, driver: Driver, row: row_mapping.Row) -> None:
        given = {name: row[name] for name in ("route", "ended", "used", "reason")}
        driver.execute(self._sql.update_hold, given | {"project_": self._project, "id_": row["id"]})

    def _put_charge(self, driver: Driver, charge: Charge, route: Route) -> None:
        ended = Ended(charge.id, charge.opened, charge.held, route.raw, charge.used, charge.at, charge.reason)
        row = row_mapping.hold_row(self._project, ended)
        known = {"project_": self._project, "id_": row["id"]}
        if driver.execute(self._sql.lock_hold, known).fetchall():
            self._update_hold(driver, row)
        else:
            driver.execute(self._sql.insert_hold, row)

    def _version(self, projects: list[StoredRow]) -> int:
        """The last version that an account got; every ledger that was opened has noted its project."""
        if not projects:
            msg = (
                f"the balances at {self._database.where} are gone: the tables were emptied. Restore them, or start "
                f"this program again to begin anew; until then calls are refused"
            )
            raise LedgerUnavailableError(msg)
        return int(projects[0][0])

    def _save_account(
        self, driver: Driver, name: str, now: Account | None, found: list[StoredRow], *, named: bool
    ) -> None:
        """Write an account, or drop it. One that calls in flight name stays, marked as gone, so that it is locked."""
        one = {"project_": self._project, "id_": row_mapping.written(name)}
        row = row_mapping.account_row(self._project, now or Account(name), gone=now is None)
        if not found:
            if now is not None:
                driver.execute(self._sql.insert_account, row)
        elif now is None and not named:
            driver.execute(self._sql.delete_account, one)
        elif not row_mapping.same(row, found[0]):
            driver.execute(self._sql.update_account, row | one)
