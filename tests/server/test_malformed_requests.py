"""What no client sends: it is refused, by a status that blames the client, and the server goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from serving import TOKEN, Asking, Serving

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.server.endpoints import ENDPOINTS

BEARER = f"Authorization: Bearer {TOKEN}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"
WITH_BODIES = [endpoint for endpoint in ENDPOINTS if endpoint.has_body]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Serving(ConnectionLimits(body_seconds=0.5), ledger="memory://", tokens=(TOKEN,)) as one:
        yield one.port


def send(port: int, request: bytes) -> bytes:
    """All that a server answers until it ends the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), 20) as one, contextlib.suppress(ConnectionError):
        one.sendall(request)
        while piece := one.recv(2**16):
            received += piece
    return received


def status(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def post(path: str, body: bytes, method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
    return head + CLOSE + BEARER + JSON + b"\r\n" + body


# -- JSON

DEEP = 300_000


@pytest.mark.parametrize("endpoint", WITH_BODIES, ids=lambda endpoint: endpoint.path)
@pytest.mark.parametrize("form", ["arrays", "objects", "closed", "in a field", "in an unknown field"])
def test_json_without_end_to_its_depth_is_a_bad_request(port: int, endpoint: Any, form: str) -> None:
    body = {
        "arrays": b"[" * DEEP,
        "objects": b'{"a":' * DEEP,
        "closed": b"[" * DEEP + b"]" * DEEP,
        "in a field": b'{"%s":' % next(iter(endpoint.asks.__struct_fields__), "x").encode() + b"[" * DEEP,
        "in an unknown field": b'{"no such field":' + b"[" * DEEP + b"]" * DEEP + b"}",
    }[form]
    answer = send(port, post(endpoint.path, body, endpoint.method))
    assert status(answer) == 400
    assert "nested too deeply" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\xff\xfe", b"{", b'{"a":1}x', b"nul", b'"\\ud800"', b"[1,]", b"\xef\xbb\xbf{}"]
)
def test_what_is_no_json_is_a_bad_request(port: int, body: bytes) -> None:
    for endpoint in WITH_BODIES:
        assert status(send(port, post(endpoint.path, body, endpoint.method))) == 400, endpoint.path


@pytest.mark.parametrize("number", ["9" * 5000, "1e400", "-1", "1e-400", "NaN", "Infinity", '"' + "9" * 5000 + '"'])
def test_numbers_that_nobody_counts_to_are_refused(port: int, number: str) -> None:
    bodies = {
        "/v1/reconcile": f'{{"id": "a.1", "cost": {number}}}',
        "/set_budget": f'{{"project_name": "p", "user_dict": {{"u": {{"total_budget": {number}}}}}}}',
        "/v1/ledger/post": f'{{"id": "a.1", "used": [{number}], "at": 1, "route": {{}}}}',
        "/v1/ledger/renew": f'{{"owner": "a", "seconds": {number}}}',
    }
    for path, body in bodies.items():
        if number == "1e-400" and path != "/v1/ledger/post":  # is 0
            continue
        assert status(send(port, post(path, body.encode()))) in (400, 409, 422), path


# -- headers

HOSTS = [
    b"", b"[", b"]", b"[::1", b"::1", b"[::1]x", b"a b", b"localhost:", b"localhost:x", b"localhost:99999", b"a:1:2",
    b"a/b", b"a\\b", b"a?b", b"a#b", b"user@a", b"\xff", b"%zz", b"[v1.x]", b"a" * 5000, b"a\tb", b"<script>", b'"',
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", [b"/v1/balances", b"/nowhere", b"/health/live", b"/openapi.json"])
def test_a_malformed_host_is_a_bad_request(port: int, host: bytes, path: bytes) -> None:
    assert status(send(port, b"GET %s HTTP/1.1\r\nHost: %s\r\n" % (path, host) + CLOSE + BEARER + b"\r\n")) == 400


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:80", b"127.0.0.1:1", b"[::1]", b"[::1]:8787", b"a_b.example"]
)
def test_a_proper_host_is_served(port: int, host: bytes) -> None:
    assert status(send(port, b"GET /v1/balances HTTP/1.1\r\nHost: %s\r\n" % host + CLOSE + BEARER + b"\r\n")) == 200


CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODY = b"5\r\nabcde\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + BODY,
        CHUNKED + b"Content-Length: 5\r\n\r\n" + BODY,
        CHUNKED + CHUNKED + b"\r\n" + BODY,
        b"Transfer-Encoding: xchunked\r\n\r\n" + BODY,
        b"Transfer-Encoding: chunked, identity\r\n\r\n" + BODY,
        b"Transfer-Encoding : chunked\r\n\r\n" + BODY,
        b"Transfer-Encoding:\x0bchunked\r\n\r\n" + BODY,
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"Content-Length: +5\r\n\r\nabcde",
        b"Content-Length: 5, 6\r\n\r\nabcde",
        b"Content-Length: 0x5\r\n\r\nabcde",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabcde",
        b"Content-Length: -1\r\n\r\nabcde",
        CHUNKED + b"\r\n-5\r\nabcde\r\n0\r\n\r\n",
        CHUNKED + b"\r\n0x5\r\nabcde\r\n0\r\n\r\n",
        CHUNKED + b"\r\n5\nabcde\n0\n\n",
        CHUNKED + b"\r\n" + b"f" * 100 + b"\r\nabcde",
        b"Host: localhost\r\n\r\n",
        b" folded\r\n\r\n",
        b"No colon\r\n\r\n",
        b"Nul: \0\r\n\r\n",
        b"X: 1\rY: 2\r\n\r\n",
        b"".join(b"X%d: %s\r\n" % (number, b"y" * 100) for number in range(5000)) + b"\r\n",
        b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
        BEARER + BEARER + b"\r\n",
    ],
)
def test_requests_whose_framing_two_servers_could_read_differently_are_refused(port: int, request_: bytes) -> None:
    answer = send(
        port, b"POST /v1/ledger/read HTTP/1.1\r\nHost: localhost\r\n" + JSON + BEARER + CLOSE + b"X: y\r\n" + request_
    )
    assert status(answer) in (0, 400, 401, 408, 413, 431)  # 0: reset while it was still sending
    assert answer.count(b"HTTP/1.1 ") <= 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/9.9", 400),
        (b"GET /", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"PRI * HTTP/2.0", 400),
        (b"CONNECT evil.example:80 HTTP/1.1", 404),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"TRACE /v1/balances HTTP/1.1", 405),
        (b"GET http://evil.example/v1/balances HTTP/1.1", 404),
        (b"GET /../../etc/passwd HTTP/1.1", 404),
        (b"GET /v1/%2e%2e/balances HTTP/1.1", 404),
        (b"GET /%ff%00%0d%0aSet-Cookie:x HTTP/1.1", 404),
        (b"GET /v1/balances?user=%ff HTTP/1.1", 200),
        (b"GET /v1/balances?user=%00 HTTP/1.1", 422),
        (b"GET /v1/balances?user=" + b"a" * 1000 + b" HTTP/1.1", 422),
        (b"GET /v1/balances?" + b"&" * 10_000 + b" HTTP/1.1", 200),
        (b"GET /v1/balances?project=..%2f.. HTTP/1.1", 200),
        (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1", 414),
    ],
)
def test_request_lines_of_all_kinds_are_answered(port: int, line: bytes, expected: int) -> None:
    answer = send(port, line + b"\r\nHost: localhost\r\n" + CLOSE + BEARER + b"\r\n")
    assert status(answer) == expected or (not answer and len(line) > 100_000)
    assert b"Set-Cookie" not in answer.partition(b"\r\n\r\n")[0]


def test_a_key_of_a_request_may_be_no_longer_than_is_worth_remembering(port: int) -> None:
    with Asking(f"http://127.0.0.1:{port}") as ask:
        answer = ask("POST", "/v1/reset", {}, headers={"idempotency-key": "x" * 257})
        assert answer.status_code == 422
        assert "256 characters" in answer.json()["error"]["message"]


def test_who_leaves_in_the_middle_of_a_body_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with Serving(ledger="memory://", tokens=(TOKEN,)) as serving:
        for sent in (b"", b"{"):
            with socket.create_connection(("127.0.0.1", serving.port), 20) as one:
                one.sendall(post("/v1/ledger/read", b"x" * 100)[:-100] + sent)
            assert status(send(serving.port, post("/v1/ledger/read", b"{}"))) == 422
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_server_without_tokens_refuses_what_a_proxy_has_passed_on() -> None:
    with Serving(ledger="memory://") as serving:
        url = b"GET /v1/balances HTTP/1.1\r\nHost: localhost\r\n" + CLOSE
        assert status(send(serving.port, url + b"\r\n")) == 200
        for header in (
            b"X-Forwarded-For: 10.0.0.1",
            b"Forwarded: for=10.0.0.1",
            b"Via: 1.1 proxy",
            b"X-Real-IP: 1.2.3.4",
        ):
            assert status(send(serving.port, url + header + b"\r\n\r\n")) == 403


@pytest.mark.parametrize("head", ["/v1/ledger/read", "/nowhere"])
def test_a_body_that_turns_out_to_be_no_http_is_refused_and_fills_no_log(
    head: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where its head was answered before."""
    with Serving(ledger="memory://", tokens=(TOKEN,)) as serving:
        request = f"POST {head} HTTP/1.1\r\nHost: localhost\r\n".encode() + BEARER + JSON + CHUNKED + b"\r\n"
        assert status(send(serving.port, request + b"no chunk\r\n")) in (400, 404)
        with socket.create_connection(("127.0.0.1", serving.port), 20) as one:
            one.sendall(request + b"1\r\n")
            if head == "/nowhere":
                assert one.recv(2**16).startswith(b"HTTP/1.1 404 ")
            one.sendall(b"no chunk\r\n")
            while one.recv(2**16):
                pass
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
