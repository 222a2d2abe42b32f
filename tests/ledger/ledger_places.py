"""Where a ledger of each kind is kept, with clients of it that come, go, die and fork."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis_server
from servers import postgres_url, project
from serving import Serving
from sliced_ledgers import eager, sliced

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.ledger import background_worker
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.journal import segment_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.ledger.sql.ledger import SQLLedger

ROTATE_LINES = 7


class Place:
    """A new ledger. Nothing happens in the background unless it is asked for.

    Args:
        directory: where it may keep files.
        clock: what its clients go by.
        hold_timeout: seconds.
    """

    shared = True

    def __init__(self, directory: Path, clock: Callable[[], float], hold_timeout: float) -> None:
        self.directory, self.clock, self.hold_timeout = directory, clock, hold_timeout
        self.project = project()
        self.clients: list[Any] = []
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(background_worker, "wanted", lambda kept: None)
        self.patch.setattr(background_worker, "start", lambda: None)

    def make(self) -> Any:
        """A client, as the constructor makes it."""
        raise NotImplementedError

    def open(self) -> Any:
        """One more client, as another process would have it."""
        client = self.make()
        client.clock, client.hold_timeout = self.clock, self.hold_timeout
        self.clients.append(client)
        return client

    def turn(self) -> Any:
        """The next client: each verb goes to another."""
        self.clients.append(self.clients.pop(0))
        return self.clients[0]

    def leave(self) -> str:
        """A client closes; returns its owner."""
        client = self.clients.pop()
        client.close()
        return str(client.owner)

    def die(self) -> str:
        """A client is gone as after ``kill -9``, and its lease has run out; returns its owner."""
        client = self.clients.pop()
        client.closed = True
        client._disconnect()
        self.clients[0].renew(client.owner, 0)
        return str(client.owner)

    def mourn(self, owner: str) -> None:
        """Have the lease of a process that has ended run out."""
        self.clients[0].renew(owner, 0)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.patch.undo()


class Memory(Place):
    """One client alone."""

    shared = False

    def make(self) -> MemoryLedger:
        return MemoryLedger()


class Sliced(Place):
    """One client with slices of a ledger in memory: before it is asked for balances, it tells what was spent."""

    shared = False

    def __init__(self, directory: Path, clock: Callable[[], float], hold_timeout: float) -> None:
        super().__init__(directory, clock, hold_timeout)
        self._eager = contextlib.ExitStack()
        self._eager.enter_context(eager())

    def make(self) -> SlicedLedger:
        return sliced()

    def close(self) -> None:
        super().close()
        self._eager.close()


class Journal(Place):
    """A directory, whose journal rotates all the time. ``kept``: no segment is dropped."""

    kept = False

    def make(self) -> JournalLedger:
        self.patch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", ROTATE_LINES)
        self.patch.setattr("budgeted.ledger.journal.ledger._in_a_thread", background_worker.enqueue)
        self.patch.setattr("time.time", self.clock)  # opening sweeps by it
        # Snapshots are written when somebody flushes, not by threads of their own: a run is the same each time.
        self.patch.setattr("budgeted.ledger.journal.ledger._in_a_thread", background_worker.enqueue)
        if self.kept:
            self.patch.setattr(segment_files, "drop_before", lambda directory, segment: None)
        return JournalLedger(self.directory / "ledger")

    def die(self) -> str:
        client = self.clients.pop()
        # What it was about to do in the background goes with it; and no finaliser or exit is to do anything for it.
        background_worker._upkeep.jobs.clear()
        client._detach()
        client.closed = True
        return str(client.owner)

    def mourn(self, owner: str) -> None:
        """A process's lock has gone with it."""


class KeptJournal(Journal):
    kept = True


class SQLite(Place):
    def make(self) -> SQLLedger:
        return SQLLedger(f"sqlite:///{self.directory / 'ledger.db'}", self.project)


class PostgreSQL(Place):
    def make(self) -> SQLLedger:
        return SQLLedger(postgres_url(), self.project)


class Redis(Place):
    def make(self) -> RedisLedger:
        return RedisLedger(redis_server.shared().url, self.project)

    def die(self) -> str:
        client = self.clients.pop()
        client.closed = True
        self.clients[0].renew(client.owner, 0)
        return str(client.owner)


@functools.cache
def served_journals() -> str:
    """A server whose ledgers are journals. It sweeps for its clients alone."""
    folder = tempfile.mkdtemp(prefix="served")
    limits = ConnectionLimits(max_connections=10**6, max_connections_per_address=10**6)
    return Serving(limits, ledger=folder, max_projects=10**6, hold_timeout=10**10).url


class HTTP(Place):
    def make(self) -> HTTPLedger:
        return HTTPLedger(served_journals(), self.project)


PLACES: dict[str, type[Place]] = {
    "memory": Memory,
    "sliced": Sliced,
    "journal": Journal,
    "whole-journal": KeptJournal,
    "sqlite": SQLite,
    "postgresql": PostgreSQL,
    "redis": Redis,
    "http": HTTP,
}
