"""An application as it is deployed: real SDKs, several users and models, metrics exported as the environment says.

It reads commands from its standard input, one a line, and answers each with a line of JSON: ``["ask", USER, MODEL,
OUTPUT_TOKENS]`` makes a call, ``["trouble", USER]`` makes an overrun and an estimate. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import anthropic
import openai
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

import budgeted


def reader() -> MetricReader:
    """What the metrics leave by: a page to scrape, or OTLP over HTTP."""
    port = os.environ.get("PROMETHEUS_PORT")
    if port:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import start_http_server

        start_http_server(int(port), "127.0.0.1")
        return PrometheusMetricReader()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=3_600_000)


def ask(user: str, model: str, tokens: int | None) -> str:
    """One call for a user, of whichever SDK knows the model."""
    cap: dict[str, Any]
    messages: Any = [{"role": "user", "content": "Say something nice about budgets."}]
    try:
        with budgeted.budget(user):
            if model.startswith("claude"):
                claude.messages.create(model=model, max_tokens=tokens or 1000, messages=messages)
            else:
                cap = {} if tokens is None else {"max_completion_tokens": tokens}
                gpt.chat.completions.create(model=model, messages=messages, **cap)
    except budgeted.BudgetExceededError as error:
        return error.reason
    return "answered"


def trouble(user: str) -> str:
    """A call that nobody settles, and one that costs more than its bound."""
    with budgeted.hold("gpt-5-mini", "x", 10, user=user):
        pass
    with budgeted.hold("gpt-5-mini", "x", 10, user=user) as held:
        held.settle(usage=budgeted.Usage(10, 1000))
    return "done"


metrics.set_meter_provider(MeterProvider([reader()]))
budgeted.configure(**json.loads(os.environ["CONFIGURE"]))
gpt = openai.OpenAI(max_retries=0)
claude = anthropic.Anthropic(max_retries=0)
for line in sys.stdin:
    command, *arguments = json.loads(line)
    print(json.dumps({"ask": ask, "trouble": trouble}[command](*arguments)), flush=True)
