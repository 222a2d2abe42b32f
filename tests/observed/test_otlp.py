"""The same figures over OTLP: a receiver on loopback decodes what an OpenTelemetry SDK sends."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.slow]


class Receiver(ThreadingHTTPServer):
    """Takes metrics as a collector does, and keeps the last figure of every series."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.units: dict[str, str] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/metrics"

    def take(self, request: ExportMetricsServiceRequest) -> None:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.units[metric.name] = metric.unit
                    kind = metric.WhichOneof("data")
                    for point in getattr(metric, kind).data_points:
                        labels = frozenset((one.key, one.value.string_value) for one in point.attributes)
                        value = point.sum if kind == "histogram" else getattr(point, point.WhichOneof("value"))
                        self.series[metric.name, labels] = value

    def sums(self, name: str, by: str = "") -> dict[str, float]:
        """The values of an instrument, summed by an attribute."""
        found: dict[str, float] = {}
        for (metric, labels), value in self.series.items():
            if metric == name:
                key = dict(labels).get(by, "")
                found[key] = found.get(key, 0) + value
        return found


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the name that http.server wants
        data = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            data = gzip.decompress(data)
        server: Any = self.server
        server.take(ExportMetricsServiceRequest.FromString(data))
        answer = ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server
        server.shutdown()


def test_what_arrives_equals_the_providers_bill(
    receiver: Receiver, start: Callable[..., Any], provider: SimulatedProvider, tmp_path: Path
) -> None:
    application = start(
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.url},
        project_name="shop",
        max_budget="$100/day",
        ledger=str(tmp_path / "ledger"),
        metric_users=True,
        semconv=True,
    )
    owed: dict[str, float] = {}
    for user, model in (("alice", "gpt-5-mini"), ("bob", "claude-haiku-4-5"), ("alice", "claude-haiku-4-5")):
        before = provider.billed_nano()
        assert application.do("ask", user, model, 200) == "answered"
        owed[user] = owed.get(user, 0) + (provider.billed_nano() - before) / 1e9
    application.end()  # what an SDK collects last, at exit
    models: dict[str, float] = {}
    for one in provider.bill:
        models[one.model] = models.get(one.model, 0) + one.nano_usd / 1e9
    assert receiver.units["budgeted.spend"] == receiver.units["budgeted.spent"] == "USD"
    assert receiver.sums("budgeted.spend", "user.id") == pytest.approx(owed, abs=1e-12)
    assert receiver.sums("budgeted.spend", "gen_ai.request.model") == pytest.approx(models, abs=1e-12)
    assert receiver.sums("budgeted.spent", "budgeted.account") == {"global": float(provider.billed_usd())}
    assert receiver.sums("budgeted.tokens") == {"": provider.billed_tokens()}
    assert receiver.sums("gen_ai.client.operation.cost", "gen_ai.request.model") == pytest.approx(models, abs=1e-12)
    assert receiver.sums("gen_ai.client.token.usage") == {"": provider.billed_tokens()}
