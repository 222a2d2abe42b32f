"""The tables of an SQL ledger."""

from __future__ import annotations

from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

VERSION = 3
"""Of the tables. A ledger adds what those of an earlier version lack, and refuses those of a later one."""

PREFIX = "budgeted_"
"""What the tables' names begin with, unless somebody says otherwise."""

TEXT: sa.types.TypeEngine[str] = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Sorts by code points, as Python does, whatever the database's own order is."""

ZERO: ColumnElement[int] = sa.literal_column("0")
EMPTY: ColumnElement[str] = sa.literal_column("''")


Column: TypeAlias = "sa.Column[int] | sa.Column[float] | sa.Column[str]"


class Tables:
    """The tables of a prefix. All but ``schema`` and ``owners`` keep the projects of a database apart.

    What a project was made as, says its ``identity``; how many rows of accounts it has, ``accounts``: where there are
    fewer, they were taken away. An owner is a process's ledger, and ``verbs`` counts what was done for it. ``opened``
    counts how often a file was opened.

    An account is one row, so that locking it locks its limits: ``slots`` has them as JSON, ``gone`` marks a deleted
    account that calls in flight still name. A hold stays one row when it has ended: then ``ended`` says when, ``used``
    what it was charged (NULL: released), and ``reason`` why nobody has confirmed that. What few holds have besides is
    in ``parts``. What was pruned of those that ended is kept in ``ended`` by its id alone: ``owner.first`` to
    ``owner.last``; of ids that end in no number, ``owner`` is all.
    ``seal`` is a checksum of a row, or 0 where an earlier version wrote it: no file of SQLite has any of its own.
    ``doubts`` sums what nobody has confirmed by the hour (since 1970) that its calls were opened in.
    """

    def __init__(self, prefix: str) -> None:
        self.metadata = sa.MetaData()

        def table(name: str, *columns: Column) -> sa.Table:
            return sa.Table(prefix + name, self.metadata, *columns)

        self.schema = table("schema", _number("version", primary_key=True), _added_text("identity"), _added("opened"))
        self.projects = table(
            "projects",
            _text("project", primary_key=True),
            _number("version"),
            _added_text("identity"),
            _added("accounts"),
        )
        self.owners = table(
            "owners",
            _text("id", primary_key=True),
            sa.Column("until", sa.Double, nullable=False),
            _added("verbs"),
        )
        self.accounts = table(
            "accounts",
            _text("project", primary_key=True),
            _text("id", primary_key=True),
            *map(_number, ("version", "explicit", "gone")),
            _text("slots"),
            *map(_number, ("usd", "tokens", "calls", "held")),
            _text("models", nullable=True),
            _number("models_since"),
            _added("seal"),
            _added_text("belongs_to", by=3),
            _added_text("stopped", by=3),
        )
        self.holds = table(
            "holds",
            _text("project", primary_key=True),
            _text("id", primary_key=True),
            _text("owner"),
            *map(_number, ("opened", "granted", "usd", "tokens")),
            _text("guess", nullable=True),
            _text("route"),
            _number("ended", nullable=True),
            _text("used", nullable=True),
            _text("reason"),
            _added("seal"),
            _added_text("parts", by=3),
        )
        self.reports = table(
            "reports",
            _text("project", primary_key=True),
            _number("day", primary_key=True),
            *(_text(name, primary_key=True) for name in ("account", "provider", "model")),
            *map(_number, ("calls", "usd", "input_tokens", "output_tokens", "uncertain")),
        )
        self.ended = table(
            "ended",
            _text("project", primary_key=True),
            _text("owner", primary_key=True),
            _number("first", primary_key=True),
            *map(_number, ("last", "at")),
        )
        self.doubts = table(
            "doubts",
            _text("project", primary_key=True),
            *(_text(name, primary_key=True) for name in ("account", "model")),
            _number("hour", primary_key=True),
            _number("usd"),
        )
        columns, reports = self.holds.c, self.reports.c
        sure, doubtful = columns.reason == EMPTY, columns.reason != EMPTY
        # Without the uncertain ones, of which there may be many, and which nothing prunes.
        sa.Index(f"{prefix}holds_sure", columns.project, columns.ended, sqlite_where=sure, postgresql_where=sure)
        sa.Index(
            f"{prefix}holds_doubtful", columns.project, columns.opened, sqlite_where=doubtful, postgresql_where=doubtful
        )
        sa.Index(f"{prefix}reports_account", reports.project, reports.account, reports.day)

    def added(self, since: int) -> list[tuple[sa.Table, Column]]:
        """The columns that the tables of an earlier version lack, but those of tables that it lacks altogether."""
        return [
            (table, one) for table in self.metadata.sorted_tables for one in table.c if one.info.get("by", 0) > since
        ]


def _added(name: str, *, by: int = 2) -> sa.Column[int]:
    """A number that came later, by some version."""
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=ZERO, info={"by": by})


def _added_text(name: str, *, by: int = 2) -> sa.Column[str]:
    """A text that came later, by some version."""
    return sa.Column(name, TEXT, nullable=False, server_default=EMPTY, info={"by": by})


def _number(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=primary_key, nullable=nullable, autoincrement=False)


def _text(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, primary_key=primary_key, nullable=nullable)
