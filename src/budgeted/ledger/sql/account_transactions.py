"""Transactions on what accounts are: their limits, and what is taken over or written back. One process at a time does.

They lock the project's row first, then accounts in the order of their ids, as every verb does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from budgeted.ledger.accounts import GLOBAL, Account
from budgeted.ledger.acknowledged_verbs import amended_back, limits_of
from budgeted.ledger.interface import in_flight
from budgeted.ledger.memory.change_records import Change, Restored
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.network_ledger import Standing
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.changed_rows import changed_rows
from budgeted.ledger.sql.database import GoneError
from budgeted.ledger.sql.driver_interface import Driver, Given, StoredRow, Value
from budgeted.ledger.sql.in_memory_working_copy import Deciding, state_of
from budgeted.ledger.sql.row_locking import Transactions
from budgeted.ledger.sql.table_making import gone_accounts
from budgeted.ledger.sql.verb_counts import Done

AT_ONCE = 200
"""Accounts that are read at a time, where many are."""


def _stated(account: Account) -> tuple[object, ...]:
    """What somebody has said of an account."""
    return limits_of(account), amended_back(account)


SKIPPED = 2**32
"""Versions of accounts that are left out after the database went back: those that others may have seen."""


class AccountTransactions(Transactions):
    """The transactions on a project's rows, with those that make, change and drop accounts."""

    def reshape(
        self,
        deadline: float,
        account: str,
        since: int | None,
        verb: Callable[[MemoryLedger], object],
        told: Change,
    ) -> None:
        """Have a verb change what an account is, with the calls that it has in flight. One process at a time does.

        Args:
            deadline: by ``time.monotonic()``.
            account: which.
            since: the day from which on the report's rows matter; None for never.
            verb: what changes it.
            told: what that is.

        Raises:
            WentBackError: as :meth:`change`.
        """
        done = self._reshape(deadline, account, since, verb, told, again=False)
        if done is not None:
            done.note(self.counts.told)

    def reshape_again(
        self,
        deadline: float,
        account: str,
        since: int | None,
        verb: Callable[[MemoryLedger], object],
        version: int | None = None,
    ) -> int:
        """As :meth:`reshape`, of what was done before, and is lost. Returns the number that it gets.

        ``version`` is what the account is to have: that which it had when its limits were known to be these. So other
        processes, which write back what they know, see whether that is older.
        """
        done = self._reshape(deadline, account, since, verb, None, again=True, version=version)
        return done.number() if done else 0

    def _reshape(
        self,
        deadline: float,
        account: str,
        since: int | None,
        verb: Callable[[MemoryLedger], object],
        told: Change | None,
        *,
        again: bool,
        version: int | None = None,
    ) -> Done | None:
        wanted = version
        project = {"project_": self._project}

        def work(driver: Driver) -> Done | None:
            def ask(statement: str, given: Mapping[str, Given]) -> list[StoredRow]:
                answer = driver.execute(statement, {**given, **project})
                self._database.answered(driver)
                return list(answer.fetchall())

            before = self.counts.told.sent()
            standing = self.counts.ask(driver).fetchall()
            verbs = self.counts.checked(standing, before, again=again)
            [[version, _, made]] = ask(self._sql.lock_project, {"project": self._project})
            found = ask(*self._sql.lock_accounts([row_mapping.written(account)]))
            if not (found or again) and (account == GLOBAL or self.counts.told.knows(account)):
                [[there]] = ask(self._sql.count_accounts, {})
                gone = f"it has lost {gone_accounts(made, there)}" if there < made else self._database.damage(driver)
                if gone:
                    raise GoneError(gone)
            holds: list[StoredRow] = []
            past: list[StoredRow] = []
            if found:
                holds = ask(self._sql.open_holds, {})
                if since is not None:
                    past = ask(self._sql.account_reports, {"account_": row_mapping.written(account), "since": since})
            state = state_of(version, found, holds, past)
            before_it = {id: (bytes(held.route), account in bound.names) for id, (held, bound) in state.holds.items()}
            verb(Deciding(state))
            now = state.accounts.get(account)
            if now is not None:
                now.held = state.held().get(account, 0)
                now.version = now.version if wanted is None else wanted
            named = any(names for _, names in before_it.values())
            more = self._save_account(driver, account, now, found, named=named)
            if (version, 0) == (state.version, more) and now is not None and not again:
                driver.rollback()
                return None
            self._save_project(driver, state.version, made + more)
            moved = [(held, held) for id, (held, _) in state.holds.items() if bytes(held.route) != before_it[id][0]]
            self._database.write(driver, changed_rows(self._project, (), moved, ()))
            return Done(before, self.counts.count(driver, verbs), told, now)

        return self._database.run(work, deadline)

    def restore(self, deadline: float, taken: Restored) -> None:
        """Write accounts, report rows and uncertain charges of another ledger, instead of those of the same names."""
        self._restore(deadline, taken, again=False).note(self.counts.told)

    def restore_again(self, deadline: float, taken: Restored) -> int:
        """As :meth:`restore`, of what was done before, and is lost. Returns the number that it gets."""
        return self._restore(deadline, taken, again=True).number()

    def _restore(self, deadline: float, taken: Restored, *, again: bool) -> Done:
        project = {"project_": self._project}

        def work(driver: Driver) -> Done:
            before = self.counts.told.sent()
            standing = self.counts.ask(driver).fetchall()
            verbs = self.counts.checked(standing, before, again=again)
            [[version, _, made]] = driver.execute(self._sql.lock_project, {"project": self._project}).fetchall()
            found = {}
            # In the order in which every verb locks them.
            for name in sorted(account.id for account in taken.accounts):
                found[name] = self._ask(driver, *self._sql.lock_accounts([row_mapping.written(name)])).fetchall()
            held = state_of(version, [], driver.execute(self._sql.open_holds, project).fetchall(), []).held()
            for account in taken.accounts:
                if account.held or account.id in held:
                    raise in_flight(account.id)
                version += 1
                new = msgspec.structs.replace(account, version=version)
                made += self._save_account(driver, account.id, new, found[account.id], named=False)
            self._save_project(driver, version, made)
            for row in taken.rows:
                driver.execute(self._sql.put_report, row_mapping.report_row(self._project, row))
            for ended in taken.charges:
                self._put_charge(driver, ended)
            return Done(before, self.counts.count(driver, verbs), taken)

        return self._database.run(work, deadline)

    def look(self, deadline: float) -> Standing:
        """How the database stands to this owner, with all accounts that were made looked for."""
        project = {"project_": self._project}

        def work(driver: Driver) -> Standing:
            found = self.counts.ask(driver).fetchall()
            standing = self.counts.standing(found)
            if found and not standing.gone:
                [[_, _, made]] = driver.execute(self._sql.lock_project, {"project": self._project}).fetchall()
                [[there]] = driver.execute(self._sql.count_accounts, project).fetchall()
                if there < made:
                    return Standing(standing.verbs, f"it has lost {gone_accounts(made, there)}")
            return standing

        return self._database.run(work, deadline)

    def check_accounts(self, deadline: float, names: Sequence[str]) -> None:
        """Where accounts are not there that were a moment ago: see whether somebody took rows away.

        Raises:
            GoneError: somebody did.
        """
        if len(self.find(deadline, *self._sql.lock_accounts(list(map(row_mapping.written, names))))) < len(names):
            gone = self.look(deadline).gone or self._database.run(self._database.damage, deadline, alone=True)
            if gone:
                raise GoneError(gone)

    def lacking(self, deadline: float, known: Sequence[Account]) -> list[Account]:
        """Of accounts as they were, those that the database lacks, or has with earlier limits."""
        found = []
        for first in range(0, len(known), AT_ONCE):
            some = known[first : first + AT_ONCE]
            ids = [row_mapping.written(account.id) for account in some]
            rows = self.find(deadline, *self._sql.lock_accounts(ids))
            there = {row_mapping.read(row[0]): row_mapping.account(row) for row in rows if not row_mapping.is_gone(row)}
            for account in some:
                now = there.get(account.id)
                if now is None or (now.version < account.version and _stated(now) != _stated(account)):
                    found.append(account)
        return found

    def skip_versions(self, deadline: float) -> None:
        """Have accounts get versions from now on that none had before, in the state that is lost."""

        def work(driver: Driver) -> None:
            [[version, _, made]] = driver.execute(self._sql.lock_project, {"project": self._project}).fetchall()
            self._save_project(driver, version + SKIPPED, made)

        self._database.run(work, deadline)

    def _save_project(self, driver: Driver, version: int, accounts: int) -> None:
        given: dict[str, Value] = {"project": self._project, "to_version": version, "to_accounts": accounts}
        driver.execute(self._sql.update_project, given)

    def _save_account(
        self, driver: Driver, name: str, now: Account | None, found: list[StoredRow], *, named: bool
    ) -> int:
        """Write an account, or drop it. One that calls in flight name stays, marked as gone, so that it is locked.

        Returns:
            How many more rows there are: -1 to 1.
        """
        one: dict[str, Value] = {"project_": self._project, "id_": row_mapping.written(name)}
        row = row_mapping.account_row(self._project, now or Account(name), gone=now is None)
        if not found:
            if now is None:
                return 0
            driver.execute(self._sql.insert_account, row)
            return 1
        if now is None and not named:
            driver.execute(self._sql.delete_account, one)
            return -1
        if not row_mapping.same(row, found[0]):
            driver.execute(self._sql.update_account, row | one)
        return 0

    def _put_charge(self, driver: Driver, ended: Ended) -> None:
        found = self._ask(driver, *self._sql.lock_holds([row_mapping.written(ended.id)])).fetchall()
        before = row_mapping.hold(found[0]) if found else None
        self._database.write(driver, changed_rows(self._project, (), [(before, ended)], ()))
        self.doubts.replace(driver, before, ended)
