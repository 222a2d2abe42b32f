"""What never leaves the process costs nothing; what only looks so is told by a switch."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
import requests
import responses
import respx
import urllib3
import vcr
from http_by_hand import ASK, HEADERS, JSON_HEADERS, PATH

from budgeted import BudgetExceededError, BudgetManager
from budgeted.testing import SimulatedProvider, unmetered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.net

REAL = f"https://api.openai.com/v1{PATH}"
ANSWER = {"id": "1", "model": "gpt-5-mini", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}
JSON = "application/json"


def with_mock_transport() -> httpx.Response:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=ANSWER))
    return httpx.Client(transport=transport).post(REAL, json=ASK)


def with_wsgi() -> httpx.Response:
    def application(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("content-type", JSON)])
        return [json.dumps(ANSWER).encode()]

    return httpx.Client(transport=httpx.WSGITransport(application)).post(REAL, json=ASK)


def with_asgi() -> httpx.Response:
    async def application(_: Any, __: Any, send: Any) -> None:
        headers = [(b"content-type", JSON.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(ANSWER).encode()})

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application)) as client:
            return await client.post(REAL, json=ASK)

    return asyncio.run(ask())


@responses.activate
def with_responses() -> requests.Response:
    responses.post(REAL, json=ANSWER)
    return requests.post(REAL, json=ASK, timeout=10)


def with_respx_in_the_transport() -> httpx.Response:
    with respx.mock(using="httpx") as router:
        router.post(REAL).respond(json=ANSWER)
        return httpx.post(REAL, json=ASK)


def with_respx() -> httpx.Response:
    with respx.mock() as router:
        router.post(REAL).respond(json=ANSWER)
        return httpx.post(REAL, json=ASK)


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager(ledger="memory://", max_budget=1) as managing:
        yield managing
        assert managing.balance().held == 0


ABOVE_THE_HOOKS = (with_mock_transport, with_wsgi, with_asgi, with_responses)


@pytest.mark.parametrize("ask", ABOVE_THE_HOOKS)
def test_what_a_mock_answers_in_a_clients_place_costs_nothing(ask: Callable[[], Any], manager: BudgetManager) -> None:
    with manager.budget("alice") as block:
        assert ask().json() == ANSWER
    assert ask().json() == ANSWER  # outside of it as well
    assert (block.calls, manager.balance().spent) == (0, 0)


@pytest.mark.parametrize("ask", [*ABOVE_THE_HOOKS, with_respx_in_the_transport, with_respx])
def test_whatever_a_mock_replaces_costs_nothing_where_metering_is_off(
    ask: Callable[[], Any], manager: BudgetManager
) -> None:
    with unmetered(), manager.budget("alice") as block:
        assert ask().json() == ANSWER
    assert (block.calls, manager.balance().spent) == (0, 0)


def by_requests(provider: SimulatedProvider) -> object:
    return requests.post(provider.openai_url + PATH, json=ASK, headers=HEADERS, timeout=10).json()


def by_urllib3(provider: SimulatedProvider) -> object:
    return json.loads(urllib3.request("POST", provider.openai_url + PATH, json=ASK, headers=JSON_HEADERS).data)


def by_httpx(provider: SimulatedProvider) -> object:
    return httpx.post(provider.openai_url + PATH, json=ASK, headers=HEADERS).json()


def by_http_client(provider: SimulatedProvider) -> object:
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"))
    connection.request("POST", f"/v1{PATH}", json.dumps(ASK), JSON_HEADERS)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def by_aiohttp(provider: SimulatedProvider) -> object:
    async def ask() -> object:
        async with aiohttp.ClientSession() as session, session.post(provider.openai_url + PATH, json=ASK) as response:
            return await response.json()

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [by_requests, by_urllib3, by_httpx, by_http_client, by_aiohttp])
def test_a_recording_is_played_for_nothing_where_metering_is_off_and_reaches_its_caller_where_it_is_on(
    ask: Callable[[SimulatedProvider], object], provider: SimulatedProvider, manager: BudgetManager, tmp_path: Path
) -> None:
    tape = str(tmp_path / "tape.yaml")
    with unmetered(), vcr.use_cassette(tape):
        recorded = ask(provider)
    assert manager.balance().spent == 0
    with vcr.use_cassette(tape, record_mode="none", allow_playback_repeats=True):
        with unmetered(), manager.budget("alice"):
            assert ask(provider) == recorded
        assert manager.balance().spent == 0
        with manager.budget("alice"):
            assert ask(provider) == recorded  # whether it passes for a real one or not
    assert len(provider.bill) == 1


def refused(provider: SimulatedProvider) -> bool:
    try:
        by_requests(provider)
    except BudgetExceededError:
        return True
    return False


@pytest.fixture
def broke() -> Iterator[BudgetManager]:
    """A manager whose limit fits nothing."""
    with BudgetManager(ledger="memory://", max_budget=0.000001) as managing:
        yield managing


def test_metering_is_off_in_blocks_functions_threads_and_tasks_inside_and_on_again_after_it(
    provider: SimulatedProvider, broke: BudgetManager
) -> None:
    @broke.budgeted("alice")
    def complete(model: str, messages: object) -> bool:
        return refused(provider)

    found = [refused(provider)]
    with broke.budget("alice"), unmetered():
        with broke.budget("bob", cap=1), unmetered():
            found.append(refused(provider))
        found.append(complete("gpt-5-mini", ASK["messages"]))
        with broke.hold("gpt-5-mini", "Hello!") as held:
            held.settle(cost=5)
        thread = threading.Thread(target=lambda: found.append(refused(provider)))
        thread.start()
        thread.join()
        with ThreadPoolExecutor() as pool:
            found.append(pool.submit(refused, provider).result())
    found.append(refused(provider))
    assert found == [True, False, False, False, False, True]
    assert broke.balance().spent == 0


def test_the_switch_is_thrown_where_it_is_and_not_in_what_runs_beside(
    provider: SimulatedProvider, broke: BudgetManager
) -> None:
    async def ask(url: str) -> int:
        async with aiohttp.ClientSession() as session, session.post(url, json=ASK) as response:
            return response.status

    @unmetered()
    async def off() -> int:
        return await ask(provider.openai_url + PATH)

    async def on() -> int:
        with pytest.raises(BudgetExceededError):
            await ask(provider.openai_url + PATH)
        return 0

    async def main() -> list[int]:
        return await asyncio.gather(off(), on(), off(), on())

    assert asyncio.run(main()) == [200, 0, 200, 0]


def test_as_a_decorator_it_keeps_a_functions_name_and_result_and_takes_no_generator() -> None:
    @unmetered()
    def twice(number: int) -> int:
        return 2 * number

    assert (twice.__name__, twice(4)) == ("twice", 8)

    def items() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="write `with unmetered"):
        unmetered()(items)
