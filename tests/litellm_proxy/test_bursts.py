"""Fifty calls at once of ten cents each, under a limit of one dollar: by one proxy and by two, however they end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from running_proxy import CENTS, DIME, QUESTION, Proxy, headers, settled, spent

from budgeted.testing import Reply

if TYPE_CHECKING:
    from budgeted import BudgetManager
    from budgeted.testing import SimulatedProvider

CALLS = 50
DOLLAR = 10**9


async def _ask(client: httpx.AsyncClient, url: str, body: dict[str, Any], *, leave: bool) -> int:
    try:
        async with client.stream("POST", url, json=body, headers=headers("somebody")) as response:
            async for _ in response.aiter_bytes():
                if leave and response.status_code == 200:
                    break
            return response.status_code
    except httpx.TransportError:
        return 0


def burst(proxies: Sequence[Proxy], body: dict[str, Any], path: str, *, leave: bool = False) -> list[int]:
    """Ask all at once, the proxies in turn. Returns the statuses that were answered."""

    async def ask_all() -> list[int]:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=CALLS)) as client:
            urls = itertools.islice(itertools.cycle(proxy.url + path for proxy in proxies), CALLS)
            return await asyncio.gather(*(_ask(client, url, body, leave=leave) for url in urls))

    return asyncio.run(ask_all())


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def asked(request: pytest.FixtureRequest, proxies: Sequence[Proxy]) -> Sequence[Proxy]:
    return proxies[: request.param]


CHAT = [
    pytest.param("/v1/chat/completions", {"model": "dime", **QUESTION}, id="chat"),
    pytest.param("/v1/chat/completions", {"model": "dime", **QUESTION, "stream": True}, id="chat streamed"),
]
OTHERS = [
    pytest.param("/v1/messages", {"model": "claude", **QUESTION}, id="messages"),
    pytest.param("/v1/messages", {"model": "claude", **QUESTION, "stream": True}, id="messages streamed"),
    pytest.param("/v1/responses", {"model": "dime", "input": "Hi", "max_output_tokens": DIME}, id="responses"),
    pytest.param("/anthropic/v1/messages", {"model": "claude-dime", **QUESTION}, id="passed through"),
    pytest.param("/openai/v1/chat/completions", {"model": "dime", **QUESTION, "stream": True}, id="passed, streamed"),
]


@pytest.mark.parametrize(("path", "body"), CHAT)
def test_of_fifty_calls_ten_are_served_and_billed(
    path: str, body: dict[str, Any], asked: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    ten_are_served(path, body, asked, manager, provider)


@pytest.mark.parametrize(("path", "body"), OTHERS)
def test_so_it_is_on_every_route(
    path: str, body: dict[str, Any], proxies: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    ten_are_served(path, body, proxies, manager, provider)


def ten_are_served(
    path: str, body: dict[str, Any], asked: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    answered = burst(asked, body, path)
    assert settled(manager, provider) == spent(manager) == DOLLAR
    assert sorted(set(answered)) == [200, 422]
    assert answered.count(200) == 10


@pytest.mark.parametrize(("path", "body"), CHAT[1:])
def test_streams_that_are_left_are_charged_what_they_are_billed(
    path: str, body: dict[str, Any], asked: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    ten_are_left(path, body, asked, manager, provider)


@pytest.mark.parametrize(("path", "body"), [way for way in OTHERS if "stream" in way.values[1]])
def test_so_they_are_on_every_route(
    path: str, body: dict[str, Any], proxies: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    ten_are_left(path, body, proxies, manager, provider)


def ten_are_left(
    path: str, body: dict[str, Any], asked: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    provider.reply(output_tokens=10, gate_after=2)  # the rest is generated, and billed, when the reader has left
    answered = burst(asked, body, path, leave=True)
    billed = settled(manager, provider)
    assert answered.count(200) == 10
    assert billed <= spent(manager) <= DOLLAR


@pytest.mark.parametrize("model", ["failing", "retried", "failing-first"])
def test_connections_that_break_upstream_are_charged_what_they_may_have_cost(
    model: str,
    asked: Sequence[Proxy],
    manager: BudgetManager,
    provider: SimulatedProvider,
    failing: SimulatedProvider,
) -> None:
    failing.reply(drop=True, output_tokens=10)
    burst(asked, {"model": model, **QUESTION}, "/v1/chat/completions")
    billed = settled(manager, provider, failing)
    assert 0 < billed <= spent(manager) <= DOLLAR


def test_a_fallback_is_charged_and_what_failed_is_not(
    asked: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider, failing: SimulatedProvider
) -> None:
    failing.reply(status=500)
    answered = burst(asked, {"model": "failing-first", **QUESTION}, "/v1/chat/completions")
    assert settled(manager, provider, failing) == spent(manager) == DOLLAR
    assert answered.count(200) == 10


def test_a_retry_is_charged_once(
    asked: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider, failing: SimulatedProvider
) -> None:
    failing.queue(*[Reply(status=500)] * 5)
    answered = burst(asked, {"model": "retried", **QUESTION}, "/v1/chat/completions")
    assert settled(manager, provider, failing) == spent(manager) == DOLLAR
    assert answered.count(200) == 10


def test_what_the_cache_answers_costs_nothing(
    asked: Sequence[Proxy], manager: BudgetManager, provider: SimulatedProvider
) -> None:
    body = {"model": "dime", **QUESTION, "cache": {"use-cache": True, "namespace": f"of {len(asked)}"}}
    for proxy in asked:
        assert proxy.post("/v1/chat/completions", body).status_code == 200
    cached = settled(manager, provider)
    assert cached == len(asked) * CENTS
    assert set(burst(asked, body, "/v1/chat/completions")) == {200}
    assert settled(manager, provider) == spent(manager) == cached
