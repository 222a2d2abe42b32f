"""Reading usage off server-sent events, or a JSON object on each line, as they pass."""

from __future__ import annotations

import re

import msgspec

from budgeted.wire.stream_usage import MOST_BODY, StreamMeter

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST_END = 4
_DATA = re.compile(rb"^data:[ ]?(.*?)\r?$", re.MULTILINE)

# Possessive quantifiers (++): what does not match is given up at once, however long the text.
_TEXT = re.compile(
    rb'"(?:content|text|delta|arguments|partial_json|thinking|reasoning|reasoning_content|refusal|tool_plan|input|generation)'
    rb'":\s*"((?:[^"\\]++|\\.)++)"'
)

_string = re.compile(rb'(?:[^"\\]++|\\.)*+').match
_MOST_HEAD = 200
"""Bytes in which an event of OpenAI's responses names its type."""

_DONE = re.compile(rb"^data:[ ]?\[DONE\]", re.MULTILINE)

# Events without a usage report that end a stream.
_ENDS = re.compile(rb'"(?:message_stop|message-end|stream-end|response\.(?:failed|cancelled|incomplete))"')

# Of this API, only the deltas are text that was not there before.
_REPEATING = (b"event: response.", b"event:response.", b'data: {"type":"response.')


class EventMeter(StreamMeter):
    """Reads usage off server-sent events as they pass.

    Args:
        drop_usage: True if usage was asked for on the caller's behalf: the chunk that only carries it is not passed on.
    """

    def __init__(self, *, drop_usage: bool = False) -> None:
        super().__init__()
        self.hides = drop_usage
        self._rest = bytearray()
        self._looked = 0
        self._head = b"\0"  # no event begins so
        self._head_size = 1

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns what to pass on. An event is passed on as soon as it is complete."""
        if not self._rest and 0 < data.find(b"\n\n") == len(data) - 2:  # nearly always: one event, whole
            hidden = self._read(data)
            return b"" if hidden and self.hides else data
        self._rest += data
        start = 0
        kept = []
        # Only where it was not looked before: an event may come in thousands of pieces.
        for end in _EVENT_END.finditer(self._rest, max(0, self._looked - _LONGEST_END + 1)):
            event = bytes(self._rest[start : end.end()])
            start = end.end()
            empty = len(event) <= _LONGEST_END  # as of a stream of millions of blank lines
            if empty or not (self._read(event) and self.hides):
                kept.append(event)
        if start:
            del self._rest[:start]
        self._looked = len(self._rest)
        if self._looked > MOST_BODY:  # no event is as long: what is there is read, and what comes begins another
            kept.append(self.flush())
        return b"".join(kept) if self.hides else data

    def flush(self) -> bytes:
        """What is left at the end of the stream, without the end of an event."""
        rest = bytes(self._rest)
        self._rest.clear()
        self._looked = 0
        if rest:
            hidden = self._read(rest)
            return rest if self.hides and not hidden else b""
        return b""

    def _read(self, event: bytes) -> bool:
        """Note what an event says; True if all it carries is usage."""
        # Not where it is null, unless there is another one: Groq's, or Moonshot's in a choice.
        if b'"usage' in event and (
            b'"usage":null' not in event or event.count(b'"usage') != event.count(b'"usage":null')
        ):
            body = _decoded(event)
            if body is not None and self._noted(body):
                # Only what was asked for on the caller's behalf comes without choices.
                return body.get("choices") == []
        if b'_token_count"' in event:  # watsonx's, which has its report in each event
            self._note_end(event)
        # Not decoded: nearly every event is a piece of text behind the same head as the one before.
        if event.startswith(self._head):
            start = self._head_size
            self._events += 1
            size = _string(event, start).end() - start  # type: ignore[union-attr]
            self._text_bytes += size
            self._told = False
            if not size and b'"error"' in event:
                self._note_end(event)
        elif not event.startswith(_REPEATING) or b'.delta"' in event:
            self._search(event)
        elif _ENDS.search(event, 0, _MOST_HEAD):
            self._note_end(event)
        return False

    def _search(self, event: bytes) -> None:
        """Look for text, and for the end."""
        found = list(_TEXT.finditer(event))
        if found:
            self._events += 1
            self._text_bytes += sum([match.end(1) - match.start(1) for match in found])
            self._told = False
            if len(found) == 1:  # nearly always, the next event has its text in the same place
                self._head_size = found[0].start(1)
                self._head = event[: self._head_size]
        elif b"[DONE]" in event and _DONE.search(event):
            self.final = True
        if b'"error"' in event or _ENDS.search(event):
            self._note_end(event)

    def _note_end(self, event: bytes) -> None:
        """Note an event that may end the stream, or say that the provider gave up."""
        body = _decoded(event)
        if body is not None:
            self._noted(body)


def _decoded(event: bytes) -> dict[str, object] | None:
    try:
        body = msgspec.json.decode(b"\n".join(_DATA.findall(event)))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


class LineMeter(EventMeter):
    """Reads usage off a stream that has a JSON object on each line, as Cohere's first API does."""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, and pass it on."""
        self._rest += data
        if b"\n" in data:
            *lines, self._rest = self._rest.split(b"\n")
            for line in filter(None, lines):
                self._take(bytes(line))
        elif len(self._rest) > MOST_BODY:
            self.flush()
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        rest = bytes(self._rest)
        self._rest.clear()
        self._take(rest)
        return b""

    def _take(self, line: bytes) -> None:
        body = _decoded(b"data:" + line) if b'"billed_units"' in line else None
        if body is None or not self._noted(body):
            self._search(b"data:" + line)
