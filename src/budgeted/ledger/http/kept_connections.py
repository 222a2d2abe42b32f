"""Requests over connections of our own: kept, checked before they are used again, and closed when nobody needs them.

They are written to sockets by hand: a request to a ledger is a few hundred bytes, of which a library for all that HTTP
may be used for would take longer than the server.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import SplitResult, quote

from budgeted.errors import LedgerError
from budgeted.ledger.http.response_reader import ResponseReader
from budgeted.ledger.http.sent_once import CONNECT_SECONDS, KEPT_SECONDS, MOST_KEPT, ClosedError, UnconnectedError
from budgeted.system import current as system
from budgeted.validation import shown

_EVERY = {"user-agent": "budgeted", "accept-encoding": "identity"}
"""Headers of every request."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAKS = re.compile(r"[\r\n\0]")

Certificates: TypeAlias = Callable[[], ssl.SSLContext]

_MOST_AT_ONCE = 64 * 1024
"""Bytes that are read at once."""


class KeptConnections:
    """Sends requests to one server. Thread-safe: each request has a connection for itself.

    Args:
        base: of the server's URL, ``http://`` or ``https://``.
        headers: sent with every request.
        certificates: makes the context by which the server of an ``https://`` is verified; None for ``http://``.
    """

    def __init__(self, base: SplitResult, headers: Mapping[str, str], certificates: Certificates | None) -> None:
        self._host = base.hostname or ""
        self._port = base.port or (443 if certificates else 80)
        self._certificates = certificates
        self._context: ssl.SSLContext | None = None
        self._path = quote(base.path, safe="/%:@!$&'()*+,;=~")
        self._head = _lines({"host": _host_of(base), **_EVERY, **{name.lower(): headers[name] for name in headers}})
        # Of a deque, each end is given and taken in one step: threads need no lock.
        self._kept: deque[_Connection] = deque()
        self._closed = False

    def ask(self, target: str, body: bytes | None, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """Send a request, once, as :class:`~budgeted.ledger.http.sent_once.Connections` has it."""
        deadline = time.monotonic() + seconds
        if self._closed:
            raise ClosedError
        line = f"{'GET' if body is None else 'POST'} {self._path}{target} HTTP/1.1\r\n{self._head}"
        if body is not None:
            line += f"content-length: {len(body)}\r\n"
        request = f"{line}{_lines(headers)}\r\n".encode() + (body or b"")
        connection = self._unused() or self._connected(min(seconds, CONNECT_SECONDS))
        try:
            answer = connection.ask(request, deadline)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return answer

    def close(self) -> None:
        """Close what is unused now, and whatever is being used afterwards."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._kept.pop().close()

    def forget(self) -> None:
        """Leave them to the parent, who has them open as well."""
        self.close()

    def _unused(self) -> _Connection | None:
        """The connection that was used last, unless its server has ended it."""
        with contextlib.suppress(IndexError):
            while True:
                connection = self._kept.pop()
                if connection.is_open():
                    return connection
                connection.close()
        return None

    def _connected(self, seconds: float) -> _Connection:
        try:
            made = socket.create_connection((self._host, self._port), seconds)
        except (OSError, ValueError) as error:  # ValueError: no network has a name like that
            raise UnconnectedError(str(error) or "it cannot be connected to") from error
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._certificates is not None:
                self._context = self._context or self._certificates()
                made = self._context.wrap_socket(made, server_hostname=self._host)
        except (OSError, ValueError) as error:
            made.close()
            raise UnconnectedError(str(error) or "no TLS connection can be made") from error
        except BaseException:
            made.close()
            raise
        return _Connection(made)

    def _keep(self, connection: _Connection) -> None:
        if not connection.reusable:
            connection.close()
            return
        connection.since = now = time.monotonic()
        self._kept.append(connection)
        if self._closed:
            self.close()
        # Those that were used least recently lie at the other end.
        with contextlib.suppress(IndexError):
            while len(self._kept) > MOST_KEPT or self._kept[0].since < now - KEPT_SECONDS:
                self._kept.popleft().close()


class _Connection:
    """A connection, and what is read from it."""

    __slots__ = ("_reader", "_socket", "since")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._reader = ResponseReader()
        self.since = 0.0

    def ask(self, request: bytes, deadline: float) -> tuple[int, bytes]:
        """Send a request and read its answer, by a ``time.monotonic()``."""
        reader, connection = self._reader, self._socket
        reader.start()
        connection.settimeout(_left(deadline))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before all was sent
            connection.sendall(request)
        while not reader.whole:
            connection.settimeout(_left(deadline))
            reader.feed(connection.recv(_MOST_AT_ONCE))
        return reader.status, reader.content()

    @property
    def reusable(self) -> bool:
        """Whether another request may follow the answer."""
        return self._reader.keep_alive

    def is_open(self) -> bool:
        """Whether its server awaits a request: else there is something to read, be it only that it has ended."""
        return self.since >= time.monotonic() - KEPT_SECONDS and not system.has_unread(self._socket.fileno())

    def close(self) -> None:
        """End it."""
        self._reader.close()
        self._socket.close()


def _left(deadline: float) -> float:
    """Seconds until a deadline.

    Raises:
        TimeoutError: there are none.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        msg = "timed out"
        raise TimeoutError(msg)
    return left


def _lines(headers: Mapping[str, str]) -> str:
    """Headers as they are sent."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or _BREAKS.search(value):
            msg = f"the header {shown(name)} cannot be sent: a name has no blanks, and a value is one line"
            raise LedgerError(msg)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _host_of(base: SplitResult) -> str:
    """What the ``Host`` header says."""
    host = base.hostname or ""
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        name = quote(host)  # there is no such host, which connecting to it tells
    name = f"[{name}]" if ":" in name else name
    return name if base.port is None else f"{name}:{base.port}"
