"""A TCP proxy that injects one fault after the other: replies cut, torn and late, requests torn and repeated."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Self

LATE_SECONDS = 0.02
REPLY_SECONDS = 0.2
"""How long the reply to a repeated request is waited for, which nobody gets."""


@dataclass
class Fault:
    """One fault.

    ``kind`` is ``"cut reply"`` (the request arrives, its reply does not), ``"torn reply"`` (after ``bytes`` of it the
    connection is cut), ``"torn request"`` (so is the request), ``"late reply"``, ``"repeated request"`` (the server
    gets it once more, over another connection) or ``"cut connection"`` (before the request).
    """

    kind: str
    bytes: int = 0


class _Link:
    """A client's connection and the server's end of it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.request = b""
        self.answering = False

    def cut(self) -> None:
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class FaultyProxy:
    """Forwards connections to a server, with the faults that are due. A context manager.

    Args:
        target: the server: (host, port), or the path of its Unix socket.

    Attributes:
        port: where it listens, on 127.0.0.1.
        faults: those that are due, the next one first; each is injected once.
        replied: bytes of replies that were forwarded.
        injected: how many faults were.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self.faults: deque[Fault] = deque()
        self.replied = self.injected = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake a thread that accepts
        self._listener.close()
        for link in list(self._links):
            link.cut()

    def lead_to(self, target: tuple[str, int] | str) -> None:
        """Forward to another server from now on."""
        self._target = target
        for link in list(self._links):
            link.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(client, server)
            self._links.add(link)
            for replies in (False, True):
                threading.Thread(target=self._forward, args=(link, replies), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
        else:
            server = socket.create_connection(self._target)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _forward(self, link: _Link, replies: bool) -> None:
        source, sink = (link.server, link.client) if replies else (link.client, link.server)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    data, goes_on = self._reply(link, data) if replies else self._request(link, data)
                if data:
                    sink.sendall(data)
                if not goes_on:
                    break
        link.cut()
        self._links.discard(link)
        source.close()  # each direction closes what it reads from

    def _request(self, link: _Link, data: bytes) -> tuple[bytes, bool]:
        if link.answering:
            link.request, link.answering = b"", False
        link.request += data
        fault = self._next("torn request", "cut connection")
        if fault is None:
            return data, True
        return data[: min(fault.bytes, len(data) - 1)] if fault.kind == "torn request" else b"", False

    def _reply(self, link: _Link, data: bytes) -> tuple[bytes, bool]:
        link.answering = True
        if self.faults and self.faults[0].kind == "torn reply" and self.faults[0].bytes >= len(data):
            self.faults[0].bytes -= len(data)  # it is torn further on
        elif fault := self._next("torn reply", "cut reply", "late reply", "repeated request"):
            if fault.kind in ("torn reply", "cut reply"):
                return data[: fault.bytes] if fault.kind == "torn reply" else b"", False
            if fault.kind == "late reply":
                time.sleep(LATE_SECONDS)
            else:
                self._repeat(link.request)
        self.replied += len(data)
        return data, True

    def _next(self, *kinds: str) -> Fault | None:
        if not self.faults or self.faults[0].kind not in kinds:
            return None
        self.injected += 1
        return self.faults.popleft()

    def _repeat(self, request: bytes) -> None:
        with contextlib.suppress(OSError), self._connect() as again:
            again.settimeout(REPLY_SECONDS)
            again.sendall(request)
            again.recv(65536)
