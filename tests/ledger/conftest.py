"""Every test that takes ``ledger`` runs on each kind of ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import redis_server
from ledgers import give, usd
from servers import http_url, postgres_url, project
from sliced_ledgers import eager, sliced
from sliced_process import Process, Server

from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.sql.ledger import SQLLedger

KINDS: dict[str, Callable[[Path], Any]] = {
    "memory": lambda directory: MemoryLedger(),
    "journal": JournalLedger,
    "journal-fsync": lambda directory: JournalLedger(directory, fsync="always"),
    "sqlite": lambda directory: SQLLedger(f"sqlite:///{directory}.db"),
    "postgresql": lambda directory: SQLLedger(postgres_url(), project()),
    "redis": lambda directory: redis_server.new_ledger(),
    "http": lambda directory: HTTPLedger(http_url(), project()),
    "sliced": lambda directory: sliced(),
}

REMOTE = ("postgresql", "redis", "http")

SHARED: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda directory: f"sqlite:///{directory}.db",
    "postgresql": lambda directory: postgres_url(),
    "redis": lambda directory: redis_server.shared().url,
    "http": lambda directory: http_url(),
}
"""Kinds that several processes use and that tell their deaths by leases, and where they are."""

ALL_SHARED: dict[str, Callable[[Path], str]] = SHARED | {
    "sliced": lambda directory: f"sqlite:///{directory}.db?slice=auto",
}
"""These, and slices of one of them."""


def make(kind: str, directory: Path) -> Iterator[Any]:
    """A new ledger, of which nothing is swept that a test does not have swept."""
    with eager() if kind == "sliced" else nullcontext():
        made = KINDS[kind](directory)
        made.clock = lambda: 0.0
        made.renew("x", 3600)  # tests hold under this name
        yield made
        made.close()


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A new ledger of each kind."""
    yield from make(request.param, tmp_path / "ledger")


@pytest.fixture(params=[kind for kind in KINDS if kind not in REMOTE])
def local_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A new ledger of each kind that does without a network."""
    yield from make(request.param, tmp_path / "ledger")


@pytest.fixture(params=ALL_SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where a ledger of each shared kind is, and a new project there."""
    return ALL_SHARED[request.param](tmp_path / "ledger"), project()


@pytest.fixture
def shared(place: tuple[str, str]) -> Iterator[Any]:
    """A ledger there, as this process has it."""
    made = open_ledger(*place, fsync="background")
    yield made
    made.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a ledger may be kept."""
    return tmp_path / "ledger"


@pytest.fixture
def journal(directory: Path) -> Iterator[JournalLedger]:
    """A new ledger on disk."""
    made = JournalLedger(directory)
    yield made
    made.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A shared ledger in this process, of which nothing is looked after in the background."""
    monkeypatch.setattr(background_worker, "wanted", lambda kept: None)
    made = Server()
    give(made, GLOBAL, usd(100_000))
    return made


@pytest.fixture
def process(server: Server) -> Process:
    """A process that takes slices there."""
    return Process(server)
