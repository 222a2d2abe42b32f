"""What a stream says that it used, and how much of it has come: SDKs' items, whole bodies, and what readers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from budgeted.pricing.usage import Counts, Usage
from budgeted.wire import response_usage, usage_report_formats
from budgeted.wire.response_usage import Answer
from budgeted.wire.sdk_object_fields import text_bytes

_Item = TypeVar("_Item")

BYTES_PER_TOKEN = 4
"""Received text without a usage report is estimated at this."""

MOST_BODY = 16 * 2**20
"""Bytes of a body that is no event stream that are kept to read its usage."""

_FINAL_TYPES = (
    *("response.completed", "response.incomplete", "response.failed", "message_delta", "message-end"),
    *("conversation.response.done", "interaction.completed"),
    *("image_generation.completed", "image_edit.completed", "speech.audio.done", "transcript.text.done"),
)

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
        self._usage: dict[str, object] = {}
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
        return Answer(
            usage_report_formats.read_usage(self._usage or None, self._tier), self._model, self._id, self._usage
        )

    def received(self) -> Counts:
        """What has arrived, at least: reported counts, and the text that came through."""
        usage = self.answer().usage
        output = estimated(self._text_bytes, self._events)
        if usage is None:
            return Usage(0, output)
        return msgspec.structs.replace(usage, output_tokens=max(usage.output_tokens, output))

    def _note(self, body: Mapping[str, object]) -> bool:
        """Note what a part of the stream says of itself; False if it has no usage report."""
        inner = body.get("response") or body.get("message") or body.get("interaction")
        report = inner if isinstance(inner, dict) else body
        for name, attribute in _NAMES:
            value = report.get(name)
            if isinstance(value, str) and value:
                setattr(self, attribute, value)
        usage = body.get("usage") or usage_report_formats.report_in(report)
        if not isinstance(usage, dict):
            return False
        # Later counts replace earlier ones: they are cumulative.
        self._usage.update({name: value for name, value in usage.items() if value is not None})
        if isinstance(report.get("output"), list):
            self._usage["webSearches"] = usage_report_formats.searches(report)
        kind = body.get("type") or body.get("event_type")
        self._begun = kind == "message_start"
        if body.get("choices") == [] or kind in _FINAL_TYPES:
            self.final = True
        else:
            self._events += 1
        return True


class ItemMeter(StreamMeter):
    """Reads usage off a stream's items, where there are no server-sent events to see.

    Args:
        decode: what an item says, by its provider's names; its text if that is all.
        is_last: whether an item that has a usage report is the last one that matters.
    """

    def __init__(
        self, decode: Callable[[Any], Mapping[str, object] | str], is_last: Callable[[Mapping[str, object]], bool]
    ) -> None:
        super().__init__()
        self.begun = False
        self._decode = decode
        self._is_last = is_last

    def feed(self, item: _Item) -> _Item:
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
        return response_usage.read(bytes(self._body))

    def received(self) -> Counts:
        """What has arrived, at least."""
        return Usage(0, estimated(len(self._body)))
