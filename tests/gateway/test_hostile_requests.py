"""What no client of a provider sends: the gateway answers it as its path's API would, sends nothing on, and goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from bare_clients import connect, rest
from gateways import OF_AWS, gateway
from upstream_of_bytes import UpstreamOfBytes

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings
from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.testing import unmetered

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 10,
}
MOST = 60 * 2**20

PATHS = {
    "/v1/chat/completions": ("error", "message"),
    "/v1/responses": ("error", "message"),
    "/v1/messages": ("error", "message"),
    "/v1beta/models/gemini-2.5-flash:generateContent": ("error", "message"),
    "/model/amazon.nova-lite-v1:0/converse": ("message",),
    "/v2/chat": ("message",),
    "/api/chat": ("error",),
}
"""Paths of several APIs, and where the text is in each one's errors."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamOfBytes]:
    with UpstreamOfBytes() as one:
        one.answer = ANSWER
        yield one


@pytest.fixture(scope="module")
def port(manager: BudgetManager, upstream: UpstreamOfBytes) -> Iterator[int]:
    names = ("openai", "anthropic", "gemini", "bedrock", "cohere", "ollama")
    settings = GatewaySettings(upstreams=dict.fromkeys(names, upstream.url), open=True, max_body=MOST)
    limits = ConnectionLimits(
        header_seconds=0.5, body_seconds=0.5, answer_seconds=None, unread_seconds=20, max_connections_per_address=20
    )
    with gateway(manager, settings, environment=OF_AWS, limits=limits) as address, unmetered():
        yield httpx2.URL(address).port or 0


@pytest.fixture(autouse=True)
def unharmed(
    port: int, manager: BudgetManager, upstream: UpstreamOfBytes, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """After each test the gateway serves, holds nothing, and has written no error into its log."""
    upstream.requests.clear()
    yield
    with connect(port, "127.0.0.9") as one:
        one.sendall(post("/v1/chat/completions", json.dumps(ASKED).encode()))
        assert status(rest(one)) == 200
    assert manager.balance().held == 0
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def post(path: str, body: bytes, headers: bytes = b"", method: bytes = b"POST") -> bytes:
    head = b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" % (method, path.encode())
    return b"%sContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s" % (head, len(body), headers, body)


def status(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def told(answer: bytes, path: str) -> str:
    """The text of an error, in the dialect of a path."""
    found = json.loads(answer.partition(b"\r\n\r\n")[2])
    for name in PATHS[path]:
        found = found[name]
    return str(found)


def send(port: int, request: bytes) -> bytes:
    with connect(port) as one:
        with contextlib.suppress(ConnectionError):  # it may have been refused before its end
            one.sendall(request)
        return rest(one)


# -- bodies

DEEP = 300_000


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_none_of_its_api_is_refused_in_its_words(
    port: int, upstream: UpstreamOfBytes, path: str
) -> None:
    bodies = [b"\0", b"\xff\xfe", b"{", b"nul", b"[1,]", b'"\\ud800"', b"[]", b"7", b'"text"']
    bodies += [b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b"\x1f\x8b" + b"x" * 100]
    bodies += [b'{"messages":' + b"[" * DEEP + b"]" * DEEP + b"}"]
    if path.startswith(("/v1/", "/v2/")):  # where the body names the model
        bodies += [
            b"",
            b"{}",
            b"\xef\xbb\xbf{}",
            b'{"model": null}',
            b'{"model": 7}',
            b'{"model": ["gpt-4o-mini"]}',
            b'{"model": ""}',
        ]
    for body in bodies:
        answer = send(port, post(path, body))
        assert status(answer) == 400, (body[:30], answer)
        text = told(answer, path)
        assert "nothing was sent" in text, (body[:30], text)
        assert len(text) <= 1000
    assert upstream.requests == []


@pytest.mark.parametrize(
    "number", ["-1", "0", "1.5", "1e400", "NaN", '"10"', "true", "9" * 5000, "9007199254740993", "[]", "null"]
)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
def test_numbers_that_make_no_sense_bring_nobody_past_a_limit(
    port: int, manager: BudgetManager, upstream: UpstreamOfBytes, name: str, number: str
) -> None:
    manager.set_limits("bounded", 0.0000001)
    body = json.dumps({**ASKED, name: "?"}).replace('"?"', number).encode()
    answer = send(port, post("/v1/chat/completions", body, b"x-budgeted-user: bounded\r\n"))
    assert status(answer) in (400, 429)
    assert upstream.requests == []


def test_fifty_megabytes_are_bounded_by_what_they_cost_and_hold_up_nobody(
    port: int, manager: BudgetManager, upstream: UpstreamOfBytes
) -> None:
    manager.set_limits("wordy", "$1")
    text = "word " * (10 * 2**20)
    body = json.dumps({**ASKED, "messages": [{"role": "user", "content": text}]}).encode()
    request = post("/v1/chat/completions", body, b"x-budgeted-user: wordy\r\n")
    with connect(port) as slow:
        slow.sendall(request[: 2**20])
        assert status(send(port, post("/v1/chat/completions", json.dumps(ASKED).encode()))) == 200
        upstream.requests.clear()
        slow.sendall(request[2**20 :])
        answer = rest(slow)
    assert status(answer) == 429
    assert "user 'wordy' has" in told(answer, "/v1/chat/completions")
    assert upstream.requests == []


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_too_long_is_refused_in_the_words_of_its_api(
    port: int, upstream: UpstreamOfBytes, path: str
) -> None:
    head = post(path, b"").replace(b"Content-Length: 0", b"Content-Length: %d" % (MOST + 1))
    with connect(port) as one:
        one.sendall(head)
        with contextlib.suppress(ConnectionError):
            for _ in range(MOST // 2**20 + 1):
                one.sendall(b" " * 2**20)
        answer = rest(one)
    assert status(answer) in (0, 413)
    assert not answer or "bytes" in told(answer, path)
    assert upstream.requests == []


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_ends_the_connection(port: int, upstream: UpstreamOfBytes, framing: bytes) -> None:
    with connect(port) as one:
        one.sendall(post("/v1/chat/completions", b"").replace(b"Content-Length: 0", framing) + b"1\r\n{\r\n")
        assert status(rest(one)) == 408
    assert upstream.requests == []


def test_who_leaves_in_the_midst_of_a_body_leaves_nothing_behind(port: int, upstream: UpstreamOfBytes) -> None:
    for sent in (b"", b"{", b'{"model": "gpt-4o-mini"'):
        for path in PATHS:
            with connect(port) as one:
                one.sendall(post(path, b"x" * 1000)[:-1000] + sent)
    assert upstream.requests == []


# -- connections


def test_thousands_of_idle_connections_keep_nobody_out(port: int) -> None:
    idle: list[socket.socket] = []
    try:
        for number in range(3000):
            idle.append(connect(port, f"127.0.1.{1 + number % 250}"))
            if number % 3:
                idle[-1].sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"[: number % 50])
        with connect(port, "127.0.0.3") as one:
            one.sendall(post("/v1/chat/completions", json.dumps(ASKED).encode()))
            assert status(rest(one)) == 200
    finally:
        for one in idle:
            one.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 100, bytes(range(256)), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/models\r\n\r\n", b"SSH-2.0-x\r\n", b"\r\n" * 100, b"GET / HTTP/9.9\r\n\r\n", b"{}\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"y" * 1_000_000),
    ],
)  # fmt: skip
def test_what_is_no_http_is_no_request(port: int, upstream: UpstreamOfBytes, garbage: bytes) -> None:
    answer = send(port, garbage)
    assert status(answer) in (0, 400, 408, 413, 431, 501, 505)
    assert upstream.requests == []


# -- addresses


@pytest.mark.parametrize(
    "target",
    [
        "http://HERE/v1/models", "http://HERE/", "https://HERE/v1/models", "//HERE/v1/models", "/HERE/v1/models",
        "/http://HERE/v1/models", "/openai/http://HERE/v1/models", "/openai@HERE/models", "/openai//HERE/models",
        "/@HERE/", "/openai/@HERE/models", "/\\HERE/models", "/openai\\@HERE/models", "/openai/..//HERE/models",
        "/v1/models#@HERE/", "/v1/models@HERE/..", "/.openai/models", "/openai./models", "/OPENAI/models",
        "/openai%00/models", "/openai%2f../models", "/%6fpenai/models", "/openai/%2e%2e/%2e%2e/models", "*",
        "/openai/\u00e4/models", "/openai/\u2215\u2215HERE/models", "/openai/models/\u202e", "/v1\uff0fmodels",
        "/openai/v1/..;/models", "/openai/..%c0%af..%c0%afmodels", "file:///etc/passwd", "/openai/%0d%0aHost:HERE/x",
        "/openai:80/models", "/127.0.0.1/models", "/localhost/models", "/169.254.169.254/latest/meta-data/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_nobody_is_asked_whom_the_settings_do_not_name(
    port: int, upstream: UpstreamOfBytes, target: str, method: bytes
) -> None:
    with UpstreamOfBytes() as here:
        here.answer = ANSWER
        path = target.replace("HERE", here.url.removeprefix("http://"))
        answer = send(port, post(path, json.dumps(ASKED).encode(), method=method))
        assert here.requests == []
    if status(answer) == 200:  # then it is a plain path of an upstream that is named
        assert target.startswith("/openai/@")
    else:
        assert status(answer) in (400, 403, 404)
        assert upstream.requests == []


@pytest.mark.parametrize("method", ["CONNECT", "OPTIONS", "TRACE", "PROPFIND", "BREW", "post"])
def test_methods_that_nobody_needs_are_refused(port: int, upstream: UpstreamOfBytes, method: str) -> None:
    for target in ("/v1/models", "*", "example.com:443", "/v1/chat/completions"):
        answer = send(port, post(target, b"{}", method=method.encode()))
        assert status(answer) in (400, 404, 405, 501), target
    assert upstream.requests == []


def test_headers_about_whom_to_ask_change_nothing(port: int, upstream: UpstreamOfBytes) -> None:
    with UpstreamOfBytes() as here:
        address = here.url.removeprefix("http://").encode()
        for name in (
            b"X-Forwarded-Host",
            b"Forwarded",
            b"X-Original-URL",
            b"X-Rewrite-URL",
            b"X-Upstream",
            b"Origin-Host",
        ):
            value = b"host=" + address if name == b"Forwarded" else address
            send(port, post("/v1/chat/completions", json.dumps(ASKED).encode(), b"%s: %s\r\n" % (name, value)))
        assert here.requests == []
    for request in upstream.requests:
        assert b"\r\nhost: " + upstream.url.removeprefix("http://").encode() + b"\r\n" in request.replace(
            b"Host", b"host"
        )
        assert request.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "header",
    [
        b"x-budgeted-user: " + b"a" * 5000, b"x-budgeted-user: \xff", b"x-budgeted-user: a\tb",
        b"x-budgeted-tags: feature", b"x-budgeted-tags: =", b"x-budgeted-tags: a=" + b"b" * 5000,
        b"x-budgeted-tags: \xff",
        b"x-budgeted-tags: " + b",".join(b"t%d=1" % number for number in range(500)), b"session-id: \xff",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_payers_that_have_no_name_are_refused_in_words_that_fit_a_screen(
    port: int, upstream: UpstreamOfBytes, header: bytes, path: str
) -> None:
    answer = send(port, post(path, json.dumps(ASKED).encode(), header + b"\r\n"))
    assert status(answer) == 400
    assert len(told(answer, path)) <= 1000
    assert upstream.requests == []


def test_models_with_endless_names_are_refused_in_words_that_fit_a_screen(port: int, upstream: UpstreamOfBytes) -> None:
    for model in ("x" * 1_000_000, "\u202e" * 1000, "a\0b", "a\nb: c", "../../admin", "gpt-4o-mini\r\nx: y"):
        for path in ("/v1/chat/completions", "/v1/messages", "/v2/chat"):
            answer = send(port, post(path, json.dumps({**ASKED, "model": model}).encode()))
            assert status(answer) == 400, (model[:20], path)
            assert len(told(answer, path)) <= 1000
    assert upstream.requests == []
