"""Opening the ledger that a ``ledger=`` argument names, once per process and project."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from budgeted.errors import LedgerError
from budgeted.ledger.default_place import OR_NAME, default_directory, tell_if_lost
from budgeted.ledger.existing_projects import directory_name, has_directory, has_project, projects_at, projects_in
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.network_ledger import RemoteLedger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.ledger.urls import HTTP, MEMORY, PATH, REDIS, SQL, kind_of, path_of, public, without_slices
from budgeted.system import current as system
from budgeted.system.forks import at_fork
from budgeted.validation import shown

if TYPE_CHECKING:
    import sqlalchemy as sa

    from budgeted.ledger.journal.ledger import JournalLedger
    from budgeted.ledger.redis.connection import Client


OPEN = (MemoryLedger, RemoteLedger, SlicedLedger)
"""What is a ledger already, where one is to be opened."""

LONGEST_NAME = 255
"""Bytes that a file's name may have, on nearly every file system."""

_lock = threading.Lock()
# Weakly: that it was opened once keeps no ledger alive.
_by_directory: weakref.WeakValueDictionary[Path, JournalLedger] = weakref.WeakValueDictionary()
_by_server: weakref.WeakValueDictionary[tuple[object, str], RemoteLedger | SlicedLedger] = weakref.WeakValueDictionary()


def open_ledger(where: object, project: str, *, fsync: str) -> Ledger:
    """The ledger that a ``ledger=`` argument names, for one project.

    Args:
        where: ``"memory://"``, a path or ``file:///dir``, None for the user's state directory (or ``BUDGETED_HOME``),
            ``"sqlite:///file"``, ``"postgresql+psycopg://..."`` or an SQLAlchemy ``Engine``, ``"redis://..."``,
            ``"rediss://..."`` or a ``redis.Redis``, ``"https://..."`` for a server of ours, or a ledger that is open
            already. URLs of databases and servers may say ``?slice=auto``.
        project: the namespace; every project has a directory of its own below the path.
        fsync: ``"background"`` or ``"always"``. Who asks for the latter gets it, also where the ledger is open already.

    Returns:
        The same object for the same path and project, within one process.

    Raises:
        LedgerError: the URL is not known, or the path cannot be a ledger.
        ValueError: the project's name is too long for a folder's.
    """
    if isinstance(where, OPEN):
        return cast("Ledger", where)
    bare, sliced = without_slices(where)
    kind = kind_of(bare)
    if kind == MEMORY:
        return MemoryLedger()
    if kind in _SERVERS:
        # Held while it is opened: threads that ask at once get the same object.
        with _lock:
            remote = _by_server.get((where, project))
            if remote is None or remote.closed:
                remote = _SERVERS[kind](bare, project, fsync)
                remote = _by_server[where, project] = SlicedLedger(cast("Ledger", remote)) if sliced else remote
            elif fsync == "always":
                remote.sync_always()
            return cast("Ledger", remote)
    directory = _directory(where, project)
    from budgeted.ledger.journal.ledger import JournalLedger

    _check_length(directory.name, project)
    with _lock:
        ledger = _by_directory.get(directory)
        if ledger is None or ledger.closed:
            ledger = _by_directory[directory] = JournalLedger(directory, fsync=fsync)
            if where is None:
                tell_if_lost(directory.parent)
        elif fsync == "always":
            ledger.sync_always()
        return ledger


def _check_length(name: str, project: str) -> None:
    """Refuse a project whose folder no file system would take."""
    if len(name) > LONGEST_NAME:
        msg = (
            f"project_name {shown(project)} makes a folder's name of {len(name)} bytes, and {LONGEST_NAME} are "
            f"allowed; use a shorter one, or a hash (what is not a plain letter or digit takes 3 bytes or more)"
        )
        raise ValueError(msg)


def _http(where: str, project: str, fsync: str) -> RemoteLedger:  # noqa: ARG001 - its server decides that
    from budgeted.ledger.http.ledger import HTTPLedger

    return HTTPLedger(where, project)


def _sql(where: str | sa.Engine, project: str, fsync: str) -> RemoteLedger:
    try:
        from budgeted.ledger.sql.ledger import SQLLedger

        return SQLLedger(where, project, fsync=fsync)
    except ModuleNotFoundError as error:
        msg = f"an SQL ledger needs {error.name}: pip install 'budgeted[sql]'"
        raise LedgerError(msg) from error


def _redis(where: str | Client, project: str, fsync: str) -> RemoteLedger:  # noqa: ARG001 - how durable it is, the server says
    try:
        from budgeted.ledger.redis.ledger import RedisLedger

        return RedisLedger(where, project)
    except ModuleNotFoundError as error:
        msg = f"a ledger in Redis needs {error.name}: pip install 'budgeted[redis]'"
        raise LedgerError(msg) from error


_SERVERS: dict[str, Callable[[Any, str, str], RemoteLedger]] = {HTTP: _http, SQL: _sql, REDIS: _redis}
"""What opens a ledger that is no directory."""


def exists(where: object, project: str) -> bool | None:
    """Whether there is a ledger that :func:`open_ledger` would open, without making it.

    Returns:
        None where that cannot be told: behind a server of ours, where nothing answers, or nobody may look.

    Raises:
        LedgerError: as there.
    """
    if isinstance(where, OPEN):
        return True
    kind = kind_of(where)
    if kind == PATH:
        return has_directory(_directory(where, project))
    return False if kind == MEMORY else has_project(without_slices(where)[0], project)


def projects_beside(where: object) -> tuple[str, list[str] | None]:
    """What a place is called without its credentials, and the projects that have a ledger there.

    The projects are None where that cannot be told soon.

    Raises:
        LedgerError: as :func:`open_ledger`.
    """
    if kind_of(where) == PATH:
        root = _root(where)
        return str(root), projects_in(root)
    return public(where) if isinstance(where, str) else repr(where), projects_at(without_slices(where)[0])


def directory_of(where: object, project: str) -> Path | None:
    """The directory of a ledger that is kept in one; None of any other.

    Raises:
        LedgerError: as :func:`open_ledger`.
    """
    if isinstance(where, OPEN) or kind_of(where) != PATH:
        return None
    return _directory(where, project)


def address_of(where: object) -> str | None:
    """A ``ledger=`` argument as another process of this host can give it, wherever that one runs.

    Returns:
        None if no other process can: it is in memory, or a client or an engine of this process's own.

    Raises:
        LedgerError: as :func:`open_ledger`.
    """
    if isinstance(where, OPEN):
        return None
    kind = kind_of(where)
    if kind == PATH:
        return str(_root(where))
    if kind == MEMORY or not isinstance(where, str):
        return None
    scheme, _, rest = where.partition(":///")
    if kind == SQL and scheme.startswith("sqlite"):
        file, query, options = rest.partition("?")
        return f"{scheme}:///{path_of(file).absolute()}{query}{options}"
    return where


def _directory(where: object, project: str) -> Path:
    root = _root(where)
    return root / directory_name(project, root)


def _root(where: object) -> Path:
    if where is None:
        try:
            root = default_directory()
        except LedgerError as error:
            raise LedgerError(f"{error}{OR_NAME}") from None
    else:
        text = os.fspath(where) if isinstance(where, (str, os.PathLike)) else None
        if not isinstance(text, str) or not text or not _encodable(text):
            msg = f"ledger={shown(where)} is not known; write a path, 'memory://', or 'file:///dir'"
            raise LedgerError(msg)
        root = _path_of(text)
    return Path(os.path.realpath(root))


def _encodable(path: str) -> bool:
    """Whether a file may be called so."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _after_fork() -> None:
    global _lock  # noqa: PLW0603
    # Another thread of the parent may have been opening one, and is not here to give the old lock back.
    _lock = threading.Lock()


at_fork(after_in_child=_after_fork)


def _path_of(text: str) -> Path:
    if "://" not in text or system.has_drive(text):
        return path_of(text)
    parts = urlsplit(text)
    if text.startswith("file://") and parts.netloc in ("", "localhost") and parts.path:
        return Path(system.path_of_url(parts.path))
    msg = (
        f"ledger={parts.scheme + '://...'!r} is not a ledger this version knows; "
        f"write a path, 'file:///dir' with three slashes, 'memory://', 'sqlite:////path/to/file.db', "
        f"'postgresql+psycopg://user:password@host/database' or 'redis://user:password@host:6379/0'"
    )
    raise LedgerError(msg)
