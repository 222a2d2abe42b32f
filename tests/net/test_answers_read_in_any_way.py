"""Answers read in every way that a client has: charged what they are billed, and shown as if nobody had looked."""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.client
import io
import json
import urllib.error
import urllib.request
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
import curl_cffi
import httpx
import pytest
import requests
import urllib3
from http_by_hand import ASK, ASK_STREAM, JSON_HEADERS, PATH
from net_calls import text_of_json, text_of_lines

from budgeted import BudgetManager
from budgeted.testing import Reply
from budgeted.wire.request_formats import stream_usage_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from budgeted.testing import Request, SimulatedProvider

# What is left open here is left open on purpose.
pytestmark = [pytest.mark.net, pytest.mark.filterwarnings("ignore")]

UNASKED = {name: value for name, value in ASK_STREAM.items() if name != "stream_options"}
"""A stream that does not ask for its usage."""


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[BudgetManager]:
    monkeypatch.setattr(stream_usage_option, "refusing", set())
    with BudgetManager(ledger="memory://", max_budget=1) as managing:
        yield managing
        gc.collect()
        assert managing.balance().held == 0


def pooled(url: str, body: dict[str, Any]) -> Any:
    return urllib3.PoolManager().request("POST", url, json=body, headers=JSON_HEADERS, preload_content=False)


def urllib3_read(url: str, body: dict[str, Any]) -> bytes:
    return bytes(pooled(url, body).read())


def urllib3_read_minus_1(url: str, body: dict[str, Any]) -> bytes:
    return bytes(pooled(url, body).read(-1))


def urllib3_read_some(url: str, body: dict[str, Any]) -> bytes:
    response = pooled(url, body)
    return b"".join(iter(lambda: response.read(50), b""))


def urllib3_read1(url: str, body: dict[str, Any]) -> bytes:
    response = pooled(url, body)
    return b"".join(iter(lambda: response.read1(50), b""))


def urllib3_readinto(url: str, body: dict[str, Any]) -> bytes:
    response, found, piece = pooled(url, body), b"", bytearray(50)
    while size := response.readinto(piece):
        found += piece[:size]
    return found


def urllib3_lines(url: str, body: dict[str, Any]) -> bytes:
    return b"".join(pooled(url, body))


def urllib3_data(url: str, body: dict[str, Any]) -> bytes:
    return bytes(urllib3.request("POST", url, json=body, headers=JSON_HEADERS).data)


def requests_content(url: str, body: dict[str, Any]) -> bytes:
    return requests.post(url, json=body, timeout=10).content


def requests_stream(url: str, body: dict[str, Any]) -> bytes:
    with requests.post(url, json=body, timeout=10, stream=True) as response:
        return b"".join(response.iter_content(30))


def httpx_content(url: str, body: dict[str, Any]) -> bytes:
    return httpx.post(url, json=body).content


def httpx_raw(url: str, body: dict[str, Any]) -> bytes:
    with httpx.stream("POST", url, json=body) as response:
        raw = b"".join(response.iter_raw())
        return gzip.decompress(raw) if "content-encoding" in response.headers else raw


def httpx_async(url: str, body: dict[str, Any]) -> bytes:
    async def ask() -> bytes:
        async with httpx.AsyncClient() as client, client.stream("POST", url, json=body) as response:
            return b"".join([data async for data in response.aiter_bytes()])

    return asyncio.run(ask())


def connected(url: str, body: dict[str, Any]) -> http.client.HTTPResponse:
    _, _, host, path = url.split("/", 3)
    connection = http.client.HTTPConnection(host)
    connection.request("POST", f"/{path}", json.dumps(body), JSON_HEADERS)
    return connection.getresponse()


def http_client_read(url: str, body: dict[str, Any]) -> bytes:
    return connected(url, body).read()


def http_client_read_some(url: str, body: dict[str, Any]) -> bytes:
    response = connected(url, body)
    return b"".join(iter(lambda: response.read(50), b""))


def http_client_lines(url: str, body: dict[str, Any]) -> bytes:
    return b"".join(connected(url, body))


def http_client_readinto(url: str, body: dict[str, Any]) -> bytes:
    return io.BufferedReader(connected(url, body)).read()


def urlopen_read(url: str, body: dict[str, Any]) -> bytes:
    request = urllib.request.Request(url, json.dumps(body).encode(), JSON_HEADERS)  # noqa: S310 - on loopback
    try:
        return bytes(urllib.request.urlopen(request).read())  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.read()


def aiohttp_read(url: str, body: dict[str, Any]) -> bytes:
    async def ask() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            return await response.read()

    return asyncio.run(ask())


def aiohttp_content(url: str, body: dict[str, Any]) -> bytes:
    async def ask() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            return b"".join([data async for data, _ in response.content.iter_chunks()])

    return asyncio.run(ask())


def aiohttp_raw(url: str, body: dict[str, Any]) -> bytes:
    async def ask() -> bytes:
        async with aiohttp.ClientSession(auto_decompress=False) as session, session.post(url, json=body) as response:
            raw = await response.read()
            return zlib.decompress(raw, 47) if "content-encoding" in response.headers else raw

    return asyncio.run(ask())


def aiohttp_raw_of_one_request(url: str, body: dict[str, Any]) -> bytes:
    async def ask() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(url, json=body, auto_decompress=False) as response:
            raw = await response.read()
            return zlib.decompress(raw, 47) if "content-encoding" in response.headers else raw

    return asyncio.run(ask())


def curl_content(url: str, body: dict[str, Any]) -> bytes:
    return curl_cffi.post(url, json=body).content


def curl_stream(url: str, body: dict[str, Any]) -> bytes:
    with curl_cffi.Session() as session, session.stream("POST", url, json=body) as response:
        return b"".join(response.iter_content())


def curl_async_stream(url: str, body: dict[str, Any]) -> bytes:
    async def ask() -> bytes:
        async with curl_cffi.AsyncSession() as session, session.stream("POST", url, json=body) as response:
            return b"".join([data async for data in response.aiter_content()])

    return asyncio.run(ask())


UNPACKING = [
    *(
        urllib3_read,
        urllib3_read_minus_1,
        urllib3_read_some,
        urllib3_read1,
        urllib3_readinto,
        urllib3_lines,
        urllib3_data,
    ),
    *(requests_content, requests_stream, httpx_content, httpx_raw, httpx_async, aiohttp_read, aiohttp_content),
    *(aiohttp_raw, aiohttp_raw_of_one_request, curl_content, curl_stream, curl_async_stream),
]
PLAIN = [urlopen_read, http_client_read, http_client_read_some, http_client_lines, http_client_readinto]
SHOWING = [urllib3_read_some, urllib3_read1, urllib3_readinto, http_client_read_some, http_client_lines]
"""Where as many bytes are asked for as come, so that none can be held back."""


def charged_exactly(manager: BudgetManager, provider: SimulatedProvider) -> bool:
    assert provider.wait_idle()
    return round(manager.balance().spent * 1e9) == provider.billed_nano() > 0 and not manager.uncertain()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ask", UNPACKING + PLAIN)
def test_an_answer_read_in_any_way_is_charged_exactly(
    ask: Callable[[str, dict[str, Any]], bytes], packed: bool, provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.reply(gzip=packed)
    with manager.budget("alice"):
        body = ask(provider.openai_url + PATH, ASK)
    assert text_of_json(gzip.decompress(body) if packed and ask in PLAIN else body)
    assert charged_exactly(manager, provider)


@pytest.mark.parametrize("ask", UNPACKING + PLAIN)
def test_a_stream_is_charged_exactly_and_shows_no_usage_that_was_not_asked_for(
    ask: Callable[[str, dict[str, Any]], bytes], provider: SimulatedProvider, manager: BudgetManager
) -> None:
    with manager.budget("alice"):
        body = ask(provider.openai_url + PATH, UNASKED)
    assert text_of_lines(body.splitlines())
    assert body.endswith(b"data: [DONE]\n\n")
    assert (b'"choices":[]' in body) == (ask in SHOWING)
    assert charged_exactly(manager, provider)


@pytest.mark.parametrize("ask", UNPACKING + PLAIN)
def test_a_stream_that_may_not_be_asked_for_its_usage_is_sent_once_more_unseen(
    ask: Callable[[str, dict[str, Any]], bytes], provider: SimulatedProvider, manager: BudgetManager
) -> None:
    def strict(request: Request) -> Reply | None:
        if "stream_options" in request.body:
            return Reply(status=400, message="Unrecognized request argument supplied: stream_options")
        return None

    provider.reply(strict)
    with manager.budget("alice") as block:
        assert text_of_lines(ask(provider.openai_url + PATH, UNASKED).splitlines())
        assert text_of_lines(ask(provider.openai_url + PATH, UNASKED).splitlines())
    assert provider.wait_idle()
    assert ["stream_options" in request.body for request in provider.requests] == [True, False, False]
    assert (len(provider.bill), block.calls) == (2, 2)
    assert round(manager.balance().spent * 1e9) >= provider.billed_nano()


@pytest.mark.parametrize("ask", UNPACKING + PLAIN)
def test_what_else_a_provider_refuses_is_told_to_the_caller_in_full(
    ask: Callable[[str, dict[str, Any]], bytes], provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.reply(status=400, message="there is no such model")
    with manager.budget("alice"):
        assert b"there is no such model" in ask(provider.openai_url + PATH, UNASKED)
    assert (len(provider.requests), manager.balance().spent) == (1, 0)


def test_an_answer_of_announced_length_ends_with_its_last_byte(
    provider: SimulatedProvider, manager: BudgetManager
) -> None:
    with manager.budget("alice"):
        response = pooled(provider.openai_url + PATH, ASK)
        assert text_of_json(response.read(int(response.headers["content-length"])))
        response.close()
        response.close()
    assert charged_exactly(manager, provider)


def test_a_connection_that_is_drained_is_charged_exactly(provider: SimulatedProvider, manager: BudgetManager) -> None:
    with manager.budget("alice"):
        pooled(provider.openai_url + PATH, ASK).drain_conn()
    assert charged_exactly(manager, provider)


def half(url: str) -> None:
    with requests.post(url, json=UNASKED, stream=True, timeout=10) as response:
        next(response.iter_content(20))
        response.close()


def unread(url: str) -> None:
    response = requests.post(url, json=UNASKED, stream=True, timeout=10)
    response.close()
    response.close()


def forgotten(url: str) -> None:
    requests.post(url, json=UNASKED, stream=True, timeout=10)
    gc.collect()


def half_by_http_client(url: str) -> None:
    response = connected(url, UNASKED)
    response.read(20)
    response.close()


def half_by_aiohttp(url: str) -> None:
    async def ask() -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json=UNASKED) as response:
            await response.content.read(20)

    asyncio.run(ask())


@pytest.mark.parametrize("leave", [half, unread, forgotten, half_by_http_client, half_by_aiohttp])
def test_a_stream_that_is_left_is_never_charged_below_its_bill(
    leave: Callable[[str], None], provider: SimulatedProvider, manager: BudgetManager
) -> None:
    provider.reply(pieces=32, output_tokens=64)
    with manager.budget("alice"):
        leave(provider.openai_url + PATH)
    gc.collect()
    assert manager.flush() is None
    assert provider.wait_idle()
    assert round(manager.balance().spent * 1e9) >= provider.billed_nano() > 0
