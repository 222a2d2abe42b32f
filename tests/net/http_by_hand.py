"""The HTTP clients that Python programs use, each asking OpenAI's chat completions by hand.

Their addresses are on loopback as they stand.
"""

from __future__ import annotations

import gzip
import http.client
import json
import urllib.request
from typing import TYPE_CHECKING, Any

from net_calls import ANY, MAX_TOKENS, MESSAGES, NetCalls, text_of_json, text_of_lines

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

CALLS = NetCalls()

MODEL = "gpt-5-mini"
PATH = "/chat/completions"
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "max_completion_tokens": MAX_TOKENS}
ASK_STREAM = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
HEADERS = {"authorization": f"Bearer {ANY}"}
JSON_HEADERS = {**HEADERS, "content-type": "application/json"}
COMPRESSED = {**JSON_HEADERS, "accept-encoding": "gzip", "x-simulate": '{"gzip": true}'}
"""For answers whose reader gets the compressed bytes, and decompresses them on its own."""

chat = CALLS.of("openai", MODEL)


@chat
def httpx_post(provider: SimulatedProvider) -> str:
    import httpx

    return text_of_json(httpx.post(provider.openai_url + PATH, json=ASK, headers=HEADERS).raise_for_status().content)


@chat
def httpx_client(provider: SimulatedProvider) -> str:
    import httpx

    with httpx.Client(base_url=provider.openai_url, headers=HEADERS) as client:
        return text_of_json(client.post(PATH, json=ASK).raise_for_status().content)


@chat
def httpx_stream(provider: SimulatedProvider) -> str:
    import httpx

    with (
        httpx.Client(base_url=provider.openai_url, headers=HEADERS) as client,
        client.stream("POST", PATH, json=ASK_STREAM) as response,
    ):
        return text_of_lines(response.raise_for_status().iter_lines())


@chat
async def httpx_async(provider: SimulatedProvider) -> str:
    import httpx

    async with httpx.AsyncClient(base_url=provider.openai_url, headers=HEADERS) as client:
        return text_of_json((await client.post(PATH, json=ASK)).raise_for_status().content)


@chat
async def httpx_async_stream(provider: SimulatedProvider) -> str:
    import httpx

    async with (
        httpx.AsyncClient(base_url=provider.openai_url, headers=HEADERS) as client,
        client.stream("POST", PATH, json=ASK_STREAM) as response,
    ):
        return text_of_lines([line async for line in response.raise_for_status().aiter_lines()])


@chat
def httpx2_client(provider: SimulatedProvider) -> str:
    import httpx2

    with httpx2.Client(base_url=provider.openai_url, headers=HEADERS) as client:
        return text_of_json(client.post(PATH, json=ASK).raise_for_status().content)


@chat
def httpx2_stream(provider: SimulatedProvider) -> str:
    import httpx2

    with (
        httpx2.Client(base_url=provider.openai_url, headers=HEADERS) as client,
        client.stream("POST", PATH, json=ASK_STREAM) as response,
    ):
        return text_of_lines(response.raise_for_status().iter_lines())


@chat
async def httpx2_async(provider: SimulatedProvider) -> str:
    import httpx2

    async with httpx2.AsyncClient(base_url=provider.openai_url, headers=HEADERS) as client:
        return text_of_json((await client.post(PATH, json=ASK)).raise_for_status().content)


@chat
async def httpx2_async_stream(provider: SimulatedProvider) -> str:
    import httpx2

    async with (
        httpx2.AsyncClient(base_url=provider.openai_url, headers=HEADERS) as client,
        client.stream("POST", PATH, json=ASK_STREAM) as response,
    ):
        return text_of_lines([line async for line in response.raise_for_status().aiter_lines()])


@chat
def requests_post(provider: SimulatedProvider) -> str:
    import requests

    with requests.post(provider.openai_url + PATH, json=ASK, headers=HEADERS, timeout=30) as response:
        response.raise_for_status()
        return text_of_json(response.content)


@chat
def requests_session(provider: SimulatedProvider) -> str:
    import requests

    with requests.Session() as session, session.post(provider.openai_url + PATH, json=ASK, headers=HEADERS) as response:
        response.raise_for_status()
        return text_of_json(response.text)


@chat
def requests_stream(provider: SimulatedProvider) -> str:
    import requests

    with (
        requests.Session() as session,
        session.post(provider.openai_url + PATH, json=ASK_STREAM, headers=HEADERS, stream=True) as response,
    ):
        response.raise_for_status()
        return text_of_lines(response.iter_lines())


@chat
def requests_raw_read(provider: SimulatedProvider) -> str:
    import requests

    with requests.post(provider.openai_url + PATH, json=ASK, headers=HEADERS, stream=True, timeout=30) as response:
        response.raise_for_status()
        return text_of_json(response.raw.read())


@chat
def requests_raw_gzip(provider: SimulatedProvider) -> str:
    import requests

    with requests.post(provider.openai_url + PATH, json=ASK, headers=COMPRESSED, stream=True, timeout=30) as response:
        response.raise_for_status()
        return text_of_json(gzip.decompress(response.raw.read()))


@chat
def urllib3_pool(provider: SimulatedProvider) -> str:
    import urllib3

    with urllib3.PoolManager() as pool:
        response = pool.request("POST", provider.openai_url + PATH, json=ASK, headers=JSON_HEADERS)
        assert response.status == 200
        return text_of_json(response.data)


@chat
def urllib3_stream(provider: SimulatedProvider) -> str:
    import urllib3

    with urllib3.PoolManager() as pool:
        response = pool.request(
            "POST", provider.openai_url + PATH, json=ASK_STREAM, headers=JSON_HEADERS, preload_content=False
        )
        assert response.status == 200
        text = text_of_lines(b"".join(response.stream(100)).splitlines())
        response.release_conn()
        return text


def _request(
    provider: SimulatedProvider, body: dict[str, Any], headers: dict[str, str] = JSON_HEADERS
) -> urllib.request.Request:
    return urllib.request.Request(provider.openai_url + PATH, json.dumps(body).encode(), headers)  # noqa: S310


@chat
def urllib_request(provider: SimulatedProvider) -> str:
    with urllib.request.urlopen(_request(provider, ASK)) as response:  # noqa: S310 - on loopback
        return text_of_json(response.read())


@chat
def urllib_request_stream(provider: SimulatedProvider) -> str:
    with urllib.request.urlopen(_request(provider, ASK_STREAM)) as response:  # noqa: S310 - on loopback
        return text_of_lines(response)


@chat
def urllib_request_gzip(provider: SimulatedProvider) -> str:
    with urllib.request.urlopen(_request(provider, ASK, COMPRESSED)) as response:  # noqa: S310 - on loopback
        return text_of_json(gzip.decompress(response.read()))


@chat
def urllib_request_gzip_stream(provider: SimulatedProvider) -> str:
    with (
        urllib.request.urlopen(_request(provider, ASK_STREAM, COMPRESSED)) as response,  # noqa: S310 - on loopback
        gzip.open(response) as lines,
    ):
        return text_of_lines(lines)


def _connection(provider: SimulatedProvider) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(provider.url.removeprefix("http://"))


@chat
def http_client(provider: SimulatedProvider) -> str:
    connection = _connection(provider)
    connection.request("POST", f"/v1{PATH}", json.dumps(ASK), JSON_HEADERS)
    text = text_of_json(connection.getresponse().read())
    connection.close()
    return text


@chat
def http_client_stream(provider: SimulatedProvider) -> str:
    connection = _connection(provider)
    connection.request("POST", f"/v1{PATH}", json.dumps(ASK_STREAM), JSON_HEADERS)
    response, lines = connection.getresponse(), []
    while line := response.readline():
        lines.append(line)
    connection.close()
    return text_of_lines(lines)


@chat
async def aiohttp_session(provider: SimulatedProvider) -> str:
    import aiohttp

    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(provider.openai_url + PATH, json=ASK, headers=HEADERS) as response,
    ):
        return text_of_json(await response.read())


@chat
async def aiohttp_stream(provider: SimulatedProvider) -> str:
    import aiohttp

    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(provider.openai_url + PATH, json=ASK_STREAM, headers=HEADERS) as response,
    ):
        return text_of_lines([line async for line in response.content])


@chat
def curl_cffi_post(provider: SimulatedProvider) -> str:
    import curl_cffi

    response = curl_cffi.post(provider.openai_url + PATH, json=ASK, headers=HEADERS)
    response.raise_for_status()
    return text_of_json(response.content)


@chat
def curl_cffi_session(provider: SimulatedProvider) -> str:
    import curl_cffi

    with curl_cffi.Session() as session:
        response = session.post(provider.openai_url + PATH, json=ASK, headers=HEADERS)
        response.raise_for_status()
        return text_of_json(response.content)


@chat
def curl_cffi_stream(provider: SimulatedProvider) -> str:
    import curl_cffi

    with (
        curl_cffi.Session() as session,
        session.stream("POST", provider.openai_url + PATH, json=ASK_STREAM, headers=HEADERS) as response,
    ):
        response.raise_for_status()
        return text_of_lines(response.iter_lines())


@chat
async def curl_cffi_async(provider: SimulatedProvider) -> str:
    import curl_cffi

    async with curl_cffi.AsyncSession() as session:
        response = await session.post(provider.openai_url + PATH, json=ASK, headers=HEADERS)
        response.raise_for_status()
        return text_of_json(response.content)


@chat
async def curl_cffi_async_stream(provider: SimulatedProvider) -> str:
    import curl_cffi

    async with (
        curl_cffi.AsyncSession() as session,
        session.stream("POST", provider.openai_url + PATH, json=ASK_STREAM, headers=HEADERS) as response,
    ):
        response.raise_for_status()
        return text_of_lines([line async for line in response.aiter_lines()])
