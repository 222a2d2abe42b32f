"""A ledger's file of SQLite. A transaction takes the file's only lock from its beginning on."""

from __future__ import annotations

import contextlib
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
from budgeted.ledger.sql.database import LONGEST_PAUSE, PAUSE, BusyError, Database, GoneError, of_parents
from budgeted.ledger.sql.file_traces import (
    OpenedFile,
    Trace,
    check_rest,
    check_trace,
    read_trace,
    trace_path,
    write_trace,
)
from budgeted.ledger.sql.schema import VERSION
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.system import current as system
from budgeted.system.forks import at_fork

WAL_SECONDS = 10
"""How long a new SQLite file may be in the way of others as it is turned to write ahead."""


LACKING = ("no such table", "no such column", "has no column named")
"""How SQLite says that what a statement is about is not there."""

CHECKED_BYTES = 16 * 1024 * 1024
"""How large a file may be that is gone through when it is opened: it takes up to a tenth of a second."""


class SQLite(Database[sqlite3.Connection]):
    """A file of SQLite, used by one thread of a process at a time."""

    remote = False

    def __init__(self, engine: sa.Engine, prefix: str, *, mine: bool) -> None:
        super().__init__(engine, prefix, mine=mine)
        self.where = str(engine.url.database)
        # Of sqlite3 itself, where a damaged name is in the text of an error.
        self.errors = (*self.errors, UnicodeDecodeError)
        self.lock = threading.Lock()
        self._kept: PoolProxiedConnection | None = None
        self._file: OpenedFile | None = None
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
            # Looked at each time: what is done to a file without a name, or to another's log, is lost for ever.
            problem = self._file.problem() if self._file else None
            if problem:
                self.let_go()
                raise GoneError(problem)
            connection = self._kept or self.engine.pool.connect()
            self._kept = connection  # checking it in and out would take as long as a statement
            try:
                yield connection
                if self._file:
                    self._file.used()
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
        if self._file:
            self._file.let_go()
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

    def _gone(self, error: BaseException) -> str | None:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith(
            "Could not decode to UTF-8"
        ):
            return f"the file {self.where} is damaged ({error})"
        # SQLite has no code of its own for it.
        lacks = code == sqlite3.SQLITE_ERROR and any(text in str(error) for text in LACKING)
        return f"a table in {self.where} was dropped, or is an older one ({error})" if lacks else None

    def damage(self, driver: sqlite3.Connection) -> str | None:
        """What is wrong with the file, all of which is gone through; None for nothing."""
        [(found,)] = driver.execute("PRAGMA integrity_check(1)").fetchall()
        return None if found == "ok" else f"the file {self.where} is damaged ({found})"

    # -- the file, and the trace beside it

    def prepare(self, project: str, deadline: float) -> str:
        """Make the tables if they are not there, or add what they lack, and note the project. Returns its identity.

        Raises:
            LedgerCorruptError: the file is not the one that was here before, or rows of the project are gone.
        """
        path = self._path(deadline)
        if path is None:  # it is in memory
            return super().prepare(project, deadline)
        trace = trace_path(path, self.prefix)
        # Before its tables are looked for: another process makes these first, and the trace when they are there.
        known = read_trace(trace)
        if not self._has_tables(deadline):
            check_trace(trace, known, None)
        if path.stat().st_size <= CHECKED_BYTES:
            damaged = self.run(self.damage, deadline, alone=True)
            if damaged:
                raise GoneError(damaged)
        identity = super().prepare(project, deadline)
        check_trace(trace, known, self.run(self._read_trace, deadline))
        self._leave_trace(trace, deadline)
        self._file = OpenedFile(path)
        return identity

    def begin_anew(self, project: str, identity: str, deadline: float) -> str:
        """Have a file and tables again, instead of what is gone. A file that is in its place now is taken."""
        with self.lock:
            self.let_go()
            self._file = None
        identity = super().begin_anew(project, identity, deadline)
        path = self._path(deadline)
        if path is not None:
            path.chmod(0o600)
            self._leave_trace(trace_path(path, self.prefix), deadline)
            self._file = OpenedFile(path)
        return identity

    def _has_tables(self, deadline: float) -> bool:
        # Over the connection that is kept: there is no other.
        find = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = :name"
        name = {"name": self.tables.schema.name}
        return bool(self.run(lambda driver: driver.execute(find, name).fetchall(), deadline, alone=True))

    def _path(self, deadline: float) -> Path | None:
        """Where the file is, whatever an engine of the user's own calls it; None for none."""
        files = self.run(lambda driver: driver.execute("PRAGMA database_list").fetchall(), deadline, alone=True)
        path = next((file for _, name, file in files if name == "main"), "")
        return Path(path) if path else None

    def _read_trace(self, driver: sqlite3.Connection) -> Trace:
        [[_, identity, opened]] = driver.execute(self.statements.read_schema).fetchall()
        return Trace(identity, opened)

    def _leave_trace(self, path: Path, deadline: float) -> None:
        """Count that the file was opened, in it and then beside it."""

        def count(driver: sqlite3.Connection) -> None:
            found = self._read_trace(driver)
            given = {"version": VERSION, "identity": found.identity, "opened": found.opened + 1}
            driver.execute(self.statements.update_schema, given)

        def leave(driver: sqlite3.Connection) -> None:
            # In a transaction: no other process that opens the file comes between reading and writing.
            write_trace(path, self._read_trace(driver))

        with self._synced(deadline):
            self.run(count, deadline)
        self.run(leave, deadline)

    @contextmanager
    def _synced(self, deadline: float) -> Iterator[None]:
        """Around a commit that is to survive a power cut, as a trace may that tells of it."""

        def ask(value: str) -> int:
            found = self.run(
                lambda driver: driver.execute(f"PRAGMA synchronous{value}").fetchall(), deadline, alone=True
            )
            return int(found[0][0]) if found else 0

        before = ask("")
        ask(" = FULL")
        try:
            yield
        finally:
            ask(f" = {before}")

    def _give_up(self, connection: PoolProxiedConnection) -> None:
        # A closed connection keeps its locks while a statement is half read, as by a frame of the error's traceback.
        with contextlib.suppress(sqlite3.Error):
            self.driver(connection).rollback()
        super()._give_up(connection)

    def forked(self) -> None:
        """Leave the parent's connections to the parent."""
        of_parents.append(self._kept)
        self._kept = None
        if self._file:
            self._file.let_go()
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
at_fork(before=_before_fork, after_in_parent=_taken_for_fork.give_back, after_in_child=_taken_for_fork.give_back)


def open_sqlite(where: str | sa.Engine, url: sa.URL, prefix: str, fsync: str) -> SQLite:
    """The database in the file of a URL, which is made if it is not there; or of the user's own engine."""
    if isinstance(where, sa.Engine):
        return SQLite(where, prefix, mine=False)
    if not url.database or url.database == ":memory:":
        msg = "an SQLite ledger needs a file: write 'sqlite:////path/to/file.db', or 'memory://' for none"
        raise LedgerError(msg)
    path = Path(url.database)
    if not path.exists():
        check_rest(path, prefix)
    try:  # for nobody else to read
        os.close(system.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
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
        cursor.execute(f"PRAGMA fullfsync = {int(database.synced_always)}")  # to the disk itself; macOS alone knows it
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
