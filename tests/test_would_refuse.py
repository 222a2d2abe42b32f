"""What accounts that only warn would have refused: kept for a report, and nothing else changes by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import DAY, Clock
from encodings_on_disk import KEPT, needs_encodings

from budgeted import BudgetExceededError, BudgetManager, Usage, register_price


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    register_price("pence", input=0, output=10_000, max_output_tokens=1000)  # a cent per token of output
    with made("memory://", clock) as manager:
        yield manager


def made(ledger: str | Path, clock: Clock, **settings: Any) -> BudgetManager:
    return BudgetManager("shadow", ledger=ledger, clock=clock, on_exceed="warn", wait=0, **settings)


def spend(manager: BudgetManager, usd: float, user: str | None = None) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


def refused(manager: BudgetManager, **days: Any) -> dict[str, tuple[float, int]]:
    return {name: (row.spent, row.calls) for name, row in manager.report("would_refuse", **days).items()}


@pytest.mark.parametrize("kind", ["memory", "journal", "sqlite"])
def test_calls_are_counted_by_the_limit_that_would_have_refused_them(kind: str, tmp_path: Path, clock: Clock) -> None:
    places = {"memory": "memory://", "journal": tmp_path / "spend", "sqlite": f"sqlite:///{tmp_path}/spend.db"}
    with made(places[kind], clock) as manager:
        manager.set_limits("alice", "$1/day")
        for _ in range(4):
            spend(manager, 0.5, "alice")
        spend(manager, 0.5, "bob")
        assert refused(manager) == {"alice: $1/day": (1, 2)}
        assert manager.balance("alice").spent == 2
        report = manager.report("would_refuse")
        assert report.total.spent == 2.5  # all that was spent, of which that would not have been
        assert "Would have been refused, of $2.50, calls: 5" in report._repr_html_()
        assert manager.report("account").keys() == {"global", "alice", "bob"}
        assert manager.report().keys() == {"alice", "bob"}
        assert [one.name for one in manager.accounts()] == ["alice", "bob"]


def test_each_limit_that_would_have_refused_a_call_counts_it_once(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits(None, "3 calls", "$9")
    manager.set_limits("alice", "$1/day", "$2")
    for _ in range(5):
        spend(manager, 0.5, "alice")
    assert refused(manager) == {
        "alice: $1/day": (1.5, 3),
        "global: 3 calls": (1, 2),
        "alice: $2": (0.5, 1),
    }
    clock.now += DAY
    spend(manager, 0.5, "alice")
    assert refused(manager, since="2025-11-23") == {"alice: $2": (0.5, 1), "global: 3 calls": (0.5, 1)}


def test_what_is_counted_is_what_the_call_cost_in_the_end(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1")
    with manager.hold(cost=5, user="alice") as held:
        assert refused(manager) == {}
        held.settle(cost=0.25)
    assert refused(manager) == {"alice: $1": (0.25, 1)}
    with manager.hold(cost=5, user="alice") as held:
        held.release()
    assert refused(manager) == {"alice: $1": (0.25, 1)}


def test_limits_that_have_just_changed_are_seen(manager: BudgetManager) -> None:
    spend(manager, 1, "alice")
    manager.set_limits("alice", "$0.50")
    spend(manager, 1, "alice")
    assert refused(manager) == {"alice: $0.50": (1, 1)}
    manager.set_limits("alice", "$5")
    spend(manager, 1, "alice")
    assert refused(manager) == {"alice: $5": (1, 1)}  # by the amount of today
    manager.set_limits("alice", "7 calls")
    assert refused(manager) == {"alice: usd": (1, 1)}


def test_a_call_that_would_only_have_waited_is_not_counted(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1")
    with manager.hold(cost=0.75, user="alice") as first, manager.hold(cost=0.75, user="alice") as second:
        first.settle(cost=0.25)
        second.settle(cost=0.25)
    assert refused(manager) == {}


def test_a_call_whose_output_would_only_have_been_capped_is_not_counted(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$8")
    with manager.hold("pence", "x", user="alice") as held:
        assert held.max_output_tokens == 1000  # it is not
        held.settle(usage=Usage(0, 700))
    assert refused(manager) == {}
    with manager.hold("pence", "x", user="alice") as held:
        held.settle(usage=Usage(0, 200))
    assert refused(manager) == {"alice: $8": (2, 1)}


def test_who_refuses_refuses_as_before_and_that_is_no_call_that_went_through(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, wait=0, max_budget="$2") as manager:
        manager.set_limits("alice", "$1")
        with manager.budget("alice", on_exceed="warn"):
            spend(manager, 1.5)
            assert refused(manager) == {"alice: $1": (1.5, 1)}
            with pytest.raises(BudgetExceededError) as raised:
                spend(manager, 1)
        assert raised.value.account_kind == "global"
        assert refused(manager) == {"alice: $1": (1.5, 1)}
        assert manager.balance().held == 0


@pytest.mark.parametrize("limit", ["$1", "$6", "$1000"])
def test_a_call_is_granted_what_the_account_that_refuses_has(clock: Clock, limit: str) -> None:
    register_price("pence", input=0, output=10_000, max_output_tokens=1000)
    with BudgetManager(ledger="memory://", clock=clock, wait=0, max_budget="$20") as manager:
        with manager.hold("pence", "x") as held:
            share = held.max_output_tokens
            held.release()
        assert share == 500
        manager.set_limits("alice", limit)
        with manager.budget("alice", on_exceed="warn"), manager.hold("pence", "x") as held:
            assert held.max_output_tokens == share
            assert (manager.balance().held, manager.balance("alice").held) == (5, 5)
            held.release()


def test_caps_that_are_kept_under_a_key_are_counted_too(manager: BudgetManager) -> None:
    with manager.budget("alice", cap=1, key="nightly"):
        for _ in range(3):
            spend(manager, 0.5)
    assert refused(manager) == {"key:nightly: $1": (0.5, 1)}


def test_limits_of_a_team_that_a_user_belongs_to_are_counted_as_the_users(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, wait=0) as manager:
        manager.set_limits("team:search", "$1")
        manager.assign("alice", "team:search")
        with manager.budget("alice", on_exceed="warn"):
            for _ in range(3):
                spend(manager, 0.5)
        assert refused(manager) == {"team:search: $1": (0.5, 1)}
        report = manager.report()
        assert {name: row.spent for name, row in report.items()} == {"alice": 1.5, "team:search": 1.5}
        assert (report.total.spent, report.shared.spent) == (1.5, 1.5)


def test_a_stopped_account_is_stopped_whatever_it_would_have_let_through(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1")
    manager.stop("alice", "her key has leaked")
    with pytest.raises(BudgetExceededError, match="her key has leaked"):
        spend(manager, 2, "alice")
    assert refused(manager) == {}


def test_a_coroutines_calls_are_counted(tmp_path: Path, clock: Clock) -> None:
    async def spend_some(manager: BudgetManager) -> None:
        for _ in range(3):
            async with manager.hold(cost=0.5, user="alice") as held:
                held.settle(cost=0.5)

    with made(tmp_path, clock) as manager:
        manager.set_limits("alice", "$1/day")
        asyncio.run(spend_some(manager))
    with made(tmp_path, clock) as manager:
        assert refused(manager) == {"alice: $1/day": (0.5, 1)}


@needs_encodings
def test_an_input_is_counted_exactly_before_it_is_said_that_it_would_have_been_refused(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(KEPT))
    text = "Hello there, how are you doing today? " * 500  # 19,000 bytes, and 4,500 tokens
    with BudgetManager(ledger="memory://", clock=clock, wait=60, max_budget="10k tokens") as manager:
        with manager.hold("gpt-4o", text, 10) as held:  # which waits until the tokenizer is loaded
            held.release()
        manager.reconfigure(on_exceed="warn")
        for _ in range(3):
            with manager.hold("gpt-4o", text, 10) as held:
                held.settle(usage=Usage(4500, 10))
        assert refused(manager) == {"global: 10,000 tokens": (0.01135, 1)}


def test_names_with_blanks_and_limits_of_models_are_told(manager: BudgetManager) -> None:
    manager.set_limits("alice b. usd/day", "$0.10/day on pence*")
    with manager.hold("pence", "x", 20, user="alice b. usd/day") as held:
        held.settle(usage=Usage(0, 20))
    assert refused(manager) == {"alice b. usd/day: $0.10/day on pence*": (0.2, 1)}
