"""What a stream says that it used, and how much of it has come: SDKs' items, whole bodies, and what readers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from budgeted.pricing.usage import Counts, Usage
from budgeted.wire import response_usage
from budgeted.wire.response_usage import Answer
from budgeted.wire.sdk_object_fields import fields_of, text_bytes
from budgeted.wire.usage_report_formats.google_gemini import Grounding
from budgeted.wire.usage_report_formats.report_detection import report_in

_Item = TypeVar("_Item")

BYTES_PER_TOKEN = 4
"""Received text without a usage report is estimated at this."""

MOST_BODY = 16 * 2**20
"""Bytes of a body that is no event stream that are kept to read its usage."""

_FINAL_TYPES = frozenset(
    (
        *("response.completed", "response.incomplete", "response.failed", "response.cancelled", "message_stop"),
        *("message-end", "stream-end", "conversation.response.done", "interaction.completed"),
        *("speech.audio.done", "transcript.text.done"),
    )
)
"""Events after which nothing comes. Counts alone are no such event: more of them may come."""

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
    """What a stream has said of itself so far, and how much has come.

    Attributes:
        final: whether the event has come that ends the stream: what was said is all, whatever becomes of it.
        failed: whether an event has said that the provider gave up.
        hides: whether anything of it is kept from whoever reads it.
    """

    hides = False

    def __init__(self) -> None:
        self.final = False
        self.failed = False
        self._usage: dict[str, object] = {}
        self._tier: str | None = None
        self._model: str | None = None
        self._id: str | None = None
        self._begun = False
        self._told = False
        self._events = 0
        self._text_bytes = 0
        self._grounding: Grounding | None = None
        self._body: dict[str, object] = {}
        self._missed = False  # whether something could not be read to its end: what else was said may not be all

    @property
    def whole(self) -> bool:
        """Whether the usage seen so far is all of it, if nothing more comes: not so at the start of a message."""
        return not self._begun

    @property
    def told(self) -> bool:
        """Whether the provider has said why it stopped and what that used, though more counts may come."""
        return self.final or self._told

    def answer(self) -> Answer:
        """What the stream has said of itself so far."""
        try:
            return self._answer()
        except Exception:  # noqa: BLE001 - a stranger's report may be anything, and what was paid for is returned
            return response_usage.NOTHING

    def _answer(self) -> Answer:
        report = None if self._missed else self._usage or None
        found = response_usage.answer_of(report, self._tier, self._model, self._id)
        if self._body:
            found = response_usage.with_tools(found, self._body)
        if self._grounding is not None and found.usage is not None:
            usage = response_usage.grounded(found.usage, self._grounding, self._model)
            found = msgspec.structs.replace(found, usage=usage)
        if self.failed:
            return msgspec.structs.replace(found, error=not self._anything(found.usage))
        return found

    def _anything(self, usage: Counts | None) -> bool:
        """Whether a stream that failed brought anything that may be billed: OpenRouter bills no empty answer."""
        if self._text_bytes or (usage is not None and usage.output_tokens):
            return True
        return usage is not None and usage.input_tokens > 0 and not (self._id or "").startswith("gen-")

    def received(self) -> Counts:
        """What has arrived, at least: reported counts, and the text that came through."""
        usage = self.answer().usage
        output = estimated(self._text_bytes, self._events)
        if usage is None:
            return Usage(0, output)
        return msgspec.structs.replace(usage, output_tokens=max(usage.output_tokens, output))

    def has_text(self) -> bool:
        """Whether any text has come."""
        return self._text_bytes > 0

    def _noted(self, body: Mapping[str, object]) -> bool:
        """Note what a part of the stream says of itself, whatever that is; False if it has no usage report."""
        try:
            return self._note(body)
        except Exception:  # noqa: BLE001 - as in answer()
            return False

    def _note(self, body: Mapping[str, object]) -> bool:
        missed, self._missed = self._missed, True
        told = self._take_note(body)
        self._missed = missed
        return told

    def _take_note(self, body: Mapping[str, object]) -> bool:
        inner = body.get("response") or body.get("message") or body.get("interaction")
        report = inner if isinstance(inner, dict) else body
        for name, attribute in _NAMES:
            value = report.get(name)
            if isinstance(value, str) and value:
                setattr(self, attribute, value)
        kind = body.get("type") or body.get("event_type")
        if kind in _FINAL_TYPES:
            self.final = True
        if body.get("error") or kind == "error":
            self.failed = True
        if "candidates" in report:
            self._grounding = self._grounding or Grounding()
            self._grounding.add(report)
        self._keep(body, report)
        usage = body.get("usage") or report_in(report)
        if not isinstance(usage, dict):
            return False
        # Later counts replace earlier ones: they are cumulative.
        _merge(self._usage, usage)
        self._begun = kind == "message_start"
        delta = body.get("delta")
        ended = isinstance(delta, dict) and delta.get("stop_reason")
        self._told = body.get("choices") == [] or bool(ended) or kind in _TOLD_TYPES
        if not self._told and not self.final:
            self._events += 1
        return True

    def _keep(self, body: Mapping[str, object], report: Mapping[str, object]) -> None:
        """Keep what is billed beside the report: tools' items, what guarded it, where code ran, pictures."""
        for name in _BESIDE:
            if report.get(name):
                self._body[name] = report[name]
        delta = body.get("delta")
        if isinstance(delta, dict) and delta.get("container"):
            self._body["container"] = delta["container"]
        if body.get("b64_json") and str(body.get("type")).endswith(".completed"):
            self._body["b64_json"] = True


_BESIDE = ("output", "tools", "tool_usage", "trace", "amazon-bedrock-trace", "container", "provider")
_TOLD_TYPES = frozenset(("image_generation.completed", "image_edit.completed"))


def _merge(counts: dict[str, object], later: Mapping[str, object], depth: int = 3) -> None:
    """Put later counts in the place of earlier ones. A count never falls to 0, and no part is taken back."""
    for name, value in later.items():
        earlier = counts.get(name)
        if value is None or (not value and earlier):
            continue
        if depth and isinstance(value, dict) and isinstance(earlier, dict):
            counts[name] = earlier = {**earlier}
            _merge(earlier, value, depth - 1)
        else:
            counts[name] = value


class ItemMeter(StreamMeter):
    """Reads usage off a stream's items, where there are no server-sent events to see.

    Args:
        decode: what an item says, by its provider's names; its text if that is all.
        ends: True if nothing comes after an item that has a usage report.
        tier: the service tier that was named before the first item.
    """

    def __init__(
        self, decode: Callable[[object], Mapping[str, object] | str], *, ends: bool = False, tier: str | None = None
    ) -> None:
        super().__init__()
        self._tier = tier
        self.begun = False
        self._decode = decode
        self._ends = ends

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
            elif self._ends:
                self.final = True
        except Exception:  # noqa: BLE001 - a stranger's item may be anything, and what was paid for is returned
            self._events += 1
        return item

    def flush(self) -> None:
        """Nothing is held back."""


class BodyMeter:
    """Keeps a body that is no event stream, to read its usage at the end.

    Attributes:
        cut: whether it is longer than what is kept: then nobody knows what it says.
    """

    final = False
    failed = False
    told = False
    whole = True
    hides = False

    def __init__(self) -> None:
        self.cut = False
        self._body = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Keep what arrived, and pass it on."""
        if len(self._body) <= MOST_BODY:
            self._body += data
        else:
            self.cut = True
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        return b""

    def answer(self) -> Answer:
        """What the body says of itself."""
        body = bytes(self._body)
        return _of_list(body) if body.lstrip()[:1] == b"[" else response_usage.read(body)

    def received(self) -> Counts:
        """What has arrived, at least: of so long a body, that is pictures and sound, and not to be counted as text."""
        return Usage(0, 0 if self.cut else estimated(len(self._body)))

    def has_text(self) -> bool:
        """Whether there is any text in it."""
        try:
            return text_bytes(msgspec.json.decode(self._body)) > 0
        except (ValueError, RecursionError):
            return False


def _of_list(body: bytes) -> Answer:
    """What a list of a stream's items says of itself, as Google sends them where no events are asked for."""
    try:
        found = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return response_usage.NOTHING
    meter = ItemMeter(fields_of)
    for item in found if isinstance(found, list) else ():
        meter.feed(item)
    return meter.answer()
