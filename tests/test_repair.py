"""A manager whose ledger is lost: it refuses calls, keeps what it knows, and writes it back when asked."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from budgeted import BudgetExceededError, BudgetManager, LedgerCorruptError

if TYPE_CHECKING:
    from pathlib import Path


def spend(manager: BudgetManager, usd: float) -> None:
    """Have a call of alice's cost this much."""
    with manager.hold(cost=usd, user="alice") as held:
        held.settle(cost=usd)


def test_a_limit_does_not_vanish_with_the_directory(tmp_path: Path) -> None:
    with BudgetManager("p", ledger=tmp_path, max_budget=1) as manager:
        spend(manager, 0.25)
        shutil.rmtree(tmp_path / "p")
        for _ in range(3):
            with pytest.raises(LedgerCorruptError, match=r"was removed while.*\$0\.25 charged"):
                spend(manager, 0.25)
        assert manager.repair() == 2
        assert manager.balance().spent == manager.balance("alice").spent == 0.25
        spend(manager, 0.75)
        with pytest.raises(BudgetExceededError):
            spend(manager, 0.01)
        assert manager.repair() == 0
    with BudgetManager("p", ledger=tmp_path) as again:
        assert again.balance().remaining == 0


def test_a_call_in_flight_while_the_directory_is_removed_is_charged_what_it_cost(tmp_path: Path) -> None:
    with BudgetManager("p", ledger=tmp_path, max_budget=1) as manager:
        with manager.hold(cost=0.5, user="alice") as held:
            shutil.rmtree(tmp_path / "p")
            held.settle(cost=0.25)
        manager.repair()
        assert manager.balance().spent == manager.balance("alice").spent == 0.25
        assert manager.balance().held == 0


def test_a_manager_that_is_opened_meanwhile_is_refused_too(tmp_path: Path) -> None:
    with BudgetManager("p", ledger=tmp_path, max_budget=1) as manager:
        spend(manager, 0.25)
        shutil.rmtree(tmp_path / "p")
        with pytest.raises(LedgerCorruptError):
            BudgetManager("p", ledger=tmp_path, max_budget=1)
        manager.repair()
        assert BudgetManager("p", ledger=tmp_path).balance().spent == 0.25


@pytest.mark.parametrize("name", ["lock", "journal-00000001"])
def test_a_manager_refuses_what_is_left_of_a_ledger(tmp_path: Path, name: str) -> None:
    with BudgetManager("p", ledger=tmp_path, max_budget=1) as manager:
        spend(manager, 0.25)
    (tmp_path / "p" / name).unlink()
    with pytest.raises(LedgerCorruptError):
        BudgetManager("p", ledger=tmp_path, max_budget=1)


def test_nothing_is_to_be_repaired_in_memory() -> None:
    with BudgetManager("p", ledger="memory://", max_budget=1) as manager:
        assert manager.repair() == 0
