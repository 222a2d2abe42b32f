"""Servers of ledgers for tests: real ones, on loopback, in a thread of this process or in a process of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.server import HTTPServer, listen
from budgeted.server import ServerSettings, create_app

TOKEN, READER = "write-" + "a1" * 16, "read-" + "b2" * 16


class Asking:
    """Requests to a server, of the bearer of a token or of none."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(base_url=url, trust_env=False)

    def __call__(self, method: str, path: str, body: Any = None, token: str | None = TOKEN, **options: Any) -> Any:
        headers = options.pop("headers", {})
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return self.client.request(method, path, json=body, headers=headers, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()


class Serving:
    """A server in a thread. ``url`` is where it is."""

    def __init__(
        self, limits: ConnectionLimits | None = None, clock: Callable[[], float] | None = None, **settings: Any
    ) -> None:
        app, limits = create_app(ServerSettings(**settings), clock=clock), limits or ConnectionLimits()
        self._server = server = HTTPServer(app, listen("127.0.0.1", 0), limits, log_level="warning")
        [(_, self.port)] = server.addresses
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)

    def close(self) -> None:
        self._server.stop()
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Served:
    """``budgeted serve`` as a process, on one port for as often as it is started."""

    def __init__(self, directory: Path, options: Sequence[object] = (), **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, "PYTHONWARNINGS": "", "BUDGETED_LEDGER": str(directory), **environment}
        self._options = [str(option) for option in options]
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "budgeted.cli", "serve", "--port", str(self.port), *self._options]
        self.process = subprocess.Popen(command, env=self._environment, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, self.process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        assert self.process is not None
        self.process.terminate()
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, log
