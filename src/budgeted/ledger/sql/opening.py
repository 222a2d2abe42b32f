"""Opening the database that a URL names, or the one that a user's own engine reaches."""

from __future__ import annotations

from typing import Any, TypeAlias

import sqlalchemy as sa

from budgeted.errors import LedgerError
from budgeted.ledger.sql.database import Database
from budgeted.ledger.sql.postgresql import open_postgresql
from budgeted.ledger.sql.sqlite import open_sqlite
from budgeted.ledger.sql.urls import EXAMPLES, POSTGRESQL, SQLITE, location
from budgeted.validation import shown

AnyDatabase: TypeAlias = Database[Any]
"""Whichever it is: its own driver is what it gives to, and takes from, the work that is done in it."""

LONGEST_PREFIX = 40
"""Bytes of a table prefix: PostgreSQL takes names of 63, and what follows it may have 23."""


def open_database(where: str | sa.Engine, prefix: str, deadline: float, *, fsync: str) -> AnyDatabase:
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
    if url.drivername in SQLITE:
        return open_sqlite(where, url, prefix, fsync)
    if url.drivername in POSTGRESQL:
        return open_postgresql(where, url, prefix, deadline)
    raise LedgerError(f"ledger={url.drivername + '://...'!r} is no database that a ledger can be in; write {EXAMPLES}")
