"""``/metrics``: what a gateway's requests, and the process's calls and budgets are, as Prometheus reads it."""

from __future__ import annotations

import collections
import hmac
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from budgeted.gateway.refusals import Answer
from budgeted.gateway.request_records import RequestRecord
from budgeted.gateway.trace_export import resource
from budgeted.gateway.traces import NAME
from budgeted.http_server.same_machine import is_loopback, why_not_from_here
from budgeted.manager import open_managers
from budgeted.telemetry import instruments
from budgeted.telemetry.genai_conventions import version

if TYPE_CHECKING:
    from starlette.types import Scope

MOST_QUEUED: Final = 512
"""Requests that wait to be added to the histograms, by a collection, or by the request that is one too many."""

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""The convention's bounds, and longer ones: models write for minutes."""

_Attributes = tuple[tuple[str, str | int], ...]


class GatewayMetrics:
    """Metrics of a gateway's requests, by OpenTelemetry's conventions for HTTP servers.

    They go to a provider of their own, which ``/metrics`` shows, with all that the process tells of its budgets; and to
    the process's, if it has one.

    Args:
        token: who shows it may read them from elsewhere than this machine; "" for nobody.
    """

    def __init__(self, token: str = "") -> None:
        self._token = token.encode()
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(registry=self._registry)
        self._provider = MeterProvider([reader], resource(os.environ), shutdown_on_exit=False)
        instruments.observe(self._provider.get_meter("budgeted", version()), open_managers.open_payers)
        self._under_way: set[RequestRecord] = set()
        self._seen: dict[str, set[str]] = {"http.request.method": set(), "budgeted.upstream": set()}
        self._ended: collections.deque[tuple[float, _Attributes]] = collections.deque()
        self._histograms = [
            self._instruments(meter)
            for meter in (self._provider.get_meter(NAME, version()), metrics.get_meter(NAME, version()))
        ]

    def began(self, record: RequestRecord) -> None:
        """A request has come.

        Args:
            record: what becomes of it.
        """
        self._under_way.add(record)

    def ended(self, record: RequestRecord, seconds: float) -> None:
        """It was answered, or given up.

        Args:
            record: what has become of it.
            seconds: how long it took, until its answer was passed on.
        """
        self._under_way.discard(record)
        self._ended.append((seconds, _attributes(record)))
        if len(self._ended) > MOST_QUEUED:
            self._add_ended()

    def refusal(self, scope: Scope) -> Answer | None:
        """Why somebody may not read ``/metrics``; None for who may.

        Args:
            scope: ASGI's, of the request.
        """
        status = self._forbids(scope)
        if status is None:
            return None
        text = "metrics are for this machine, or with the gateway's metrics_token: `Authorization: Bearer ...`\n"
        return _answer(status, b"text/plain; charset=utf-8", text.encode())

    def page(self) -> Answer:
        """What ``/metrics`` tells. It may take half a second: the ledger is read for it."""
        return _answer(200, CONTENT_TYPE_LATEST.encode(), generate_latest(self._registry))

    def close(self) -> None:
        """Collect nothing any more."""
        self._provider.shutdown()

    def _forbids(self, scope: Scope) -> int | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if self._token and len(given) == 1:
            scheme, _, token = given[0].partition(b" ")
            if scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token):
                return None
        client = scope.get("client")
        if client and is_loopback(client[0]) and why_not_from_here(scope.get("server"), scope["headers"]) is None:
            return None
        return 401 if self._token else 403

    def _instruments(self, meter: Meter) -> Histogram:
        """Make the instruments of a meter. The SDK calls the observed ones first, and then reads the histogram."""
        meter.create_observable_up_down_counter(
            "http.server.active_requests", [self._requests], "{request}", "Requests under way."
        )
        meter.create_observable_up_down_counter(
            "budgeted.gateway.streams", [self._streams], "{stream}", "Answers that are being passed on piece by piece."
        )
        return meter.create_histogram(
            "http.server.request.duration",
            "s",
            "How long requests took, until their answers were passed on.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def _requests(self, _: CallbackOptions) -> Iterable[Observation]:
        self._add_ended()
        return self._counted("http.request.method", [one.method for one in list(self._under_way)])

    def _streams(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._counted("budgeted.upstream", [one.upstream for one in list(self._under_way) if one.streams])

    def _counted(self, name: str, values: list[str]) -> list[Observation]:
        """How many there are of each, and none of those that there have been."""
        seen = self._seen[name]
        seen.update(values)
        return [Observation(values.count(one), {name: one}) for one in sorted(seen)]

    def _add_ended(self) -> None:
        """Add what has ended to the histograms. Threads that do so at once share it."""
        while self._ended:
            try:
                seconds, attributes = self._ended.popleft()
            except IndexError:  # another one was faster
                return
            for histogram in self._histograms:
                histogram.record(seconds, dict(attributes))


def _attributes(record: RequestRecord) -> _Attributes:
    found: list[tuple[str, str | int]] = [("http.request.method", record.method), ("url.scheme", record.scheme)]
    if record.status:
        found.append(("http.response.status_code", record.status))
    if record.status >= 500 or not record.status:
        found.append(("error.type", str(record.status or "disconnected")))
    if record.upstream:
        found += [("http.route", record.route), ("budgeted.upstream", record.upstream)]
    return tuple(found)


def _answer(status: int, kind: bytes, body: bytes) -> Answer:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Answer(status, headers, body)
