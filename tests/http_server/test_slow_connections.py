"""Connections that send slowly, nothing, or too much, and those that never read, keep nobody out.

Each server's deadlines are fractions of a second, and each test waits for what the server does of itself: the end of a
connection, or an answer.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from bare_clients import connect, rest
from listening import Listening, telling
from serving import TOKEN, Asking, Serving

from budgeted.http_server.connection_limits import ConnectionLimits

LONG = 60.0
"""Seconds that no test waits for."""

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/ledger/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BEARER = f"Authorization: Bearer {TOKEN}\r\n".encode()


@contextlib.contextmanager
def serving(**limits: Any) -> Iterator[Serving]:
    with Serving(ConnectionLimits(**limits), ledger="memory://", tokens=(TOKEN,)) as one:
        yield one


def answer(one: socket.socket) -> bytes:
    """The next answer, whole."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += one.recv(1)
    length = int(received.lower().partition(b"content-length:")[2].split()[0])
    while length:
        received += (piece := one.recv(length))
        length -= len(piece)
    return received


def ended(one: socket.socket) -> bool:
    """Whether the server has ended a connection, without waiting for it."""
    one.setblocking(False)
    try:
        return one.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        one.settimeout(20)


def is_served(port: int, address: str = "127.0.0.1") -> bool:
    with connect(port, address) as one:
        one.sendall(GET + b"Connection: close\r\n\r\n")
        return rest(one).startswith(b"HTTP/1.1 200 ")


# -- deadlines


@pytest.mark.parametrize("sent", [b"", b"G", GET, GET + b"X: " + b"y" * 1000])
def test_headers_that_do_not_come_end_the_connection(sent: bytes) -> None:
    with serving(header_seconds=0.2, body_seconds=LONG, answer_seconds=LONG) as server, connect(server.port) as one:
        one.sendall(sent)
        told = rest(one)
        assert told.startswith(b"HTTP/1.1 408 ")
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["type"] == "RequestTimeout"


def test_headers_that_drip_have_no_more_time() -> None:
    with serving(header_seconds=0.2, body_seconds=LONG, answer_seconds=LONG) as server, connect(server.port) as one:
        one.settimeout(0.01)
        received = b""
        with contextlib.suppress(ConnectionError):
            while True:  # a byte each time that nothing comes for a moment
                one.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    received = one.recv(2**16)
                    if not received.startswith(b"HTTP/1.1"):
                        break


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_that_does_not_come_ends_the_connection(framing: bytes) -> None:
    with serving(header_seconds=LONG, body_seconds=0.2, answer_seconds=LONG) as server, connect(server.port) as one:
        one.sendall(POST + BEARER + framing + b"\r\n1")
        assert rest(one).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_nobody_wants_has_no_more_time() -> None:
    """It is refused before its body comes, and the connection would be kept for the rest of that."""
    with serving(header_seconds=LONG, body_seconds=0.2, answer_seconds=LONG) as server, connect(server.port) as one:
        one.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        told = rest(one)
        assert told.startswith(b"HTTP/1.1 401 ")
        assert b" 408 " not in told


def test_chunks_without_end_are_refused_at_the_bodys_size() -> None:
    with Serving(ConnectionLimits(body_seconds=LONG), ledger="memory://", tokens=(TOKEN,), max_body=10_000) as server:
        with connect(server.port) as one:
            one.sendall(POST + BEARER + b"Transfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    one.sendall(b"3e8\r\n" + b" " * 1000 + b"\r\n")
            assert rest(one)[:13] in (b"HTTP/1.1 413 ", b"")
        assert is_served(server.port)


def test_an_answer_that_nobody_reads_ends_the_connection() -> None:
    limits = ConnectionLimits(header_seconds=LONG, body_seconds=LONG, answer_seconds=0.2)
    with Serving(limits, ledger="memory://", tokens=(TOKEN,)) as server, connect(server.port) as one:
        asked = GET.replace(b"/health/live", b"/openapi.json") + b"\r\n"
        one.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while True:  # answers fill all buffers between here and there, then requests do, and then it ends
                with contextlib.suppress(TimeoutError):
                    one.sendall(asked * 100)
        assert is_served(server.port)


def test_a_kept_connection_has_time_for_each_of_its_requests() -> None:
    with serving(header_seconds=0.2, body_seconds=0.2, answer_seconds=0.2) as server, connect(server.port) as one:
        for _ in range(3):
            one.sendall(GET + b"\r\n")
            assert answer(one).startswith(b"HTTP/1.1 200 ")
            one.settimeout(0.3)
            with pytest.raises(TimeoutError):  # longer than any of the deadlines: between requests it is only kept
                one.recv(1)
            one.settimeout(20)
        one.sendall(GET)
        assert rest(one).startswith(b"HTTP/1.1 408 ")


def test_requests_that_are_sent_at_once_are_answered_in_their_order() -> None:
    with serving() as server, connect(server.port) as one:
        paths = [b"/health/live", b"/nowhere", b"/v1/balances", b"/health/live"]
        one.sendall(b"".join(GET.replace(b"/health/live", path) + b"\r\n" for path in paths[:-1]))
        one.sendall(GET + b"Connection: close\r\n\r\n")
        answers = rest(one).split(b"HTTP/1.1 ")[1:]
        assert [each[:3] for each in answers] == [b"200", b"404", b"401", b"200"]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", GET])
def test_a_tls_handshake_has_the_time_of_the_headers(loop: str, tmp_path: Path, sent: bytes) -> None:
    authority, certificate = trustme.CA(), tmp_path / "both.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with Listening(telling, loop=loop, header_seconds=0.5, ssl_certfile=certificate, max_connections=1) as server:
        with server.connect() as one:
            one.sendall(sent)
            rest(one)
        with context.wrap_socket(server.connect(), server_hostname="localhost") as one:
            one.sendall(GET + b"Connection: close\r\n\r\n")
            assert rest(one).startswith(b"HTTP/1.1 200 ")


# -- how many


def test_half_open_connections_of_an_address_give_way_to_its_next_one() -> None:
    with serving(max_connections_per_address=4) as server:
        half_open = [connect(server.port) for _ in range(12)]
        for one in half_open:
            one.sendall(GET)
        assert is_served(server.port)
        assert rest(half_open[0]) == b""
        for one in half_open:
            one.close()


def test_half_open_connections_of_one_address_give_way_to_another_address() -> None:
    with serving(max_connections=4, max_connections_per_address=4) as server:
        kept = connect(server.port, "127.0.0.3")
        kept.sendall(GET + b"\r\n")
        assert answer(kept).startswith(b"HTTP/1.1 200 ")
        half_open = [connect(server.port, "127.0.0.2") for _ in range(6)]
        assert is_served(server.port)
        assert rest(half_open[0]) == b""
        assert not ended(kept)
        for one in (*half_open, kept):
            one.close()


def test_a_connection_whose_request_is_being_answered_gives_no_way(tmp_path: Path) -> None:
    from budgeted.ledger.opening import open_ledger

    limits = ConnectionLimits(max_connections_per_address=2)
    with Serving(limits, ledger=str(tmp_path), tokens=(TOKEN,)) as server:
        with Asking(server.url) as ask:
            assert ask("PUT", "/v1/limits", {"limits": ["$1"]}).status_code == 200
        ledger: Any = open_ledger(str(tmp_path), "default", fsync="background")
        body = b'{"account": "g", "at": 1}'
        asked = POST.replace(b"read", b"reset") + BEARER + b"Content-Length: %d\r\n\r\n" % len(body) + body
        with ledger._lock:
            busy = [connect(server.port) for _ in range(2)]
            for one in busy:
                one.sendall(asked)
            assert is_served(server.port, "127.0.0.2")  # so that what came before it is under way
            with connect(server.port) as refused:
                refused.sendall(GET + b"\r\n")
                assert rest(refused) == b""
        for one in busy:
            assert answer(one).startswith(b"HTTP/1.1 200 ")
            one.close()


def test_many_connections_that_come_and_go_leave_no_place_taken() -> None:
    with serving(max_connections=8, max_connections_per_address=4) as server:
        for number in range(200):
            assert is_served(server.port, f"127.0.0.{2 + number % 20}")
            connect(server.port).close()
        assert is_served(server.port)


def test_addresses_that_a_trusted_proxy_names_are_counted_and_not_the_proxys(tmp_path: Path) -> None:
    from budgeted.ledger.opening import open_ledger

    limits = ConnectionLimits(max_connections_per_address=1, trusted_proxies=("127.0.0.1",))
    with Serving(limits, ledger=str(tmp_path), tokens=(TOKEN,)) as server:
        with Asking(server.url) as ask:
            assert ask("PUT", "/v1/limits", {"limits": ["$1"]}).status_code == 200
        ledger: Any = open_ledger(str(tmp_path), "default", fsync="background")
        body = b'{"account": "g", "at": 1}'
        asked = POST.replace(b"read", b"reset") + BEARER + b"Content-Length: %d\r\n" % len(body)

        def ask_for(address: bytes) -> socket.socket:
            one = connect(server.port)
            one.sendall(asked + b"X-Forwarded-For: 10.9.9.9, %s\r\n\r\n" % address + body)
            return one

        with ledger._lock:
            busy = [ask_for(b"10.0.0.1"), ask_for(b"10.0.0.2"), ask_for(b"2001:db8::1")]
            for address in (b"10.0.0.1", b"::ffff:10.0.0.2", b"2001:db8::2"):
                with ask_for(address) as refused:
                    assert answer(refused).startswith(b"HTTP/1.1 503 ")
        for one in busy:
            assert answer(one).startswith(b"HTTP/1.1 200 ")
            one.close()


def test_a_header_of_a_proxy_that_is_not_trusted_changes_nothing() -> None:
    with serving(max_connections_per_address=2) as server:
        half_open = [connect(server.port) for _ in range(5)]
        for number, one in enumerate(half_open):
            one.sendall(GET + b"X-Forwarded-For: 10.0.0.%d\r\n" % number)
        assert is_served(server.port)
        assert rest(half_open[0]) == b""
        for one in half_open:
            one.close()
