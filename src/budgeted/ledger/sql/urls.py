"""The URL of a database, and the prefix of the tables that it may name."""

from __future__ import annotations

import sqlalchemy as sa

from budgeted.errors import LedgerError
from budgeted.ledger.sql.schema import PREFIX
from budgeted.ledger.urls import path_of

SQLITE = ("sqlite", "sqlite+pysqlite")
POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
"""What URLs of either begin with."""

EXAMPLES = "'sqlite:////path/to/file.db' or 'postgresql+psycopg://user:password@host/database'"


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
        raise LedgerError(f"the ledger's URL cannot be read; write {EXAMPLES}") from None
    prefix, url = str(url.query.get("table_prefix") or prefix), url.difference_update_query(["table_prefix"])
    if url.drivername in POSTGRESQL:
        url = url.set(drivername="postgresql+psycopg")
    elif url.drivername in SQLITE and url.database:
        url = url.set(database=str(path_of(url.database)))
    return url, prefix
