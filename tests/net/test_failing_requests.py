"""Requests that are redirected, repeated, lost, timed out or cancelled: a charge for each that may have been billed."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import aiohttp
import curl_cffi
import httpx
import pytest
import requests
import urllib3
from http_by_hand import ASK, JSON_HEADERS, PATH
from requests.adapters import HTTPAdapter

from budgeted import BudgetManager
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from budgeted.testing import SimulatedProvider

# What is left open here is left open on purpose.
pytestmark = [pytest.mark.net, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager(ledger="memory://", max_budget=1) as managing:
        yield managing
        gc.collect()
        assert managing.balance().held == 0


def by_httpx(url: str, timeout: float = 10) -> int:
    return httpx.post(url, json=ASK, timeout=timeout, follow_redirects=True).status_code


def by_httpx_async(url: str, timeout: float = 10) -> int:
    async def ask() -> int:
        async with httpx.AsyncClient(timeout=timeout, follow_redirects=True) as client:
            return (await client.post(url, json=ASK)).status_code

    return asyncio.run(ask())


def by_requests(url: str, timeout: float = 10) -> int:
    return requests.post(url, json=ASK, timeout=timeout).status_code


def by_urllib3(url: str, timeout: float = 10) -> int:
    return urllib3.request("POST", url, json=ASK, timeout=timeout, retries=urllib3.Retry(3, connect=0, read=0)).status


def by_aiohttp(url: str, timeout: float = 10) -> int:
    async def ask() -> int:
        limit = aiohttp.ClientTimeout(timeout)
        async with aiohttp.ClientSession(timeout=limit) as session, session.post(url, json=ASK) as response:
            await response.read()
            return response.status

    return asyncio.run(ask())


def by_curl_cffi(url: str, timeout: float = 10) -> int:
    return int(curl_cffi.post(url, json=ASK, timeout=timeout).status_code)


def by_http_client(url: str, timeout: float = 10) -> int:
    _, _, host, path = url.split("/", 3)
    connection = http.client.HTTPConnection(host, timeout=timeout)
    connection.request("POST", f"/{path}", json.dumps(ASK), JSON_HEADERS)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


FOLLOWING = [by_httpx, by_httpx_async, by_requests, by_urllib3, by_aiohttp, by_curl_cffi]
CLIENTS = [*FOLLOWING, by_http_client]
BROKEN = (OSError, httpx.HTTPError, urllib3.exceptions.HTTPError, aiohttp.ClientError, http.client.HTTPException)
"""What clients raise where a connection is broken, or nothing comes."""


@pytest.fixture
def redirecting(provider: SimulatedProvider) -> Iterator[Callable[[int], str]]:
    """Gives an address that redirects to the provider with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(int(self.path.split("/")[1]))
            self.send_header("location", provider.openai_url + PATH)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield lambda status: f"http://127.0.0.1:{server.server_port}/{status}{PATH}"
        server.shutdown()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("ask", FOLLOWING)
def test_a_redirect_is_one_charge_and_none_where_it_ends_as_a_get(
    ask: Callable[[str], int],
    status: int,
    provider: SimulatedProvider,
    redirecting: Callable[[int], str],
    manager: BudgetManager,
) -> None:
    with manager.budget("alice"):
        ask(redirecting(status))
    assert provider.wait_idle()
    as_post = status in (307, 308) or (ask is by_urllib3 and status != 303)
    assert len(provider.bill) == as_post
    assert round(manager.balance().spent * 1e9) == provider.billed_nano()
    assert manager.uncertain() == []


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_connection_that_nobody_takes_costs_nothing(ask: Callable[[str], int], manager: BudgetManager) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with manager.budget("alice"), pytest.raises(Exception, match=r"(?i)connect|refused"):
            ask(f"http://127.0.0.1:{taken.getsockname()[1]}/v1{PATH}")
    assert manager.balance().spent == 0
    assert manager.uncertain() == []


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_connection_that_breaks_after_sending_is_charged_what_was_held(
    ask: Callable[[str], int], provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.reply(drop=True)
    with manager.budget("alice"), pytest.raises(BROKEN):
        ask(provider.openai_url + PATH)
    assert provider.wait_idle()
    assert len(manager.uncertain()) == 1
    assert round(manager.balance().spent * 1e9) >= provider.billed_nano() > 0


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_body_that_breaks_off_is_charged_what_was_held(
    ask: Callable[[str], int], provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.reply(drop_after=1)
    with manager.budget("alice"), pytest.raises(BROKEN):
        ask(provider.openai_url + PATH)
    gc.collect()
    assert provider.wait_idle()
    assert len(manager.uncertain()) == 1
    assert round(manager.balance().spent * 1e9) >= provider.billed_nano() > 0


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_timeout_is_charged_what_was_held(
    ask: Callable[..., int], provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.reply(hang=True)
    with manager.budget("alice"), pytest.raises(BROKEN):
        ask(provider.openai_url + PATH, timeout=0.2)
    provider.release()
    (charge,) = manager.uncertain()
    assert charge.reason == "timed out after sending"
    assert manager.balance().spent > 0


@pytest.mark.parametrize("library", ["httpx", "aiohttp"])
def test_a_cancelled_task_is_charged_what_was_held(
    library: str, provider: SimulatedProvider, manager: BudgetManager
) -> None:
    async def ask() -> None:
        if library == "httpx":
            async with httpx.AsyncClient() as client:
                await client.post(provider.openai_url + PATH, json=ASK)
        else:
            async with aiohttp.ClientSession() as session, session.post(provider.openai_url + PATH, json=ASK):
                pass

    async def main() -> None:
        task = asyncio.create_task(ask())
        assert await asyncio.to_thread(provider.wait_parked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    provider.reply(hang=True)
    with manager.budget("alice"):
        asyncio.run(main())
    provider.release()
    (charge,) = manager.uncertain()
    assert charge.reason == "cancelled after sending"


def retrying(times: int = 3) -> requests.Session:
    session = requests.Session()
    retry = urllib3.Retry(times, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session


def test_retries_of_a_session_are_one_charge_where_the_others_were_refused(
    provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.queue(Reply(status=503), Reply(status=503))
    with manager.budget("alice") as block:
        assert retrying().post(provider.openai_url + PATH, json=ASK).status_code == 200
    assert provider.wait_idle()
    assert (block.calls, len(provider.requests)) == (1, 3)
    assert round(manager.balance().spent * 1e9) == provider.billed_nano()


@pytest.mark.parametrize("client", ["requests", "curl_cffi"])
def test_a_retry_after_a_broken_connection_charges_the_lost_one_as_well(
    client: str, provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.queue(Reply(drop=True))
    with manager.budget("alice"):
        if client == "requests":
            retrying().post(provider.openai_url + PATH, json=ASK)
        else:
            curl_cffi.Session(retry=2).post(provider.openai_url + PATH, json=ASK)
    assert provider.wait_idle()
    assert len(provider.bill) == 2
    assert round(manager.balance().spent * 1e9) >= provider.billed_nano()
    assert len(manager.uncertain()) == 1


def test_a_flow_that_signs_in_and_asks_again_is_one_charge(provider: SimulatedProvider, manager: BudgetManager) -> None:
    class SigningIn(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            response = yield request
            if response.status_code == 401:
                request.headers["authorization"] = "Bearer any"
                yield request

    provider.queue(Reply(status=401))
    with manager.budget("alice"):
        assert httpx.post(provider.openai_url + PATH, json=ASK, auth=SigningIn()).status_code == 200
    assert provider.wait_idle()
    assert round(manager.balance().spent * 1e9) == provider.billed_nano() > 0


def test_an_answer_that_nobody_asks_for_is_charged_and_not_taken_for_the_next_ones(
    provider: SimulatedProvider, manager: BudgetManager
) -> None:
    connection = http.client.HTTPConnection(provider.url.removeprefix("http://"))
    with manager.budget("alice"):
        connection.request("POST", f"/v1{PATH}", json.dumps(ASK), JSON_HEADERS)
        connection.close()
        connection.request("GET", "/nowhere")
        assert connection.getresponse().status == 404
        connection.close()
    assert provider.wait_idle()
    assert len(manager.uncertain()) == 1
    assert round(manager.balance().spent * 1e9) >= provider.billed_nano()
