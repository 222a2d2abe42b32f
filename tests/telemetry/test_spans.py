"""What calls leave on the span that was current when they began."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer, set_span_in_context, use_span

from budgeted import BudgetExceededError, BudgetManager, UnknownUserError, Usage


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider.get_tracer("tests")
    provider.shutdown()


def test_a_span_gets_the_cost_and_the_outcome_of_its_call(tracer: Tracer, spend: Any) -> None:
    with tracer.start_as_current_span("work") as span:
        spend("alice")
    assert dict(span.attributes) == {"budgeted.cost": 0.002, "budgeted.outcome": "settled"}


def test_the_costs_of_several_calls_in_one_span_are_added_up_exactly(tracer: Tracer, manager: BudgetManager) -> None:
    with tracer.start_as_current_span("work") as span:
        for _ in range(3):
            with manager.hold(cost=0.1) as held:
                held.settle(cost=0.1)
    assert span.attributes["budgeted.cost"] == 0.3


def test_no_cost_is_lost_where_threads_share_a_span(tracer: Tracer, manager: BudgetManager) -> None:
    span = tracer.start_span("work")
    together = threading.Barrier(8)

    def work(_: int) -> None:
        token = attach(set_span_in_context(span))
        try:
            together.wait()
            for _ in range(50):
                with manager.hold(cost=0.001) as held:
                    held.settle(cost=0.001)
        finally:
            detach(token)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert span.attributes["budgeted.cost"] == 0.4


def test_each_span_has_its_own_calls(tracer: Tracer, spend: Any) -> None:
    with tracer.start_as_current_span("outer") as outer:
        spend()
        with tracer.start_as_current_span("inner") as inner:
            spend()
            spend()
    assert outer.attributes["budgeted.cost"] == 0.002
    assert inner.attributes["budgeted.cost"] == 0.004


def test_a_call_that_settles_later_is_marked_on_the_span_it_began_in(
    tracer: Tracer, manager: BudgetManager, model: str
) -> None:
    held = manager.hold(model, "x" * 1000, 500)
    with tracer.start_as_current_span("began") as began:
        held.__enter__()
        with tracer.start_as_current_span("settled") as other:
            held.settle(usage=Usage(1000, 500))
    assert began.attributes["budgeted.cost"] == 0.002
    assert not other.attributes


def test_a_span_that_has_ended_is_left_alone_without_a_word(
    tracer: Tracer, manager: BudgetManager, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = manager.hold(model, "x" * 1000, 500)
    with tracer.start_as_current_span("began") as began:
        held.__enter__()
    held.settle(usage=Usage(1000, 500))
    assert not began.attributes
    assert caplog.records == []
    assert manager.balance().spent == 0.002


def test_a_refused_call_is_marked_with_its_reason(tracer: Tracer, make_manager: Any, model: str) -> None:
    poor = make_manager(max_budget="$0.0000001", wait=0)
    with tracer.start_as_current_span("work") as span, pytest.raises(BudgetExceededError):
        poor.hold(model, "x", 100).__enter__()
    assert dict(span.attributes) == {
        "budgeted.outcome": "refused",
        "budgeted.reason": "spent",
        "budgeted.account.kind": "global",
    }


def test_a_refusal_in_a_span_that_has_ended_is_no_noise(
    tracer: Tracer, make_manager: Any, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    poor = make_manager(max_budget="$0.0000001", wait=0)
    span = tracer.start_span("work")
    span.end()
    with use_span(span), pytest.raises(BudgetExceededError):
        poor.hold(model, "x", 100).__enter__()
    assert caplog.records == []


def test_an_estimated_call_and_a_failed_one_say_so(tracer: Tracer, manager: BudgetManager, model: str) -> None:
    with tracer.start_as_current_span("estimated") as estimated, manager.hold(model, "x", 100):
        pass
    with tracer.start_as_current_span("failed") as failed, manager.hold(model, "x", 100) as held:
        held.release()
    assert estimated.attributes["budgeted.outcome"] == "estimated"
    assert estimated.attributes["budgeted.cost"] > 0
    assert dict(failed.attributes) == {"budgeted.outcome": "failed", "budgeted.cost": 0}


def test_a_user_is_named_on_a_span_only_where_opted_in(tracer: Tracer, make_manager: Any, spend: Any) -> None:
    naming = make_manager(max_budget="$7", metric_users=["alice"])
    with tracer.start_as_current_span("work") as first:
        spend("alice", paying=naming)
    with tracer.start_as_current_span("work") as second:
        spend("bob", paying=naming)
    assert first.attributes["user.id"] == "alice"
    assert "user.id" not in second.attributes


def test_a_user_that_the_application_wrote_on_the_span_stays(tracer: Tracer, make_manager: Any, spend: Any) -> None:
    naming = make_manager(max_budget="$7", metric_users=True)
    with tracer.start_as_current_span("work", attributes={"user.id": "u-17"}) as span:
        spend("alice", paying=naming)
    assert span.attributes["user.id"] == "u-17"


def test_spans_that_are_not_recorded_change_nothing(manager: BudgetManager, spend: Any) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with provider.get_tracer("tests").start_as_current_span("dropped"):
        spend()
    remote = NonRecordingSpan(SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(0)))
    with use_span(remote):
        spend()
    assert manager.balance().spent == 0.004
    provider.shutdown()


def test_nothing_is_said_of_spans_at_all(tracer: Tracer, spend: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), tracer.start_as_current_span("work"):
        spend()
    assert caplog.records == []


@pytest.mark.parametrize(("metric_users", "named"), [(False, False), (["bob"], False), (True, True)])
def test_an_exception_that_leaves_a_span_names_a_user_there_only_where_opted_in(
    tracer: Tracer, make_manager: Any, model: str, metric_users: Any, named: bool
) -> None:
    poor = make_manager(max_budget="$1", default_user_limits="$0.0000001", wait=0, metric_users=metric_users)
    with pytest.raises(BudgetExceededError) as caught, tracer.start_as_current_span("work") as span:
        poor.hold(model, "x", 100, user="alice").__enter__()
    assert "alice" in str(caught.value)
    (recorded,) = (event for event in span.events if event.name == "exception")
    shown = f"{recorded.attributes['exception.message']} {recorded.attributes['exception.stacktrace']}"
    shown += str(span.status.description)
    assert ("'alice' has $" in shown) is named
    assert "$0.0000001" in shown


def test_an_unknown_user_is_not_named_on_a_span_either(tracer: Tracer, make_manager: Any, model: str) -> None:
    strict = make_manager(max_budget="$1", unknown_users="deny")
    with pytest.raises(UnknownUserError, match="mallory"), tracer.start_as_current_span("work") as span:
        strict.hold(model, "x", 100, user="mallory").__enter__()
    shown = [value for event in span.events for value in event.attributes.values()]
    assert "the user has no budget" in shown
    assert not [text for text in (*shown, str(span.status.description)) if "'mallory'" in str(text)]


def test_a_refusal_keeps_its_text_for_telemetry_when_it_is_pickled(
    tracer: Tracer, make_manager: Any, model: str
) -> None:
    poor = make_manager(max_budget="$1", default_user_limits="$0.0000001", wait=0)
    with pytest.raises(BudgetExceededError) as caught:
        poor.hold(model, "x", 100, user="alice").__enter__()
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert str(again) == str(caught.value)
    with tracer.start_as_current_span("work") as span:
        span.record_exception(again)
    assert "alice" not in span.events[0].attributes["exception.message"]
