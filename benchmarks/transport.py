"""What the net adds to each request of an HTTP client, where its hooks are, next to what the client itself takes.

Behind each hook is a function that answers at once, so that nothing but the hook is measured. The client's own time is
that of a GET to a server on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import httpx
import urllib3

import budgeted
from benchmarks.measuring import ROUNDS, in_turn, line
from budgeted import BudgetManager
from budgeted.payers.scope import Scope, enter, leave
from budgeted.testing import SimulatedProvider

PASSES = 100
ELSEWHERE = "http://example.com/api/items"
MODEL = "http://llm.example.com/v1/chat/completions"
HEADERS = {"content-type": "application/json", "authorization": "Bearer any"}
ASKED = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi!"}], "max_completion_tokens": 100}
BODY = json.dumps(ASKED).encode()
USED = {"prompt_tokens": 14, "completion_tokens": 9}
ANSWER = json.dumps({"id": None, "model": "gpt-5-mini", "choices": [], "usage": USED}).encode()


def by_httpx(method: str, url: str) -> Callable[[], object]:
    transport, request = httpx.HTTPTransport(), httpx.Request(method, url, headers=HEADERS, content=BODY)
    return lambda: transport.handle_request(request)


def answered_by_httpx(*_: object) -> httpx.Response:
    return httpx.Response(200, content=ANSWER)


def by_urllib3(method: str, url: str) -> Callable[[], object]:
    pool, path = urllib3.connection_from_url(url), urlsplit(url).path
    return lambda: pool.urlopen(method, path, body=BODY, headers=HEADERS)


def answered_by_urllib3(*_: object, **__: object) -> urllib3.HTTPResponse:
    return urllib3.HTTPResponse(ANSWER, status=200)


def by_http_client(method: str, url: str) -> Callable[[], object]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    return lambda: connection.request(method, parts.path, BODY, HEADERS)


def answered_by_http_client(*_: object) -> None:
    return None


def by_aiohttp(method: str, url: str) -> Callable[[], object]:
    session = object.__new__(aiohttp.ClientSession)  # outside of every event loop
    object.__setattr__(session, "_base_url", None)

    def send() -> object:
        step = session._request(method, url, data=BODY, headers=HEADERS)
        try:
            return step.send(None)
        except StopIteration as end:
            return end.value

    return send


async def answered_by_aiohttp(*_: object, **__: object) -> None:
    return None


async def _got(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(PASSES):
            async with session.get(url) as response:
                await response.read()


def got_by_aiohttp(url: str) -> None:
    asyncio.run(_got(url))


def got_by_httpx(url: str) -> None:
    with httpx.Client() as client:
        for _ in range(PASSES):
            client.get(url)


def got_by_urllib3(url: str) -> None:
    with urllib3.PoolManager() as pool:
        for _ in range(PASSES):
            pool.request("GET", url)


def got_by_http_client(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    for _ in range(PASSES):
        connection.request("GET", "/")
        connection.getresponse().read()
    connection.close()


class Client(NamedTuple):
    """An HTTP client, and where it is hooked.

    Attributes:
        name: what it is called.
        owner: the class whose method is hooked.
        method: the method's name.
        sends: makes what calls it.
        answers: what takes the method's place below the hook.
        got: asks a server so many times.
        tells: whether what answers tells what was used.
    """

    name: str
    owner: type
    method: str
    sends: Callable[[str, str], Callable[[], object]]
    answers: Callable[..., object]
    got: Callable[[str], None]
    tells: bool


CLIENTS = (
    Client("httpx", httpx.HTTPTransport, "handle_request", by_httpx, answered_by_httpx, got_by_httpx, True),
    Client("urllib3", urllib3.HTTPConnectionPool, "urlopen", by_urllib3, answered_by_urllib3, got_by_urllib3, True),
    Client(
        *("http.client", http.client.HTTPConnection, "request"),
        *(by_http_client, answered_by_http_client, got_by_http_client, False),
    ),
    Client("aiohttp", aiohttp.ClientSession, "_request", by_aiohttp, answered_by_aiohttp, got_by_aiohttp, False),
)

KINDS = (
    ("a GET", "GET", ELSEWHERE, False, "below 0.3 us"),
    ("another POST", "POST", ELSEWHERE, False, "below 0.7 us"),
    ("a POST below a hook", "POST", MODEL, True, "below 3 us"),
    ("a metered call", "POST", MODEL, False, "that of a guarded call, and its JSON's"),
)
"""What is sent: its name, method and URL, whether it is sent below a hook that meters it, and what is aimed at."""


@contextlib.contextmanager
def answering(client: Client) -> Iterator[None]:
    """Have what answers at once in the place of the method that is hooked."""
    budgeted.uninstrument()
    original = getattr(client.owner, client.method)
    setattr(client.owner, client.method, client.answers)
    try:
        yield
    finally:
        budgeted.uninstrument()
        setattr(client.owner, client.method, original)


def added(client: Client, method: str, url: str) -> tuple[float, float]:
    """Microseconds that the method takes alone, and hooked."""
    with answering(client):
        send = client.sends(method, url)
        (alone,) = in_turn(send)
        budgeted.instrument()
        (hooked,) = in_turn(send)
        return alone, hooked


def bare(client: Client, url: str) -> float:
    """Microseconds of a GET by the client, without any hook."""
    budgeted.uninstrument()
    client.got(url)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        client.got(url)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / PASSES * 1e6


def main() -> None:
    with SimulatedProvider() as provider, BudgetManager("net", max_budget=10**6, ledger="memory://") as manager:
        for client in CLIENTS:
            whole = bare(client, provider.url)
            line(f"{client.name}: a GET on loopback", f"{whole:.0f} us")
            for name, method, url, below, aim in KINDS[: len(KINDS) if client.tells else -1]:
                with manager.budget("alice"):
                    scope = Scope((), silent=True)
                    if below:
                        enter(scope)
                    before = manager.balance().spent
                    alone, hooked = added(client, method, url)
                    charged = manager.balance().spent > before
                    assert charged == (name == "a metered call"), f"{client.name}: {name}"
                    if below:
                        leave(scope)
                share = (hooked - alone) / whole
                line(f"{client.name}: {name}", f"+{hooked - alone:.2f} us", f"+{share:.2%} of that GET (aim: {aim})")
        budgeted.instrument()
