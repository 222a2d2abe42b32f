"""The counters: what calls cost, used and came to, added up over everything in this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from forking import forked
from opentelemetry.sdk.metrics import Counter, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import View

from budgeted import BudgetExceededError, BudgetManager, Usage, register_price
from budgeted.telemetry import counters
from budgeted.telemetry.genai_conventions import Conventions
from budgeted.telemetry.genai_histogram_queue import Operation
from budgeted.telemetry.user_names import user_names

DELTA = {
    "preferred_temporality": {ObservableCounter: AggregationTemporality.DELTA, Counter: AggregationTemporality.DELTA}
}


def test_a_settled_call_adds_its_cost_its_tokens_and_itself(metrics: Any, spend: Any, model: str) -> None:
    spend()
    spend()
    assert metrics.value("budgeted.spend", model=model) == 0.004
    tokens = {"gen_ai.token.type": "input"}
    assert metrics.value("budgeted.tokens", model=model, **tokens) == 2000
    tokens = {"gen_ai.token.type": "output"}
    assert metrics.value("budgeted.tokens", model=model, **tokens) == 1000
    assert metrics.value("budgeted.calls", model=model, outcome="settled") == 2
    (point,) = metrics.points("budgeted.spend", model=model)
    assert dict(point.attributes) == {
        "gen_ai.provider.name": "unknown",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
    }


def test_instruments_have_the_names_units_and_types_that_are_documented(
    metrics: Any, make_manager: Any, model: str
) -> None:
    manager = make_manager(max_budget="$0.004", alerts=0.1)
    with manager.hold(model, "x") as held:  # clamped
        held.settle(usage=Usage(1, 1000))
    manager.reconcile(held.id, cost=0)
    with manager.hold(model, "x", 1) as held:  # an overrun
        held.settle(usage=Usage(1, 1000))
    found = {name: (one.unit, type(one.data).__name__) for name, one in metrics.all().items()}
    for name, unit in (("budgeted.alerts.sent", "{event}"), ("budgeted.unmetered", "{call}")):
        assert found.pop(name, (unit, "Sum")) == (unit, "Sum")  # by tests before this one
    assert found == {
        "budgeted.spend": ("USD", "Sum"),
        "budgeted.tokens": ("{token}", "Sum"),
        "budgeted.calls": ("{call}", "Sum"),
        "budgeted.overrun": ("USD", "Sum"),
        "budgeted.corrections": ("USD", "Sum"),
        "budgeted.clamped": ("{call}", "Sum"),
        "budgeted.limit": ("USD", "Gauge"),
        "budgeted.spent": ("USD", "Gauge"),
        "budgeted.held": ("USD", "Gauge"),
        "budgeted.remaining": ("USD", "Gauge"),
        "budgeted.alerts": ("{alert}", "Sum"),
        "budgeted.time_to_exhaustion": ("s", "Gauge"),
    }
    assert all(one.data.is_monotonic for one in metrics.all().values() if hasattr(one.data, "is_monotonic"))


def test_a_call_that_nobody_confirms_is_counted_as_estimated(metrics: Any, manager: BudgetManager, model: str) -> None:
    with manager.hold(model, "x", 100):
        pass
    assert metrics.value("budgeted.calls", model=model) == metrics.value(
        "budgeted.calls", outcome="estimated", model=model
    )
    assert metrics.value("budgeted.spend", model=model) > 0


def test_a_released_call_is_counted_as_failed_and_costs_nothing(
    metrics: Any, manager: BudgetManager, model: str
) -> None:
    with manager.hold(model, "x", 100) as held:
        held.release()
    assert metrics.value("budgeted.calls", model=model, outcome="failed") == 1
    assert metrics.points("budgeted.spend", model=model) == []


def test_a_refused_call_is_counted_with_the_reason_and_who_had_no_room(
    metrics: Any, make_manager: Any, model: str
) -> None:
    poor = make_manager(max_budget="$5", default_user_limits="$0.000001", wait=0)
    with pytest.raises(BudgetExceededError), poor.hold(model, "x", 100, user="alice"):
        pass
    (point,) = metrics.points("budgeted.calls", model=model)
    assert point.attributes["budgeted.outcome"] == "refused"
    assert point.attributes["budgeted.reason"] == "spent"
    assert point.attributes["budgeted.account.kind"] == "user"


def test_a_call_that_costs_more_than_was_held_adds_the_difference_to_the_overrun(
    metrics: Any, manager: BudgetManager, model: str
) -> None:
    with manager.hold(model, "x", 100) as held:
        held.settle(cost=1)
    with manager.hold(cost=0.25) as held:
        held.settle(cost=0.75)
    assert 0.99 < metrics.value("budgeted.overrun", model=model) < 1
    assert metrics.points("budgeted.overrun", **{"gen_ai.operation.name": "hold"})


def test_a_call_whose_output_was_capped_is_counted(metrics: Any, make_manager: Any, model: str) -> None:
    small = make_manager(max_budget="$0.004")
    with small.hold(model, "x") as held:
        held.settle(usage=Usage(1, 1))
    assert metrics.value("budgeted.clamped", model=model) == 1


def test_corrections_are_counted_apart_by_direction_so_that_no_counter_falls(
    metrics: Any, manager: BudgetManager, model: str
) -> None:
    def corrected(direction: str) -> float:
        points = metrics.points("budgeted.corrections", **{"budgeted.direction": direction})
        return points[0].value if points else 0

    up, down = corrected("up"), corrected("down")
    with manager.hold(model, "x" * 100, 100) as held:
        held.settle(cost=0.50)
    manager.reconcile(held.id, cost=0.75)
    manager.reconcile(held.id, cost=0.25)
    assert corrected("up") - up == pytest.approx(0.25)
    assert corrected("down") - down == pytest.approx(0.50)
    assert metrics.value("budgeted.spend", model=model) == 0.50


# -- names


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("openai", "openai"),
        ("anthropic", "anthropic"),
        ("google", "gcp.gemini"),
        ("vertex_ai", "gcp.vertex_ai"),
        ("aws", "aws.bedrock"),
        ("azure", "azure.ai.openai"),
        ("mistral", "mistral_ai"),
        ("moonshotai", "moonshot_ai"),
        ("x-ai", "x_ai"),
        ("groq", "groq"),
    ],
)
def test_providers_go_by_the_names_that_opentelemetry_has_for_them(
    metrics: Any, spend: Any, model: str, ours: str, theirs: str
) -> None:
    spend(provider=ours)
    (point,) = metrics.points("budgeted.spend", model=model)
    assert point.attributes["gen_ai.provider.name"] == theirs


def test_a_provider_that_no_call_told_is_found_by_its_model(metrics: Any, manager: BudgetManager, spend: Any) -> None:
    name = "ministral-8b-latest"  # which no other test calls
    spend(name=name)
    spend(name=name, provider="mistral")
    (point,) = metrics.points("budgeted.spend", model=name)
    assert point.attributes["gen_ai.provider.name"] == "mistral_ai"


def test_operations_other_than_chat_are_told_apart(metrics: Any, manager: BudgetManager, model: str) -> None:
    manager.update_cost("alice", model=model, input_text="hello", output_text="world")
    with manager.hold(model, "x", 10) as held:
        held.settle(usage=Usage(1, 1))
    operations = {point.attributes["gen_ai.operation.name"] for point in metrics.points("budgeted.spend", model=model)}
    assert operations == {"chat", "update_cost"}


def test_invented_model_names_beyond_a_number_are_counted_as_other(
    metrics: Any, spend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MOST_KEYS", 0)
    register_price("invented-*", input=1, output=2, max_output_tokens=1000)
    before = metrics.points("budgeted.calls", model="other", outcome="settled")
    for number in range(20):
        spend(name=f"invented-{number}")
    seen = {str(point.attributes.get("gen_ai.request.model")) for point in metrics.points("budgeted.calls")}
    assert not any(name.startswith("invented") for name in seen)
    after = metrics.points("budgeted.calls", model="other", outcome="settled")  # of one operation, or of more
    assert sum(point.value for point in after) == 20 + sum(point.value for point in before)


def test_a_refused_invention_takes_no_place_from_a_model_that_is_paid_for(
    metrics: Any, make_manager: Any, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_price("refused-*", input=1, output=2, max_output_tokens=1000)
    known = {point.attributes.get("gen_ai.request.model") for point in metrics.points("budgeted.spend")}
    monkeypatch.setattr(counters, "MOST_KEYS", len(counters.snapshot().tallies) + 1)
    poor = make_manager(max_budget="$0.0000001", wait=0)
    for number in range(10):
        with pytest.raises(BudgetExceededError), poor.hold(f"refused-{number}", "x", 100):
            pass
    with manager.hold("refused-but-paid", "x", 10) as held:
        held.settle(usage=Usage(1, 1))
    found = {point.attributes.get("gen_ai.request.model") for point in metrics.points("budgeted.spend")}
    assert found - known == {"refused-but-paid"}


def test_a_model_name_of_absurd_length_is_counted_as_other(metrics: Any, spend: Any) -> None:
    register_price("long-*", input=1, output=2, max_output_tokens=1000)
    spend(name="long-" + "x" * 300)
    seen = [str(point.attributes.get("gen_ai.request.model")) for point in metrics.points("budgeted.spend")]
    assert max(map(len, seen)) <= 256


# -- readers


def test_a_view_that_drops_every_attribute_leaves_the_sum(make_metrics: Any, spend: Any, make_manager: Any) -> None:
    plain = make_metrics()
    merged = make_metrics(views=[View(instrument_name="budgeted.*", attribute_keys=set())])
    spend()
    spend(paying=make_manager(max_budget="$7"), user="bob")
    for name in ("budgeted.spend", "budgeted.tokens", "budgeted.calls"):
        total = sum(point.value for point in plain.points(name))
        (point,) = merged.points(name)
        assert point.value == pytest.approx(total)
        assert not point.attributes


def test_a_delta_reader_sees_each_call_once(make_metrics: Any, spend: Any, model: str) -> None:
    spend()
    delta = make_metrics(reader=DELTA)
    assert delta.value("budgeted.spend", model=model) == 0.002
    spend()
    spend()
    assert delta.value("budgeted.spend", model=model) == 0.004
    assert delta.value("budgeted.calls", model=model) == 0


def test_several_readers_each_see_everything(make_metrics: Any, spend: Any, model: str) -> None:
    first, second, third = make_metrics(), make_metrics(), make_metrics(reader=DELTA)
    spend()
    assert first.value("budgeted.spend", model=model) == 0.002
    spend()
    for reader in (first, second, third, first):
        assert reader.value("budgeted.spend", model=model) == 0.004


def test_calls_of_several_managers_are_added_up(metrics: Any, spend: Any, make_manager: Any, model: str) -> None:
    spend()
    spend(paying=make_manager(max_budget="$7"))
    spend(paying=make_manager(max_budget="$7"))
    assert metrics.value("budgeted.spend", model=model) == 0.006


def test_a_call_charged_to_two_managers_is_one_call(
    metrics: Any, manager: BudgetManager, make_manager: Any, model: str
) -> None:
    with make_manager(max_budget="$7").budget("team"), manager.hold(model, "x" * 1000, 500) as held:
        held.settle(usage=Usage(1000, 500))
    assert metrics.value("budgeted.spend", model=model) == 0.002
    assert metrics.value("budgeted.calls", model=model) == 1


def test_reporting_to_a_user_what_was_charged_already_adds_nothing(
    metrics: Any, manager: BudgetManager, model: str
) -> None:
    answer = {"id": f"answer-{model}", "model": model, "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}
    with manager.hold(model, "x" * 1000, 500) as held:
        held.settle(answer)
    manager.update_cost("alice", answer)
    assert sum(point.value for point in metrics.points("budgeted.spend", model=model)) == 0.002


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_begins_at_zero(metrics: Any, spend: Any, model: str) -> None:
    spend()

    def child() -> str:
        before = len(metrics.points("budgeted.spend"))
        spend()
        return f"{before} {metrics.value('budgeted.spend', model=model)}"

    assert forked(child) == "0 0.002"
    assert metrics.value("budgeted.spend", model=model) == 0.002


# -- users


def users(metrics: Any, model: str) -> set[Any]:
    return {point.attributes.get("user.id") for point in metrics.points("budgeted.spend", model=model)}


def test_no_user_is_named_unless_that_was_asked_for(metrics: Any, spend: Any, model: str) -> None:
    spend("alice")
    spend("bob")
    assert "alice" not in str(metrics.points("budgeted.spend", model=model))
    assert users(metrics, model) == {None}


def test_all_users_are_named_where_all_are_opted_in(metrics: Any, make_manager: Any, spend: Any, model: str) -> None:
    naming = make_manager(max_budget="$7", metric_users=True)
    for user in ("alice", "bob", None):
        spend(user, paying=naming)
    assert users(metrics, model) == {"alice", "bob", None}
    assert metrics.value("budgeted.spend", model=model, **{"user.id": "bob"}) == 0.002


def test_only_users_on_the_list_are_named(metrics: Any, make_manager: Any, spend: Any, model: str) -> None:
    naming = make_manager(max_budget="$7", metric_users=["alice"])
    spend("alice", paying=naming)
    spend("bob", paying=naming)
    assert users(metrics, model) == {"alice", None}


def test_a_hash_stands_for_each_user(metrics: Any, make_manager: Any, spend: Any, model: str) -> None:
    naming = make_manager(max_budget="$7", metric_users="hash")
    spend("alice", paying=naming)
    spend("alice", paying=naming)
    (name,) = users(metrics, model)
    assert re.fullmatch("[0-9a-f]{16}", name)


def test_a_function_names_users_or_does_not(metrics: Any, make_manager: Any, spend: Any, model: str) -> None:
    naming = make_manager(max_budget="$7", metric_users=lambda user: None if user == "bob" else user.partition("@")[2])
    for user in ("ann@shop", "ben@shop", "cyd@bank", "bob"):
        spend(user, paying=naming)
    assert users(metrics, model) == {"shop", "bank", None}
    assert metrics.value("budgeted.spend", model=model, **{"user.id": "shop"}) == 0.004


def test_a_function_that_fails_stops_no_call_and_is_told_of_once(
    metrics: Any, make_manager: Any, spend: Any, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    rule = user_names({}.__getitem__)
    naming = make_manager(max_budget="$7", metric_users=rule)
    spend("alice", paying=naming)
    spend("alice", paying=naming)
    assert users(metrics, model) == {None}
    assert [record.message for record in caplog.records if "metric_users" in record.message] == [
        "budgeted: metric_users failed with KeyError; such users are not named (said once)"
    ]
    assert "alice" not in caplog.text


def test_the_innermost_user_that_may_be_named_is(metrics: Any, make_manager: Any, spend: Any, model: str) -> None:
    naming = make_manager(max_budget="$7", metric_users=["team:search", "alice"])
    with naming.budget("team:search"):
        spend("alice", paying=naming)
        spend("bob", paying=naming)
    assert users(metrics, model) == {"alice", "team:search"}


def test_users_beyond_a_number_are_counted_without_their_names(
    metrics: Any, make_manager: Any, spend: Any, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MOST_NAMED", counters._tallies._named + 2)
    naming = make_manager(max_budget="$7", metric_users=True)
    for number in range(5):
        spend(f"user-{number}", paying=naming)
    assert users(metrics, model) == {"user-0", "user-1", None}
    assert sum(point.value for point in metrics.points("budgeted.spend", model=model)) == pytest.approx(0.01)


@pytest.mark.parametrize("given", ["alice", 1, 0.5, ["alice", 3], [""], b"bytes"])
def test_what_can_be_no_rule_for_naming_users_is_refused_with_its_value(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="metric_users"):
        user_names(given)


def test_a_single_user_given_as_text_is_told_how_to_write_it() -> None:
    with pytest.raises(TypeError, match=re.escape("write ['alice']")):
        user_names("alice")


@pytest.mark.parametrize("given", [False, None, [], ()])
def test_rules_that_name_nobody_are_no_rule(given: Any) -> None:
    assert user_names(given) is None


def test_a_rule_read_before_stays_as_it_is() -> None:
    rule: Callable[[str], str] | None = user_names("hash")
    assert user_names(rule) is rule


# -- the conventions' own


def test_the_conventions_metrics_are_histograms_of_each_call(metrics: Any) -> None:
    conventions = Conventions(metrics.provider.get_meter("budgeted"))
    conventions.record(Operation(("google", "chat", "gemini-x", ""), 1.5, (2_000_000, 1000, 500)))
    conventions.record(Operation(("google", "chat", "gemini-x", ""), 0.5, None, error="APITimeoutError"))
    attributes = {"gen_ai.provider.name": "gcp.gemini", "gen_ai.operation.name": "chat", "model": "gemini-x"}
    found = metrics.all()
    assert found["gen_ai.client.token.usage"].unit == "{token}"
    assert found["gen_ai.client.operation.duration"].unit == "s"
    assert found["gen_ai.client.operation.cost"].unit == "USD"
    tokens = metrics.points("gen_ai.client.token.usage", **attributes)
    assert {point.attributes["gen_ai.token.type"]: point.sum for point in tokens} == {"input": 1000, "output": 500}
    assert tokens[0].explicit_bounds[:3] == (1, 4, 16)
    (cost,) = metrics.points("gen_ai.client.operation.cost", **attributes)
    assert cost.sum == 0.002
    durations = metrics.points("gen_ai.client.operation.duration", **attributes)
    assert {point.attributes.get("error.type"): point.sum for point in durations} == {None: 1.5, "APITimeoutError": 0.5}
