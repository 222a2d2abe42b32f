"""``configure()``, and which manager is meant where none is named."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from budgeted import (
    BudgetExceededError,
    BudgetManager,
    LedgerError,
    budget,
    budgeted,
    configure,
    get_manager,
    hold,
    instrument,
    uninstrument,
)
from budgeted.testing import SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_manager_left() -> Iterator[None]:
    """Close whatever manager a test made the default one."""
    yield
    get_manager().close()


def spend(usd: float) -> None:
    with hold(cost=usd) as held:
        held.settle(cost=usd)


def test_configure_makes_the_default_manager() -> None:
    manager = configure(max_budget=10, duration="daily", project_name="app", ledger="memory://", wait=0)
    assert get_manager() is manager
    assert (manager.project_name, manager.balance().text) == ("app", "$10/day")
    spend(9)
    with pytest.raises(BudgetExceededError) as refused:
        spend(2)
    assert refused.value.account_kind == "global"


def test_configure_again_changes_it_in_place() -> None:
    manager = configure(max_budget=10, ledger="memory://", wait=0)
    spend(4)
    assert configure(max_budget="$5", unknown_users="deny") is manager
    assert (manager.balance().limit, manager.balance().spent) == (5, 4)
    assert configure() is manager
    assert (manager.balance().limit, manager.settings.unknown_users, manager.settings.wait) == (5, "deny", 0)


def test_configure_keeps_on_the_disk_by_default(budgeted_home: Path) -> None:
    configure(max_budget="$10/month")
    spend(1)
    get_manager().close()
    assert (budgeted_home / "default").is_dir()
    assert configure().balance().spent == 1
    assert configure().balance().text == "$10/month"


def test_what_stood_in_until_then_is_configured_in_place(budgeted_home: Path) -> None:
    stand_in = get_manager()
    spend(1)
    assert not budgeted_home.exists()
    assert configure(max_budget=5) is stand_in
    assert (budgeted_home / "default").is_dir()


def test_the_first_manager_that_is_constructed_is_the_default_one() -> None:
    with BudgetManager("first", ledger="memory://") as first, BudgetManager("second", ledger="memory://"):
        assert get_manager() is first
        spend(1)
        assert first.balance().spent == 1


def test_a_constructed_manager_takes_over_from_a_stand_in() -> None:
    stand_in = get_manager()
    with BudgetManager("mine", ledger="memory://") as mine:
        assert get_manager() is mine is not stand_in


def test_configure_leaves_a_constructed_manager_alone() -> None:
    with BudgetManager("theirs", ledger="memory://", max_budget=1) as theirs:
        ours = configure(max_budget=5, ledger="memory://")
        assert get_manager() is ours is not theirs
        assert (theirs.balance().limit, theirs.project_name) == (1, "theirs")
        spend(3)
        assert theirs.balance().spent == 0


def test_a_closed_manager_is_the_default_no_more() -> None:
    first = configure(ledger="memory://")
    first.close()
    assert get_manager() is not first
    assert configure(ledger="memory://") is get_manager()


def test_inside_a_block_its_manager_is_meant() -> None:
    configure(ledger="memory://")
    with BudgetManager("other", ledger="memory://") as other:
        with other.budget("alice"):
            assert get_manager() is other
            with budget("bob"):
                spend(1)
        assert other.balance("bob").spent == 1
    assert get_manager().balance().spent == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_budget": "plenty"},
        {"max_budget": -1},
        {"max_budget": float("nan")},
        {"max_budget": 5, "duration": "fortnightly"},
        {"duration": "daily"},
        {"max_usd": 5},
        {"max_budget": 3, "wait": -1},
        {"max_budget": 3, "timezone": "Mars"},
        {"max_budget": 3, "ledger": "mongodb://host"},
        {"max_budget": 3, "project_name": ""},
        {"max_budget": 3, "clock": 5},
    ],
    ids=repr,
)
def test_a_configuration_that_fails_changes_nothing(wrong: dict[str, Any], budgeted_home: Path) -> None:
    with pytest.raises((ValueError, TypeError, LedgerError)):
        configure(**wrong)
    assert not budgeted_home.exists()
    manager = configure(max_budget=10, ledger="memory://")
    spend(4)
    settings = manager.settings
    with pytest.raises((ValueError, TypeError, LedgerError)):
        configure(**wrong)
    assert get_manager() is manager
    assert manager.settings is settings
    assert (manager.balance().text, manager.balance().spent) == ("$10", 4)


def test_settings_of_other_packages_are_told_by_our_names() -> None:
    with pytest.raises(TypeError, match="'max_usd'; here it is called 'max_budget'"):
        configure(max_usd=5)  # type: ignore[call-arg]


def test_the_global_limit_covers_decorated_functions() -> None:
    configure(max_budget=1, ledger="memory://", wait=0)

    @budgeted
    def bare(usd: float) -> None:
        spend(usd)

    @budgeted("alice")
    def named(usd: float) -> None:
        spend(usd)

    bare(0.5)
    named(0.4)
    for work in (bare, named):
        with pytest.raises(BudgetExceededError):
            work(0.2)
    assert get_manager().balance().spent == 0.9


@pytest.mark.sdk
def test_the_global_limit_covers_sdk_calls_outside_every_block() -> None:
    openai = pytest.importorskip("openai")
    manager = configure(max_budget="$0.01", ledger="memory://", wait=0)
    with SimulatedProvider() as provider, openai.OpenAI(api_key="x", base_url=provider.openai_url) as client:

        def ask() -> None:
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}], max_completion_tokens=100
            )

        ask()
        assert manager.balance().spent > 0
        manager.set_limits(None, 0)
        with pytest.raises(BudgetExceededError):
            ask()
        assert len(provider.bill) == 1
        uninstrument()
        try:
            ask()
        finally:
            instrument()
        with pytest.raises(BudgetExceededError):
            ask()
        assert manager.balance().held == 0


def test_another_managers_global_limit_covers_only_its_blocks() -> None:
    configure(max_budget=10, ledger="memory://", wait=0)
    with BudgetManager("other", ledger="memory://", max_budget=1, wait=0) as other:
        spend(5)
        assert other.balance().spent == 0
        with other.budget(), pytest.raises(BudgetExceededError):
            spend(2)


def test_nothing_is_said_where_no_user_has_limits(caplog: pytest.LogCaptureFixture) -> None:
    configure(max_budget=10, ledger="memory://")
    with caplog.at_level(logging.WARNING, "budgeted"):
        spend(1)
    assert not caplog.records
