"""What reads a body as it passes, by its Content-Type and its Content-Encoding."""

from __future__ import annotations

import zlib
from typing import TypeAlias

from budgeted.wire import aws_event_stream, response_usage
from budgeted.wire.aws_event_stream import FrameMeter
from budgeted.wire.response_usage import Answer
from budgeted.wire.server_sent_events import EventMeter, LineMeter
from budgeted.wire.stream_usage import BodyMeter, ItemMeter

_UNPACKED = 2**18
"""Bytes that are unpacked at a time."""

_EVENTS = (b"data:", b"event:", b": ")


def read_whole(response: object) -> Answer:
    """What a response says of itself that was read whole, also if its body is a stream's events.

    Args:
        response: an SDK's object, a mapping, JSON, events, or an HTTP response with a body of either.
    """
    answer = response_usage.read(response)
    if answer.usage is not None or answer.error:
        return answer
    body = response_usage.body_of(response)
    if body is None or not body.lstrip()[:6].startswith(_EVENTS):
        return answer
    meter = EventMeter()
    meter.feed(body)
    meter.flush()
    return meter.answer()


def without_usage(body: bytes) -> bytes:
    """A stream's events without the one that only carries usage.

    Args:
        body: all of them; anything else is returned as it is.
    """
    meter = EventMeter(drop_usage=True)
    return meter.feed(body) + meter.flush()


class PackedMeter:
    """Meters a compressed body that is read as it came: unpacked, and packed again where something is to be hidden.

    Gzip and deflate. What is packed otherwise, or badly, is passed on as it is, and its usage stays unknown.

    Attributes:
        readable: whether all that came could be unpacked: else nobody knows how much it is.
    """

    def __init__(self, inner: EventMeter | ItemMeter | BodyMeter, encoding: str) -> None:
        self._inner = inner
        self._unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS + 32)  # either of them
        self._pack = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if encoding == "gzip" else 0))
        self.readable = encoding in ("gzip", "deflate")

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns what to pass on."""
        if not self.readable:
            return data
        packed, piece, came = [], b"", data
        try:
            # Piece by piece: what is a thousand times as long unpacked never is in memory as a whole.
            while data or len(piece) == _UNPACKED:
                piece = self._unpack.decompress(data, _UNPACKED)
                data = self._unpack.unconsumed_tail
                packed.append(self._packed(self._inner.feed(piece)))
        except zlib.error:
            self.readable = False
            packed.append(data)
        return b"".join(packed) if self._inner.hides else came

    def flush(self) -> bytes:
        """What is left at the end of the stream."""
        if not self.readable:
            return b""
        self.readable = self._unpack.eof and not self._unpack.unused_data
        rest = self._packed(self._inner.flush() or b"")
        return rest + self._pack.flush() if self._inner.hides else b""

    def _packed(self, data: bytes) -> bytes:
        # Flushed each time: an event is passed on as soon as it is complete.
        if not data or not self._inner.hides:
            return b""
        return self._pack.compress(data) + self._pack.flush(zlib.Z_SYNC_FLUSH)


Meter: TypeAlias = EventMeter | ItemMeter | BodyMeter | PackedMeter


def meter_of(content_type: str, *, drop_usage: bool) -> EventMeter | BodyMeter:
    """What reads a body of this type.

    Args:
        content_type: the response's header.
        drop_usage: whether the event that only carries usage is to be hidden, as the caller did not ask for it.
    """
    if "text/event-stream" in content_type:
        return EventMeter(drop_usage=drop_usage)
    if "application/stream+json" in content_type:
        return LineMeter()
    return FrameMeter() if aws_event_stream.MEDIA_TYPE in content_type else BodyMeter()
