"""What one process was told of the global account before another one changed it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from budgeted import BudgetManager, BudgetStoppedError, UnpricedModelError

Pair = tuple[BudgetManager, BudgetManager]


@pytest.fixture(params=["journal", "sqlite"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Two managers of one ledger, as two processes would have them."""
    where = str(tmp_path / "ledger") if request.param == "journal" else f"sqlite:///{tmp_path / 'ledger.db'}"
    with BudgetManager("p", ledger=where, max_budget=1) as one, BudgetManager("p", ledger=where) as other:
        yield one, other


def call(manager: BudgetManager, user: str, model: str) -> None:
    with manager.hold(model=model, input="Hi", max_output_tokens=5, user=user) as held:
        held.release()


def test_a_model_without_a_price_is_not_refused_for_a_limit_that_has_gone(pair: Pair) -> None:
    one, other = pair
    with pytest.raises(UnpricedModelError):
        call(other, "alice", "of-no-price")
    one.set_limits(None, "100 calls/day")
    call(other, "alice", "of-no-price")
    call(other, "bob", "of-no-price")


def test_a_model_without_a_price_is_refused_for_a_limit_that_has_come(pair: Pair) -> None:
    one, other = pair
    one.set_limits(None, "100 calls/day")
    call(other, "alice", "of-no-price")
    one.set_limits(None, "$1")
    with pytest.raises(UnpricedModelError):
        call(other, "alice", "of-no-price")
    with pytest.raises(UnpricedModelError):
        call(other, "bob", "of-no-price")


def test_what_goes_on_is_refused_to_nobody_whether_he_has_called_before_or_not(pair: Pair) -> None:
    one, other = pair
    call(other, "alice", "gpt-5-mini")
    one.stop()
    for user in ("alice", "bob"):
        with pytest.raises(BudgetStoppedError):
            call(other, user, "gpt-5-mini")
    one.resume()
    for user in ("alice", "bob", "carol"):
        call(other, user, "gpt-5-mini")
