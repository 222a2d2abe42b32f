"""Connections of our own to a server: what is kept, what is found ended, and how answers may come."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from budgeted.errors import LedgerError
from budgeted.ledger.http.connections import Channel
from budgeted.ledger.http.sent_once import ClosedError, UnconnectedError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Answers = Callable[[socket.socket, bytes], None]


class Answering:
    """A server of one answer, made by hand. A context manager.

    Args:
        answer: is given each connection and what was asked by it.
        host: where it listens.

    Attributes:
        port: of it.
        asked: what was, of all connections.
        accepted: how many there were.
    """

    def __init__(self, answer: Answers, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family)
        self._answer = answer
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.port = self._listening.getsockname()[1]
        self.asked: list[bytes] = []
        self.accepted = 0
        self._threads.append(threading.Thread(target=self._accept))
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listening.accept()
                self.accepted += 1
                self._open.append(one)
                thread = threading.Thread(target=self._serve, args=(one,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            while asked := one.recv(65_536):
                self.asked.append(asked)
                self._answer(one, asked)


@pytest.fixture
def channel_to() -> Iterator[Callable[..., Channel]]:
    made: list[Channel] = []

    def connect(server: Answering, host: str = "127.0.0.1", **headers: str) -> Channel:
        made.append(Channel(f"http://{host}:{server.port}/budgets/v1/", headers))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def ask(channel: Channel, seconds: float = 20.0) -> tuple[int, bytes]:
    return channel.post("verb", b"[1]", time.monotonic() + seconds)


def say(*pieces: bytes, then_end: bool = False) -> Answers:
    def answer(one: socket.socket, _: bytes) -> None:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            one.sendall(piece)
        if then_end:
            one.shutdown(socket.SHUT_RDWR)

    return answer


def test_requests_one_after_the_other_share_a_connection(channel_to: Callable[..., Channel]) -> None:
    with Answering(say(OK)) as server:
        channel = channel_to(server, authorization="Bearer word")
        assert [ask(channel), ask(channel)] == [(200, b"{}")] * 2
        assert server.accepted == 1
        assert server.asked[0] == server.asked[1]
        head, _, body = server.asked[0].partition(b"\r\n\r\n")
        assert body == b"[1]"
        assert head.split(b"\r\n") == [
            b"POST /budgets/v1/verb HTTP/1.1",
            b"host: 127.0.0.1:%d" % server.port,
            b"user-agent: budgeted",
            b"accept-encoding: identity",
            b"authorization: Bearer word",
            b"content-length: 3",
        ]


def test_a_connection_that_the_server_has_ended_is_not_asked(channel_to: Callable[..., Channel]) -> None:
    with Answering(say(OK, then_end=True)) as server:
        channel = channel_to(server)
        lost: list[int] = []
        for number in range(3):
            assert channel.post("verb", b"", time.monotonic() + 20, lost=lambda: lost.append(1)) == (200, b"{}")
            while server._threads[-1].is_alive():  # the server's end is closed by then
                pass
            assert server.accepted == number + 1
        assert not lost


def test_an_answer_that_nobody_asked_for_is_never_taken_for_another(channel_to: Callable[..., Channel]) -> None:
    unasked = b"HTTP/1.1 402 No\r\nContent-Length: 0\r\n\r\n"
    with Answering(say(OK + unasked)) as server:
        channel = channel_to(server)
        assert [ask(channel), ask(channel)] == [(200, b"{}")] * 2
        assert server.accepted == 2


@pytest.mark.parametrize(
    "pieces",
    [
        (OK[:20], OK[20:-1], OK[-1:]),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n", OK),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK,),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\nConnection: close\r\n\r\n{}",),
    ],
)
def test_answers_come_as_they_may(channel_to: Callable[..., Channel], pieces: tuple[bytes, ...]) -> None:
    with Answering(say(*pieces)) as server:
        channel = channel_to(server)
        assert [ask(channel), ask(channel)] == [(200, b"{}")] * 2
        assert server.accepted == (2 if b"close" in pieces[0] else 1)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_the_end_of_a_connection_may_be_the_answers(channel_to: Callable[..., Channel], version: bytes) -> None:
    with Answering(say(version + b" 200 OK\r\n\r\n{", b"}", then_end=True)) as server:
        assert ask(channel_to(server)) == (200, b"{}")


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((OK[:-1],), "ended before"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",), "ended before"),
        ((b"",), "ended before"),
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), "does not speak HTTP"),
        ((b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",), "does not speak HTTP"),
    ],
)
def test_an_answer_that_breaks_off_or_is_none_is_asked_for_again(
    channel_to: Callable[..., Channel], monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], why: str
) -> None:
    with Answering(say(*pieces, then_end=True)) as server:
        monkeypatch.setattr("budgeted.ledger.http.connections._wait", lambda *_: server.accepted < 3)
        with pytest.raises(ConnectionError, match=why):
            ask(channel_to(server))
        assert server.accepted == 3


def test_a_server_that_says_no_before_it_has_read_all_is_heard(channel_to: Callable[..., Channel]) -> None:
    no = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    with Answering(say(no)) as server:
        channel = channel_to(server)
        assert channel.post("verb", b"x" * 10_000_000, time.monotonic() + 20) == (413, b"{}")


def test_a_server_that_says_nothing_has_a_deadline(channel_to: Callable[..., Channel]) -> None:
    with Answering(say()) as server, pytest.raises(TimeoutError):
        ask(channel_to(server), 0.05)


def test_a_name_that_nobody_can_have_is_not_asked() -> None:
    channel = Channel("http://" + "x" * 64, {})
    with pytest.raises(UnconnectedError):
        ask(channel, 0.05)
    channel.close()
    with pytest.raises(LedgerError, match="cannot be sent"):
        Channel("http://a\0b", {})


def test_headers_that_would_be_two_are_refused() -> None:
    for headers in ({"x-name": "a\r\nx-other: b"}, {"x name": "a"}, {"x-name:": "a"}):
        with pytest.raises(LedgerError, match="cannot be sent"):
            Channel("http://127.0.0.1:1", headers)


def test_ipv6_is_spoken(channel_to: Callable[..., Channel]) -> None:
    try:
        server = Answering(say(OK), "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert ask(channel_to(server, "[::1]")) == (200, b"{}")
        assert b"\r\nhost: [::1]:%d\r\n" % server.port in server.asked[0]


def test_threads_ask_at_once_and_their_connections_are_kept_for_later(channel_to: Callable[..., Channel]) -> None:
    together = threading.Barrier(4)

    def answer(one: socket.socket, _: bytes) -> None:
        together.wait(20)
        one.sendall(OK)

    with Answering(answer) as server:
        channel = channel_to(server)
        for _ in range(2):
            threads = [threading.Thread(target=ask, args=(channel,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        assert server.accepted == 4


def test_a_closed_channel_sends_nothing(channel_to: Callable[..., Channel]) -> None:
    with Answering(say(OK)) as server:
        channel = channel_to(server)
        ask(channel)
        channel.close()
        with pytest.raises(ClosedError):
            ask(channel)
        assert server.accepted == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_asks_by_connections_of_its_own(channel_to: Callable[..., Channel]) -> None:
    with Answering(say(OK)) as server:
        channel = channel_to(server)
        ask(channel)
        child = os.fork()
        if not child:
            channel.forget()
            os._exit(0 if ask(channel) == (200, b"{}") else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert server.accepted == 2
        assert ask(channel) == (200, b"{}")  # by the one that it had
        assert server.accepted == 2


@pytest.mark.parametrize(("excepted", "proxied"), [("", True), ("server.test", False)])
def test_the_environments_proxy_is_asked_unless_it_excepts_the_server(
    monkeypatch: pytest.MonkeyPatch, excepted: str, proxied: bool
) -> None:
    with Answering(say(OK)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", excepted)
        channel = Channel("http://server.test/v1/", {"authorization": "Bearer token"})
        if proxied:
            assert ask(channel) == (200, b"{}")
            assert proxy.asked[0].startswith(b"POST http://server.test/v1/verb HTTP/1.1\r\n")
            assert b"authorization: Bearer token\r\n" in proxy.asked[0].replace(b"Authorization", b"authorization")
        else:
            with pytest.raises(UnconnectedError):
                ask(channel, 0.05)
            assert not proxy.asked
        channel.close()
        with pytest.raises(ClosedError):
            ask(channel)
