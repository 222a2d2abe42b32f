"""The GenAI conventions' own metrics and span attributes (``semconv=True``), and nothing of them twice."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

from budgeted import BudgetManager, Usage, register_price
from budgeted.testing import SimulatedProvider

TOKENS, SECONDS, COST = "gen_ai.client.token.usage", "gen_ai.client.operation.duration", "gen_ai.client.operation.cost"


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider.get_tracer("tests")
    provider.shutdown()


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": "Say something nice about budgets."}]
    return client.chat.completions.create(model="gpt-5-mini", messages=messages, max_completion_tokens=100, **more)


def test_a_call_of_a_real_sdk_is_one_of_each_histogram(
    metrics: Any, make_manager: Any, client: openai.OpenAI, provider: SimulatedProvider
) -> None:
    manager = make_manager(max_budget="$1", semconv=True)
    with manager.budget("alice"):
        answer = ask(client)
    found = {
        (p.attributes.get("gen_ai.token.type"), p.sum, p.count) for p in metrics.points(TOKENS, model="gpt-5-mini")
    }
    assert found == {("input", answer.usage.prompt_tokens, 1), ("output", answer.usage.completion_tokens, 1)}
    (cost,) = metrics.points(COST, model="gpt-5-mini")
    assert cost.sum == manager.balance().spent
    (seconds,) = metrics.points(SECONDS, model="gpt-5-mini")
    assert seconds.sum > 0
    assert seconds.explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert dict(seconds.attributes) == {
        "gen_ai.provider.name": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.response.model": answer.model,
        "server.address": "127.0.0.1",
        "server.port": int(provider.openai_url.split(":")[2].split("/")[0]),
    }


def test_a_stream_counts_when_it_ends_also_where_it_is_forgotten(
    metrics: Any, make_manager: Any, client: openai.OpenAI
) -> None:
    manager = make_manager(max_budget="$1", semconv=True)
    with manager.budget("alice"):
        for _ in ask(client, stream=True, extra_headers={"x-test": "read"}):
            pass
        stream = ask(client, stream=True)
        next(iter(stream))
        del stream
        gc.collect()
    manager.flush()
    counts = [point.count for point in metrics.points(SECONDS, model="gpt-5-mini")]
    assert sum(counts) == 2


def test_a_failed_call_has_a_duration_and_the_type_of_its_error(metrics: Any, make_manager: Any, model: str) -> None:
    manager = make_manager(max_budget="$1", semconv=True)
    with pytest.raises(ConnectionRefusedError), manager.hold(model, "x", 10):
        raise ConnectionRefusedError
    (seconds,) = metrics.points(SECONDS, model=model)
    assert seconds.attributes["error.type"] == "ConnectionRefusedError"
    assert not metrics.points(COST, model=model)


def test_a_call_that_has_no_tokens_is_in_no_histogram_of_tokens(
    metrics: Any, make_manager: Any, model: str, spend: Any
) -> None:
    manager = make_manager(max_budget="$1", semconv=True)
    spend(paying=manager)
    before = sum(point.count for point in metrics.points(TOKENS))
    with manager.hold(cost=0.04) as held:  # a picture
        held.settle(cost=0.04)
    with manager.hold(model, "x", 10, user="alice") as held:  # an embedding
        held.settle(usage=Usage(8, 0))
    assert sum(point.count for point in metrics.points(TOKENS)) == before + 1
    assert [point.count for point in metrics.points(COST, model=model)] == [2]


def test_without_the_setting_there_is_nothing_of_it(metrics: Any, tracer: Tracer, spend: Any, model: str) -> None:
    with tracer.start_as_current_span("work") as span:
        spend()
    assert not metrics.points(SECONDS, model=model)
    assert not [name for name in span.attributes if name.startswith("gen_ai.")]


def test_two_readers_see_each_call_once(make_metrics: Any, make_manager: Any, spend: Any, model: str) -> None:
    first, second = make_metrics(), make_metrics()
    naming = make_manager(max_budget="$1", semconv=True)
    for _ in range(3):
        spend(paying=naming)
    for reader in (first, second, first):
        assert [point.count for point in reader.points(SECONDS, model=model)] == [3]
    spend(paying=naming)
    assert [point.count for point in second.points(SECONDS, model=model)] == [4]
    assert [point.count for point in first.points(SECONDS, model=model)] == [4]


@pytest.mark.parametrize(
    ("settled", "source"), [({"usage": Usage(10, 20)}, "register_price"), (None, "estimate"), ({"cost": 0.5}, "caller")]
)
def test_a_span_says_what_its_calls_cost_in_which_currency_and_who_says_so(
    tracer: Tracer, make_manager: Any, model: str, settled: Any, source: str
) -> None:
    manager: BudgetManager = make_manager(max_budget="$10", semconv=True)
    with tracer.start_as_current_span("work") as span:
        for _ in range(2):
            with manager.hold(cost=1) if source == "caller" else manager.hold(model, "x", 20) as held:
                if settled:
                    held.settle(**settled)
    assert span.attributes["gen_ai.usage.cost.amount"] == span.attributes["budgeted.cost"] == manager.balance().spent
    assert span.attributes["gen_ai.usage.cost.currency"] == "USD"
    assert span.attributes["gen_ai.usage.cost.source"] == source


def test_a_price_of_the_list_is_named_as_such(tracer: Tracer, make_manager: Any, client: openai.OpenAI) -> None:
    manager = make_manager(max_budget="$10", semconv=True)
    with tracer.start_as_current_span("work") as span, manager.budget("alice"):
        ask(client)
    assert span.attributes["gen_ai.usage.cost.source"] == "genai-prices"


def test_a_user_is_in_them_only_where_opted_in(metrics: Any, make_manager: Any, spend: Any, model: str) -> None:
    spend("alice", paying=make_manager(max_budget="$1", semconv=True))
    assert "user.id" not in metrics.points(SECONDS, model=model)[0].attributes
    register_price(named := model + "-named", input=1, output=2, max_output_tokens=1000)
    spend("alice", paying=make_manager(max_budget="$1", semconv=True, metric_users=True), name=named)
    assert metrics.points(SECONDS, model=named)[0].attributes["user.id"] == "alice"


@pytest.mark.slow
def test_what_another_instrumentation_tells_is_not_told_again() -> None:
    code = """
import anthropic
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
from budgeted import configure
from budgeted.testing import SimulatedProvider

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
AnthropicInstrumentor().instrument()
configure(max_budget="$1", ledger="memory://", semconv=True)
with SimulatedProvider() as provider:
    client = anthropic.Anthropic(base_url=provider.anthropic_url, api_key="any")
    hello = [{"role": "user", "content": "Hello!"}]
    client.messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=hello)
for resource in reader.get_metrics_data().resource_metrics:
    for scope in resource.scope_metrics:
        for one in scope.metrics:
            if one.name.startswith("gen_ai."):
                print(one.name, scope.scope.name)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = dict(line.split() for line in done.stdout.splitlines())
    assert len(told) == len(done.stdout.splitlines())  # each by one of them
    assert told.pop(COST) == "budgeted"
    assert SECONDS in told
    assert set(told.values()) == {"opentelemetry.instrumentation.anthropic"}
