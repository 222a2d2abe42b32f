"""Ledgers of every kind that can be away for a while, and come back with all that they knew."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import redis_server
import sqlalchemy as sa
from proxy import Proxy
from servers import http_url, postgres_url

from budgeted import BudgetManager
from budgeted.ledger.network_ledger import DEADLINE

REMOTE = ("postgresql", "redis", "http")
KINDS = ("journal", "sqlite", *REMOTE)


class Outage:
    """A place for ledgers, and how to have it away."""

    def __init__(self, where: str, away: Callable[[str], AbstractContextManager[None]], proxy: Proxy | None) -> None:
        self.where = where
        self.proxy = proxy
        self._away = away
        self._ledgers: list[Any] = []

    @contextlib.contextmanager
    def away(self, project: str) -> Iterator[None]:
        """Whoever asks the ledger of this project inside gets no answer, and does not wait for it for long."""
        for ledger in self._ledgers:
            ledger.deadline = 0.1
        with self._away(project):
            yield
        for ledger in self._ledgers:
            ledger.deadline = DEADLINE

    def manager(self, project: str, **settings: Any) -> BudgetManager:
        """A manager of a ledger there."""
        made = BudgetManager(project, ledger=self.where, **settings)
        self._ledgers.append(made.ledger)
        return made


@contextlib.contextmanager
def place(kind: str, folder: Path) -> Iterator[Outage]:
    """A place for ledgers of a kind."""
    if kind == "journal":
        yield Outage(str(folder / "spend"), lambda project: _flocked(folder / "spend" / project / "lock"), None)
    elif kind == "sqlite":
        yield Outage(f"sqlite:///{folder / 'spend.db'}", lambda _: _exclusive(folder / "spend.db"), None)
    else:
        target, url = _SERVERS[kind]()
        with Proxy(target) as proxy:
            yield Outage(url.format(port=proxy.port), lambda _: _refusing(proxy), proxy)


@contextlib.contextmanager
def _refusing(proxy: Proxy) -> Iterator[None]:
    proxy.refuse()
    try:
        yield
    finally:
        proxy.accept()


@contextlib.contextmanager
def _flocked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def _postgresql() -> tuple[str, str]:
    socket = sa.make_url(postgres_url()).query["host"]
    return (
        f"{socket}/.s.PGSQL.5432",
        "postgresql+psycopg://postgres:@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable",
    )


def _redis() -> tuple[tuple[str, int], str]:
    return ("127.0.0.1", redis_server.shared().port), "redis://127.0.0.1:{port}/0"


def _http() -> tuple[tuple[str, int], str]:
    return ("127.0.0.1", int(http_url().rpartition(":")[2])), "http://127.0.0.1:{port}"


_SERVERS: dict[str, Callable[[], tuple[Any, str]]] = {"postgresql": _postgresql, "redis": _redis, "http": _http}
