"""The tables of an SQL ledger."""

from __future__ import annotations

from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

VERSION = 1
"""Of the tables. A ledger refuses those of a later version."""

PREFIX = "budgeted_"
"""What the tables' names begin with, unless somebody says otherwise."""

TEXT: sa.types.TypeEngine[str] = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Sorts by code points, as Python does, whatever the database's own order is."""

ZERO: ColumnElement[int] = sa.literal_column("0")
EMPTY: ColumnElement[str] = sa.literal_column("''")


Column: TypeAlias = "sa.Column[int] | sa.Column[float] | sa.Column[str]"


class Tables:
    """The tables of a prefix. All but ``schema`` and ``owners`` keep the projects of a database apart.

    An account is one row, so that locking it locks its limits: ``slots`` has them as JSON, ``gone`` marks a deleted
    account that calls in flight still name. A hold stays one row when it has ended: then ``ended`` says when, ``used``
    what it was charged (NULL: released), and ``reason`` why nobody has confirmed that.
    """

    def __init__(self, prefix: str) -> None:
        self.metadata = sa.MetaData()

        def table(name: str, *columns: Column) -> sa.Table:
            return sa.Table(prefix + name, self.metadata, *columns)

        self.schema = table("schema", _number("version", primary_key=True))
        self.projects = table("projects", _text("project", primary_key=True), _number("version"))
        self.owners = table("owners", _text("id", primary_key=True), sa.Column("until", sa.Double, nullable=False))
        self.accounts = table(
            "accounts",
            _text("project", primary_key=True),
            _text("id", primary_key=True),
            *map(_number, ("version", "explicit", "gone")),
            _text("slots"),
            *map(_number, ("usd", "tokens", "calls", "held")),
            _text("models", nullable=True),
            _number("models_since"),
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
        )
        self.reports = table(
            "reports",
            _text("project", primary_key=True),
            _number("day", primary_key=True),
            *(_text(name, primary_key=True) for name in ("account", "provider", "model")),
            *map(_number, ("calls", "usd", "input_tokens", "output_tokens", "uncertain")),
        )
        columns = self.holds.c
        doubtful = columns.reason != EMPTY
        sa.Index(f"{prefix}holds_ended", columns.project, columns.ended)
        sa.Index(f"{prefix}holds_uncertain", columns.project, sqlite_where=doubtful, postgresql_where=doubtful)


def _number(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=primary_key, nullable=nullable, autoincrement=False)


def _text(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, primary_key=primary_key, nullable=nullable)
