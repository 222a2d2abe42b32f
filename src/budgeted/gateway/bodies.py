"""What passes through a gateway: the body of a request, and that of an upstream's answer, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from starlette.types import Receive

MOST_WHOLE: Final = 8 * 2**20
"""Bytes of an answer that may be read as a whole, where it is not a stream."""


class Gone(Exception):  # noqa: N818 - no error of anybody's
    """Whoever asked has gone, in the midst of the request."""


class TooLong(Exception):  # noqa: N818 - as above
    """A request's body has more bytes than are read."""


async def whole(receive: Receive, most: int) -> bytes:
    """The body of a request.

    Args:
        receive: as ASGI has it.
        most: bytes.

    Raises:
        Gone: whoever asked has left before its end.
        TooLong: it has more bytes.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        first: bytes = message.get("body", b"")
        if len(first) > most:
            raise TooLong
        return first
    pieces = bytearray()
    while True:
        if message["type"] != "http.request":
            raise Gone
        pieces += message.get("body", b"")
        if len(pieces) > most:
            raise TooLong
        if not message.get("more_body"):
            return bytes(pieces)
        message = await receive()


async def pieces(receive: Receive) -> AsyncIterator[bytes]:
    """The body of a request as it comes, however long.

    Raises:
        Gone: whoever asked has left before its end.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        more = message.get("more_body", False)
        if body := message.get("body"):
            yield body


class Reader(Protocol):
    """What an answer of aiohttp's is read by."""

    async def readany(self) -> bytes:
        """What has come, at least a byte; b"" at the end."""


class Pieces:
    """An answer as it comes from an upstream, until whoever reads it is told that its own reader has gone.

    It can be read on after that, by somebody else.

    Args:
        reader: aiohttp's.
        first: what was read of it already.
    """

    def __init__(self, reader: Reader, first: bytes = b"") -> None:
        self._reader, self._first = reader, first
        self._left = False
        self._waiting: asyncio.Task[object] | None = None

    def leave(self) -> None:
        """The reader's own reader has gone: what is awaited just now, or next, is a :class:`GeneratorExit`."""
        self._left = True
        if self._waiting is not None:
            self._waiting.cancel()

    def _taken_leave(self) -> bool:
        """Whether the reader's reader has gone; said once: another one may read on."""
        left, self._left = self._left, False
        return left

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self._taken_leave():
            raise GeneratorExit
        if self._first:
            first, self._first = self._first, b""
            return first
        task = self._waiting = asyncio.current_task()
        try:
            data = await self._reader.readany()
        except asyncio.CancelledError:
            if task is None or not self._taken_leave() or task.uncancel():  # somebody else has cancelled it as well
                raise
            raise GeneratorExit from None
        finally:
            self._waiting = None
        if not data:
            raise StopAsyncIteration
        return data


class Departure:
    """Notices that whoever asked has gone, while an answer is awaited or sent.

    Args:
        receive: as ASGI has it, of a request whose body has been read.
        then: what is done then.
    """

    def __init__(self, receive: Receive, then: Callable[[], object]) -> None:
        self._then = then
        self._task = asyncio.ensure_future(self._watch(receive))

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._then()

    def over(self) -> None:
        """The answer is through: nobody need know any more."""
        self._task.cancel()
