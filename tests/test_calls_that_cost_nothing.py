"""Calls that cost nothing: no limit of money is in their way, not even one that is overrun."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from budgeted import BudgetExceededError, BudgetManager, register_price
from budgeted.payers import block_figures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budgeted.ledger.wait_queues import WaitQueues

register_price("costs-nothing", input=0, output=0, max_output_tokens=1000)


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0, unpriced="free", max_budget=10) as made:
        yield made


def overrun(manager: BudgetManager) -> None:
    """Have a call cost more than it was held for, and than any limit."""
    with manager.hold(cost=1) as held:
        held.settle(cost=50)
    with pytest.raises(BudgetExceededError):
        manager.hold(cost="0.000000001").__enter__()


FREE: dict[str, dict[str, Any]] = {
    "a price of nothing": {"model": "costs-nothing", "input": "Hello"},
    "nothing by itself": {"cost": 0},
    "a model that passes unpriced": {"model": "nobodys-model", "input": "Hello"},
    "a model at home": {"model": "ollama/llama3.2", "input": "Hello", "provider": "ollama"},
    "with a cap of its own": {"model": "costs-nothing", "input": "Hello", "max_output_tokens": 900},
}
free = pytest.mark.parametrize("call", FREE.values(), ids=FREE)


@free
def test_they_pass_a_limit_that_is_overrun(manager: BudgetManager, call: dict[str, Any]) -> None:
    manager.set_limits("alice", 5)
    with manager.budget("alice"):
        overrun(manager)
        make(manager, **call)
    assert manager.balance("alice").spent == 50


@free
def test_they_pass_a_blocks_cap_that_is_overrun(manager: BudgetManager, call: dict[str, Any]) -> None:
    manager.set_limits(None, 1000)
    with manager.budget(cap=5) as block:
        overrun(manager)
        make(manager, **call)
    assert (block.refused, block.spent) == (1, 50)


def test_they_pass_a_cap_that_is_kept_in_the_ledger(manager: BudgetManager) -> None:
    manager.set_limits(None, 1000)
    with manager.budget(cap=5, key="a job"):
        overrun(manager)
        make(manager, model="costs-nothing", input="Hello")


def test_limits_in_tokens_and_calls_apply_to_them(manager: BudgetManager) -> None:
    overrun(manager)
    manager.set_limits("alice", "500 tokens")
    manager.set_limits("bob", "1 call")
    with pytest.raises(BudgetExceededError, match="500 tokens"):
        manager.hold("costs-nothing", "x" * 500, user="alice").__enter__()
    with manager.hold("costs-nothing", "Hello", user="alice") as held:
        assert held.max_output_tokens is not None
        assert held.max_output_tokens < 500
        held.release()
    with manager.hold("costs-nothing", "Hello", user="bob") as held:
        held.settle(usage={"input_tokens": 3, "output_tokens": 3})
    with pytest.raises(BudgetExceededError, match="1 call"):
        manager.hold("costs-nothing", "Hello", user="bob").__enter__()


@pytest.mark.parametrize("capped", [False, True], ids=["a user's limit", "a cap"])
def test_they_stand_behind_nobody_who_waits_for_money(manager: BudgetManager, capped: bool) -> None:
    manager.set_limits("alice", 7 if capped else 5)
    turns = block_figures.cap_turns if capped else manager.ledger.turns
    with ThreadPoolExecutor() as pool, manager.budget("alice", cap=5 if capped else None, wait=60):
        with manager.hold(cost=5) as first:
            waiting = pool.submit(make, manager, cost=5)
            wait_in_line(turns)
            pool.submit(make, manager, model="costs-nothing", input="Hello").result(timeout=10)
            assert not waiting.done()
            first.release()
        waiting.result(timeout=10)


def make(manager: BudgetManager, **call: Any) -> None:
    """Have a call made that comes to nothing."""
    with manager.hold(**call) as held:
        held.release()


def wait_in_line(turns: WaitQueues) -> None:
    """Until a call waits its turn."""
    for _ in range(10_000):
        if turns.waiting:
            return
        threading.Event().wait(0.001)
    pytest.fail("no call waits")
