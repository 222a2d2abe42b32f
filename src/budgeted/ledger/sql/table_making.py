"""Making the tables of an SQL ledger, adding what those of an earlier version lack, and noting a project in them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.driver_interface import Driver, Value
from budgeted.ledger.sql.schema import VERSION
from budgeted.ledger.sql.statements import Statements
from budgeted.ledger.sql.uncertain_sums import UncertainSums


class TableMaking(NamedTuple):
    """What makes tables, in transactions of one database.

    Args:
        statements: on the tables.
        lock_out_others: what lets one process at a time do so.
        where: host and port, or the file, as errors name it.
        named: what the tables' names begin with.
    """

    statements: Statements
    lock_out_others: Sequence[str]
    where: str
    named: str

    def make(self, driver: Driver) -> None:
        """Make the tables that are not there, alone."""
        for statement in (*self.lock_out_others, *self.statements.make_tables):
            driver.execute(statement)
        # Asked under the lock: another process may have made them meanwhile.
        if not driver.execute(self.statements.read_version).fetchall():
            driver.execute(self.statements.insert_schema, {"version": VERSION, "identity": new_identity(), "opened": 0})

    def is_empty(self, driver: Driver) -> bool:
        """Whether the tables do not even say of which version they are."""
        return not driver.execute(self.statements.read_version).fetchall()

    def version(self, driver: Driver) -> int:
        """The version of the tables that are there.

        Raises:
            LedgerCorruptError: they do not say.
            LedgerError: it is a later one.
        """
        found = driver.execute(self.statements.read_version).fetchall()
        if not found:
            msg = f"the tables {self.named}* at {self.where} were emptied: restore them from a backup, or drop them all"
            raise LedgerCorruptError(msg)
        version = int(found[0][0])
        if version > VERSION:
            msg = (
                f"the tables {self.named}* at {self.where} are of version {version}, and this release of budgeted "
                f"knows {VERSION}; upgrade it, or name another table prefix"
            )
            raise LedgerError(msg)
        return version

    def upgrade(self, driver: Driver) -> None:
        """Add what the tables of an earlier version lack."""
        for statement in self.lock_out_others:
            driver.execute(statement)
        statements, found = self.statements, self.version(driver)
        if found == VERSION:  # another process was faster
            return
        for statement in (*statements.add_columns(found), *statements.make_tables, *statements.drop_indexes):
            driver.execute(statement)
        [[_, identity, opened]] = driver.execute(statements.read_schema).fetchall()
        if found == 1:
            self._tell_apart(driver)
            identity = new_identity()
        driver.execute(statements.update_schema, {"version": VERSION, "identity": identity, "opened": opened})

    def _tell_apart(self, driver: Driver) -> None:
        """Give each project what those of version 1 lack: its identity, its number of accounts, and sums."""
        for (project,) in driver.execute(self.statements.list_projects).fetchall():
            [[version, _, _]] = driver.execute(self.statements.lock_project, {"project": project}).fetchall()
            counted = {"project": project, "to_version": version, "to_accounts": self._accounts(driver, project)}
            driver.execute(self.statements.update_project, counted)
            driver.execute(self.statements.identify_project, {"project": project, "to_identity": new_identity()})
            doubts = UncertainSums(self.statements, project)
            for row in driver.execute(self.statements.uncertain, {"project_": project}).fetchall():
                doubts.replace(driver, None, row_mapping.hold(row))

    def note(self, project: str) -> Callable[[Driver], str]:
        """Note a project, and tell its identity.

        The work raises :class:`LedgerCorruptError` where rows of it are gone.
        """

        def work(driver: Driver) -> str:
            key = {"project": project}
            found = driver.execute(self.statements.lock_project, key).fetchall()
            if not found:
                # Looked for again after its rows: another process may have made both in between.
                if self._has_rest(driver, project) and not driver.execute(self.statements.lock_project, key).fetchall():
                    msg = (
                        f"{self._of(project)} its row in {self.named}projects, while others of it are left. "
                        f"{self._restore}"
                    )
                    raise LedgerCorruptError(msg)
                self._insert(driver, project, new_identity())
                # Read again: another process may have noted it meanwhile.
                found = driver.execute(self.statements.lock_project, key).fetchall()
            [[_, identity, accounts]] = found
            there = self._accounts(driver, project)
            if there < accounts:  # more than were counted are no loss
                msg = f"{self._of(project)} {gone_accounts(accounts, there)}. {self._advice(project, there)}"
                raise LedgerCorruptError(msg)
            return str(identity)

        return work

    def take_over(self, project: str, identity: str) -> Callable[[Driver], str]:
        """Note a project as the one of an identity, if it is not noted, and take the accounts there for all.

        The work returns the identity that is noted.
        """

        def work(driver: Driver) -> str:
            self._insert(driver, project, identity)
            [[version, found, _]] = driver.execute(self.statements.lock_project, {"project": project}).fetchall()
            there = {"project": project, "to_version": version, "to_accounts": self._accounts(driver, project)}
            driver.execute(self.statements.update_project, there)
            return str(found)

        return work

    def _insert(self, driver: Driver, project: str, identity: str) -> None:
        new: dict[str, Value] = {"project": project, "version": 0, "identity": identity, "accounts": 0}
        driver.execute(self.statements.insert_project, new)

    def _has_rest(self, driver: Driver, project: str) -> bool:
        """Whether there are rows of a project, of which a new one has none."""
        there = self._accounts(driver, project)
        return there > 0 or bool(driver.execute(self.statements.any_hold, {"project_": project}).fetchall())

    def _accounts(self, driver: Driver, project: str) -> int:
        [[count]] = driver.execute(self.statements.count_accounts, {"project_": project}).fetchall()
        return int(count)

    def _of(self, project: str) -> str:
        return f"the ledger of project {project!r} at {self.where} has lost"

    def _advice(self, project: str, there: int) -> str:
        return (
            f"{self._restore}; or, to go on without their limits and spend, set accounts to {there} in the row of "
            f"{project!r} in {self.named}projects"
        )

    @property
    def _restore(self) -> str:
        return "Restore the tables from a backup"


def new_identity() -> str:
    """What a ledger is told apart from any other by."""
    return secrets.token_hex(8)


def gone_accounts(wanted: int, there: int) -> str:
    """What is wrong with a number of accounts."""
    return f"accounts: {wanted} were made, and {there} are there"
