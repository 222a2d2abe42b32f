"""Sending a streamed answer, with whatever is to go wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import msgspec

from .answer_delays import Pauses
from .billing import Billed
from .http_connection import LAST_CHUNK, Connection, chunk, response_head
from .scripted_reply import Reply
from .server_sent_events import Event
from .wire_formats.api_interface import Api

SPLIT_BYTES = 7

_MALFORMED = Event(b'data: {"id": "broken\n\n')
_END = Event(b"", "end")


class StreamedAnswer:
    """One streamed answer.

    Args:
        connection: The client's connection.
        pauses: How to wait on it.
        reply: How the request is answered.
        billed: The call on the bill.
        api: The API that it is an answer of.
        cut: Bills only so many pieces, where the provider stops when its reader leaves; None where it does not.
    """

    def __init__(
        self,
        connection: Connection,
        pauses: Pauses,
        reply: Reply,
        billed: Billed,
        api: Api,
        cut: Callable[[int], None] | None = None,
    ) -> None:
        self._cut = cut
        self._connection = connection
        self._pauses = pauses
        self._reply = reply
        self._billed = billed
        self._api = api
        self._gzip = zlib.compressobj(wbits=31) if reply.gzip else None
        self._pieces = 0
        self._is_gated = reply.gate_after is not None

    async def send(self, events: Iterator[Event], headers: dict[str, str]) -> None:
        """Send the events, each as soon as the one before is written."""
        headers = {"content-type": self._api.stream_media_type, "cache-control": "no-cache"} | headers
        if self._gzip is not None:
            headers["content-encoding"] = "gzip"
        await self._connection.send(response_head(200, headers, None))
        for event in events:
            goes_on = await self._go_on(event)
            if not goes_on or not await self._send(event):
                # What cannot be sent has no reader, though asyncio may tell only later that the connection is gone.
                if self._cut is not None and (goes_on or self._connection.gone):
                    self._cut(self._pieces)
                return
            self._pieces += event.role == "piece"
        if await self._go_on(_END):
            await self._finish()

    async def _go_on(self, event: Event) -> bool:
        """Do what is to happen before this event; return whether the stream goes on."""
        reply = self._reply
        if self._is_gated and self._is_due(reply.gate_after, event):
            self._is_gated = False
            if not await self._pauses.for_release():
                return False
        if self._is_due(reply.drop_after, event):
            self._connection.reset()
            return False
        for after, last in ((reply.error_after, self._api.broken), (reply.malformed_after, _MALFORMED)):
            if self._is_due(after, event):
                await self._send(last)
                await self._finish()
                return False
        return True

    def _is_due(self, after: int | None, event: Event) -> bool:
        if after is None or event.role == "frame":
            return False
        return event.role != "piece" or self._pieces >= after

    async def _send(self, event: Event) -> bool:
        if event.role == "end" and not self._reply.done:
            return True
        is_usage = event.role == "usage"
        if is_usage and self._reply.usage is msgspec.UNSET:
            self._billed.reported = True  # before the bytes leave: a client that has them must find it so
        for data in self._encoded(event.data, is_usage=is_usage):
            if not await self._connection.send(data):
                self._billed.reported &= not is_usage  # a client that left after the usage was told it
                return False
        await self._connection.breathe()
        return True

    def _encoded(self, data: bytes, *, is_usage: bool) -> Iterator[bytes]:
        if self._reply.crlf:
            data = data.replace(b"\n", b"\r\n")
        if self._gzip is not None:
            data = self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        size = self._reply.write_size or (SPLIT_BYTES if self._reply.split_usage and is_usage else len(data))
        for start in range(0, len(data), size):
            yield chunk(data[start : start + size])

    async def _finish(self) -> None:
        rest = b"" if self._gzip is None else self._gzip.flush()
        self._billed.delivered = True
        self._billed.delivered = await self._connection.send(chunk(rest) + LAST_CHUNK)
