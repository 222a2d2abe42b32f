"""How the simulated provider is told to answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

HEADER = "x-simulate"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request as the provider saw it, refused ones included.

    Attributes:
        method: GET or POST.
        path: The path with its query.
        headers: By lower-case name.
        body: The JSON object in its body; empty if there is none.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one request is answered. The defaults are a provider in good health.

    Whatever was generated is billed, whether or not it arrives. Not billed: `status` and `refuse`.

    Attributes:
        output_tokens: How many tokens the model would like to write per choice, reasoning included; the request's cap,
            or the model's maximum, cuts it. None: that of `text`, else 8 to 64 depending on the request and the seed.
        input_tokens: All tokens read. None: a quarter of the UTF-8 bytes of the request's text, and 3 per message.
        cached_tokens: The part of the input read from a cache.
        cache_write_tokens: The part of the input written to a cache, five minutes and one hour together.
        cache_write_1h_tokens: The part of `cache_write_tokens` kept for an hour.
        reasoning_tokens: The part of the output that is reasoning.
        searches: How many web searches the provider makes, where the request allows any.
        units: How many units are billed beside tokens, where an API bills such: pages read, searches ranked.
        text: What the model writes.
        tool: The name of the tool to call, with arguments made up from its schema.
        model: The model that answers (and is billed) in place of the one asked for.
        service_tier: The tier that serves (and is billed) in place of the one asked for.
        usage: What the answer says in place of the true usage; None leaves it out. The bill stays true.
        latency: Seconds before the first byte.
        gate: The first byte waits until this event is set (not across processes).
        status: An HTTP error status, with an error body in the API's own shape.
        message: What the error says; None: a sentence that goes with the status.
        retry_after: Seconds for the headers `retry-after` and `retry-after-ms` of an error.
        refuse: The connection is reset at once.
        hang: No byte is sent until `release()`.
        drop: The connection is reset before the headers, after generating.
        drop_after: The connection is reset after this many pieces of the output (without a stream: in mid-body).
        error_after: An error event ends the stream after this many pieces; only those are billed. Streams only.
        malformed_after: Broken JSON is sent after this many pieces (without a stream: broken JSON is all there is).
        gate_after: The stream stops after this many pieces until `release()` or until the client has left; usage
            comes after that. Streams only.
        pieces: In how many pieces a stream brings the output; None: as many as tokens, but at most 32.
        done: Whether an OpenAI stream ends with `[DONE]`.
        gzip: Whether the body is compressed.
        crlf: Whether the lines of a stream end with CR LF.
        write_size: The body is sent in HTTP chunks of this many bytes.
        split_usage: The event with the usage is sent in HTTP chunks of 7 bytes.
        stops: Whether the provider stops writing when its reader leaves, and bills only what it has sent. Streams only.
        billed: Whether the call is billed, in place of the rule above.
    """

    output_tokens: int | None = None
    input_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int | None = None
    searches: int = 0
    units: int = 1
    text: str | None = None
    tool: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: Any = UNSET
    latency: float = 0.0
    gate: threading.Event | None = None
    status: int | None = None
    message: str | None = None
    retry_after: float | None = None
    refuse: bool = False
    hang: bool = False
    drop: bool = False
    drop_after: int | None = None
    error_after: int | None = None
    malformed_after: int | None = None
    gate_after: int | None = None
    pieces: int | None = None
    done: bool = True
    gzip: bool = False
    crlf: bool = False
    write_size: int | None = None
    split_usage: bool = False
    stops: bool = False
    billed: bool | None = None

    @property
    def is_billed(self) -> bool:
        """Whether the call is charged for."""
        if self.billed is not None:
            return self.billed
        return self.status is None and not self.refuse


Answerer: TypeAlias = Callable[[Request], Reply | None]

DEFAULT = Reply()


class Behaviour:
    """Chooses how each request is answered: its own header, else the next of the queue, else as usual. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Reply] = deque()
        self._usual: Reply | Answerer = DEFAULT

    def choose(self, request: Request) -> Reply:
        """Return how `request` is answered.

        Raises:
            ValueError: The request's `x-simulate` header is not JSON with the fields of a `Reply`.
        """
        header = request.headers.get(HEADER)
        if header is not None:
            return decode_reply(header)
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            usual = self._usual
        return usual if isinstance(usual, Reply) else (usual(request) or DEFAULT)

    def always(self, usual: Reply | Answerer) -> None:
        """Answer every request like this which nothing else decides about."""
        with self._lock:
            self._usual = usual

    def once(self, *replies: Reply) -> None:
        """Answer the next requests like this, in this order."""
        with self._lock:
            self._queue.extend(replies)

    def reset(self) -> None:
        """Return to the defaults."""
        with self._lock:
            self._queue.clear()
            self._usual = DEFAULT


def decode_reply(text: str | bytes) -> Reply:
    """Return the `Reply` in a JSON text.

    Raises:
        ValueError: The text is not JSON with the fields of a `Reply`.
    """
    try:
        return msgspec.json.decode(text, type=Reply)
    except msgspec.MsgspecError as problem:
        raise ValueError(
            f"{HEADER} takes JSON with the fields of budgeted.testing.Reply, such as "
            f'{{"output_tokens": 20}}, not {text[:200]!r}: {problem}'
        ) from problem
