"""Servers of small applications for tests: real ones, on loopback, in a thread of this process; and bare clients."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import Any, Self

from bare_clients import connect, rest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.server import HTTPServer, listen

LONG = 60.0
"""Seconds that no test waits for."""


class Listening:
    """A server in a thread, on an event loop of a kind."""

    def __init__(
        self, app: ASGIApp, *, loop: str = "auto", grace_seconds: float = 10, ssl_certfile: Any = None, **limits: Any
    ) -> None:
        unread = {} if "answer_seconds" in limits else {"unread_seconds": LONG}
        allowed = ConnectionLimits(**{"header_seconds": LONG, "body_seconds": LONG, **unread, **limits})
        sockets = listen("127.0.0.1", 0)
        settings = {"log_level": "critical", "loop": loop, "ssl_certfile": ssl_certfile}
        self.http = HTTPServer(app, sockets, allowed, grace_seconds=grace_seconds, **settings)
        [(_, self.port)] = self.http.addresses
        self._thread = threading.Thread(target=self.http.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self.http.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            threading.Event().wait(0.005)

    def stop(self) -> None:
        """Have it end, and wait for that."""
        self.http.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def connect(self) -> socket.socket:
        return connect(self.port)

    def send(self, *pieces: bytes) -> bytes:
        """All that is answered to bytes, until the server ends the connection."""
        with self.connect() as one:
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    one.sendall(piece)
            return rest(one)


def status(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def whole_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body, more = body + message["body"], message["more_body"]
    return body


def answer(body: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> list[Message]:
    length = (b"content-length", b"%d" % len(body))
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    return [start, {"type": "http.response.body", "body": body}]


async def telling(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers what it was asked."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    body = await whole_body(receive)
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "version": scope["http_version"],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    for message in answer(json.dumps(told).encode()):
        await send(message)
