"""A ledger's PostgreSQL, by psycopg.

A transaction takes two round trips: what locks and reads is sent in one batch, what writes and commits in another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import PoolProxiedConnection

from budgeted.ledger.sql.changed_rows import ChangedRows
from budgeted.ledger.sql.connection_slots import ConnectionSlots
from budgeted.ledger.sql.database import Database
from budgeted.ledger.sql.driver_interface import Cursor, PostgreSQLDriver
from budgeted.ledger.sql.psycopg_deadlines import made_by, timed_connect, until
from budgeted.ledger.sql.rows_as_json import RowsAsJSON
from budgeted.ledger.sql.statements import Query

CONNECTIONS = 8
"""How many a process opens at most. A server takes a hundred, unless it is told otherwise, and all processes share."""

GONE = {
    "42P01": "a table was dropped",
    "42703": "a table lacks a column, as after an older backup was restored",
    "3F000": "the schema of its tables was dropped",
    "XX001": "the server found its data damaged",
    "XX002": "the server found an index damaged",
}
"""What PostgreSQL's error codes mean for a ledger: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

OF_ROWS = ("21", "22", "23", "54")
"""How the codes begin of what cannot be stored: of cardinality, data, constraints, and the server's limits."""

HEARD_BY_ITSELF = 5.0
"""Seconds within which a connection must have heard the message that it has told itself."""

MAKING = 5_831_927
"""The advisory lock under which PostgreSQL's tables are made."""


class PostgreSQL(Database[PostgreSQLDriver]):
    """PostgreSQL, by psycopg."""

    lock_out_others = (f"SELECT pg_advisory_xact_lock({MAKING})",)
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, engine: sa.Engine, prefix: str, where: str, *, mine: bool) -> None:
        super().__init__(engine, prefix, mine=mine)
        self.where = where
        self._free = ConnectionSlots(CONNECTIONS)
        self._rows = RowsAsJSON(self.tables, engine.dialect)

    @contextmanager
    def _connected(self, deadline: float) -> Iterator[PoolProxiedConnection]:
        if not self.mine:  # the user's pool has its own size, and its own patience
            with super()._connected(deadline) as connection:
                yield connection
            return
        # A pool waits for a free connection as long as its engine says, not until a verb's deadline.
        self._free.take(deadline)
        try:
            with made_by(deadline), super()._connected(deadline) as connection:
                yield connection
        finally:
            self._free.give_back()

    @contextmanager
    def _transaction(
        self, connection: PoolProxiedConnection, deadline: float, *, alone: bool
    ) -> Iterator[PostgreSQLDriver]:
        driver = self.driver(connection)
        with self._timed(driver, deadline):
            if not alone:
                with driver.pipeline() as driver.sending:
                    yield driver
                    driver.commit()
                return
            driver.autocommit = True
            try:
                yield driver
            finally:
                with contextlib.suppress(*self.errors):  # a broken connection is given up anyway
                    driver.autocommit = False

    @contextmanager
    def _timed(self, driver: PostgreSQLDriver, deadline: float) -> Iterator[None]:
        """Around what a connection may wait for until the deadline; one of the user's waits otherwise as ever."""
        if self.mine:
            driver.deadline = deadline
            yield
            return
        wait = driver.wait
        # On this object alone: the class is that of all of the user's connections.
        driver.wait = lambda steps, *args, **options: wait(until(steps, deadline), *args, **options)
        try:
            yield
        finally:
            del driver.wait

    @contextmanager
    def listening(self, channel: str, key: int) -> Iterator[Callable[[float], bool] | None]:
        """Around waiting for messages; yields what waits for one, so many seconds, and tells whether one came.

        It yields None where none come through, as behind a pooler that gives each transaction another connection.

        Args:
            channel: where they are told.
            key: of the advisory lock by which others see that somebody listens.
        """

        def heard(seconds: float) -> bool:
            return any(True for _ in driver.notifies(timeout=seconds, stop_after=1))

        pool = self.engine.pool.recreate()  # as a connection of those for calls would be missing there
        connection = pool.connect()
        try:
            driver = self.driver(connection)
            driver.autocommit = True
            driver.execute(f"LISTEN {channel}")
            driver.execute(f"NOTIFY {channel}")
            if heard(HEARD_BY_ITSELF):
                driver.execute("SELECT pg_advisory_lock_shared(%(key)s)", {"key": key})
                yield heard
            else:
                yield None
        finally:
            connection.invalidate()
            pool.dispose()

    def answered(self, driver: PostgreSQLDriver) -> None:
        """Have all statements of the transaction answered so far; they are sent together."""
        # Fetching rows would do, but only this tells the server that it is waiting for us from now on.
        driver.sending.sync()

    def write(self, driver: PostgreSQLDriver, rows: ChangedRows) -> None:
        """Write rows: all in one statement."""
        query = self._rows.query(rows)
        if query is not None:
            driver.execute(*query)

    def write_and_count(self, driver: PostgreSQLDriver, rows: ChangedRows, counting: Query) -> Cursor:
        """Write rows, and count the verbs that changed them, in one statement. Returns the answer to the latter."""
        return driver.execute(*(self._rows.query(rows, counting) or counting))

    def prepare(self, project: str, deadline: float) -> str:
        """Make the tables if they are not there, or add what they lack, and note the project. Returns its identity."""
        with made_by(deadline):
            return super().prepare(project, deadline)

    def forked(self) -> None:
        """Leave the parent's connections to the parent."""
        # New ones: what other threads of the parent have taken is never given back here.
        self._free = ConnectionSlots(CONNECTIONS)
        super().forked()

    def _passing(self, error: Exception, connection: PoolProxiedConnection) -> bool:
        if isinstance(error, TimeoutError):
            return False
        driver = self.driver(connection)
        if driver.closed:
            connection.invalidate()
            return True
        # Serialization failures and deadlocks: they hit whoever uses other isolation than the default.
        return getattr(error, "sqlstate", None) in ("40001", "40P01")

    def is_of_rows(self, error: Exception) -> bool:
        """Whether an error is about what is in rows, and not about all that the server is asked for."""
        return super().is_of_rows(error) or (getattr(error, "sqlstate", None) or "")[:2] in OF_ROWS

    def _gone(self, error: BaseException) -> str | None:
        what = GONE.get(getattr(error, "sqlstate", None) or "")
        return f"{what} ({' '.join(str(error).split())})" if what else None


def open_postgresql(where: str | sa.Engine, url: sa.URL, prefix: str, deadline: float) -> PostgreSQL:
    """The database of a URL of PostgreSQL, to connect to within ``deadline`` seconds; or of the user's own engine."""
    host = url.host or url.query.get("host") or "localhost"
    hosts = host if isinstance(host, str) else ",".join(host)
    name = f"{hosts}:{url.port or 5432}"
    if isinstance(where, sa.Engine):
        return PostgreSQL(where, prefix, name, mine=False)
    connect_by_deadline = timed_connect()
    # A process that is stopped in the middle of a transaction loses its locks before others give up waiting for them.
    options = f"{url.query.get('options', '')} -c idle_in_transaction_session_timeout={int(deadline * 500)}".strip()
    engine = sa.create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=deadline,
        # One that does not answer must leave time for the next.
        connect_args={"connect_timeout": max(2, int(deadline / len(hosts.split(",")))), "options": options},
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: sa.Dialect, _record: object, args: list[str], params: dict[str, object]) -> object:
        return connect_by_deadline(*args, **params)

    return PostgreSQL(engine, prefix, name, mine=True)
