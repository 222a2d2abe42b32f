"""A receiver of alerts on loopback that answers as a test wants it to, and tells what it got."""

from __future__ import annotations

import contextlib
import http.server
import json
import queue
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any

Behaviour = int | str | tuple[int, dict[str, str]]
"""A status, with headers or without; or "close" for no answer, "hang" for none until the test ends, "drip" for one
whose bytes come one by one, and never all."""


@dataclass
class Got:
    """A request as it came."""

    path: str
    headers: Message
    body: bytes

    @property
    def id(self) -> str:
        return str(self.headers["Budgeted-Event-Id"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Hook:
    """The receiver.

    Attributes:
        answers: what the next requests are answered; later ones get 200.
        behaves: what any request is answered that none of those is for.
    """

    def __init__(self) -> None:
        self.answers: list[Behaviour] = []
        self.behaves: Callable[[Got], Behaviour] = lambda _: 200
        self.got: queue.Queue[Got] = queue.Queue()
        self.ended = threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.receive(self, Got(self.path, self.headers, body))

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/services/T0SECRET"

    def receive(self, handler: http.server.BaseHTTPRequestHandler, got: Got) -> None:
        behaviour = self.answers.pop(0) if self.answers else self.behaves(got)
        self.got.put(got)
        if behaviour == "hang":
            self.ended.wait(60)
        elif behaviour == "drip":
            self._drip(handler.connection)
        elif behaviour != "close":
            status, headers = behaviour if isinstance(behaviour, tuple) else (behaviour, {})
            assert isinstance(status, int)
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(b"ok" if status == 200 else b"Cannot POST " + got.path.encode())

    def _drip(self, connection: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            if self.ended.wait(0.02):
                return
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return

    def next(self) -> Got:
        return self.got.get(timeout=30)

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


class Proxy:
    """A proxy that reaches one port here, whatever host it is asked for.

    Attributes:
        asked: the heads of the requests that it got.
    """

    def __init__(self, port: int) -> None:
        self.asked: list[bytes] = []
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += self.request.recv(1)
                proxy.asked.append(head)
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with socket.create_connection(("127.0.0.1", port)) as there:
                    threading.Thread(target=_pass_on, args=(there, self.request), daemon=True).start()
                    _pass_on(self.request, there)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://me:pass@127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    never, deadline = threading.Event(), time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        never.wait(0.002)
