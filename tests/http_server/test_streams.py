"""Long answers and large bodies: what they may take, who notices that the other end has gone, and what breaks off."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import queue
import socket
import threading
from collections.abc import Iterator

import pytest
from bare_clients import rest, until
from listening import Listening, answer, lifespan, whole_body
from starlette.types import Message, Receive, Scope, Send

HOST = b"Host: a\r\n"
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def get(path: str, *headers: bytes, method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\n".encode() + HOST + b"".join(headers) + b"\r\n"


class Streams:
    """An application that streams for as long as it is not told otherwise, and says what happened to it."""

    def __init__(self) -> None:
        self.told: queue.Queue[object] = queue.Queue()
        self.go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["path"] == "/go":
            self.go.set()
            for message in answer(b"gone on"):
                await send(message)
        else:
            await getattr(self, scope["path"][1:])(receive, send)

    async def wait(self, receive: Receive, send: Send) -> None:
        """Send a piece, and another one when /go is asked for."""
        self.go.clear()
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await self.go.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async def leave(self, receive: Receive, send: Send) -> None:
        """Say when who asked has gone, while there is nothing to send."""
        await receive()
        await self._say_when_gone(receive, send)

    async def large(self, receive: Receive, send: Send) -> None:
        """The same, after a body."""
        await whole_body(receive)
        await self._say_when_gone(receive, send)

    async def _say_when_gone(self, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        self.told.put((await receive())["type"])
        await send({"type": "http.response.body", "body": b"to nobody"})

    async def endless(self, receive: Receive, send: Send) -> None:
        """Send for as long as somebody reads, and say how much that was."""
        gone, sent = asyncio.ensure_future(self._until_gone(receive)), 0
        await send(START)
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent += 100_000
            await asyncio.sleep(0)
        self.told.put(sent)

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def spin(self, receive: Receive, send: Send) -> None:
        """Do nothing but send, whoever has gone, until /go is asked for."""
        self.go.clear()
        await send(START)
        while not self.go.is_set():
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        self.told.put("gone on")

    async def upload(self, receive: Receive, send: Send) -> None:
        """Read a body when /go is asked for."""
        self.go.clear()
        self.told.put("asked")
        await self.go.wait()
        digest, largest, more = hashlib.sha256(), 0, True
        while more:
            message = await receive()
            digest.update(message["body"])
            largest, more = max(largest, len(message["body"])), message["more_body"]
        for each in answer(f"{digest.hexdigest()} {largest}".encode()):
            await send(each)

    async def breaks(self, receive: Receive, send: Send) -> None:
        """Break off in the middle."""
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        msg = "of the application"
        raise ValueError(msg)


@pytest.fixture(scope="module")
def app(loop: str) -> Streams:
    return Streams()


@pytest.fixture(scope="module")
def server(app: Streams, loop: str) -> Iterator[Listening]:
    limits = {"header_seconds": 0.3, "body_seconds": 0.3, "answer_seconds": None, "unread_seconds": 0.3}
    with Listening(app, loop=loop, **limits) as one:
        yield one


def go(server: Listening) -> None:
    assert b"gone on" in server.send(get("/go", b"Connection: close\r\n"))


# -- how long


def test_a_stream_that_has_nothing_to_send_goes_on_for_longer_than_every_deadline(server: Listening) -> None:
    with server.connect() as one:
        one.sendall(get("/wait"))
        assert until(one, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")  # the head comes with an empty piece
        one.settimeout(1)
        with pytest.raises(TimeoutError):
            one.recv(1)
        one.settimeout(20)
        go(server)
        assert until(one, b"\r\n0\r\n\r\n") == b"6\r\nsecond\r\n0\r\n\r\n"


def test_who_reads_nothing_of_a_stream_is_cut(server: Listening, app: Streams) -> None:
    with server.connect() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(get("/endless"))
        sent = app.told.get(timeout=20)
        assert isinstance(sent, int)
        assert sent < 16_000_000  # what the system holds for a connection, and no more


def test_who_reads_on_gets_a_stream_however_long_it_takes(server: Listening, app: Streams) -> None:
    with server.connect() as one:
        one.sendall(get("/endless"))
        got = 0
        while got < 50_000_000:
            got += len(one.recv(2**16))
        assert app.told.empty()
    app.told.get(timeout=20)


# -- who has gone


@pytest.mark.parametrize("ahead", [b"", get("/leave")[:10], get("/leave") * 3])
@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("body", [b"", b"x" * 200_000])
def test_an_application_is_told_at_once_that_who_asked_has_gone(
    server: Listening, app: Streams, ahead: bytes, ending: bytes, body: bytes
) -> None:
    with server.connect() as one:
        one.sendall(get("/large", ending, b"Content-Length: %d\r\n" % len(body)) + body + ahead)
        until(one, b"first")
        assert app.told.empty()
    assert app.told.get(timeout=5) == "http.disconnect"


def test_who_resets_the_connection_in_the_middle_of_a_stream_ends_it(server: Listening, app: Streams) -> None:
    with server.connect() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.sendall(get("/endless"))
        one.recv(2**16)
    assert app.told.get(timeout=5)


def test_who_leaves_unnoticed_is_no_error(server: Listening, app: Streams, caplog: pytest.LogCaptureFixture) -> None:
    """What is ahead of its time is not read for ever, and so nobody sees the end of it."""
    caplog.set_level(logging.ERROR, "uvicorn.error")
    with server.connect() as one:
        one.sendall(get("/wait", b"Connection: close\r\n"))
        until(one, b"\r\n\r\n")
        one.sendall(b"x" * 1_000_000)
    go(server)
    go(server)
    assert caplog.records == []


def test_an_application_that_only_ever_sends_to_nobody_holds_nobody_up(server: Listening, app: Streams) -> None:
    with server.connect() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.sendall(get("/spin"))
        one.recv(2**16)
    go(server)
    assert app.told.get(timeout=5) == "gone on"


# -- large bodies


def test_the_time_of_a_body_does_not_count_while_the_application_reads_none_of_it(
    server: Listening, app: Streams
) -> None:
    body = bytes(range(256)) * 2000
    with server.connect() as one:
        one.sendall(get("/upload", b"Content-Length: %d\r\n" % len(body), method="POST") + body)
        assert app.told.get(timeout=20) == "asked"
        one.settimeout(1)
        with pytest.raises(TimeoutError):
            one.recv(1)
        one.settimeout(20)
        go(server)
        assert hashlib.sha256(body).hexdigest().encode() + b" " in until(one, b" 2").partition(b"GMT")[2] + b" "


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_64_mb_waits_for_the_application_outside_of_the_process(loop: str, chunked: bool) -> None:
    app, piece, sent = Streams(), bytes(range(256)) * 4096, threading.Semaphore(0)
    length = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % (64 * len(piece))

    def send() -> None:
        one.sendall(get("/upload", length, b"Connection: close\r\n", method="POST"))
        for _ in range(64):
            one.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            sent.release()
        one.sendall(b"0\r\n\r\n" * chunked)

    with Listening(app, loop=loop) as server, server.connect() as one:
        thread = threading.Thread(target=send)
        thread.start()
        assert app.told.get(timeout=20) == "asked"
        waiting = 0
        while sent.acquire(timeout=0.3):
            waiting += 1
        assert waiting < 16  # what the system holds for a connection, and no more
        go(server)
        digest, largest = rest(one).partition(b"\r\n\r\n")[2].split()
        thread.join(60)
        assert digest.decode() == hashlib.sha256(piece * 64).hexdigest()
        assert int(largest) < 2**20


# -- what breaks off


def test_an_answer_that_breaks_off_does_not_look_whole(server: Listening) -> None:
    told = server.send(get("/breaks"))
    assert told.endswith(b"\r\n\r\n4\r\nhalf\r\n")
    with server.connect() as one:
        one.sendall(get("/breaks", version="1.0"))  # whose end is that of its connection
        with pytest.raises(ConnectionResetError):
            while one.recv(2**16):
                pass


@pytest.mark.parametrize("ending", ["leaves", "sends no chunk", "is too late"])
def test_an_application_is_told_when_the_rest_of_a_body_does_not_come(
    server: Listening, app: Streams, ending: str
) -> None:
    with server.connect() as one:
        one.sendall(get("/leave", b"Transfer-Encoding: chunked\r\n", method="POST") + b"1\r\nx\r\n")
        until(one, b"first")
        if ending == "leaves":
            one.close()
        elif ending == "sends no chunk":
            one.sendall(b"no chunk\r\n")
        assert app.told.get(timeout=5) == "http.disconnect"
