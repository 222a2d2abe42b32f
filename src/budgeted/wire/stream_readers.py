"""Reading what a stream uses off it as it passes: server-sent events, AWS's frames, an SDK's items, or a whole body."""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from budgeted.pricing.usage import Counts, Usage
from budgeted.wire import aws_event_stream, responses, usage_parsers
from budgeted.wire.field_lookup import fields_of, text_bytes
from budgeted.wire.responses import Answer

BYTES_PER_TOKEN = 4
"""Received text without a usage report is estimated at this."""

MOST_BODY = 16 * 2**20
"""Bytes of a body that is no event stream that are kept to read its usage."""

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"^data:[ ]?(.*?)\r?$", re.MULTILINE)
_TEXT = re.compile(
    rb'"(?:content|text|delta|arguments|partial_json|thinking|reasoning|reasoning_content|refusal|tool_plan|input|generation)'
    rb'":\s*"((?:[^"\\]++|\\.)++)"'
)
_string = re.compile(rb'(?:[^"\\]++|\\.)*+').match
_DONE = re.compile(rb"^data:[ ]?\[DONE\]", re.MULTILINE)
_METRICS = "amazon-bedrock-invocationMetrics"
_METRIC_COUNTS = {
    "inputTokenCount": "inputTokens",
    "outputTokenCount": "outputTokens",
    "cacheReadInputTokenCount": "cacheReadInputTokens",
    "cacheWriteInputTokenCount": "cacheWriteInputTokens",
}
_FINAL_TYPES = (
    *("response.completed", "response.incomplete", "response.failed", "message_delta", "message-end"),
    *("conversation.response.done", "interaction.completed"),
    *("image_generation.completed", "image_edit.completed", "speech.audio.done", "transcript.text.done"),
)
# Of this API, only the deltas are text that was not there before.
_REPEATING = (b"event: response.", b"event:response.", b'data: {"type":"response.')
_NAMES = (
    ("model", "_model"),
    ("modelVersion", "_model"),
    ("id", "_id"),
    ("responseId", "_id"),
    ("service_tier", "_tier"),
)


def estimated(size: int, pieces: int = 0) -> int:
    """Tokens of text that nobody has counted.

    Args:
        size: its bytes.
        pieces: in how many it came, each of which is a token at least.
    """
    return max(pieces, -(-size // BYTES_PER_TOKEN))


class StreamMeter:
    """What a stream has said of itself so far, and how much has come."""

    def __init__(self) -> None:
        self.final = False
        self._usage: dict[str, Any] = {}
        self._tier: str | None = None
        self._model: str | None = None
        self._id: str | None = None
        self._begun = False
        self._events = 0
        self._text_bytes = 0

    @property
    def whole(self) -> bool:
        """Whether the usage seen so far is all of it, if nothing more comes: not so at the start of a message."""
        return not self._begun

    def answer(self) -> Answer:
        """What the stream has said of itself so far."""
        return Answer(usage_parsers.read_usage(self._usage or None, self._tier), self._model, self._id, self._usage)

    def received(self) -> Counts:
        """What has arrived, at least: reported counts, and the text that came through."""
        usage = self.answer().usage
        output = estimated(self._text_bytes, self._events)
        if usage is None:
            return Usage(0, output)
        return msgspec.structs.replace(usage, output_tokens=max(usage.output_tokens, output))

    def _note(self, body: Mapping[str, Any]) -> bool:
        """Note what a part of the stream says of itself; False if it has no usage report."""
        inner = body.get("response") or body.get("message") or body.get("interaction")
        report = inner if isinstance(inner, dict) else body
        for name, attribute in _NAMES:
            value = report.get(name)
            if isinstance(value, str) and value:
                setattr(self, attribute, value)
        usage = body.get("usage") or usage_parsers.report_in(report)
        if not isinstance(usage, dict):
            return False
        # Later counts replace earlier ones: they are cumulative.
        self._usage.update({name: value for name, value in usage.items() if value is not None})
        if isinstance(report.get("output"), list):
            self._usage["webSearches"] = usage_parsers.searches(report)
        kind = body.get("type") or body.get("event_type")
        self._begun = kind == "message_start"
        if body.get("choices") == [] or kind in _FINAL_TYPES:
            self.final = True
        else:
            self._events += 1
        return True


class EventMeter(StreamMeter):
    """Reads usage off server-sent events as they pass.

    Args:
        drop_usage: True if usage was asked for on the caller's behalf: the chunk that only carries it is not passed on.
    """

    def __init__(self, *, drop_usage: bool = False) -> None:
        super().__init__()
        self._drop = drop_usage
        self._rest = b""
        self._head = b"\0"  # no event begins so
        self._head_size = 1

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns what to pass on. An event is passed on as soon as it is complete."""
        pending = self._rest + data if self._rest else data
        if 0 < pending.find(b"\n\n") == len(pending) - 2:  # nearly always: one event, whole
            self._rest = b""
            hidden = self._read(pending)
            return data if not self._drop else b"" if hidden else pending
        start = 0
        kept = []
        for end in _EVENT_END.finditer(pending):
            event = pending[start : end.end()]
            start = end.end()
            if not (self._read(event) and self._drop):
                kept.append(event)
        self._rest = pending[start:]
        return b"".join(kept) if self._drop else data

    def flush(self) -> bytes:
        """What is left at the end of the stream, without the end of an event."""
        rest, self._rest = self._rest, b""
        if rest:
            hidden = self._read(rest)
            return rest if self._drop and not hidden else b""
        return b""

    def _read(self, event: bytes) -> bool:
        """Note what an event says; True if all it carries is usage."""
        if b'"usage"' in event and (b'"usage":null' not in event or b'"x_groq"' in event):
            body = _decoded(event)
            if body is not None and self._note(body):
                # Only what was asked for on the caller's behalf comes without choices.
                return body.get("choices") == []
        if event.startswith(self._head):
            start = self._head_size
            self._events += 1
            self._text_bytes += _string(event, start).end() - start  # type: ignore[union-attr]
        elif not event.startswith(_REPEATING) or b'.delta"' in event:
            self._search(event)
        return False

    def _search(self, event: bytes) -> None:
        """Look for text, and for the end."""
        found = list(_TEXT.finditer(event))
        if found:
            self._events += 1
            self._text_bytes += sum([match.end(1) - match.start(1) for match in found])
            if len(found) == 1:  # nearly always, the next event has its text in the same place
                self._head_size = found[0].start(1)
                self._head = event[: self._head_size]
        elif b"[DONE]" in event and _DONE.search(event):
            self.final = True


def _decoded(event: bytes) -> dict[str, Any] | None:
    try:
        body = msgspec.json.decode(b"\n".join(_DATA.findall(event)))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


class LineMeter(EventMeter):
    """Reads usage off a stream that has a JSON object on each line, as Cohere's first API does."""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, and pass it on."""
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        for line in lines:
            self._take(line)
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        rest, self._rest = self._rest, b""
        self._take(rest)
        return b""

    def _take(self, line: bytes) -> None:
        body = _decoded(b"data:" + line) if b'"billed_units"' in line else None
        if body is not None and self._note(body):
            self.final = True
        else:
            self._search(line)


class FrameMeter(EventMeter):
    """Reads usage off AWS's event stream: the same events in other frames, and some of Amazon's own."""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, and pass it on."""
        found, self._rest = aws_event_stream.payloads(self._rest + data if self._rest else data)
        for payload in found:
            self._take(payload)
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        self._rest = b""
        return b""

    def answer(self) -> Answer:
        """What the stream has said of itself so far: the answer has another name for the model that is billed."""
        return Answer(usage_parsers.read_usage(self._usage or None, self._tier))

    def _take(self, payload: bytes) -> None:
        """Read one payload: an event, or a model's own event in Base64."""
        if b'"bytes"' in payload:
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                payload = base64.b64decode(msgspec.json.decode(payload)["bytes"])
        if _METRICS.encode() in payload:
            self._take_metrics(payload)
        else:
            self._read(b"data:" + payload)

    def _take_metrics(self, payload: bytes) -> None:
        """The end of an invocation, whatever the model: the counts that Amazon bills by."""
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            counts = msgspec.json.decode(payload)[_METRICS]
            if not self._usage:
                self._usage = {name: counts[given] for given, name in _METRIC_COUNTS.items() if given in counts}
            self._begun, self.final = False, True

    def _note(self, body: Mapping[str, Any]) -> bool:
        noted = super()._note(body)
        if noted and "inputTokens" in self._usage:
            self.final = True
            tier = fields_of(body.get("serviceTier")).get("type")
            self._tier = tier if isinstance(tier, str) else None
        return noted


class ItemMeter(StreamMeter):
    """Reads usage off a stream's items, where there are no server-sent events to see.

    Args:
        decode: what an item says, by its provider's names; its text if that is all.
        is_last: whether an item that has a usage report is the last one that matters.
    """

    def __init__(
        self, decode: Callable[[Any], Mapping[str, Any] | str], is_last: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        super().__init__()
        self.begun = False
        self._decode = decode
        self._is_last = is_last

    def feed(self, item: Any) -> Any:
        """Read an item as it passes."""
        self.begun = True
        try:
            body = self._decode(item)
            if isinstance(body, str):
                self._events += 1
                self._text_bytes += len(body) if body.isascii() else len(body.encode("utf-8", "surrogatepass"))
            elif not self._note(body):
                self._events += 1
                self._text_bytes += text_bytes(body)
            elif self._is_last(body):
                self.final = True
        except Exception:  # noqa: BLE001 - a stranger's item may be anything, and what was paid for is returned
            self._events += 1
        return item

    def flush(self) -> None:
        """Nothing is held back."""


class BodyMeter:
    """Keeps a body that is no event stream, to read its usage at the end."""

    final = False
    whole = True

    def __init__(self) -> None:
        self._body = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Keep what arrived, and pass it on."""
        if len(self._body) <= MOST_BODY:
            self._body += data
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        return b""

    def answer(self) -> Answer:
        """What the body says of itself."""
        return responses.read(bytes(self._body))

    def received(self) -> Counts:
        """What has arrived, at least."""
        return Usage(0, estimated(len(self._body)))


class PackedMeter:
    """Meters a compressed body that is read as it came: unpacked, and packed again without what is to be hidden.

    Gzip and deflate. What is packed otherwise, or badly, is passed on as it is, and its usage stays unknown.
    """

    def __init__(self, inner: EventMeter | ItemMeter | BodyMeter, encoding: str) -> None:
        self._inner = inner
        self._unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS + 32)  # either of them
        self._pack = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if encoding == "gzip" else 0))
        self._readable = encoding in ("gzip", "deflate")

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns what to pass on."""
        if self._readable:
            try:
                shown = self._inner.feed(self._unpack.decompress(data))
            except zlib.error:
                self._readable = False
            else:
                return self._packed(shown)
        return data

    def flush(self) -> bytes:
        """What is left at the end of the stream."""
        if not self._readable:
            return b""
        return self._packed(self._inner.flush() or b"") + self._pack.flush()

    def _packed(self, data: bytes) -> bytes:
        # Flushed each time: an event is passed on as soon as it is complete.
        return self._pack.compress(data) + self._pack.flush(zlib.Z_SYNC_FLUSH) if data else b""


Meter: TypeAlias = EventMeter | ItemMeter | BodyMeter | PackedMeter


def meter_of(content_type: str, *, drop_usage: bool) -> EventMeter | BodyMeter:
    """What reads a body of this type."""
    if "text/event-stream" in content_type:
        return EventMeter(drop_usage=drop_usage)
    if "application/stream+json" in content_type:
        return LineMeter()
    return FrameMeter() if aws_event_stream.MEDIA_TYPE in content_type else BodyMeter()
