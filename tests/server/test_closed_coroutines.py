"""Coroutines that are closed with their event loop leave no hold behind, though they can await nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest
from serving import TOKEN, Serving

from budgeted import BudgetManager
from budgeted.ledger import background_worker


class Never:
    """Awaited, it does not come back."""

    def __init__(self) -> None:
        self.awaited = False

    def __await__(self) -> Generator[Any, None, None]:
        self.awaited = True
        yield from asyncio.get_running_loop().create_future()


@pytest.fixture
def manager(serving: Serving) -> Iterator[BudgetManager]:
    with BudgetManager("closed", max_budget=1, ledger=serving.url.replace("http://", f"http://{TOKEN}@")) as made:
        yield made


def closed(coroutine: Coroutine[Any, Any, None], ready: Callable[[], bool]) -> None:
    """Run a coroutine until it is ready, and close it after its loop."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    while not ready():
        loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    coroutine.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    background_worker.drain()


def test_a_hold_is_charged_as_uncertain(manager: BudgetManager) -> None:
    never = Never()

    async def ask() -> None:
        async with manager.hold(cost="0.50"):
            await never

    closed(ask(), lambda: never.awaited)
    assert manager.balance().held == 0
    assert len(manager.uncertain()) == 1


def test_a_function_that_is_a_call_is_charged_as_uncertain(manager: BudgetManager) -> None:
    never = Never()

    @manager.budgeted("alice")
    async def ask(model: str, prompt: str, max_tokens: int = 100) -> None:
        await never

    closed(ask("gpt-4o-mini", "hi"), lambda: never.awaited)
    assert manager.balance().held == 0
    assert len(manager.uncertain()) == 1


def test_a_call_that_waits_gives_its_place_up(manager: BudgetManager) -> None:
    async def ask() -> None:
        async with manager.hold(cost="0.50"):
            raise AssertionError

    with manager.hold(cost=1) as held:
        closed(ask(), lambda: manager.ledger.turns.waiting)
        held.release()
    manager.flush()
    assert not manager.ledger.turns.waiting
    assert manager.balance().held == 0
