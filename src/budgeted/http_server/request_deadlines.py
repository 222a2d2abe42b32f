"""How long a request may take, from the first byte that is awaited to the last one that is read by its sender.

At each moment a connection has one deadline: for the headers, for the body, or for the answer; between two requests,
uvicorn's own for connections that are kept.
"""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from budgeted.http_server.connections_per_address import Connection, Connections


def _refusal(status: bytes, kind: bytes, text: bytes) -> bytes:
    body = b'{"error":{"type":"%s","message":"%s"}}' % (kind, text)
    head = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-type: application/json\r\n" % status
    return b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)


TOO_LATE = _refusal(b"408 Request Timeout", b"RequestTimeout", b"the request took too long to arrive")
"""What is answered to a request that does not arrive."""

UNREADABLE = _refusal(b"400 Bad Request", b"BadRequest", b"this is no HTTP")
"""What is answered to what is no request."""

_log = logging.getLogger("uvicorn.error.requests")
_log.setLevel(logging.ERROR)  # not a line for each that is malformed: who sends them must not fill the log

_HEADERS, _BODY, _ANSWERED, _NONE = "headers", "body", "answer", ""


class TimedProtocol(H11Protocol):
    """uvicorn's protocol of HTTP by h11, with deadlines. h11 also bounds the size of headers (64 KiB)."""

    places: ClassVar[Connections]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Await the first request."""
        self.logger = _log
        super().connection_made(transport)
        self._connection: Connection | None = self.places.find(transport.get_extra_info("socket").fileno())
        limits = self.places.limits
        self._seconds = {
            _HEADERS: limits.header_seconds,
            _BODY: limits.body_seconds,
            _ANSWERED: limits.answer_seconds,
        }
        self._awaiting = _NONE
        self._deadline: asyncio.TimerHandle | None = None
        self._await(_HEADERS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Await nothing any more."""
        self._await(_NONE)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Await what follows on these bytes."""
        if self._awaiting == _NONE or self._is_read():
            self._await(_HEADERS)
        super().data_received(data)
        self._look()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - as uvicorn has it
        """Refuse what is no HTTP. A request whose body ends in it gets no other answer."""
        begun = False
        cycle: RequestResponseCycle | None = getattr(self, "cycle", None)  # there is none before the first request
        if cycle is not None and not cycle.response_complete:
            begun = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
        if not begun:
            self.transport.write(UNREADABLE)
        self.transport.close()

    def on_response_complete(self) -> None:
        """Await that the answer is read, and then the next request."""
        if self._connection is not None:
            self._connection.answered += 1
            self._connection.since = self.loop.time()
        if not self.transport.get_write_buffer_size():
            self._await(_NONE)  # a request that was sent right behind has its own time
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        """See what is awaited now."""
        state = self.conn.their_state
        if self.transport.is_closing() or state not in (h11.IDLE, h11.SEND_BODY):
            self._await(_ANSWERED)
        elif state is h11.SEND_BODY:
            self._await(_BODY)
        elif self._is_read():
            self._await(_NONE)

    def _is_read(self) -> bool:
        """Whether the last answer was read, and no byte of a further request has come."""
        between = self._awaiting == _ANSWERED and self.conn.their_state is h11.IDLE
        return between and not self.transport.is_closing() and not self.transport.get_write_buffer_size()

    def _await(self, what: str) -> None:
        if what == self._awaiting:
            return
        self._awaiting = what
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._connection is not None:
            self._connection.awaited = what != _ANSWERED
        if what != _NONE:
            self._deadline = self.loop.call_later(self._seconds[what], self._too_late)

    def _too_late(self) -> None:
        if self._is_read():
            self._await(_NONE)
            return
        unanswered = self._awaiting == _HEADERS or (self._awaiting == _BODY and not self.cycle.response_started)
        if unanswered and not self.transport.is_closing():
            self.transport.write(TOO_LATE)
        # Not closed: that waits until the other end has read all that was written.
        self.transport.abort()


def protocol_of(connections: Connections) -> type[TimedProtocol]:
    """The protocol with the deadlines and the places of these connections, as uvicorn takes it."""

    class Protocol(TimedProtocol):
        pass

    Protocol.places = connections
    return Protocol
