"""Reaching a database: connections, transactions with a deadline, and the tables made on first use.

A transaction on PostgreSQL takes two round trips: what locks and reads is sent in one batch, what writes and commits in
another. One on SQLite takes the file's only lock from its beginning on.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import PoolProxiedConnection

from budgeted.errors import LedgerError
from budgeted.ledger.backoff import pauses
from budgeted.ledger.sql.statements import PREFIX, VERSION, Statements, Tables
from budgeted.ledger.urls import path_of
from budgeted.validation import shown

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

LONGEST_PREFIX = 40
"""Bytes of a table prefix: PostgreSQL takes names of 63, and what follows it may have 23."""

CONNECTIONS = 8
"""How many a process opens at most. A server takes a hundred, unless it is told otherwise, and all processes share."""

PAUSE, LONGEST_PAUSE = 0.0005, 0.005
"""Seconds before trying again what another process's transaction was in the way of: at first, and at most."""

WAL_SECONDS = 10
"""How long a new SQLite file may be in the way of others as it is turned to write ahead."""

MAKING = 5_831_927
"""The advisory lock under which PostgreSQL's tables are made."""

_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")

_of_parents: list[object] = []


class _Making(threading.local):
    """By when, by ``time.monotonic()``, a connection that this thread makes must be there."""

    deadline = float("inf")


_making = _Making()


@contextmanager
def _made_by(deadline: float) -> Iterator[None]:
    """Around what may make a connection."""
    before, _making.deadline = _making.deadline, deadline
    try:
        yield
    finally:
        _making.deadline = before


class Places:
    """So many places, taken in the order of asking: who comes back at once does not get before those that wait."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: collections.deque[threading.Lock] = collections.deque()

    def take(self, deadline: float) -> None:
        """Wait for a place, until ``deadline`` by ``time.monotonic()``.

        Raises:
            TimeoutError: there was none.
        """
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return
        except BaseException:  # such as that of a signal's handler
            if not self._leave(turn):
                self.give_back()
            raise
        if self._leave(turn):
            raise TimeoutError

    def _leave(self, turn: threading.Lock) -> bool:
        """Wait no longer; False if the place was given this instant."""
        with self._lock:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def give_back(self) -> None:
        """Give the place to who has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class BusyError(TimeoutError):
    """Others were in the way until the deadline."""


class Database:
    """A database that a ledger is in.

    Args:
        engine: made by :func:`open_database`, or the user's own.
        prefix: what the tables' names begin with.
        mine: whether the engine is this ledger's to dispose of.

    Attributes:
        where: host and port, or the file, as errors name it.
        remote: whether it is reached over a network.
        errors: what its driver raises.
    """

    remote = True
    where: str
    _lock_out_others: tuple[str, ...] = ()

    def __init__(self, engine: sa.Engine, prefix: str, *, mine: bool) -> None:
        self.engine = engine
        self.mine = mine
        self._closed = False
        self.tables = Tables(prefix)
        self.statements = Statements(self.tables, engine.dialect)
        driver: Any = engine.dialect.loaded_dbapi
        self.errors: tuple[type[Exception], ...] = (driver.Error, sa.exc.SQLAlchemyError, OSError)

    def run(self, work: Callable[[Any], T], deadline: float, *, alone: bool = False) -> T:
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
                except LedgerError:
                    raise
                except BaseException as error:
                    if not (isinstance(error, self.errors) and self._passing(error, connection)):
                        connection.invalidate()
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

    def _transaction(
        self, connection: PoolProxiedConnection, deadline: float, *, alone: bool
    ) -> AbstractContextManager[Any]:
        """A transaction that is committed at its end, if not before; yields the driver's connection."""
        raise NotImplementedError

    def answered(self, driver: Any) -> None:
        """Have all statements of the transaction answered so far, where they are sent together."""

    def _passing(self, error: Exception, connection: PoolProxiedConnection) -> bool:
        """Whether the same may succeed if it is tried again: its connection was lost, or others were in the way."""
        raise NotImplementedError

    # -- the tables

    def prepare(self, project: str, deadline: float) -> None:
        """Make the tables if they are not there, and note the project.

        Raises:
            LedgerError: the tables are those of a later version.
        """
        statements = self.statements
        if not sa.inspect(self.engine).has_table(self.tables.schema.name):
            self.run(self._make_tables, deadline)

        def note(driver: Any) -> int:
            [version] = driver.execute(statements.read_schema).fetchone()
            if not driver.execute(statements.lock_project, {"project": project}).fetchall():
                driver.execute(statements.insert_project, {"project": project, "version": 0})
            return int(version)

        version = self.run(note, deadline)
        if version != VERSION:
            msg = (
                f"the tables {self.tables.schema.name[:-6]}* at {self.where} are of version {version}, and this "
                f"release of budgeted knows {VERSION}; upgrade it, or name another table prefix"
            )
            raise LedgerError(msg)

    def _make_tables(self, driver: Any) -> None:
        """Make the tables that are not there, alone."""
        for statement in (*self._lock_out_others, *self.statements.make_tables):
            driver.execute(statement)
        if not driver.execute(self.statements.read_schema).fetchall():
            driver.execute(self.statements.insert_schema, {"version": VERSION})

    # -- the process

    def forked(self) -> None:
        """Leave the parent's connections to the parent: not even collecting them may close what it uses."""
        _of_parents.append(self.engine.pool)
        self.engine.dispose(close=False)

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        if self.mine:
            self.engine.dispose()


class PostgreSQL(Database):
    """PostgreSQL, by psycopg."""

    _lock_out_others = (f"SELECT pg_advisory_xact_lock({MAKING})",)

    def __init__(self, engine: sa.Engine, prefix: str, where: str, *, mine: bool) -> None:
        super().__init__(engine, prefix, mine=mine)
        self.where = where
        self._free = Places(CONNECTIONS)

    @contextmanager
    def _connected(self, deadline: float) -> Iterator[PoolProxiedConnection]:
        if not self.mine:  # the user's pool has its own size, and its own patience
            with super()._connected(deadline) as connection:
                yield connection
            return
        # A pool waits for a free connection as long as its engine says, not until a verb's deadline.
        self._free.take(deadline)
        try:
            with _made_by(deadline), super()._connected(deadline) as connection:
                yield connection
        finally:
            self._free.give_back()

    @contextmanager
    def _transaction(self, connection: PoolProxiedConnection, deadline: float, *, alone: bool) -> Iterator[Any]:
        driver: Any = connection.driver_connection
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
    def _timed(self, driver: Any, deadline: float) -> Iterator[None]:
        """Around what a connection may wait for until the deadline; one of the user's waits otherwise as ever."""
        if self.mine:
            driver.deadline = deadline
            yield
            return
        wait = driver.wait
        driver.wait = lambda steps, *args, **options: wait(_until(steps, deadline), *args, **options)
        try:
            yield
        finally:
            del driver.wait

    def answered(self, driver: Any) -> None:
        """Have all statements of the transaction answered so far; they are sent together."""
        # Fetching rows would do, but only this tells the server that it is waiting for us from now on.
        driver.sending.sync()

    def prepare(self, project: str, deadline: float) -> None:
        """Make the tables if they are not there, and note the project."""
        with _made_by(deadline):
            super().prepare(project, deadline)

    def forked(self) -> None:
        """Leave the parent's connections to the parent."""
        self._free = Places(CONNECTIONS)
        super().forked()

    def _passing(self, error: Exception, connection: PoolProxiedConnection) -> bool:
        driver: Any = connection.driver_connection
        if isinstance(error, TimeoutError):
            return False
        if driver.closed:
            connection.invalidate()
            return True
        # Serialization failures and deadlocks: they hit whoever uses other isolation than the default.
        return getattr(error, "sqlstate", None) in ("40001", "40P01")


class SQLite(Database):
    """A file of SQLite, used by one thread of a process at a time."""

    remote = False

    def __init__(self, engine: sa.Engine, prefix: str, *, mine: bool) -> None:
        super().__init__(engine, prefix, mine=mine)
        self.where = str(engine.url.database)
        self.lock = threading.Lock()
        self._kept: PoolProxiedConnection | None = None
        self.synced_always = False
        _files[weakref.ref(self, _files.pop)] = None

    @contextmanager
    def _connected(self, deadline: float) -> Iterator[PoolProxiedConnection]:
        if self.lock.locked():
            if not self.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise BusyError("with calls of this process")
            self.lock.release()
        with self.lock:  # which no signal's handler can interrupt between taking and giving back
            connection = self._kept or self.engine.pool.connect()
            self._kept = connection  # checking it in and out would take as long as a statement
            try:
                yield connection
            finally:
                if self._closed or not connection.is_valid:
                    self.let_go()
                elif connection.driver_connection.in_transaction:  # type: ignore[union-attr] # it is valid
                    connection.rollback()

    def let_go(self) -> None:
        """Close the connection; the next verb makes another. The caller has the lock."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
        if self.mine:
            self.engine.dispose()

    def sync_always(self) -> None:
        """Have each connection of ours from now on sync before a commit is acknowledged."""
        if self.mine and not self.synced_always:
            with self.lock:
                self.synced_always = True
                self.let_go()

    def close(self) -> None:
        """Close the connection, now or after the verb that is using it."""
        self._closed = True
        if self.lock.acquire(timeout=1):
            self.let_go()
            self.lock.release()

    @contextmanager
    def _transaction(self, connection: PoolProxiedConnection, deadline: float, *, alone: bool) -> Iterator[Any]:  # noqa: ARG002
        driver: Any = connection.driver_connection
        if not alone:
            driver.execute("BEGIN IMMEDIATE")
        yield driver
        driver.commit()

    def _passing(self, error: Exception, connection: PoolProxiedConnection) -> bool:
        if not _is_busy(error):
            return False
        driver: Any = connection.driver_connection
        driver.rollback()
        return True

    def forked(self) -> None:
        """Leave the parent's connections to the parent."""
        _of_parents.append(self._kept)
        self._kept = None
        self.lock = threading.Lock()
        super().forked()


# SQLite keeps account of its locks in the process's memory, where a forked child would find those of its parent.
_files: dict[weakref.ref[SQLite], None] = {}
_taken_for_fork: list[threading.Lock] = []


def _before_fork() -> None:
    # A thread that forks inside a verb, in a signal's handler, would wait for itself.
    for one in list(_files):
        database = one()
        if database is not None and database.lock.acquire(timeout=1):
            _taken_for_fork.append(database.lock)
            database.let_go()


def _after_fork() -> None:
    while _taken_for_fork:
        _taken_for_fork.pop().release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


_EXAMPLES = "'sqlite:////path/to/file.db' or 'postgresql+psycopg://user:password@host/database'"


def location(where: str | sa.Engine, prefix: str = PREFIX) -> tuple[sa.URL, str]:
    """Where a database is, as SQLAlchemy takes it, and what the names of the tables there begin with.

    Args:
        where: the URL, which may name the prefix itself; or the user's own engine.
        prefix: where it does not.

    Raises:
        LedgerError: SQLAlchemy cannot read the URL.
    """
    try:
        url = where.url if isinstance(where, sa.Engine) else sa.make_url(where)
    except (sa.exc.ArgumentError, ValueError):  # the latter of a port that is no number
        raise LedgerError(f"the ledger's URL cannot be read; write {_EXAMPLES}") from None
    prefix, url = str(url.query.get("table_prefix") or prefix), url.difference_update_query(["table_prefix"])
    if url.drivername in _POSTGRESQL:
        url = url.set(drivername="postgresql+psycopg")
    elif url.drivername in _SQLITE and url.database:
        url = url.set(database=str(path_of(url.database)))
    return url, prefix


def open_database(where: str | sa.Engine, prefix: str, deadline: float, *, fsync: str) -> Database:
    """The database of a URL, or of the user's own engine.

    Args:
        where: the URL or the engine.
        prefix: what the tables' names begin with.
        deadline: seconds to connect in.
        fsync: for SQLite: ``"always"`` survives a power cut, ``"background"`` a killed process.

    Raises:
        LedgerError: not one of the databases that are known.
    """
    url, prefix = location(where, prefix)
    if len(prefix.encode()) > LONGEST_PREFIX:
        msg = f"table_prefix={shown(prefix)} is too long for PostgreSQL's names; write at most {LONGEST_PREFIX} bytes"
        raise LedgerError(msg)
    if url.drivername in _SQLITE:
        return _open_sqlite(where, url, prefix, fsync)
    if url.drivername in _POSTGRESQL:
        return _open_postgresql(where, url, prefix, deadline)
    raise LedgerError(f"ledger={url.drivername + '://...'!r} is no database that a ledger can be in; write {_EXAMPLES}")


def _open_sqlite(where: str | sa.Engine, url: sa.URL, prefix: str, fsync: str) -> Database:
    if isinstance(where, sa.Engine):
        return SQLite(where, prefix, mine=False)
    if not url.database or url.database == ":memory:":
        msg = "an SQLite ledger needs a file: write 'sqlite:////path/to/file.db', or 'memory://' for none"
        raise LedgerError(msg)
    path = Path(url.database)
    try:  # for nobody else to read
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        msg = f"the ledger's file {path} cannot be made: {error.strerror}"
        raise LedgerError(msg) from error
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, connect_args={"timeout": 0, "isolation_level": None})
    database = SQLite(engine, prefix, mine=True)
    database.synced_always = fsync == "always"

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {1000 * WAL_SECONDS}")  # only here: turning to WAL takes the whole file
        _turn_to_wal(cursor)
        cursor.execute(f"PRAGMA synchronous = {'FULL' if database.synced_always else 'NORMAL'}")
        cursor.execute("PRAGMA busy_timeout = 0")

    return database


def _turn_to_wal(cursor: Any) -> None:
    """Have a file written ahead. SQLite does not wait for others that are about to do the same: each is in its way."""
    tries = pauses(WAL_SECONDS, PAUSE, LONGEST_PAUSE)
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not (_is_busy(error) and next(tries, False)):
                raise
        else:
            return


def _is_busy(error: BaseException) -> bool:
    """Whether SQLite found a file locked."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_BUSY


def _open_postgresql(where: str | sa.Engine, url: sa.URL, prefix: str, deadline: float) -> Database:
    host = url.host or url.query.get("host") or "localhost"
    hosts = host if isinstance(host, str) else ",".join(host)
    name = f"{hosts}:{url.port or 5432}"
    if isinstance(where, sa.Engine):
        return PostgreSQL(where, prefix, name, mine=False)
    timed = _timed()
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
    def connect(_dialect: Any, _record: Any, args: list[Any], params: dict[str, Any]) -> Any:
        made: Any = timed.connect(*args, **params)
        made.deadline = _making.deadline  # SQLAlchemy asks a new server what it is
        return made

    return PostgreSQL(engine, prefix, name, mine=True)


def _timed() -> type[psycopg.Connection[Any]]:
    """A connection that gives up waiting for its server at a deadline."""
    import psycopg

    class Timed(psycopg.Connection[Any]):
        deadline = float("inf")

        @classmethod
        def _connect_gen(cls, *args: Any, **options: Any) -> Any:
            # Its own patience is of whole seconds, two at least; if psycopg calls this otherwise one day, that holds.
            return _until(super()._connect_gen(*args, **options), _making.deadline)

        def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
            return super().wait(_until(gen, self.deadline), *args, **options)

        def __del__(self, _: object = None) -> None:
            """Warn of nothing: a pool forgets one whose first words fail, and what is below closes it."""

    return Timed


def _until(steps: Generator[Any, Any, T], deadline: float) -> Generator[Any, Any, T]:
    """The driver's steps, ended by a TimeoutError once nothing has come by the deadline."""
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                steps.close()
                raise TimeoutError
            wanted = steps.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
