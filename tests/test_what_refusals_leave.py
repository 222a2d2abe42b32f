"""What a refused call leaves behind: nothing for the garbage collector, which would keep its request until it runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine, Generator, Iterator

import pytest

from budgeted import BudgetExceededError, BudgetManager, register_price

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""

MANY = 50


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", max_budget=1, wait=0) as made:
        yield made


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()  # of those before
    gc.disable()
    yield
    gc.enable()


def by_hand(manager: BudgetManager) -> None:
    with manager.hold(cost=2):
        pass


def within_a_cap(manager: BudgetManager) -> None:
    with manager.budget("alice", cap=0.5), manager.hold(cost=0.75):
        pass


def behind_a_call_in_flight(manager: BudgetManager) -> None:
    with manager.hold(cost=0.75), manager.hold(cost=0.5):
        pass


def by_hand_in_a_coroutine(manager: BudgetManager) -> None:
    async def refused() -> None:
        async with manager.hold(cost=2):
            pass

    asyncio.run(caught(refused()))


def of_a_function(manager: BudgetManager) -> None:
    @manager.budgeted("alice")
    def complete(model: str, messages: str, max_tokens: int) -> None:
        pass

    complete("cent", "hello", 1000)


def of_a_coroutine(manager: BudgetManager) -> None:
    @manager.budgeted("alice")
    async def complete(model: str, messages: str, max_tokens: int) -> None:
        pass

    asyncio.run(caught(complete("cent", "hello", 1000)))


def of_a_generator(manager: BudgetManager) -> None:
    @manager.budgeted("alice")
    def complete(model: str, messages: str, max_tokens: int) -> Generator[str, None, None]:
        yield ""

    list(complete("cent", "hello", 1000))


async def caught(call: Coroutine[object, object, None]) -> None:
    """Where it is refused: asyncio's own frames keep an exception that comes through them."""
    with contextlib.suppress(BudgetExceededError):
        await call


REFUSED = [
    by_hand,
    within_a_cap,
    behind_a_call_in_flight,
    by_hand_in_a_coroutine,
    of_a_function,
    of_a_coroutine,
    of_a_generator,
]


@pytest.mark.parametrize("call", REFUSED)
def test_a_refused_call_leaves_nothing_to_be_collected(
    manager: BudgetManager, call: Callable[[BudgetManager], None], uncollected: None
) -> None:
    for _ in range(MANY):
        with contextlib.suppress(BudgetExceededError):
            call(manager)
    assert not [one for one in collected() if type(one).__module__.startswith("budgeted")]


def collected() -> list[object]:
    """What only the collector frees."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
