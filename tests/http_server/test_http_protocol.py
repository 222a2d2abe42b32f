"""HTTP/1.0 and 1.1 as clients speak it: bodies, kept connections, and what applications answer."""

from __future__ import annotations

import contextvars
import json
import logging
import socket
from collections.abc import Iterator

import pytest
from bare_clients import rest, until
from listening import Listening, answer, lifespan, whole_body
from starlette.types import Message, Receive, Scope, Send

HOST = b"Host: a\r\n"
CLOSE = b"Connection: close\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST /a%20b//../c?d=%20 HTTP/1.1\r\n" + HOST

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body"}


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {**START, "status": status, "headers": headers}


ANSWERS = {
    "/unread": answer(b"no", 401),
    "/stream": [START, part(b"0"), part(b"1"), part(b"2"), END],
    "/large": [START, part(b"x" * 1_000_000, more=False)],
    "/none": [start(status=204), END],
    "/upgrade": answer(b"no", 426, ((b"upgrade", b"h2"), (b"connection", b"upgrade"))),
    "/999": answer(b"", 999),
    "/passed-on": answer(b"{}", headers=((b"Transfer-Encoding", b"chunked"), (b"Date", b"then"), (b"X", b"\xc3"))),
    "/split": answer(b"", headers=((b"x", b"1\r\nset-cookie: a"),)),
    "/name": answer(b"", headers=((b"x:y", b"1"),)),
    "/twice": answer(b"abc", headers=((b"content-length", b"2"),)),
    "/more": [start((b"content-length", b"2")), part(b"abc", more=False)],
    "/less": [start((b"content-length", b"4")), part(b"abc", more=False)],
    "/early": [part(b"abc"), END],
    "/100": answer(b"", 100),
    "/nothing": [],
    "/end": [START],
}


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers by the path that it is asked for, else with the body that it got."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["path"] == "/raises":
        msg = "of the application"
        raise ValueError(msg)
    if scope["path"] == "/seen":
        messages = answer(seen.get().encode())
        seen.set("what another request has set")
    else:
        messages = ANSWERS.get(scope["path"]) or ([] if scope["path"] in ANSWERS else answer(await whole_body(receive)))
    for message in messages:
        await send(message)


@pytest.fixture(scope="module")
def server(loop: str) -> Iterator[Listening]:
    with Listening(answering, loop=loop) as one:
        yield one


def get(path: str, *headers: bytes, method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\n".encode() + HOST + b"".join(headers) + b"\r\n"


def body(told: bytes) -> bytes:
    return told.partition(b"\r\n\r\n")[2]


# -- requests


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 5\r\n\r\nabcde", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"],
)
def test_a_request_reaches_the_application_as_it_was_sent(telling_server: Listening, framing: bytes) -> None:
    told = json.loads(body(telling_server.send(POST + CLOSE + b"X-A:  1 \r\nx-a: 2\r\n" + framing)))
    assert (told["method"], told["path"], told["query"], told["version"]) == ("POST", "/a b//../c", "d=%20", "1.1")
    assert told["headers"][:4] == [["host", "a"], ["connection", "close"], ["x-a", "1"], ["x-a", "2"]]
    assert told["body"] == "abcde"


def test_a_connection_is_kept_for_further_requests(server: Listening) -> None:
    with server.connect() as one:
        for _ in range(3):
            one.sendall(POST + b"Content-Length: 3\r\n\r\nabc")
            assert b"connection" not in until(one, b"abc")


def test_requests_that_come_at_once_are_answered_one_after_the_other(server: Listening) -> None:
    answers = server.send(
        b"".join(get(path) for path in ["/stream", "/unread", "/large", "/none"] * 9) + get("/", CLOSE)
    )
    told = answers.split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in told] == [b"200", b"401", b"200", b"204"] * 9 + [b"200"]
    assert sum(map(len, told)) > 9_000_000


def test_more_requests_at_once_than_are_kept_are_all_answered(server: Listening) -> None:
    with server.connect() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        one.sendall(get("/", b"X: " + b"y" * 1000 + b"\r\n") * 300 + get("/", CLOSE))
        assert rest(one).count(b"HTTP/1.1 200 OK") == 301


def test_a_request_finds_nothing_that_one_before_it_has_set(server: Listening) -> None:
    told = server.send(get("/seen") + get("/seen") + get("/seen", CLOSE))
    assert told.count(b"nothing") == 3


def test_a_body_that_nobody_wants_is_passed_over(server: Listening) -> None:
    with server.connect() as one:
        one.sendall(get("/unread", b"Content-Length: 1000000\r\n"))
        assert b"401" in until(one, b"\r\n\r\nno")
        one.sendall(b"x" * 1_000_000 + get("/stream", CLOSE))
        assert rest(one).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("ending", [CLOSE, b""])
def test_who_sends_on_after_a_refusal_still_reads_it(server: Listening, ending: bytes) -> None:
    """A socket that is closed with bytes that nobody has read ends by a reset, which takes the answer along."""
    with server.connect() as one:
        one.sendall(get("/unread", ending, b"Content-Length: 8000000\r\n"))
        one.sendall(b"x" * 8_000_000)
        if not ending:
            one.sendall(get("/unread", CLOSE))
        assert rest(one).count(b"\r\n\r\nno") == 1 + (not ending)
    assert b"400 Bad" in server.send(b"no HTTP at all\r\n\r\n", *[b"x" * 100_000] * 50)


def test_a_body_is_asked_for_when_the_application_reads_it(server: Listening) -> None:
    with server.connect() as one:
        one.sendall(get("/", b"Expect: 100-continue\r\nContent-Length: 3\r\n", method="POST"))
        assert until(one, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.sendall(b"abc")
        assert until(one, b"abc").startswith(b"HTTP/1.1 200 OK\r\n")
        one.sendall(get("/unread", b"Expect: 100-Continue\r\nContent-Length: 3\r\n", method="POST"))
        told = rest(one)  # whether a body comes after all, nobody knows
        assert told.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in told
        assert b" 100 " not in told


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
@pytest.mark.parametrize(
    ("framing", "expected"),
    [
        (b"\r\n", b""),
        (b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    ],
)
def test_a_request_to_speak_something_else_is_one_as_any_other(
    server: Listening, protocol: bytes, framing: bytes, expected: bytes
) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n" % protocol
    told = server.send(POST + upgrade + framing + get("/upgrade", upgrade) + get("/stream", CLOSE))
    first, second, third = told.split(b"HTTP/1.1 ")[1:]
    assert body(first) == expected
    assert second.startswith(b"426 ")
    assert b"connection: upgrade\r\n" in second
    assert third.startswith(b"200 ")


def test_connect_ends_the_connection_as_what_follows_is_no_http(server: Listening) -> None:
    told = server.send(b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n" + get("/stream"))
    assert told.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in told


# -- answers


def test_an_answer_of_unknown_length_is_sent_in_chunks(server: Listening) -> None:
    told = server.send(get("/stream", CLOSE))
    assert b"transfer-encoding: chunked\r\n" in told
    assert body(told) == b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"


def test_an_answer_to_http_1_0_ends_with_its_connection(server: Listening) -> None:
    told = server.send(get("/stream", version="1.0"))
    assert b"chunked" not in told
    assert body(told) == b"012"
    assert body(server.send(b"GET /stream HTTP/1.0\r\n\r\n")) == b"012"
    told = server.send(get("/unread", b"Connection: keep-alive\r\n", version="1.0"))
    assert b"content-length: 2\r\n" in told


def test_head_is_answered_without_a_body(server: Listening) -> None:
    told = server.send(
        get("/unread", method="HEAD") + get("/stream", method="HEAD") + get("/large", CLOSE, method="HEAD")
    )
    first, second, third = told.split(b"HTTP/1.1 ")[1:]
    assert b"content-length: 2\r\n" in first
    assert [body(first), body(second), body(third)] == [b"", b"", b""]


def test_an_answer_tells_the_time_once_and_what_the_application_says(server: Listening) -> None:
    told = server.send(get("/passed-on", CLOSE)).lower()
    assert told.count(b"\r\ndate: ") == 1
    assert b"date: then\r\n" in told
    assert b"transfer-encoding" not in told
    assert b"x: \xc3\r\n" in told
    assert server.send(get("/none", CLOSE)).count(b"date: ") == 1
    assert server.send(get("/999", CLOSE)).startswith(b"HTTP/1.1 999 \r\n")


@pytest.mark.parametrize(
    "path", ["/split", "/name", "/twice", "/more", "/less", "/early", "/100", "/nothing", "/end", "/raises"]
)
def test_an_application_that_goes_wrong_fails_alone_and_is_told_in_the_log(
    server: Listening, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "uvicorn.error")
    told = server.send(get(path))
    assert told.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"set-cookie" not in told
    assert b"connection: close\r\n" in told
    [record] = caplog.records
    assert "application" in record.getMessage().lower()
    assert server.send(get("/stream", CLOSE)).startswith(b"HTTP/1.1 200 ")
