"""The pieces that streamed answers are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

Role: TypeAlias = Literal["frame", "piece", "usage", "end"]

_encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """One server-sent event.

    Attributes:
        data: Its bytes, with the empty line at the end.
        role: "piece" for a part of the model's output, "usage" if it tells the final usage, "end" if it only says that
            the stream is over, else "frame".
    """

    data: bytes
    role: Role = "frame"


def data_event(payload: Mapping[str, Any], role: Role = "frame") -> Event:
    """Return an event without a name, as OpenAI's chat API sends them."""
    return Event(b"data: %b\n\n" % _encode(payload), role)


def named_event(payload: Mapping[str, Any], role: Role = "frame") -> Event:
    """Return an event named like the payload's type, as OpenAI's responses API and Anthropic send them."""
    return Event(b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), _encode(payload)), role)


DONE = Event(b"data: [DONE]\n\n", "end")
