"""``bind()``: carrying who pays into functions that run elsewhere."""

from __future__ import annotations

import asyncio
import inspect
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context as otel

from budgeted import BudgetManager, bind, get_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://") as made:
        yield made


def spend(usd: float = 1) -> float:
    with get_manager().hold(cost=usd) as held:
        held.settle(cost=usd)
    return usd


def elsewhere(fn: Callable[..., object], *args: object) -> object:
    """Run a function in a thread, where nobody pays."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn, *args).result()


def test_a_bound_function_charges_those_who_paid_when_it_was_bound(manager: BudgetManager) -> None:
    with manager.budget("team"), manager.budget("alice", cap=5) as block:
        bound = bind(spend)
    assert elsewhere(bound, 2) == 2
    with manager.budget("bob"):
        bound()
    assert [manager.balance(user).spent for user in ("team", "alice", "bob")] == [3, 3, 0]
    assert (block.spent, block.calls) == (3, 2)


def test_the_context_is_as_it_was_afterwards(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        bound = bind(spend)
        fails = bind(lambda: 1 / 0)
    with manager.budget("bob"):
        before = otel.get_current()
        bound()
        with pytest.raises(ZeroDivisionError):
            fails()
        assert otel.get_current() is before
        spend(5)
    assert manager.balance("bob").spent == 5


def test_nothing_else_of_the_context_is_carried(manager: BudgetManager) -> None:
    key = otel.create_key("other")
    token = otel.attach(otel.set_value(key, "here"))
    with manager.budget("alice"):
        bound = bind(lambda: otel.get_value(key))
    otel.detach(token)
    assert bound() is None


def test_coroutine_functions_are_bound_as_such(manager: BudgetManager) -> None:
    async def work(usd: float) -> float:
        await asyncio.sleep(0)
        return spend(usd)

    with manager.budget("alice"):
        bound = bind(work)
    assert inspect.iscoroutinefunction(bound)

    async def main() -> list[float]:
        return await asyncio.gather(*(bound(1) for _ in range(5)))

    assert asyncio.run(main()) == [1] * 5
    assert manager.balance("alice").spent == 5


def test_a_bound_function_keeps_its_name_and_signature(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        bound = bind(spend)
    assert (bound.__name__, inspect.signature(bound)) == ("spend", inspect.signature(spend))


def test_bound_outside_every_block_it_runs_as_it_is(manager: BudgetManager) -> None:
    bound = bind(spend)
    with manager.budget("alice"):
        bound()
    assert manager.balance("alice").spent == 1


def test_many_threads_may_run_one_bound_function(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        bound = bind(spend)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(bound, [1] * 40)) == 40
    assert manager.balance("alice").spent == 40


def test_callbacks_of_the_loop_and_signal_handlers_may_be_bound(manager: BudgetManager) -> None:
    async def main() -> None:
        done = asyncio.Event()
        with manager.budget("callback"):
            asyncio.get_running_loop().call_soon(bind(lambda: (spend(), done.set())))
        await done.wait()

    asyncio.run(main())
    with manager.budget("signal"):
        handler = bind(lambda *_: spend())
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert manager.balance("callback").spent == manager.balance("signal").spent == 1


@pytest.mark.parametrize("given", [5, "work", None])
def test_what_is_no_function_cannot_be_bound(given: Any) -> None:
    with pytest.raises(TypeError, match="bind takes a function"):
        bind(given)


def test_a_generator_cannot_be_bound_and_is_told_what_to_do() -> None:
    def steps() -> Any:
        yield 1

    with pytest.raises(TypeError, match="@budgeted"):
        bind(steps)
