"""What the server needs to know about one of a provider's APIs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from ..scripted_reply import Request
from ..server_sent_events import Event
from ..simulated_model import Answer, Call


class BadRequest(Exception):  # noqa: N818 - the words of the HTTP status
    """The provider answers this request with status 400."""


class Api(NamedTuple):
    """How one API is read and written.

    Attributes:
        read: Makes a `Call` of the path and the body, or raises `BadRequest`.
        by_headers: Makes of that `Call` what the request's headers ask for; None: they ask for nothing.
        body: Makes the JSON object, or the bytes, of an answer.
        events: Makes the events of a streamed answer; None: the API has no streams.
        failure: Makes the JSON object of an error, given its status and message.
        broken: The event that reports an error in mid-stream.
        media_type: Of an answer without a stream.
        stream_media_type: Of one with a stream.
        headers: Makes the headers that tell the usage of an answer without a stream; None: there are none.
        tells_usage: Whether an answer without a stream tells its usage.
        status: The HTTP status of an answer.
    """

    read: Callable[[str, dict[str, Any]], Call]
    body: Callable[[Call, Answer], dict[str, Any] | bytes]
    events: Callable[[Call, Answer], Iterator[Event]] | None
    failure: Callable[[int, str], dict[str, Any]]
    broken: Event
    media_type: str = "application/json"
    stream_media_type: str = "text/event-stream; charset=utf-8"
    tells_usage: bool = True
    headers: Callable[[Answer], dict[str, str]] | None = None
    status: int = 200
    by_headers: Callable[[Call, Request], Call] | None = None


def required(body: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """Return a parameter that a request must have.

    Raises:
        BadRequest: It is missing, or of another type.
    """
    if name not in body:
        raise BadRequest(f"Missing required parameter: '{name}'.")
    if not isinstance(body[name], kind):
        raise BadRequest(f"Invalid type for '{name}': {_short(body[name])}.")
    return body[name]


def positive(body: dict[str, Any], name: str) -> int | None:
    """Return a whole number of at least one that a request may have.

    Raises:
        BadRequest: It is something else.
    """
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise BadRequest(f"Invalid value for '{name}': {_short(value)}. Expected an integer above 0.")
    return value


def _short(value: object) -> str:
    return msgspec.json.encode(value).decode()[:80]
