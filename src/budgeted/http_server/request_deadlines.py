"""How long a request may take, from the first byte that is awaited to the last one that is read by its sender.

At each moment a connection has one deadline, for what it awaits; beside it, bytes of an answer may lie here no longer
than another, whatever is awaited.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping

from budgeted.http_server.connection_limits import ConnectionLimits

KEPT_SECONDS = 75.0
"""How long an unused connection is kept: longer than clients keep theirs."""

LINGER_SECONDS = 5.0
"""How long what comes after the last answer is read and thrown away: a socket that is closed with bytes that nobody has
read takes the answer along with it."""


class Awaited(enum.Enum):
    """What a connection awaits."""

    HEADERS = "headers"
    BODY = "body"
    ANSWER = "answer"
    REQUEST = "the next request"
    END = "the end"


def seconds_for(limits: ConnectionLimits) -> Mapping[Awaited, float | None]:
    """How long each may take, or None for as long as it takes."""
    return {
        Awaited.HEADERS: limits.header_seconds,
        Awaited.BODY: limits.body_seconds,
        Awaited.ANSWER: limits.answer_seconds,
        Awaited.REQUEST: KEPT_SECONDS,
        Awaited.END: LINGER_SECONDS,
    }


class Deadline:
    """The deadline for what a connection awaits.

    Its timer is not moved for each request: it finds out when it goes off that there is more time.

    Args:
        loop: that the connection runs on.
        seconds: how long each may take.
        late: called with what has not come.
    """

    __slots__ = ("_at", "_late", "_loop", "_seconds", "_timer", "awaited")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: Mapping[Awaited, float | None],
        late: Callable[[Awaited], None],
    ) -> None:
        self.awaited: Awaited | None = None
        self._loop, self._seconds = loop, seconds
        self._late: Callable[[Awaited], None] | None = late
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wait_for(self, awaited: Awaited) -> None:
        """Await something else from now on. What is awaited already has no more time for it."""
        if awaited is self.awaited:
            return
        self.awaited = awaited
        seconds = self._seconds[awaited]
        if seconds is None:
            self._at = float("inf")
            return
        self._at = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._at:
            self._set()

    def stop(self) -> None:
        """Await nothing any more."""
        self.awaited = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Never await anything again: what it calls refers to it, and both would wait for a collector."""
        self.stop()
        self._late = None

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.awaited is None or self._late is None or self._at == float("inf"):
            return
        if self._loop.time() < self._at:
            self._set()
            return
        awaited, self.awaited = self.awaited, None
        self._late(awaited)


class Unread:
    """The deadline for bytes that were written, to be taken by their reader.

    Args:
        loop: that the connection runs on.
        transport: that writes. It is aborted when bytes lie in it for between one and two times the seconds.
        seconds: how long they may.
    """

    __slots__ = ("_loop", "_mark", "_seconds", "_timer", "_transport", "_written")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, seconds: float) -> None:
        self._loop, self._transport, self._seconds = loop, transport, seconds
        self._written = self._mark = 0
        self._timer: asyncio.TimerHandle | None = None

    def wrote(self, count: int) -> None:
        """So many bytes were written. Whether they lie is looked at when they would for too long."""
        self._written += count
        if self._timer is None:
            self._set()

    def stop(self) -> None:
        """Look at nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self._mark = self._written
        self._timer = self._loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        lie = self._transport.get_write_buffer_size()
        if not lie:
            return
        if lie - lie // 64 > self._written - self._mark:  # encrypted, they are a few more
            self._transport.abort()
        else:
            self._set()
