"""What an SQL ledger asks of a database's driver: sqlite3's connections have it, and psycopg's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Value: TypeAlias = str | int | float | None
"""What a column holds."""

Given: TypeAlias = Value | list[str]
"""What a statement is given as a parameter."""

StoredRow: TypeAlias = tuple[Any, ...]
"""A row as a driver gives it, with one :data:`Value` per column that was asked for."""


class Cursor(Protocol):
    """The answer to a statement."""

    def fetchall(self) -> list[StoredRow]:
        """All rows that are left."""


class Driver(Protocol):
    """A connection, in a transaction or without one."""

    def execute(self, statement: str, given: Mapping[str, Given] = ..., /) -> Cursor:
        """Run a statement with named parameters."""

    def commit(self) -> None:
        """Keep what the transaction did."""

    def rollback(self) -> None:
        """Undo what the transaction did."""


class Pipeline(Protocol):
    """Statements that are sent together."""

    def sync(self) -> None:
        """Send them, and have them answered."""


class PostgreSQLDriver(Driver, Protocol):
    """What psycopg's connections have besides, and what a ledger keeps on them."""

    autocommit: bool
    deadline: float
    sending: Pipeline
    wait: Callable[..., object]

    @property
    def closed(self) -> bool:
        """Whether it was closed, by us or by the server."""

    def notifies(self, *, timeout: float, stop_after: int) -> Iterator[object]:
        """Messages that come within so many seconds, and so many of them."""

    def pipeline(self) -> AbstractContextManager[Pipeline]:
        """Around statements that are sent together."""
