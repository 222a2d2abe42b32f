"""Which projects there are in a place, found without opening a ledger: that would make one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from budgeted.ledger.urls import REDIS, SQL, kind_of

T = TypeVar("T")

LOOKING_SECONDS = 1.0
"""How long a Redis is searched for projects: it has no list of them, and may be full of other things."""

ANSWER_SECONDS = 2.0
"""How long a server may take to answer here."""

_KEY = "budgeted:{%s}"
_ACCOUNTS = f"{_KEY}:accounts"


def redis_key(project: str) -> str:
    """What the keys of a project's ledger in Redis begin with."""
    return _KEY % quote(project, safe="")


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
        return _ask_redis(where, lambda client: bool(client.exists(_ACCOUNTS % quote(project, safe=""))))
    found = _in_database(where) if kind == SQL else None
    return None if found is None else project in found


def projects_at(where: Any) -> list[str] | None:
    """The projects on a server or in a database, by name; None where that cannot be told soon.

    Raises:
        LedgerError: ``where`` was meant as something else.
    """
    kind = kind_of(where)
    if kind == REDIS:
        return _ask_redis(where, _search)
    return _in_database(where) if kind == SQL else None


def _ask_redis(where: Any, ask: Callable[[Any], T | None]) -> T | None:
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

        from budgeted.ledger.sql import row_mapping
        from budgeted.ledger.sql.database_url import location
        from budgeted.ledger.sql.schema import Tables
    except ModuleNotFoundError:
        return None
    mine = not isinstance(where, sa.Engine)
    try:
        url, prefix = location(where)
        if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
            return []
        engine = _engine(url) if mine else where
    except (sa.exc.SQLAlchemyError, OSError, ImportError):  # opening the ledger tells what is wrong
        return None
    try:
        with engine.connect() as connection:
            tables = Tables(prefix)
            if not sa.inspect(connection).has_table(tables.projects.name):
                return []
            return sorted(
                row_mapping.read(name) for name in connection.execute(sa.select(tables.projects.c.project)).scalars()
            )
    except (sa.exc.SQLAlchemyError, OSError):
        return None
    finally:
        if mine:
            engine.dispose()


def _engine(url: Any) -> Any:
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    remote = url.get_backend_name() != "sqlite"
    timeout = {"connect_timeout": max(2, round(ANSWER_SECONDS))} if remote else {}
    return sa.create_engine(url, poolclass=NullPool, connect_args=timeout)
