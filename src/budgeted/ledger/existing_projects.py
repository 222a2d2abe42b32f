"""Which projects there are in a place, found without opening a ledger: that would make one."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

from budgeted.errors import LedgerError
from budgeted.ledger.http.project_names import project_names
from budgeted.ledger.redis.keys import ANY_ACCOUNTS, accounts_key, project_of
from budgeted.ledger.urls import HTTP, REDIS, SQL, kind_of
from budgeted.system import current as system
from budgeted.validation import shown

if TYPE_CHECKING:
    import redis
    import sqlalchemy as sa

T = TypeVar("T")

LOOKING_SECONDS = 1.0
"""How long a Redis is searched for projects: it has no list of them, and may be full of other things."""

ANSWER_SECONDS = 2.0
"""How long a server may take to answer here."""


def directory_name(project: str, root: Path) -> str:
    """What a project's directory is called below the path of a ledger.

    Args:
        project: the project.
        root: that path.

    Raises:
        LedgerError: another project's has that name but for capital letters, and would be taken for it.
    """
    name = quote(project, safe="").replace(".", "%2E")
    if not system.IGNORES_CASE:
        return name
    spelt = _spelt_out(name)
    try:
        names = os.listdir(root)  # noqa: PTH208 - names are what is wanted
    except OSError:
        return spelt
    if name in names:  # as versions before wrote it
        return name
    if spelt not in names and os.path.lexists(root / spelt):
        msg = (
            f"project_name {shown(project)} would be kept in the folder of another project in {root}, whose name "
            f"differs in capital letters only; use another name, or another path"
        )
        raise LedgerError(msg)
    return spelt


_CAPITAL = re.compile(r"%..|[A-Z]")
_DEVICE = re.compile(r"con|prn|aux|nul|com\d|lpt\d")
"""What no file of Windows may be called: https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""


def _spelt_out(name: str) -> str:
    """An escaped name that no other one is taken for."""
    spelt = _CAPITAL.sub(lambda found: found[0] if len(found[0]) > 1 else f"%{ord(found[0]):02X}", name)
    return f"%{ord(spelt[0]):02X}{spelt[1:]}" if _DEVICE.fullmatch(spelt) else spelt


def has_directory(directory: Path) -> bool | None:
    """Whether a ledger is in a directory, or what is left of one; None where nobody may look, or none can be."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are what is wanted
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return any(_is_of_a_ledger(name) for name in names)


def projects_in(root: Path) -> list[str]:
    """The projects that have a ledger below a path, or what is left of one."""
    found = {path.parent.name for path in root.glob("*/*") if _is_of_a_ledger(path.name)}
    return sorted(map(unquote, found))


def _is_of_a_ledger(name: str) -> bool:
    # Not by the lock alone: a ledger that has lost it is refused when it is opened, and is not to be overlooked.
    return name == "lock" or re.fullmatch(r"(journal|snapshot)-\d{8,}", name) is not None


def has_project(where: Any, project: str) -> bool | None:
    """Whether a project has a ledger on a server or in a database.

    Returns:
        None where that cannot be told without opening it: behind a server of ours, and where nothing answers.

    Raises:
        LedgerError: ``where`` was meant as something else.
    """
    kind = kind_of(where)
    if kind == REDIS:
        return _ask_redis(where, lambda client: bool(client.exists(accounts_key(project))))
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
    if kind == HTTP:
        return project_names(where, ANSWER_SECONDS)
    return _in_database(where) if kind == SQL else None


def _ask_redis(where: str | redis.Redis, ask: Callable[[redis.Redis], T | None]) -> T | None:
    """What a Redis answers, or None."""
    try:
        import redis
    except ModuleNotFoundError:
        return None
    mine = None
    try:
        if not isinstance(where, str):
            return ask(where)
        mine = redis.Redis.from_url(where, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
        return ask(mine)
    except (redis.RedisError, OSError, ValueError, TypeError):  # opening the ledger tells what is wrong
        return None
    finally:
        if mine is not None:
            mine.close()


def _search(client: redis.Redis) -> list[str] | None:
    until = time.monotonic() + LOOKING_SECONDS
    cursor = 0
    found: list[str] = []
    while True:
        answer: tuple[object, list[bytes | str]] = client.scan(cursor, match=ANY_ACCOUNTS, count=1000)
        following, keys = answer
        if not isinstance(following, int):  # of a cluster, whose servers are asked one by one
            return None
        names = (project_of(key if isinstance(key, bytes) else key.encode()) for key in keys)
        found += [name for name in names if name is not None]
        # Only this ends a scan: an answer may hold no key, and be one of many.
        if not following:
            return sorted(set(found))
        if time.monotonic() >= until:
            return None
        cursor = following


def _in_database(where: str | sa.Engine) -> list[str] | None:
    try:
        import sqlalchemy as sa

        from budgeted.ledger.sql import row_mapping
        from budgeted.ledger.sql.schema import Tables
        from budgeted.ledger.sql.urls import location
    except ModuleNotFoundError:
        return None
    mine = None
    try:
        url, prefix = location(where)
        if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
            return []
        if isinstance(where, sa.Engine):
            engine = where
        else:
            engine = mine = _engine(url)
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
        if mine is not None:
            mine.dispose()


def _engine(url: sa.URL) -> sa.Engine:
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    remote = url.get_backend_name() != "sqlite"
    timeout = {"connect_timeout": max(2, round(ANSWER_SECONDS))} if remote else {}
    return sa.create_engine(url, poolclass=NullPool, connect_args=timeout)
