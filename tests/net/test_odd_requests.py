"""Requests that are odd, broken, huge or signed: metered as they are read, or left to fail as they would anyway."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import curl_cffi
import httpx
import pytest
import requests
import trustme
import urllib3
from http_by_hand import ASK, JSON_HEADERS, PATH
from multidict import CIMultiDict

from budgeted import BudgetExceededError, BudgetManager, UnpricedModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from budgeted.testing import SimulatedProvider

# What is left open here is left open on purpose.
pytestmark = [pytest.mark.net, pytest.mark.filterwarnings("ignore")]

BODY = json.dumps(ASK).encode()
OPEN = {name: value for name, value in ASK.items() if name != "max_completion_tokens"}
"""A request without a cap, which is written into it where there is not enough money for the longest answer."""


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager(ledger="memory://", max_budget=5) as managing:
        yield managing
        assert managing.balance().held == 0


def by_urllib3(url: str, body: Any) -> int:
    return urllib3.request("POST", url, body=body, headers=JSON_HEADERS).status


def by_pool(url: str, body: Any) -> int:
    _, _, host, path = url.split("/", 3)
    pool = urllib3.connection_from_url(f"http://{host}")
    return int(pool.urlopen("POST", f"/{path}", body, JSON_HEADERS).status)


def by_pool_and_names(url: str, body: Any) -> int:
    _, _, host, path = url.split("/", 3)
    pool = urllib3.connection_from_url(f"http://{host}")
    return int(
        pool.urlopen(method="POST", url=f"/{path}", body=body, headers=urllib3.HTTPHeaderDict(JSON_HEADERS)).status
    )


def by_requests(url: str, body: Any) -> int:
    return requests.post(url, data=body, headers=JSON_HEADERS, timeout=10).status_code


def by_prepared_request(url: str, body: Any) -> int:
    prepared = requests.Request("post", url, data=body, headers=JSON_HEADERS).prepare()
    return requests.Session().send(prepared, timeout=10).status_code


def by_http_client(url: str, body: Any) -> int:
    _, _, host, path = url.split("/", 3)
    connection = http.client.HTTPConnection(host)
    connection.request("POST", f"/{path}", body, JSON_HEADERS)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def by_http_client_and_names(url: str, body: Any) -> int:
    _, _, host, path = url.split("/", 3)
    connection = http.client.HTTPConnection(host)
    connection.request(method="POST", url=f"/{path}", body=body, headers=JSON_HEADERS)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def by_aiohttp(url: str, body: Any) -> int:
    async def ask() -> int:
        headers = CIMultiDict(JSON_HEADERS)
        async with (
            aiohttp.ClientSession() as session,
            session.request("post", url, data=body, headers=headers) as response,
        ):
            await response.read()
            return response.status

    return asyncio.run(ask())


def by_curl_cffi(url: str, body: Any) -> int:
    return int(curl_cffi.request("post", url=url, data=body, headers=JSON_HEADERS).status_code)


def by_httpx(url: str, body: Any) -> int:
    headers = [(name.upper().encode(), value.encode()) for name, value in JSON_HEADERS.items()]
    return httpx.request("post", url, content=body, headers=headers).status_code


TAKING_BYTES = [
    *(by_urllib3, by_pool, by_pool_and_names, by_requests, by_prepared_request, by_http_client, by_aiohttp),
    *(by_http_client_and_names, by_curl_cffi, by_httpx),
]
TAKING_BUFFERS = [by_urllib3, by_pool, by_http_client, by_aiohttp]


@pytest.mark.parametrize("body", [BODY, BODY.decode()])
@pytest.mark.parametrize("ask", TAKING_BYTES)
def test_a_body_of_bytes_or_text_is_metered(
    ask: Callable[[str, Any], int], body: Any, provider: SimulatedProvider, manager: BudgetManager
) -> None:
    metered(ask, body, provider, manager)


@pytest.mark.parametrize("body", [bytearray(BODY), memoryview(BODY)])
@pytest.mark.parametrize("ask", TAKING_BUFFERS)
def test_a_body_of_a_buffer_is_metered(
    ask: Callable[[str, Any], int], body: Any, provider: SimulatedProvider, manager: BudgetManager
) -> None:
    metered(ask, body, provider, manager)


def metered(ask: Callable[[str, Any], int], body: Any, provider: SimulatedProvider, manager: BudgetManager) -> None:
    with manager.budget("alice") as block:
        assert ask(provider.openai_url + PATH, body) == 200
    assert provider.wait_idle()
    assert block.calls == len(provider.bill) == 1
    assert round(manager.balance().spent * 1e9) == provider.billed_nano()


@pytest.mark.parametrize("ask", TAKING_BYTES)
def test_a_request_without_a_cap_is_sent_with_the_one_that_was_granted(
    ask: Callable[[str, Any], int], provider: SimulatedProvider
) -> None:
    with BudgetManager(ledger="memory://", max_budget=0.05) as manager, manager.budget("alice") as block:
        assert ask(provider.openai_url + PATH, json.dumps(OPEN).encode()) == 200
        assert block.clamped == 1
    (request,) = provider.requests
    assert 256 <= request.body["max_completion_tokens"] < 128_000
    assert int(request.headers["content-length"]) > len(json.dumps(OPEN))
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("ask", TAKING_BYTES)
def test_a_request_that_states_its_length_is_sent_with_that_of_what_was_granted(
    ask: Callable[[str, Any], int], provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(OPEN).encode()
    monkeypatch.setitem(JSON_HEADERS, "content-length", str(len(body)))
    with BudgetManager(ledger="memory://", max_budget=0.05) as manager, manager.budget("alice"):
        assert ask(provider.openai_url + PATH, body) == 200
    (request,) = provider.requests
    assert "max_completion_tokens" in request.body
    assert int(request.headers["content-length"]) > len(body)


@pytest.mark.parametrize("ask", TAKING_BYTES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"\xff\xfe\x00",
        b'{"model": "gpt-5-mini", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": {"a": 1}, "messages": 5, "max_completion_tokens": "many"}',
        b'{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "\\ud800"}], "n": -3}',
        b'{"model": "gpt-5-mini", "stream": "yes", "stream_options": [1], "tools": 7, "messages": [null]}',
    ],
)
def test_a_broken_body_fails_as_it_would_anyway(
    ask: Callable[[str, Any], int], body: bytes, provider: SimulatedProvider, manager: BudgetManager
) -> None:
    with manager.budget("alice"):
        try:
            answered = ask(provider.openai_url + PATH, body)
        except (UnpricedModelError, BudgetExceededError, *BROKEN):
            return
    assert answered in (200, 400, 404, 422)
    assert provider.wait_idle()
    assert round(manager.balance().spent * 1e9) >= provider.billed_nano()


BROKEN = (OSError, httpx.HTTPError, aiohttp.ClientError, http.client.HTTPException, urllib3.exceptions.HTTPError)


def test_a_number_that_only_python_knows_does_not_hide_a_request(
    provider: SimulatedProvider, manager: BudgetManager
) -> None:
    with manager.budget("alice") as block:
        by_urllib3(provider.openai_url + PATH, json.dumps({**ASK, "temperature": float("nan")}))
        by_urllib3(provider.openai_url + PATH, json.dumps(ASK).encode("utf-16"))
    assert block.calls == 2


def test_text_that_cannot_be_encoded_is_its_callers_error(provider: SimulatedProvider, manager: BudgetManager) -> None:
    for ask in (by_urllib3, by_http_client, by_aiohttp, by_httpx):
        with manager.budget("alice"), pytest.raises(UnicodeEncodeError):
            ask(provider.openai_url + PATH, '{"model": "gpt-5-mini", "messages": "\ud800"}')
    assert manager.balance().spent == 0


def test_a_length_that_is_too_short_is_charged_nothing_where_nothing_was_sent(
    provider: SimulatedProvider, manager: BudgetManager
) -> None:
    with manager.budget("alice"), pytest.raises(Exception, match="Too much data"):
        httpx.post(provider.openai_url + PATH, content=BODY, headers={**JSON_HEADERS, "content-length": "10"})
    assert manager.balance().spent == 0


@pytest.mark.slow
def test_a_huge_body_is_held_for_by_its_bytes(provider: SimulatedProvider) -> None:
    body = {**ASK, "messages": [{"role": "user", "content": "x" * 50_000_000}]}
    with (
        BudgetManager(ledger="memory://", max_budget=1) as manager,
        manager.budget("alice"),
        pytest.raises(BudgetExceededError),
    ):
        requests.post(provider.openai_url + PATH, json=body, timeout=30)
    assert provider.requests == []


def test_a_form_is_read_by_its_fields(provider: SimulatedProvider, manager: BudgetManager) -> None:
    with manager.budget("alice") as block:
        httpx.post(
            f"{provider.openai_url}/images/edits", data={"model": "gpt-image-1"}, files={"image": io.BytesIO(b"x")}
        )
    assert block.calls == 1


def test_http_2_over_tls_is_metered(manager: BudgetManager) -> None:
    import h2.config
    import h2.connection
    import h2.events

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        while data := await reader.read(65_536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    headers = [(":status", "200"), ("content-type", "application/json")]
                    connection.send_headers(event.stream_id, headers)
                    usage = {"prompt_tokens": 1000, "completion_tokens": 1000}
                    answer = json.dumps({"model": "gpt-5-mini", "choices": [], "usage": usage}).encode()
                    connection.send_data(event.stream_id, answer, end_stream=True)
            writer.write(connection.data_to_send())
        writer.close()

    async def main() -> str:
        authority = trustme.CA()
        serving, asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(serving)
        authority.configure_trust(asking)
        serving.set_alpn_protocols(["h2"])
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(http2=True, verify=asking) as client:
            response = await client.post(f"https://localhost:{port}/v1{PATH}", json=ASK)
        server.close()
        return response.http_version

    with manager.budget("alice"):
        assert asyncio.run(main()) == "HTTP/2"
    assert manager.balance().spent == pytest.approx(0.00225)  # 0.25 and 2 USD per million tokens


@pytest.mark.parametrize("ask", [by_urllib3, by_requests, by_httpx, by_aiohttp, by_http_client, by_curl_cffi])
def test_a_signed_request_is_never_altered(
    ask: Callable[[str, Any], int], provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(JSON_HEADERS, "authorization", "AWS4-HMAC-SHA256 Credential=any, Signature=any")
    path = "/model/anthropic.claude-3-haiku-20240307-v1:0/converse"
    small = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 50}}
    free = {"messages": small["messages"]}
    with BudgetManager(ledger="memory://", max_budget=0.005) as manager, manager.budget("alice"):
        assert ask(provider.url + path, json.dumps(small, indent=3).encode()) == 200
        with pytest.raises(BudgetExceededError):  # what it may cost cannot be written into it
            ask(provider.url + path, json.dumps(free, indent=3).encode())
        assert 0 < manager.balance().spent < 0.005
        assert manager.uncertain() == []
    (request,) = provider.requests
    assert int(request.headers["content-length"]) == len(json.dumps(small, indent=3))
