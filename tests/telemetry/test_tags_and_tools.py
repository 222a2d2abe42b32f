"""Spans tell what a call is for; metrics and logs do of the tags that are named, with a bounded number of values."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.trace import use_span

from budgeted import BudgetExceededError, BudgetManager, register_tool
from budgeted.telemetry import series_labels


def spend(manager: BudgetManager, cost: float = 1, **arguments: Any) -> None:
    with manager.hold(cost=cost, **arguments) as held:
        held.settle(cost=cost)


def in_span(act: Callable[[], None]) -> dict[str, Any]:
    """The attributes of a span in which something was done."""
    span = TracerProvider(shutdown_on_exit=False).get_tracer("tests").start_span("outer")
    assert isinstance(span, (Span, ReadableSpan))
    with use_span(span):
        act()
    return dict(span.attributes or {})


def test_a_span_tells_all_tags_of_its_call(make_manager: Callable[..., BudgetManager]) -> None:
    manager = make_manager(tags={"team": "x"})
    found = in_span(lambda: spend(manager, tags={"feature": "search", "session": 7}))
    tags = {name: value for name, value in found.items() if name.startswith("budgeted.tag.")}
    assert tags == {"budgeted.tag.team": "x", "budgeted.tag.feature": "search", "budgeted.tag.session": "7"}
    assert "budgeted.tag.feature" not in in_span(lambda: spend(make_manager()))


def test_a_refusals_span_tells_them_as_well(make_manager: Callable[..., BudgetManager]) -> None:
    manager = make_manager(metric_tags="feature")
    manager.set_limits("tag:feature=search", "$1")

    def refused() -> None:
        with pytest.raises(BudgetExceededError):
            spend(manager, 2, tags={"feature": "search"})

    found = in_span(refused)
    assert (found["budgeted.account.kind"], found["budgeted.tag.feature"]) == ("tag", "search")


def test_metrics_have_the_tags_that_are_named_and_no_others(
    make_manager: Callable[..., BudgetManager], make_metrics: Callable[..., Any]
) -> None:
    manager, metrics = make_manager(metric_tags=["metered"]), make_metrics()
    spend(manager, tags={"metered": "search", "session": "s1"})
    spend(manager, 2, tags={"metered": "search", "session": "s2"})
    spend(manager, 4, tags={"metered": "index"})
    named = {"budgeted.tag.metered": "search"}
    assert metrics.value("budgeted.spend", **named) == 3
    assert metrics.value("budgeted.spend", **{"budgeted.tag.metered": "index"}) == 4
    assert not [point for point in metrics.points("budgeted.spend") if "budgeted.tag.session" in point.attributes]


def test_a_tag_has_a_bounded_number_of_values_in_metrics(
    make_manager: Callable[..., BudgetManager], make_metrics: Callable[..., Any]
) -> None:
    manager, metrics = make_manager(metric_tags=("many",)), make_metrics()
    for number in range(series_labels.MOST_VALUES + 5):
        spend(manager, tags={"many": number})
    spend(manager, tags={"many": 0})
    points = {
        point.attributes["budgeted.tag.many"]: point.value
        for point in metrics.points("budgeted.spend")
        if "budgeted.tag.many" in point.attributes
    }
    assert len(points) == series_labels.MOST_VALUES + 1
    assert (points["0"], points["other"]) == (2, 5)


def test_logs_and_texts_for_telemetry_name_a_tag_only_where_metrics_do(
    make_manager: Callable[..., BudgetManager], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "budgeted")
    for named in ((), ("feature",)):
        manager = make_manager(metric_tags=named)
        manager.set_limits("tag:feature=hidden", "$1")
        caplog.clear()
        with pytest.raises(BudgetExceededError) as refused:
            spend(manager, 2, tags={"feature": "hidden"})
        told = [vars(one).get("budgeted.account") for one in caplog.records]
        assert ("tag:feature=hidden" in told) == bool(named)
        assert refused.value.known_as == ("tag:feature=hidden" if named else "")
        assert "hidden" not in caplog.text


def test_events_name_the_tag_that_refuses_and_the_user_who_pays(make_manager: Callable[..., BudgetManager]) -> None:
    from budgeted.telemetry import events

    heard: list[Any] = []
    manager = make_manager(on_event=heard.append, alerts=())
    manager.set_limits("tag:feature=search", "$1")
    with manager.budget("alice", tags={"feature": "search"}):
        with pytest.raises(BudgetExceededError):
            spend(manager, 2)
        with manager.hold(cost=0.5):
            pass
    assert events.finish()
    assert [(one.kind, one.account_kind, one.account) for one in heard] == [
        ("refused", "tag", "tag:feature=search"),
        ("estimated", "user", "alice"),
    ]


def test_a_tag_is_alerted_of_as_a_user_is(
    make_manager: Callable[..., BudgetManager], caplog: pytest.LogCaptureFixture
) -> None:
    manager = make_manager()
    manager.set_limits("tag:feature=search", "$1/day")
    spend(manager, 0.9, tags={"feature": "search"})
    manager.flush()
    assert "budgeted: a tag has spent 80% of $1/day" in caplog.text


def test_metrics_tell_calls_of_tools_by_the_conventions_names(
    make_manager: Callable[..., BudgetManager], make_metrics: Callable[..., Any]
) -> None:
    register_tool("conventional search", per_call=0.25)
    manager, metrics = make_manager(semconv=True), make_metrics()
    with manager.hold(tool="conventional search"):
        pass
    with pytest.raises(ConnectionRefusedError), manager.hold(tool="conventional search"):
        raise ConnectionRefusedError
    with pytest.raises(BudgetExceededError), manager.budget(cap=0.1), manager.hold(tool="conventional search"):
        pass
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "conventional search"}
    assert metrics.value("budgeted.spend", **tool) == 0.25
    ends = {one.attributes["budgeted.outcome"]: one.value for one in metrics.points("budgeted.calls", **tool)}
    assert ends == {"settled": 1, "failed": 1, "refused": 1}
    assert {name for one in metrics.points("budgeted.spend", **tool) for name in one.attributes} == set(tool)
    assert [one.sum for one in metrics.points("gen_ai.client.operation.cost", **tool)] == [0.25]
    assert not metrics.points("budgeted.tokens", **tool)


@pytest.mark.parametrize("names", [5, [""], ["a b"], [5], {"a=b": 1}])
def test_names_of_tags_that_make_no_sense_are_told_at_once(names: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="tag"):
        BudgetManager("tags", ledger="memory://", metric_tags=names)
