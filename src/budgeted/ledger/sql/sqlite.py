"""A ledger's file of SQLite. A transaction takes the file's only lock from its beginning on."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import PoolProxiedConnection

from budgeted.errors import LedgerError
from budgeted.fork_locks import ForkLocks
from budgeted.ledger.backoff import pauses
from budgeted.ledger.sql.database import LONGEST_PAUSE, PAUSE, BusyError, Database, of_parents
from budgeted.ledger.weak_registry import WeakRegistry

WAL_SECONDS = 10
"""How long a new SQLite file may be in the way of others as it is turned to write ahead."""


class SQLite(Database[sqlite3.Connection]):
    """A file of SQLite, used by one thread of a process at a time."""

    remote = False

    def __init__(self, engine: sa.Engine, prefix: str, *, mine: bool) -> None:
        super().__init__(engine, prefix, mine=mine)
        self.where = str(engine.url.database)
        self.lock = threading.Lock()
        self._kept: PoolProxiedConnection | None = None
        self.synced_always = False
        _files.add(self)

    @contextmanager
    def _connected(self, deadline: float) -> Iterator[PoolProxiedConnection]:
        # Waited for here, until the deadline, and taken below: `with` alone has no deadline.
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
                elif self.driver(connection).in_transaction:
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
        # A finaliser or a signal's handler may interrupt a verb of its own thread, which then closes it itself.
        if self.lock.acquire(timeout=1):
            self.let_go()
            self.lock.release()

    @contextmanager
    def _transaction(
        self,
        connection: PoolProxiedConnection,
        deadline: float,  # noqa: ARG002 - a lock is waited for between two tries
        *,
        alone: bool,
    ) -> Iterator[sqlite3.Connection]:
        driver = self.driver(connection)
        if not alone:
            # To write, from the beginning: one that has only read is refused once others have written meanwhile.
            driver.execute("BEGIN IMMEDIATE")
        yield driver
        driver.commit()

    def _passing(self, error: Exception, connection: PoolProxiedConnection) -> bool:
        if not _is_busy(error):
            return False
        self.driver(connection).rollback()
        return True

    def forked(self) -> None:
        """Leave the parent's connections to the parent."""
        of_parents.append(self._kept)
        self._kept = None
        # A new lock: the old one may be held by a thread that only the parent has.
        self.lock = threading.Lock()
        super().forked()


# SQLite keeps account of its locks in the process's memory, where a forked child would find those of its parent.
_files: WeakRegistry[SQLite] = WeakRegistry()
_taken_for_fork = ForkLocks()


def _before_fork() -> None:
    for database in _files.alive():
        if _taken_for_fork.take(database.lock):
            database.let_go()


# In the child as well: the thread that took it is the one that forked, and goes on there.
os.register_at_fork(
    before=_before_fork, after_in_parent=_taken_for_fork.give_back, after_in_child=_taken_for_fork.give_back
)


def open_sqlite(where: str | sa.Engine, url: sa.URL, prefix: str, fsync: str) -> SQLite:
    """The database in the file of a URL, which is made if it is not there; or of the user's own engine."""
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


def _turn_to_wal(cursor: DBAPICursor) -> None:
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
