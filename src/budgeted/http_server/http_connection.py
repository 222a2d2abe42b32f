"""A connection: reads one request after the other, has the application answer, and keeps to its deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import struct
import time
import urllib.parse
from email.utils import formatdate
from typing import Any, Final

from starlette.types import ASGIApp, Scope

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.connections_per_address import Place
from budgeted.http_server.exchange import Exchange
from budgeted.http_server.refusals import refusal_bytes
from budgeted.http_server.request_deadlines import Awaited, Deadline, Unread, seconds_for
from budgeted.http_server.request_reader import RequestReader, Unreadable

MOST_AHEAD = 64 * 1024
"""Bytes of further requests that wait for the answer of the one before them. Until then it is noticed who leaves."""

MOST_IN_TURN = 32
"""Pieces of an answer that are sent before it is others' turn, be they ever so readily taken."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER's: a socket's end is a reset."""


class Served:
    """What all connections of a server share. For one thread, that of the event loop.

    Args:
        app: the application.
        limits: what connections may take.
        state: what the application has made at its start, of which each request gets a copy.

    Attributes:
        open: the connections.
        tasks: the requests under way.
        ending: whether no further requests are to come.
    """

    def __init__(self, app: ASGIApp, limits: ConnectionLimits, state: dict[str, Any]) -> None:
        self.app, self.limits, self.ending = app, limits, False
        # So that answers without an end know when to end.
        self.state = {**state, "is_ending": lambda: self.ending}
        self.loop = asyncio.get_running_loop()
        self.seconds = seconds_for(limits)
        self.open: set[HTTPConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        # A request that is begun where another one has just ended would else find what that one has set.
        self.context = contextvars.copy_context()
        self._second, self._date = 0, b""

    def date(self) -> bytes:
        """The header that tells the time."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._date

    def begin(self, exchange: Exchange) -> None:
        """Have the application answer a request."""
        task = self.loop.create_task(exchange.run(self.app), context=self.context.copy())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class HTTPConnection(asyncio.Protocol):
    """A connection.

    Args:
        served: what all connections share.
        place: its own.
    """

    __slots__ = (
        "_ahead", "_client", "_deadline", "_draining", "_ended", "_exchange", "_in_turn", "_local", "_paused",
        "_place", "_reader", "_scheme", "_served", "_transport", "_unread", "date",
    )  # fmt: skip

    _transport: asyncio.Transport
    _deadline: Deadline
    _unread: Unread

    def __init__(self, served: Served, place: Place) -> None:
        self._served, self._place = served, place
        self.date = served.date
        self._reader: RequestReader | None = None  # of the request that is being read, or answered
        self._exchange: Exchange | None = None  # of the request that is being answered
        self._ahead = b""
        self._paused = self._ended = False
        self._in_turn = 0
        self._draining: asyncio.Event | None = None

    # -- for the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is one of a stream
        """Await the first request."""
        self._transport = transport
        self._client, self._local = _address(transport, "peername"), _address(transport, "sockname")
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        served = self._served
        self._unread = Unread(served.loop, transport, served.limits.longest_unread)
        self._deadline = Deadline(served.loop, served.seconds, self._too_late)
        self._deadline.wait_for(Awaited.HEADERS)
        self._place.answering = self
        served.open.add(self)
        if served.ending:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
        """Tell the application that who asked has gone."""
        self._ended = True
        self._served.open.discard(self)
        self._deadline.end()
        self._unread.stop()
        self._place.leave()
        if self._reader is not None:
            self._reader.close()
        if self._exchange is not None:
            self._exchange.leave()
            self._exchange = None
        self.resume_writing()

    def eof_received(self) -> None:
        """Who asked has gone: none that we know of ends its half of a connection before it is answered."""
        if self._exchange is not None and not self._exchange.complete:
            self._exchange.leave()

    def data_received(self, data: bytes) -> None:
        """Read a request, or keep what is ahead of its time."""
        if self._ended:
            return
        if self._reader is not None and self._reader.ended:
            self._ahead += data
            if len(self._ahead) > MOST_AHEAD:
                self._pause()
        else:
            self._read(data)

    def pause_writing(self) -> None:
        """Who reads is behind."""
        self._draining = asyncio.Event()

    def resume_writing(self) -> None:
        """Who reads has caught up, or gone."""
        if self._draining is not None:
            self._draining.set()
            self._draining = None

    # -- for the server

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or its answer has not been read. Else one is awaited."""
        if self._deadline.awaited is Awaited.END:
            return False
        return self._deadline.awaited is Awaited.ANSWER or self._transport.get_write_buffer_size() > 0

    def end(self) -> None:
        """End it after the request that is being answered, or at once if there is none."""
        if self._exchange is None or self._ended:
            self._ended = True
            self._transport.close()
        else:
            self._exchange.keep_alive = False

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    # -- for the exchange

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes."""
        self._transport.write(data)
        self._unread.wrote(len(data))

    async def drained(self) -> None:
        """Wait until the reader has taken most of what was written."""
        while self._draining is not None:
            await self._draining.wait()
        self._in_turn += 1
        if self._in_turn == MOST_IN_TURN:
            # Who only ever sends would keep the loop from all else, and from telling that who asked has gone.
            self._in_turn = 0
            await asyncio.sleep(0)

    def read_on(self) -> None:
        """The application awaits more of the body."""
        self._resume()
        if not self._ended:
            self._deadline.wait_for(Awaited.BODY)

    def answered(self) -> None:
        """The answer is whole."""
        self._place.was_answered()
        self._resume()
        assert self._reader is not None  # noqa: S101 - of the request that was answered
        assert self._exchange is not None  # noqa: S101 - it is what calls
        if self._reader.ended:
            self._next()
        elif self._exchange.keep_alive and not self._served.ending:
            self._deadline.wait_for(Awaited.BODY)  # which nobody wants, but it is in the way of the next request
        else:
            self._close()

    def cut(self, *, visibly: bool) -> None:
        """End the connection in the middle of an answer; by a reset, where nothing else shows that it is not whole."""
        if visibly:
            with contextlib.suppress(OSError):  # it has gone already
                _socket(self._transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    # -- requests

    def _read(self, data: bytes) -> None:
        if self._reader is None:
            self._reader = RequestReader()
            self._deadline.wait_for(Awaited.HEADERS)
        reader = self._reader
        try:
            read = reader.feed(data)
        except Unreadable as problem:
            self._refuse(refusal_bytes(problem.status, "BadRequest", str(problem)))
            return
        if not reader.complete:
            return
        if self._exchange is None:
            self._exchange = Exchange(self, self._scope(reader), keep_alive=reader.keep_alive)
            self._served.begin(self._exchange)
        full = self._exchange.take(reader.pieces, ended=reader.ended)
        reader.pieces = []
        self._ahead = data[read:]
        if reader.ended and self._exchange.complete:
            self._next()
        elif reader.ended:
            self._deadline.wait_for(Awaited.ANSWER)
        elif full:
            self._pause()
            self._deadline.wait_for(Awaited.ANSWER)  # as it is the application's turn
        else:
            self._deadline.wait_for(Awaited.BODY)

    def _scope(self, reader: RequestReader) -> Scope:
        raw_path, _, query = reader.target.partition(b"?")
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            # 2.4 would have sending fail where who asked has gone, and applications not wait for that besides.
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": reader.version,
            "method": reader.method,
            "scheme": self._scheme,
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": reader.headers,
            "client": self._client,
            "server": self._local,
            "state": self._served.state.copy(),
        }

    def _next(self) -> None:
        """Go on to the next request, if there may be one."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None  # noqa: S101 - it has ended
        if not exchange.keep_alive or self._served.ending:
            self._close()
            return
        self._reader = None
        self._deadline.wait_for(Awaited.REQUEST)
        ahead, self._ahead = self._ahead, b""
        if ahead:
            self._read(ahead)

    def _refuse(self, answer: bytes) -> None:
        """Answer what is no request, or not a whole one, if that may still be answered; it is the last."""
        exchange, self._exchange = self._exchange, None
        if exchange is None or not exchange.begun:
            self.write(answer)
        if exchange is not None:
            exchange.leave()
        self._close()

    def _close(self) -> None:
        """End the connection. Bytes that nobody has read would end it by a reset, and take the answer along."""
        self._ended = True
        if self._ahead or self._reader is None or not self._reader.ended:
            self._ahead = b""
            self._resume()
            self._deadline.wait_for(Awaited.END)
            if self._transport.can_write_eof():
                try:
                    self._transport.write_eof()
                except OSError:  # who asked has gone, which nobody could notice while nothing was read
                    self._transport.abort()
        else:
            self._deadline.stop()  # what has not been read yet has its own
            self._transport.close()

    def _too_late(self, awaited: Awaited) -> None:
        if awaited is Awaited.HEADERS or (awaited is Awaited.BODY and self._exchange and not self._exchange.begun):
            self._refuse(refusal_bytes(408, "RequestTimeout", "the request took too long to arrive"))
        elif awaited is Awaited.REQUEST:
            self._ended = True
            self._transport.close()
        else:
            # Not closed: that waits until the other end has read all that was written.
            self._transport.abort()

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()


def _socket(transport: asyncio.BaseTransport) -> socket.socket:
    found: socket.socket = transport.get_extra_info("socket")
    return found


def _address(transport: asyncio.BaseTransport, end: str) -> tuple[str, int] | None:
    found = transport.get_extra_info(end)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) else None
