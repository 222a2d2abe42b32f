"""A database as a ledger uses it: transactions that are tried again until a deadline, and tables made on first use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import PoolProxiedConnection

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.acknowledged_verbs import WentBackError
from budgeted.ledger.sql.changed_rows import ChangedRows
from budgeted.ledger.sql.driver_interface import Cursor, Driver
from budgeted.ledger.sql.schema import VERSION, Tables
from budgeted.ledger.sql.statements import CHANGING, Query, Statements
from budgeted.ledger.sql.table_making import TableMaking

T = TypeVar("T")
D = TypeVar("D", bound=Driver)

PAUSE, LONGEST_PAUSE = 0.0005, 0.005
"""Seconds before trying again what another process's transaction was in the way of: at first, and at most."""

of_parents: list[object] = []
"""Connections that a forked child has from its parent: kept, since even collecting them may close them for both."""


class BusyError(TimeoutError):
    """Others were in the way until the deadline."""


class GoneError(WentBackError):
    """What was opened is not there any more: why."""


class Database(Generic[D]):
    """A database that a ledger is in.

    Args:
        engine: made by :func:`open_database`, or the user's own.
        prefix: what the tables' names begin with.
        mine: whether the engine is this ledger's to dispose of.

    Attributes:
        where: host and port, or the file, as errors name it.
        remote: whether it is reached over a network.
        begin_reading: begins a transaction whose queries all see the same, and that is in nobody's way.
        errors: what its driver raises.
    """

    remote = True
    where: str
    lock_out_others: tuple[str, ...] = ()
    begin_reading = "BEGIN"

    def __init__(self, engine: sa.Engine, prefix: str, *, mine: bool) -> None:
        self.engine = engine
        self.mine = mine
        self._closed = False
        self.prefix = prefix
        self.tables = Tables(prefix)
        self.statements = Statements(self.tables, engine.dialect)
        driver = engine.dialect.loaded_dbapi
        self.errors: tuple[type[Exception], ...] = (driver.Error, sa.exc.SQLAlchemyError, OSError)

    def run(self, work: Callable[[D], T], deadline: float, *, alone: bool = False) -> T:
        """Do some work in one transaction, again if that came to nothing through no fault of its own.

        Args:
            work: given the driver's connection. An exception undoes what it did.
            deadline: by ``time.monotonic()``.
            alone: True for a single statement, which needs no transaction around it.

        Raises:
            The driver's errors, and those of the work.
        """
        pause = PAUSE
        while True:
            with self._connected(deadline) as connection:
                try:
                    with self._transaction(connection, deadline, alone=alone) as driver:
                        return work(driver)
                except (LedgerError, WentBackError):
                    raise
                except BaseException as error:
                    gone = self.gone(error) if isinstance(error, self.errors) else None
                    if gone:
                        self._give_up(connection)
                        raise GoneError(gone) from error
                    if not (isinstance(error, self.errors) and self._passing(error, connection)):
                        # How far the transaction came is not known: it ends with its connection.
                        self._give_up(connection)
                        if isinstance(error, self.errors) and time.monotonic() >= deadline:
                            raise TimeoutError from error
                        raise
                    if time.monotonic() + pause >= deadline:
                        late = TimeoutError() if self.remote else BusyError("with calls of other processes")
                        raise late from error
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    @contextmanager
    def _connected(self, deadline: float) -> Iterator[PoolProxiedConnection]:
        pool = self.engine.pool
        try:
            connection = pool.connect()
        except self.errors:
            if time.monotonic() >= deadline:
                raise
            connection = pool.connect()  # once more: only the connection may have been lost
        try:
            yield connection
        finally:
            # Meanwhile: nobody closes what comes back later.
            if self._closed and not self.mine:
                connection.invalidate()
            connection.close()
            if self._closed and self.mine:
                pool.dispose()

    def sync_always(self) -> None:
        """Nothing: how durable a commit is, its server says."""

    def driver(self, connection: PoolProxiedConnection) -> D:
        """The driver's own connection."""
        found: D | None = connection.driver_connection
        if found is None:
            msg = "the connection is gone"
            raise sa.exc.ResourceClosedError(msg)
        return found

    def _transaction(
        self, connection: PoolProxiedConnection, deadline: float, *, alone: bool
    ) -> AbstractContextManager[D]:
        """A transaction that is committed at its end, if not before; yields the driver's connection."""
        raise NotImplementedError

    def answered(self, driver: D) -> None:
        """Have all statements of the transaction answered so far, where they are sent together."""

    def write(self, driver: D, rows: ChangedRows) -> None:
        """Write rows: here one after the other."""
        sql = self.statements
        for row in rows.accounts:
            driver.execute(sql.update_account, row | {"project_": row["project"], "id_": row["id"]})
        for row in rows.opened:
            driver.execute(sql.insert_hold, row)
        for row in rows.changed:
            given = {name: row[name] for name in CHANGING}
            driver.execute(sql.update_hold, given | {"project_": row["project"], "id_": row["id"]})
        for row in rows.reports:
            driver.execute(sql.add_report, row)

    def write_and_count(self, driver: D, rows: ChangedRows, counting: Query) -> Cursor:
        """Write rows, and do at last what counts the verbs that changed them. Returns the answer to that."""
        self.write(driver, rows)
        return driver.execute(*counting)

    def listening(self, channel: str, key: int) -> AbstractContextManager[Callable[[float], bool] | None]:
        """Around waiting for messages of other processes."""
        raise NotImplementedError

    def _give_up(self, connection: PoolProxiedConnection) -> None:
        """Have a transaction, whose state is not known, end with its connection."""
        connection.invalidate()

    def _passing(self, error: Exception, connection: PoolProxiedConnection) -> bool:
        """Whether the same may succeed if it is tried again: its connection was lost, or others were in the way."""
        raise NotImplementedError

    def gone(self, error: BaseException) -> str | None:
        """What an error of the driver says is gone for good: tables, or what the file had; None for any other error."""
        if isinstance(error, sa.exc.DBAPIError) and error.orig is not None:
            return self._gone(error.orig)
        return self._gone(error)

    def _gone(self, error: BaseException) -> str | None:
        raise NotImplementedError

    def is_of_rows(self, error: Exception) -> bool:
        """Whether an error is about what is in rows, and not about all that the database is asked for."""
        return isinstance(error, LedgerCorruptError)

    def damage(self, driver: D) -> str | None:  # noqa: ARG002 - a server looks after its own files
        """What is wrong with the file, all of which is gone through; None for nothing."""
        return None

    # -- the tables

    def prepare(self, project: str, deadline: float) -> str:
        """Make the tables if they are not there, or add what they lack, and note the project. Returns its identity.

        Raises:
            LedgerCorruptError: there are traces of a ledger that is gone, in whole or in part.
            LedgerError: the tables are those of a later version.
        """
        making = self._making()
        self._have_tables(making, deadline)
        return self.run(making.note(project), deadline)

    def begin_anew(self, project: str, identity: str, deadline: float) -> str:
        """Have tables again, and a project's row, of a ledger that is gone: what is known of it is to be written back.

        Args:
            project: its name as it is stored.
            identity: what it was made as: other processes of it know it again.
            deadline: by ``time.monotonic()``.

        Returns:
            The project's identity: another one, where that was in its place.
        """
        making = self._making()
        self._have_tables(making, deadline, also_emptied=True)
        return self.run(making.take_over(project, identity), deadline)

    def _have_tables(self, making: TableMaking, deadline: float, *, also_emptied: bool = False) -> None:
        # Looked at first: making them takes a lock that all processes which begin at once would wait for.
        if not self._has_tables(deadline) or (also_emptied and self.run(making.is_empty, deadline, alone=True)):
            self.run(making.make, deadline)
        if self.run(making.version, deadline, alone=True) < VERSION:
            self.run(making.upgrade, deadline)

    def _has_tables(self, deadline: float) -> bool:  # noqa: ARG002 - the engine has a deadline of its own
        return sa.inspect(self.engine).has_table(self.tables.schema.name)

    def _making(self) -> TableMaking:
        return TableMaking(self.statements, self.lock_out_others, self.where, self.prefix)

    # -- the process

    def forked(self) -> None:
        """Leave the parent's connections to the parent: not even collecting them may close what it uses."""
        of_parents.append(self.engine.pool)
        self.engine.dispose(close=False)

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        if self.mine:
            self.engine.dispose()
