"""Every ledger keeps what calls are for, and what calls of tools cost, as it keeps what users spend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from budgeted import BudgetExceededError, BudgetManager

AWKWARD = "%_\\'\" ;:,=*?[]ü"
LONGEST = "n" * 64, "v" * 200


@pytest.fixture
def manager(ledger: Any) -> Iterator[BudgetManager]:
    limits = {"tag:session=*": "$1", "*": "$5"}
    with BudgetManager("tags", ledger=ledger, max_budget=10, default_user_limits=limits, tags={"env": "test"}) as made:
        yield made


def spend(manager: BudgetManager, cost: float) -> None:
    with manager.hold(cost=cost) as held:
        held.settle(cost=cost)


def test_tags_are_charged_limited_listed_reset_and_forgotten(manager: BudgetManager) -> None:
    with manager.budget("alice", tags={"session": "a", "odd": AWKWARD, LONGEST[0]: LONGEST[1]}):
        spend(manager, 0.5)
        with pytest.raises(BudgetExceededError, match="the tag 'session=a' has"):
            spend(manager, 0.75)
        with manager.budget(tags={"session": "b"}):
            spend(manager, 0.75)
    names = [f"tag:{name}" for name in ("env=test", "=".join(LONGEST), f"odd={AWKWARD}", "session=a", "session=b")]
    assert [one.name for one in manager.accounts("tag:")] == names
    assert [one.name for one in manager.accounts("tag:", after=names[2])] == names[3:]
    assert [one.name for one in manager.accounts("tag:session=", count=1)] == names[3:4]
    assert [manager.balance(name).spent for name in names] == [1.25, 1.25, 1.25, 0.5, 0.75]
    assert manager.get_users() == ["alice"]
    manager.reset_cost(names[3])
    manager.delete_user(names[4])
    assert [manager.balance(name).spent for name in names[3:]] == [0, 0]


def test_calls_of_tools_are_charged_and_counted(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        with manager.hold(tool="search", cost=0.25):
            assert manager.balance("alice").held == 0.25
        with pytest.raises(ConnectionRefusedError), manager.hold(tool="search", cost=0.25):
            raise ConnectionRefusedError
        with pytest.raises(KeyError), manager.hold(tool="search", cost=0.25):
            raise KeyError
    manager.flush()
    row = manager.report("model")["search"]
    assert (row.spent, row.calls, row.input_tokens, row.output_tokens, row.uncertain) == (0.5, 2, 0, 0, 0.25)
    assert manager.balance("alice").held == 0
    assert [(one.provider, one.model, one.users) for one in manager.uncertain()] == [("tool", "search", ("alice",))]
