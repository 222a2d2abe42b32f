"""ASGI applications under a real server in a thread of the test's process, and what they spend and are refused."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx2
import uvicorn

from budgeted import BudgetManager, hold


def spend(usd: float = 0.01) -> None:
    """Pay for something, as a synchronous SDK does."""
    with hold(cost=usd) as held:
        held.settle(cost=usd)


async def spend_async(usd: float = 0.01) -> None:
    """Pay for something, as an asynchronous SDK does."""
    async with hold(cost=usd) as held:
        held.settle(cost=usd)


def calls(manager: BudgetManager) -> dict[str, int]:
    """How many calls each user has paid for."""
    report = manager.report("user")
    return {user: row.calls for user, row in report.items() if user != report.rest}


class Serving:
    """An application under uvicorn, and a client of it."""

    def __init__(self, app: Any, **options: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="websockets-sansio", **options))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)
        self.client = httpx2.Client(base_url=self.url, trust_env=False, timeout=30)

    def get(self, path: str, user: str | None = "alice", **headers: str) -> httpx2.Response:
        return self.client.get(path, headers=headers if user is None else {"x-user": user, **headers})

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Threaded:
    """A WSGI application under the standard library's server, and a client of it."""

    def __init__(self, app: Any) -> None:
        self._server = make_server("127.0.0.1", 0, app, _Many, _Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self._server.server_port}", trust_env=False)

    def get(self, path: str, user: str | None = "alice", **headers: str) -> httpx2.Response:
        return self.client.get(path, headers=headers if user is None else {"x-user": user, **headers})

    def close(self) -> None:
        self.client.close()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Many(socketserver.ThreadingMixIn, WSGIServer):
    """Each request in a thread of its own."""


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - as it is called there
