"""AWS's event stream framing: what Amazon Bedrock sends where others send server-sent events.

A frame is the length of all of it, the length of its headers and a CRC-32 of these two, then headers, a payload, and a
CRC-32 of everything before (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html). Whoever
reads the stream checks the sums; here only the payloads are looked for.
"""

from __future__ import annotations

import base64
import contextlib
import struct
from collections.abc import Mapping

import msgspec

from budgeted.wire.response_usage import Answer
from budgeted.wire.sdk_object_fields import fields_of
from budgeted.wire.server_sent_events import EventMeter

MEDIA_TYPE = "application/vnd.amazon.eventstream"
_LENGTHS = struct.Struct(">II")
_PRELUDE = 12
_LEAST = 16
_MOST = 2**25
"""AWS allows 16 MiB; what is longer is no frame."""

_METRICS = "amazon-bedrock-invocationMetrics"

_METRIC_COUNTS = {
    "inputTokenCount": "inputTokens",
    "outputTokenCount": "outputTokens",
    "cacheReadInputTokenCount": "cacheReadInputTokens",
    "cacheWriteInputTokenCount": "cacheWriteInputTokens",
}


def payloads(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of the whole frames in ``data``, and the bytes that are left over.

    What is no frame ends it: nothing is left over, and nothing after it can be understood.
    """
    found: list[bytes] = []
    start, size = 0, len(data)
    while size - start >= _PRELUDE:
        length, headers = _LENGTHS.unpack_from(data, start)
        if not _LEAST + headers <= length <= _MOST:
            return found, b""
        if length > size - start:
            break
        found.append(data[start + _PRELUDE + headers : start + length - 4])
        start += length
    return found, data[start:]


def _length(frame: bytearray) -> int:
    """What a frame says of its own length."""
    return int.from_bytes(frame[:4])


class FrameMeter(EventMeter):
    """Reads usage off AWS's event stream: the same events in other frames, and some of Amazon's own."""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, and pass it on."""
        self._rest += data
        # A frame may come in thousands of pieces: nothing is looked at before it is whole.
        if len(self._rest) >= _PRELUDE and (len(self._rest) >= _length(self._rest) or _length(self._rest) > _MOST):
            found, rest = payloads(bytes(self._rest))
            self._rest = bytearray(rest)
            for payload in found:
                self._take(payload)
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        self._rest.clear()
        return b""

    def answer(self) -> Answer:
        """What the stream has said of itself so far: the answer has another name for the model that is billed."""
        found = super().answer()
        return Answer(found.usage, report=found.report, attempts=found.attempts, error=found.error)

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

    def _note(self, body: Mapping[str, object]) -> bool:
        noted = super()._note(body)
        if noted and "inputTokens" in self._usage:
            self.final = True
            tier = fields_of(body.get("serviceTier")).get("type")
            self._tier = tier if isinstance(tier, str) else None
        return noted
