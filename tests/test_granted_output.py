"""How many output tokens a call is granted that names no cap of its own."""

from __future__ import annotations

import pytest

from budgeted import BudgetExceededError, BudgetManager, register_price

register_price("a-cent-a-word", input=0, output=10_000, max_output_tokens=1000)


def granted(manager: BudgetManager, model: str = "a-cent-a-word") -> int | None:
    """What a call of alice's is granted."""
    with manager.hold(model, "", user="alice") as held:
        held.release()
    return held.max_output_tokens


@pytest.mark.parametrize(
    ("least", "output"),
    [(100, 100), (60, 60), (10, 25), (0, 25)],
    ids=["all there is", "more than a quarter", "less than a quarter", "anything"],
)
def test_the_fewest_that_are_worth_having_are_granted_below_256_too(least: int, output: int) -> None:
    with BudgetManager(ledger="memory://", wait=0, min_output_tokens=least) as manager:
        manager.set_limits("alice", 1)
        assert granted(manager) == output


@pytest.mark.parametrize("least", [101, 256, 4096])
def test_what_does_not_reach_for_them_is_refused_with_what_would_have_fitted(least: int) -> None:
    with BudgetManager(ledger="memory://", wait=0, min_output_tokens=least) as manager:
        manager.set_limits("alice", 1)
        with pytest.raises(BudgetExceededError, match="with an output cap of 100 tokens"):
            granted(manager)
