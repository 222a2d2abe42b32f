"""Limits in every unit, rolling ones and those that keep what is left: how a manager tells of them and refuses."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from clocks import DAY, HOUR, NOON, Clock

from budgeted import BudgetExceededError, BudgetManager, Usage, register_price, register_tool
from budgeted.cli.command_group import budgeted as command
from budgeted.events import Event
from budgeted.telemetry import events as delivery

MODEL = "model-of-every-kind"


@pytest.fixture(autouse=True)
def price() -> None:
    register_price(MODEL, input=1, output=2, max_output_tokens=1000)
    for tool in ("web_search", "calculator"):
        register_tool(tool, per_call=0.01)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("kinds", ledger="memory://", clock=clock, alerts=(), on_exceed="raise", wait=0) as made:
        yield made


def call(manager: BudgetManager, sent: int = 10, received: int = 5, user: str = "alice") -> None:
    with manager.hold(MODEL, "x" * sent, received, user=user) as held:
        held.settle(usage=Usage(sent, received))


def pay(manager: BudgetManager, cost: float, user: str = "alice") -> None:
    with manager.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


def use_tool(manager: BudgetManager, name: str = "web_search", cost: float = 0.01) -> None:
    with manager.hold(tool=name, user="alice") as held:
        held.settle(cost=cost)


def told(manager: BudgetManager) -> list[tuple[str, str, float, float]]:
    """Of each limit its text, its unit, and what is spent and left."""
    return [(one.text, one.unit, one.spent, one.remaining or 0) for one in manager.balances("alice")]


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def test_each_unit_counts_what_it_says(manager: BudgetManager) -> None:
    manager.set_limits(
        "alice", "100 tokens/day", "80 input tokens/day", "40 output tokens/day", "9 calls", "7 tool calls"
    )
    call(manager)
    call(manager)
    use_tool(manager)
    assert told(manager) == [
        ("100 tokens/day", "tokens", 30, 70),
        ("80 input tokens/day", "input tokens", 20, 60),
        ("40 output tokens/day", "output tokens", 10, 30),
        ("9 calls", "calls", 2, 7),
        ("7 tool calls", "tool calls", 1, 6),
    ]


@pytest.mark.parametrize(
    ("limit", "unit", "said"),
    [
        ("36 input tokens/day", "input tokens", "has 26 input tokens left of 36 input tokens/day, and this call"),
        (
            "9 output tokens/rolling day",
            "output tokens",
            "has 4 output tokens left of 9 output tokens/rolling day, and",
        ),
        ("1 rpm", "calls", "has 0 calls left of 1 call/minute, and this call"),
        ("40 tpm", "tokens", "has 25 tokens left of 40 tokens/minute, and this call"),
    ],
)
def test_a_refusal_reads_well_in_every_unit(manager: BudgetManager, limit: str, unit: str, said: str) -> None:
    manager.set_limits("alice", limit)
    call(manager)
    with pytest.raises(BudgetExceededError) as refused:
        call(manager)
    assert refused.value.unit == unit
    assert said in str(refused.value)


def test_tools_count_in_usd_and_in_tool_calls_and_models_in_all_but_these(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1", "1 call", "100 tokens", "2 tool calls", "1 tool call/day on web_*")
    use_tool(manager)
    with pytest.raises(BudgetExceededError, match="has 0 tool calls left of 1 tool call/day on web_") as refused:
        use_tool(manager)
    assert refused.value.unit == "tool calls"
    use_tool(manager, "calculator")
    call(manager)
    with pytest.raises(BudgetExceededError, match="0 calls left of 1 call, and"):
        call(manager)
    with pytest.raises(BudgetExceededError, match="0 tool calls left of 2 tool calls, and"):
        use_tool(manager, "calculator")
    assert [(text, spent) for text, _, spent, _ in told(manager)][1:] == [
        ("1 call", 1),
        ("100 tokens", 15),
        ("2 tool calls", 2),
        ("1 tool call/day on web_*", 1),
    ]
    assert manager.balance("alice").spent == pytest.approx(0.02002)


def test_tool_calls_that_are_limited_later_begin_with_none(manager: BudgetManager) -> None:
    """The past tells calls, and not whose they were."""
    call(manager)
    use_tool(manager)
    manager.set_limits("alice", "2 tool calls")
    assert told(manager) == [("2 tool calls", "tool calls", 0, 2)]


def test_a_rolling_limit_counts_what_was_charged_lately(manager: BudgetManager, clock: Clock) -> None:
    """Not what was charged since midnight: that would be gone in an hour."""
    clock.now = NOON + 11 * HOUR
    manager.set_limits("alice", "$5/rolling 24 hours")
    (idle,) = manager.balances("alice")
    assert (idle.period_start, idle.resets_at) == (None, None)
    pay(manager, 3)
    clock.now += 2 * HOUR
    pay(manager, 1)
    (full,) = manager.balances("alice")
    assert (full.text, full.limit, full.spent, full.remaining) == ("$5/rolling day", 5, 4, 1)
    assert (full.period_start, full.resets_at) == (None, at(NOON + 35 * HOUR))
    clock.now = NOON + 36 * HOUR
    (later,) = manager.balances("alice")
    assert (later.spent, later.remaining, later.resets_at) == (1, 4, at(NOON + 37 * HOUR))
    clock.now = NOON + 38 * HOUR
    assert manager.balance("alice").spent == 0


def test_a_refusal_by_a_rolling_limit_tells_when_there_is_room(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/rolling day")
    pay(manager, 4)
    clock.now += HOUR
    pay(manager, 1)
    with pytest.raises(BudgetExceededError) as refused:
        pay(manager, 2)
    assert (refused.value.limit, refused.value.resets_at) == ("$5/rolling day", at(NOON + DAY))
    assert refused.value.retry_after == DAY - HOUR
    assert f"; it would fit at {at(NOON + DAY).isoformat()}" in str(refused.value)


def test_a_rolling_limit_that_is_new_counts_what_its_days_were_charged(manager: BudgetManager, clock: Clock) -> None:
    pay(manager, 8)
    clock.now += 3 * DAY
    pay(manager, 2)
    manager.set_limits("alice", "$50/rolling day", "$50/rolling week", "$50/rolling hour", "$50/rolling day on a*")
    assert [spent for _, _, spent, _ in told(manager)] == [2, 10, 0, 0]


def test_a_rolling_limit_foretells_when_it_is_reached(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$10/rolling day")
    assert manager.balance("alice").exhausted_at is None
    pay(manager, 2)
    clock.now += 4 * HOUR
    pay(manager, 2)  # 4 in 4 hours: the other 6 are gone in 6 more
    assert manager.balance("alice").exhausted_at == at(clock.now + 6 * HOUR)
    clock.now += 12 * HOUR  # 4 in 16 hours: until it is back at nothing it takes in 2, and 2, and never 10
    assert manager.balance("alice").exhausted_at is None


def test_what_is_left_is_kept_for_the_next_period_and_told(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$10/day, keep up to $5")
    pay(manager, 8)
    clock.now += DAY
    (kept,) = manager.balances("alice")
    assert (kept.text, kept.limit, kept.spent, kept.remaining) == ("$10/day, keep up to $5", 12, 0, 12)
    pay(manager, 11)
    assert manager.balance("alice").remaining == 1
    with pytest.raises(BudgetExceededError) as refused:
        pay(manager, 2)
    assert (refused.value.limit, refused.value.max_budget) == ("$10/day, keep up to $5", 12)
    clock.now += 2 * DAY
    assert manager.balance("alice").limit == 15  # a whole day was idle, and no more than 5 is kept


def test_a_refusal_tells_of_a_limit_as_it_is_stated_by_now(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$10/day, keep up to $5")
    pay(manager, 10)
    manager.set_limits("alice", "$9/day")
    with pytest.raises(BudgetExceededError, match=r"left of \$9/day, and"):
        pay(manager, 1)


def test_a_limit_with_more_than_its_amount_is_no_other_one_than_was_declared(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was carried over was set by no operator; another amount to keep is another declaration."""
    caplog.set_level(logging.INFO, "budgeted")
    for text, said in (
        ("$10/day, keep up to $5", ""),
        ("$10/day, keep up to $5", ""),
        ("$10/day, keep up to $7", "is now $10/day, keep up to $7; it was $10/day, keep up to $5"),
        ("$10/day", "is now $10/day; it was $10/day, keep up to $7"),
    ):
        caplog.clear()
        with BudgetManager("declared", ledger=tmp_path, max_budget=text, clock=clock, alerts=()) as manager:
            assert manager.balance().text == text
            with manager.hold(cost=1) as held:
                held.settle(cost=1)
        clock.now += DAY
        assert [one for one in caplog.messages if "the limit of" in one] == (
            [f"budgeted: the limit of project 'declared' {said}"] if said else []
        )


def test_a_user_who_has_not_called_yet_has_the_default_limits_as_they_are_stated(clock: Clock) -> None:
    limits = "$1/day, keep up to $2 + $5/rolling day + 20 tool calls"
    with BudgetManager("new", ledger="memory://", default_user_limits=limits, clock=clock) as manager:
        assert " + ".join(one.text for one in manager.balances("nobody yet")) == limits


def test_an_alert_of_a_rolling_limit_is_told_once_while_it_looks_back(clock: Clock) -> None:
    events: list[Event] = []
    begin = clock.now = NOON - NOON % DAY
    with BudgetManager(
        "alerting", ledger="memory://", max_budget="$1/rolling day", alerts=0.8, clock=clock, on_event=events.append
    ) as manager:
        for cost in (0.9, 0.05):
            pay(manager, cost)
        clock.now += DAY + HOUR
        pay(manager, 0.5)
        clock.now += HOUR
        pay(manager, 0.4)
    assert delivery.finish(10)
    alerts = [one for one in events if one.kind == "alert"]
    assert [(one.limit, one.unit, one.spent, one.resets_at) for one in alerts] == [
        ("$1/rolling day", "usd", 0.9, at(begin + DAY)),
        ("$1/rolling day", "usd", 0.9, at(begin + 2 * DAY + HOUR)),
    ]


def test_litellms_budgets_may_roll_and_tell_what_counts_now(manager: BudgetManager, clock: Clock) -> None:
    manager.create_budget(10, "alice", duration="rolling 24 hours")
    pay(manager, 4)
    assert [one.text for one in manager.balances("alice")] == ["$10/rolling day"]
    record = manager.create_budget(12, "alice", duration="rolling day")
    assert (record["total_budget"], record["duration"], record["current_cost"]) == (12, 1, 4)
    clock.now += DAY + 1
    assert manager.get_current_cost("alice") == 0
    with pytest.raises(ValueError, match="a rolling day ends now, so it is counted from no date"):
        manager.create_budget(12, "bob", duration="rolling day", created_at=NOON)


def test_litellms_total_is_what_was_stated_without_what_is_carried_over(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$10/day, keep up to $5")
    pay(manager, 1)
    clock.now += DAY
    pay(manager, 1)
    assert manager.balance("alice").limit == 15
    assert manager.get_total_budget("alice") == 10


def test_amounts_of_litellms_methods_are_usd_also_per_minute(manager: BudgetManager) -> None:
    manager.create_budget("60", "alice", duration="minute")
    assert [one.unit for one in manager.balances("alice")] == ["usd"]


def test_the_command_sets_and_shows_them(tmp_path: Path) -> None:
    ledger = ["--ledger", str(tmp_path)]
    texts = ["20 tool calls", "1m input tokens/rolling week", "$100/month, keep up to $50", "60/min"]
    shown = CliRunner().invoke(command, ["limits", "set", *texts, "--user", "alice", *ledger])
    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    for start in (
        "20 tool calls 0 tool calls 0 tool calls 20 tool calls never",
        "1,000,000 input tokens/rolling week 0 input tokens 0 input tokens 1,000,000 input tokens never",
        "$100/month, keep up to $50 $0.00 $0.00 $100.00",
        "60 calls/minute 0 calls 0 calls 60 calls",
    ):
        assert any(line.startswith(start) for line in lines), shown.output


def test_html_tables_tell_the_unit(manager: BudgetManager) -> None:
    manager.set_limits("alice", "20 tool calls", "5 input tokens/rolling day")
    shown: Any = manager.balances("alice")
    html = shown._repr_html_()
    for text in ("20 tool calls", "5 input tokens/rolling day", "0 tool calls", "5 input tokens"):
        assert text in html
