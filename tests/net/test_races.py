"""Many at once under one limit: what is billed never passes it, and is what is charged."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import aiohttp
import httpx
import pytest
import requests
from http_by_hand import ASK, PATH

from budgeted import BudgetExceededError, BudgetManager, register_price

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.net, pytest.mark.slow]

MANY = 50
BODY = {**ASK, "max_completion_tokens": 50_000}
"""At 2 USD per million tokens, 0.10 USD."""


@pytest.fixture
def url(provider: SimulatedProvider, nothing_registered: None) -> str:
    register_price("gpt-5-mini", input=0, output=2, base_url=provider.url)
    provider.reply(output_tokens=50_000, text="x", latency=0.01)
    return provider.openai_url + PATH


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager(ledger="memory://", max_budget=1, wait=0) as managing:
        yield managing


def held_the_limit(manager: BudgetManager, provider: SimulatedProvider, answered: int) -> None:
    assert provider.wait_idle()
    assert len(provider.bill) == answered == 10
    spent = sum(billed.usage.output_tokens for billed in provider.bill) * 2000
    assert round(manager.balance().spent * 1e9) == spent <= 1_000_000_000
    assert (manager.balance().held, manager.uncertain()) == (0, [])


async def gathered(ask: Callable[[], Awaitable[int]]) -> int:
    async def one() -> bool:
        try:
            return await ask() == 200
        except BudgetExceededError:
            return False

    return sum(await asyncio.gather(*[one() for _ in range(MANY)]))


def test_tasks_of_httpx(url: str, provider: SimulatedProvider, manager: BudgetManager) -> None:
    async def main() -> int:
        async with httpx.AsyncClient(timeout=60) as client:

            async def ask() -> int:
                return (await client.post(url, json=BODY)).status_code

            return await gathered(ask)

    with manager.budget("alice"):
        held_the_limit(manager, provider, asyncio.run(main()))


def test_tasks_of_aiohttp(url: str, provider: SimulatedProvider, manager: BudgetManager) -> None:
    async def main() -> int:
        async with aiohttp.ClientSession() as session:

            async def ask() -> int:
                async with session.post(url, json=BODY) as response:
                    await response.read()
                    return response.status

            return await gathered(ask)

    with manager.budget("alice"):
        held_the_limit(manager, provider, asyncio.run(main()))


def test_threads_of_requests(url: str, provider: SimulatedProvider, manager: BudgetManager) -> None:
    def ask(_: int) -> bool:
        try:
            return requests.post(url, json=BODY, timeout=60).status_code == 200
        except BudgetExceededError:
            return False

    with manager.budget("alice"), ThreadPoolExecutor(MANY) as pool:
        answered = sum(pool.map(ask, range(MANY)))
    held_the_limit(manager, provider, answered)
