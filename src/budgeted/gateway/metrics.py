"""``/metrics``: what a gateway's requests, and the process's calls and budgets are, as Prometheus reads it."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from budgeted.gateway import request_durations
from budgeted.gateway.refusals import Answer
from budgeted.gateway.request_durations import ATTRIBUTES, SECONDS, TEXT, RequestDurations, values_of
from budgeted.gateway.request_records import RequestRecord
from budgeted.gateway.trace_export import resource
from budgeted.gateway.traces import NAME
from budgeted.http_server.same_machine import is_loopback, why_not_from_here
from budgeted.manager import open_managers
from budgeted.telemetry import instruments
from budgeted.telemetry.genai_conventions import version

if TYPE_CHECKING:
    from starlette.types import Scope


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
        self._durations = RequestDurations()
        self._registry.register(self._durations)
        self._observe(self._provider.get_meter(NAME, version()))
        self._histogram: Histogram | None = None
        if not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics"):  # an SDK's
            meter = metrics.get_meter(NAME, version())
            self._observe(meter)
            self._histogram = meter.create_histogram(
                request_durations.NAME, "s", TEXT, explicit_bucket_boundaries_advisory=SECONDS
            )

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
        values = values_of(record)
        self._durations.add(seconds, values)
        if self._histogram is not None:
            told: dict[str, str | int] = {name: one for name, one in zip(ATTRIBUTES, values, strict=True) if one}
            if record.status:
                told["http.response.status_code"] = record.status  # a number, by the conventions
            self._histogram.record(seconds, told)

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

    def _observe(self, meter: Meter) -> None:
        meter.create_observable_up_down_counter(
            "http.server.active_requests", [self._requests], "{request}", "Requests under way."
        )
        meter.create_observable_up_down_counter(
            "budgeted.gateway.streams", [self._streams], "{stream}", "Answers that are being passed on piece by piece."
        )

    def _requests(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._counted("http.request.method", [one.method for one in list(self._under_way)])

    def _streams(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._counted("budgeted.upstream", [one.upstream for one in list(self._under_way) if one.streams])

    def _counted(self, name: str, values: list[str]) -> list[Observation]:
        """How many there are of each, and none of those that there have been."""
        seen = self._seen[name]
        seen.update(values)
        return [Observation(values.count(one), {name: one}) for one in sorted(seen)]


def _answer(status: int, kind: bytes, body: bytes) -> Answer:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Answer(status, headers, body)
