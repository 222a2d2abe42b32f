"""What becomes of a request, for those who are told of it: metrics, traces, the access log."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from budgeted.telemetry.series_labels import bounded

if TYPE_CHECKING:
    from budgeted.gateway.forwarding import Forwarded

_WORDS: Final = frozenset(
    (
        "v1 v2 v3 v1alpha v1beta v1beta1 v1beta2 api openai inference compatible-mode publishers projects "
        "locations chat completions responses compact input_tokens embeddings embed rerank messages count_tokens "
        "complete batches models model deployments files images generations edits variations audio speech "
        "transcriptions translations moderations converse converse-stream invoke invoke-with-response-stream "
        "async-invoke foundation-models predictions generate tags show version ps ocr fim agents conversations "
        "interactions text-to-speech stream summarize classify tokenize detokenize content cancel upload uploads "
        "assistants threads runs fine_tuning jobs vector_stores cachedContents operations skills"
    ).split()
)
"""What segments of a path may say; any other is an id, or a name that somebody has chosen."""

_VERB: Final = re.compile(r"[^:]*(:(?:stream|batch)?[A-Za-z]{3,24})", re.ASCII)
_DEEPEST: Final = 8

OTHER_METHOD: Final = "_OTHER"
"""What OpenTelemetry's conventions call a method that is not known."""

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"))


class RequestRecord:
    """What becomes of a request.

    Args:
        method: of HTTP, as it was sent.
        path: without the query.
        scheme: ``"http"`` or ``"https"``.

    Attributes:
        user: who pays; None for nobody in particular.
        upstream: whom it was sent on to; "" for nobody.
        status: of the answer; 0 where there is none as yet.
        streams: whether the answer is passed on piece by piece.
        sent: what was asked, if that is paid for.
        begun: when it came, by ``time.perf_counter()``.
    """

    __slots__ = ("_method", "begun", "path", "scheme", "sent", "status", "streams", "upstream", "user")

    def __init__(self, method: str, path: str, scheme: str = "http") -> None:
        self._method, self.path, self.scheme = method, path, scheme
        self.user: str | None = None
        self.upstream = ""
        self.status = 0
        self.streams = False
        self.sent: Forwarded | None = None
        self.begun = time.perf_counter()

    def answered(self, status: int, *, streams: bool) -> None:
        """The answer begins.

        Args:
            status: of HTTP.
            streams: whether it is passed on piece by piece.
        """
        self.status, self.streams = status, streams

    @property
    def method(self) -> str:
        """The method; one that is not known is :data:`OTHER_METHOD`."""
        return self._method if self._method in _METHODS else OTHER_METHOD

    @property
    def route(self) -> str:
        """The path, without ids and names; "" where it leads nowhere."""
        return bounded("http.route", route_of(self.path)) if self.upstream else ""

    @property
    def cost(self) -> int | None:
        """What was charged for it, in nano-USD; None if nothing was as yet, or nothing could be."""
        call = getattr(self.sent, "call", None)  # there is none before it is held for
        return None if call is None or not call.outcome else call.cost


def route_of(path: str) -> str:
    """A path without ids and names, of which there may be any number.

    Args:
        path: without a query.

    Example:
        >>> route_of("/v1beta/models/gemini-2.5-flash:generateContent")
        '/v1beta/models/{id}:generateContent'
    """
    parts = path.split("/")[1:]
    found = [_named(one) for one in parts[:_DEEPEST]]
    return "/" + "/".join([*found, *(["..."] if len(parts) > _DEEPEST else [])])


def _named(segment: str) -> str:
    if segment in _WORDS or not segment:
        return segment
    verb = _VERB.fullmatch(segment)
    return "{id}" + (verb[1] if verb is not None else "")


_KEYS: Final = re.compile(
    r"(?i)\b(?:bk|sk|pk|rk|gsk|xai|key|r8|hf|pplx|aiza|akia|ya29|eyj|run|bearer)[-_.]?[A-Za-z0-9_.~+-]{12,}"
)
_LONGEST: Final = 256


def shown_path(path: str) -> str:
    """A path as a log or a span may have it: what looks like a key is hidden, and what is long is cut.

    Args:
        path: without a query.
    """
    return _KEYS.sub("***", path)[:_LONGEST]
