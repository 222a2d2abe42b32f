"""A span of each request, in the trace of whoever asked: it has what the request cost, and the upstream joins it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry import propagate, trace
from opentelemetry.context import attach, detach
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider, set_span_in_context

from budgeted.gateway.request_records import RequestRecord, shown_path
from budgeted.telemetry.genai_conventions import attributes_of, version

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from budgeted.gateway.callers import Headers

NAME: Final = "budgeted.gateway"
"""Whose spans and metrics these are."""


class Traces:
    """Makes spans of requests, by OpenTelemetry's conventions for HTTP servers.

    Args:
        provider: of an SDK.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer(NAME, version())

    @contextlib.contextmanager
    def span(self, record: RequestRecord, headers: Headers) -> Iterator[None]:
        """What is done inside is a span's; its calls note on it what they cost.

        Args:
            record: what becomes of the request, which is read at the end.
            headers: of the request: they may say of which trace it is a part.
        """
        context = propagate.extract(headers, getter=_HEADERS)
        attributes = {
            "http.request.method": record.method,
            "url.scheme": record.scheme,
            "url.path": shown_path(record.path),
        }
        span = self._tracer.start_span(record.method, context, SpanKind.SERVER, attributes)
        token = attach(set_span_in_context(span, context))
        try:
            yield
        finally:
            detach(token)
            if span.is_recording():
                if record.route:
                    span.update_name(f"{record.method} {record.route}")
                span.set_attributes(_attributes(record))
                if record.status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            span.end()

    def passed_on(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Headers of a request to an upstream: in them the present span stands where the caller's stood.

        Args:
            headers: as they would be sent.
        """
        fields = propagate.get_global_textmap().fields
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return [*(one for one in headers if one[0] not in fields), *carrier.items()]


def of_process() -> Traces | None:
    """What makes spans where this process has an SDK that takes them; None where it has none.

    Where there is none, the headers of a caller's trace pass like any others.
    """
    provider = trace.get_tracer_provider()
    if type(provider).__module__.startswith("opentelemetry.trace"):  # the API's own, which makes none
        return None
    return Traces(provider)


def _attributes(record: RequestRecord) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    if record.status:
        found["http.response.status_code"] = record.status
    if record.status >= 500 or not record.status:
        found["error.type"] = str(record.status or "disconnected")
    if record.route:
        found["http.route"] = record.route
    if record.upstream:
        found["budgeted.upstream"] = record.upstream
    if record.sent is not None:
        request = record.sent.request
        found |= attributes_of((request.provider, request.operation, request.model, ()))
    return found


class _Headers(Getter[Sequence[tuple[bytes, bytes]]]):
    """Reads a request's headers, as ASGI has them."""

    def get(self, carrier: Sequence[tuple[bytes, bytes]], key: str) -> list[str] | None:
        wanted = key.lower().encode("latin-1")
        return [value.decode("latin-1") for name, value in carrier if name == wanted] or None

    def keys(self, carrier: Sequence[tuple[bytes, bytes]]) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


_HEADERS: Final = _Headers()
