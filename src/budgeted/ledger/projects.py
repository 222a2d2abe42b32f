"""Which projects there are in a place, found without opening a ledger: that would make one."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from budgeted.ledger.places import REDIS, SQL, kind_of

LOOKING_SECONDS = 1.0
"""How long a Redis is searched for projects: it has no list of them, and may be full of other things."""

ANSWER_SECONDS = 2.0
"""How long a server may take to answer here."""

_ACCOUNTS = "budgeted:{%s}:accounts"


def directory_name(project: str) -> str:
    """What a project's directory is called below the path of a ledger."""
    return quote(project, safe="").replace(".", "%2E")


def has_directory(directory: Path) -> bool | None:
    """Whether a ledger is in a directory; None where nobody may look, or where no directory can be."""
    try:
        (directory / "lock").stat()
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True


def projects_in(root: Path) -> list[str]:
    """The projects that have a ledger below a path."""
    return sorted(unquote(lock.parent.name) for lock in root.glob("*/lock"))


def has_project(where: Any, project: str) -> bool | None:
    """Whether a project has a ledger on a server or in a database.

    Returns:
        None where that cannot be told without opening it: behind a server of ours, and where nothing answers.

    Raises:
        LedgerError: ``where`` was meant as something else.
    """
    kind = kind_of(where)
    if kind == REDIS:
        return _ask_redis(where, lambda client: bool(client.exists(_ACCOUNTS % quote(project, safe=""))))  # type: ignore[no-any-return]
    found = _in_database(where) if kind == SQL else None
    return None if found is None else project in found


def projects_at(where: Any) -> list[str] | None:
    """The projects on a server or in a database, by name; None where that cannot be told soon.

    Raises:
        LedgerError: ``where`` was meant as something else.
    """
    kind = kind_of(where)
    if kind == REDIS:
        return _ask_redis(where, _search)  # type: ignore[no-any-return]
    return _in_database(where) if kind == SQL else None


def _ask_redis(where: Any, ask: Any) -> Any:
    """What a Redis answers, or None."""
    try:
        import redis
    except ModuleNotFoundError:
        return None
    client = where
    try:
        if isinstance(where, str):
            client = redis.Redis.from_url(where, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
        return ask(client)
    except (redis.RedisError, OSError, ValueError, TypeError):  # opening the ledger tells what is wrong
        return None
    finally:
        if client is not where:
            client.close()


def _search(client: Any) -> list[str] | None:
    pattern = re.compile(re.escape(_ACCOUNTS).replace("%s", "(.*)").encode())
    until = time.monotonic() + LOOKING_SECONDS
    cursor, found = 0, []
    while True:
        cursor, keys = client.scan(cursor, match=_ACCOUNTS % "*", count=1000)
        if not isinstance(cursor, int):  # of a cluster, whose servers are asked one by one
            return None
        names = (pattern.fullmatch(key if isinstance(key, bytes) else key.encode()) for key in keys)
        found += [unquote(name[1].decode()) for name in names if name]
        if not cursor:
            return sorted(set(found))
        if time.monotonic() >= until:
            return None


def _in_database(where: Any) -> list[str] | None:
    try:
        import sqlalchemy as sa

        from budgeted.ledger.sql import rows
        from budgeted.ledger.sql.tables import PREFIX, Tables
    except ModuleNotFoundError:
        return None
    mine = not isinstance(where, sa.Engine)
    try:
        url = sa.make_url(where) if mine else where.url
        tables = Tables(str(url.query.get("table_prefix") or PREFIX))
        url = url.difference_update_query(["table_prefix"])
        if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).expanduser().exists()):
            return []
        engine = _engine(url) if mine else where
    except (sa.exc.SQLAlchemyError, OSError):  # opening the ledger tells what is wrong
        return None
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(tables.projects.name):
                return []
            return sorted(
                rows.read(name) for name in connection.execute(sa.select(tables.projects.c.project)).scalars()
            )
    except (sa.exc.SQLAlchemyError, OSError):
        return None
    finally:
        if mine:
            engine.dispose()


def _engine(url: Any) -> Any:
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    if url.get_backend_name() == "sqlite":
        return sa.create_engine(url.set(database=str(Path(url.database).expanduser())), poolclass=NullPool)
    timeout = {"connect_timeout": max(2, round(ANSWER_SECONDS))}
    return sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool, connect_args=timeout)
