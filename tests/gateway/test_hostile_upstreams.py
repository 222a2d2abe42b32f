"""Upstreams that break HTTP, break off, lie, or lead elsewhere: whoever asked is told, and the cost is charged."""

from __future__ import annotations

import gzip
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateways import gateway
from upstream_of_bytes import Answering, UpstreamOfBytes

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import unmetered

ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 1000,
}
HELD = 0.0006  # USD at least: what its thousand tokens of output cost

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
WORDS = "word " * 50


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamOfBytes]:
    with UpstreamOfBytes() as one:
        yield one


@pytest.fixture(scope="module")
def url(manager: BudgetManager, upstream: UpstreamOfBytes) -> Iterator[str]:
    names = ("openai", "anthropic", "gemini", "cohere")
    settings = GatewaySettings(upstreams=dict.fromkeys(names, upstream.url), open=True)
    with gateway(manager, settings) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=20) as opened, unmetered():
        yield opened


@pytest.fixture(autouse=True)
def forgotten(upstream: UpstreamOfBytes) -> None:
    upstream.requests.clear()
    upstream.kept = False


def whole(body: bytes) -> bytes:
    return JSON + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def completion(usage: object, content: str = WORDS) -> bytes:
    """An answer with a usage report: a text is one of JSON as it is."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    told = usage if isinstance(usage, str) else json.dumps(usage)
    return b'{"id": "c", "model": "gpt-4o-mini", "choices": [%s], "usage": %s}' % (
        *(json.dumps(choice).encode(), told.encode()),
    )


def stream(usage: object) -> bytes:
    """The same as a stream."""
    word = {"id": "c", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "word "}}]}
    told = usage if isinstance(usage, str) else json.dumps(usage)
    last = b'{"id": "c", "model": "gpt-4o-mini", "choices": [], "usage": %s}' % told.encode()
    pieces = [json.dumps(word).encode()] * 50
    return b"".join(b"data: %s\n\n" % piece for piece in [*pieces, last, b"[DONE]"])


def ended(manager: BudgetManager, user: str) -> float:
    """What a user has spent, in USD, once nothing of its is under way."""
    while manager.balance(user).held or not manager.balance(user).spent:
        manager.flush()
    return manager.balance(user).spent


def endless_headers(one: socket.socket) -> None:
    one.sendall(JSON)
    for number in range(10_000_000):
        one.sendall(b"x%d: y\r\n" % number)


USED = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
ANSWER = whole(completion(USED))
NOT_HTTP: dict[str, Answering] = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.7\r\n",
    "garbage": bytes(range(256)) * 10,
    "no head": b"<html>Hello</html>",
    "half a head": JSON,
    "no status": b"HTTP/1.1 fine\r\n\r\n",
    "a status too high": b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\n{}",
    "a status too low": b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\n{}",
    "another protocol from now on": b"HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello",
    "a length that is none": JSON + b"Content-Length: many\r\n\r\n{}",
    "a negative length": JSON + b"Content-Length: -5\r\n\r\n{}",
    "two lengths": JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a length and chunks": JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a chunk without a size": JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a nul in a header": JSON + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "a header within a header": JSON + b"X: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\n{}",
    "a long header": JSON + b"X: %s\r\nContent-Length: 2\r\n\r\n{}" % (b"y" * 1_000_000),
    "endless headers": endless_headers,
    "less than its length": ANSWER[:-50],
}


@pytest.mark.parametrize("name", NOT_HTTP)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_an_answer_that_is_no_http_is_a_bad_gateway_and_what_was_held_is_charged(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes, name: str, path: str
) -> None:
    upstream.answer = NOT_HTTP[name]
    model = "gpt-4o-mini" if path.endswith("completions") else "claude-haiku-4-5"
    got = client.post(path, json={**ASKED, "model": model}, headers={"x-budgeted-user": f"{name} {path}"})
    assert got.status_code == 502
    told = got.json()
    assert "may have cost is charged" in told["error"]["message"]
    assert told.get("type") == ("error" if path == "/v1/messages" else None)
    assert ended(manager, f"{name} {path}") >= HELD
    assert len(upstream.requests) == 1, "it was asked again"


@pytest.mark.parametrize(
    "answer",
    [
        JSON + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}",
        EVENTS.replace(b"Connection: close", b"Transfer-Encoding: chunked") + b"ffffff\r\ndata: {}\n\n",
        EVENTS.replace(b"Connection: close", b"Content-Length: 1000") + b"data: {}\n\n",
    ],
    ids=["no last chunk", "half a chunk", "too short"],
)
def test_an_answer_that_breaks_off_is_not_shown_as_whole(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes, answer: bytes
) -> None:
    upstream.answer = answer
    user = f"broken {hash(answer)}"
    with pytest.raises(httpx2.RemoteProtocolError):
        client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": user})
    assert ended(manager, user) >= HELD


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", b"x" * 20), ("gzip", gzip.compress(completion(USED))[:60]), ("br", b"\x8b\x00")],
    ids=["no gzip", "half of gzip", "brotli"],
)
def test_an_answer_that_cannot_be_unpacked_passes_and_is_charged_what_was_held(
    url: str, manager: BudgetManager, upstream: UpstreamOfBytes, encoding: str, body: bytes
) -> None:
    head = JSON + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding.encode(), len(body))
    upstream.answer = head + body
    user = f"packed {encoding} {len(body)}"
    with (
        httpx2.Client(base_url=url) as client,
        unmetered(),
        client.stream("POST", "/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": user}) as got,
    ):
        assert b"".join(got.iter_raw()) == body
    assert ended(manager, user) >= HELD


LIES: dict[str, object] = {
    "negative": {"prompt_tokens": -10, "completion_tokens": -50, "total_tokens": -60},
    "texts": {"prompt_tokens": "10", "completion_tokens": "50"},
    "fractions": {"prompt_tokens": 10.5, "completion_tokens": 50.5},
    "truths": {"prompt_tokens": True, "completion_tokens": False},
    "no number": '{"prompt_tokens": NaN, "completion_tokens": NaN}',
    "endless": '{"prompt_tokens": 1e400, "completion_tokens": Infinity}',
    "a billion": {"prompt_tokens": 10**9, "completion_tokens": 10**9, "total_tokens": 2 * 10**9},
    "more than there is": {"prompt_tokens": 10**30, "completion_tokens": 10**30},
    "none": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "null": "null",
    "a list": [10, 50],
    "a text": '"free"',
    "parts above the whole": {**USED, "prompt_tokens_details": {"cached_tokens": 1_000_000}},
    "unknown parts": {**USED, "surcharge": {"tokens": 5}},
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_usage_that_cannot_be_true_is_charged_what_was_seen(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes, name: str, streamed: bool
) -> None:
    upstream.answer = EVENTS + stream(LIES[name]) if streamed else whole(completion(LIES[name]))
    user = f"liar {name} {streamed}"
    got = client.post("/v1/chat/completions", json={**ASKED, "stream": streamed}, headers={"x-budgeted-user": user})
    assert got.status_code == 200
    assert got.content.count(b"word ") == 50
    assert ended(manager, user) >= 50 * 0.6e-6, "fewer than the tokens that came"
    assert ended(manager, user) < 0.01, "far more than was asked for"
    assert [charge for charge in manager.uncertain() if user in charge.users]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"hello", b"null", b"[" * 1000, b"\xff\xfe", completion("{}"), b'{"choices": null}'],
    ids=range(9),
)
def test_an_answer_that_says_nothing_of_its_cost_passes_and_is_charged_as_an_estimate(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes, body: bytes
) -> None:
    upstream.answer = whole(body)
    user = f"mute {body[:10]!r}"
    got = client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": user})
    assert (got.status_code, got.content) == (200, body)
    assert ended(manager, user) > 0
    assert [charge for charge in manager.uncertain() if user in charge.users]


def test_an_answer_that_is_longer_than_anybody_reads_passes_and_is_charged_what_was_held(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes
) -> None:
    body = completion(USED, "x" * (17 * 2**20))
    upstream.answer = whole(body)
    got = client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": "long"})
    assert got.content == body
    assert HELD <= ended(manager, "long") < 2 * HELD


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_never_followed_and_leads_no_caller_past_the_gateway(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes, status: int, method: str
) -> None:
    with UpstreamOfBytes() as elsewhere:
        location = f"{elsewhere.url}/v1/chat/completions"
        upstream.answer = b"HTTP/1.1 %d There\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (
            status,
            location.encode(),
        )
        path = "/v1/models" if method == "GET" else "/v1/chat/completions"
        got = client.request(method, path, json=ASKED, headers={"x-budgeted-user": "sent elsewhere"})
        if method == "GET":
            assert (got.status_code, got.headers["location"]) == (status, location)
        else:
            assert (got.status_code, got.headers.get("location")) == (502, None)
            assert f"leads to where this gateway would not see what it costs: {location!r}" in got.text
        assert elsewhere.requests == []
    assert len(upstream.requests) == 1
    assert manager.balance("sent elsewhere").held == 0


def test_what_comes_behind_an_answer_is_nobodys_answer(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes
) -> None:
    forged = whole(completion(USED, "forged"))
    upstream.kept, upstream.answer = True, ANSWER + forged
    for _ in range(3):
        got = client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": "second"})
        assert got.status_code == 200
        assert b"forged" not in got.content
    assert ended(manager, "second") == pytest.approx(3 * 31.5e-6)


def test_cookies_of_an_upstream_are_shown_to_nobody_else(client: httpx2.Client, upstream: UpstreamOfBytes) -> None:
    upstream.answer = ANSWER.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=alices; Path=/\r\n\r\n", 1)
    assert "session=alices" in client.get("/v1/models").headers["set-cookie"]
    client.cookies.clear()
    client.get("/v1/models")
    assert b"alices" not in upstream.requests[-1]


def test_headers_of_an_upstream_that_speak_of_its_connection_stay_there(
    client: httpx2.Client, upstream: UpstreamOfBytes
) -> None:
    added = (
        b'\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nAlt-Svc: h3=":443"\r\nX-Kept: 1\r\n\r\n'
    )
    upstream.answer = ANSWER.replace(b"\r\n\r\n", added, 1)
    got = client.get("/v1/models")
    assert got.headers["x-kept"] == "1"
    assert not {"x-hop", "keep-alive", "alt-svc"}.intersection(got.headers)


def test_a_header_of_an_upstream_may_be_no_text(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes
) -> None:
    odd = b"\r\nConnection: \xff, close\r\nX-Odd: \xff\r\n\r\n"
    for answer, user in ((ANSWER, "whole"), (EVENTS.replace(b"Connection: close\r\n", b"") + stream(USED), "stream")):
        upstream.answer = answer.replace(b"\r\n\r\n", odd, 1)
        headers = {"x-budgeted-user": f"odd {user}"}
        got = client.post("/v1/chat/completions", json={**ASKED, "stream": user == "stream"}, headers=headers)
        assert (got.status_code, "connection" in got.headers) == (200, False)
        assert ended(manager, f"odd {user}") == pytest.approx(31.5e-6)


def test_a_gateway_survives_all_that_and_leaves_nothing_held(
    client: httpx2.Client, manager: BudgetManager, upstream: UpstreamOfBytes, caplog: pytest.LogCaptureFixture
) -> None:
    for answer in NOT_HTTP.values():
        upstream.answer = answer
        client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": "survivor"})
    upstream.answer = ANSWER
    got = client.post("/v1/chat/completions", json=ASKED, headers={"x-budgeted-user": "well served"})
    assert got.content == completion(USED)
    assert ended(manager, "well served") == pytest.approx(31.5e-6)
    assert ended(manager, "survivor") >= len(NOT_HTTP) * HELD
    assert manager.balance().held == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
