"""What requests and connections leave behind: nothing for the garbage collector, which a gateway rarely runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from bare_clients import until
from listening import Listening, telling

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
REQUESTS = {
    "counted": HEAD + b"Content-Length: 3\r\n\r\nabc",
    "chunked": HEAD + CHUNKED,
    "upgrade": HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + CHUNKED,
}
MANY = 200


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_leaves_nothing_to_be_collected(telling_server: Listening, kind: str, uncollected: None) -> None:
    with telling_server.connect() as one:
        for number in range(MANY + 1):
            one.sendall(REQUESTS[kind])
            until(one, b"}")
            if not number:  # what is made once
                gc.collect()
        assert gc.collect() < MANY


@pytest.mark.parametrize("sent", [HEAD + b"Connection: close\r\n\r\n", b"no HTTP\r\n\r\n"])
def test_a_connection_leaves_nothing_to_be_collected(sent: bytes, uncollected: None) -> None:
    with Listening(telling, loop="uvloop") as server:  # asyncio's own has some
        server.send(sent)
        gc.collect()
        for _ in range(MANY):
            server.send(sent)
        assert gc.collect() < MANY
