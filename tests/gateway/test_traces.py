"""A gateway's spans: a part of the caller's trace, with what a request cost, which the upstream goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateways import gateway
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from budgeted import BudgetManager
from budgeted.gateway import trace_export
from budgeted.gateway.observers import Observers
from budgeted.gateway.request_records import shown_path
from budgeted.gateway.settings import GatewaySettings
from budgeted.gateway.traces import Traces, of_process
from budgeted.testing import SimulatedProvider, unmetered

ASKED: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}


class Traced:
    """A gateway whose spans are kept."""

    def __init__(self, client: httpx2.Client, exporter: InMemorySpanExporter) -> None:
        self.client, self._exporter = client, exporter

    def span(self, method: str = "POST", path: str = "/v1/chat/completions", **options: Any) -> ReadableSpan:
        """The span of a request."""
        self._exporter.clear()
        self.client.request(method, path, **options)
        (span,) = self._exporter.get_finished_spans()
        return span


@pytest.fixture(scope="module")
def traced(provider: SimulatedProvider) -> Iterator[Traced]:
    exporter = InMemorySpanExporter()
    spans = TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(SimpleSpanProcessor(exporter))
    settings = GatewaySettings(upstreams={"openai": provider.openai_url}, open=True)
    with (
        BudgetManager("traced", ledger="memory://", max_budget="$7") as manager,
        gateway(manager, settings, observers=Observers(traces=Traces(spans))) as url,
        httpx2.Client(base_url=url) as client,
        unmetered(),
    ):
        yield Traced(client, exporter)
    spans.shutdown()


def test_a_request_is_a_span_in_its_callers_trace_with_what_it_cost(
    traced: Traced, provider: SimulatedProvider
) -> None:
    provider.reset()
    span = traced.span(json=ASKED, headers=HEADERS)
    assert (span.name, span.kind) == ("POST /v1/chat/completions", SpanKind.SERVER)
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/chat/completions",
        "url.scheme": "http",
        "url.path": "/v1/chat/completions",
        "budgeted.upstream": "openai",
        "budgeted.outcome": "settled",
        "budgeted.cost": provider.billed_nano() / 1e9,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
    }


def test_a_stream_has_its_cost_on_its_span(traced: Traced, provider: SimulatedProvider) -> None:
    provider.reset()
    span = traced.span(json={**ASKED, "stream": True}, headers=HEADERS)
    assert span.attributes is not None
    assert span.attributes["budgeted.cost"] == provider.billed_nano() / 1e9


def test_the_upstream_goes_on_with_the_gateways_span(traced: Traced, provider: SimulatedProvider) -> None:
    span = traced.span(json=ASKED, headers=HEADERS)
    sent = provider.requests[-1].headers
    assert span.context is not None
    assert sent["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert sent["tracestate"] == "vendor=1"


def test_a_request_without_a_trace_begins_one(traced: Traced) -> None:
    assert traced.span(json=ASKED).parent is None
    assert traced.span(json=ASKED, headers={"traceparent": "garbage"}).parent is None


def test_refusals_and_paths_that_lead_nowhere_are_spans_as_well(traced: Traced) -> None:
    refused = traced.span(json={**ASKED, "model": "nobody-knows-it"})
    assert refused.attributes is not None
    assert (refused.attributes["http.response.status_code"], refused.attributes["budgeted.outcome"]) == (400, "refused")
    nowhere = traced.span("GET", "/nowhere/sk-0123456789abcdef/at-all?q=secret")
    assert nowhere.name == "GET"
    assert nowhere.attributes is not None
    assert nowhere.attributes["url.path"] == "/nowhere/***/at-all"
    assert "secret" not in json.dumps(dict(nowhere.attributes))
    assert nowhere.status.status_code is StatusCode.UNSET


def test_without_an_sdk_the_callers_headers_pass_as_they_are(url: str, provider: SimulatedProvider) -> None:
    with unmetered(), httpx2.Client(base_url=url) as client:
        client.post("/v1/chat/completions", json=ASKED, headers=HEADERS).raise_for_status()
    sent = provider.requests[-1].headers
    assert {name: sent[name] for name in HEADERS} == HEADERS
    assert of_process() is None


@pytest.mark.parametrize(
    ("variables", "exporters"),
    [
        ({}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp_proto_http"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "otlp_proto_grpc"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, ""),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, "otlp_proto_http"),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, "console otlp_proto_http"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, ""),
    ],
)
def test_spans_are_sent_only_where_opentelemetrys_variables_say_so(variables: dict[str, str], exporters: str) -> None:
    assert " ".join(trace_export.wanted(variables)) == exporters


def test_an_exporter_that_is_not_installed_is_named() -> None:
    with pytest.raises(trace_export.ExportError, match="pip install opentelemetry-exporter-otlp-proto-grpc"):
        trace_export.check({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_what_looks_like_a_key_in_a_path_is_hidden() -> None:
    assert shown_path("/run-AbCdEfGhIjKlMnOpQrStUvWx/v1/messages") == "/***/v1/messages"
    assert shown_path("/v1/" + "x" * 1000) == "/v1/" + "x" * 252
