"""A client that asks a server on loopback over and over, and costs little itself: raw asyncio on uvloop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import NamedTuple, Self, TypeVar, cast

import uvloop

Result = TypeVar("Result")


class Answer(NamedTuple):
    """What a server has answered.

    Attributes:
        status: of HTTP.
        body: with nothing left of its chunks' sizes.
        begun: seconds until the first byte of its body came.
        took: seconds until its last byte came.
    """

    status: int
    body: bytes
    begun: float
    took: float


class Connection(asyncio.Protocol):
    """A connection that is kept, for one request after the other."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.body = 0
        self.length = -1
        self.sent = self.begun = 0.0
        self.answer: asyncio.Future[Answer] | None = None

    @classmethod
    async def to(cls, port: int) -> Self:
        """A new one, to a port of loopback."""
        return (await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port))[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # as uvloop's is, in all but its class

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(
                ConnectionError(f"the server ended the connection: {exc or bytes(self.received)!r}")
            )

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a whole request."""
        self.received.clear()
        self.body = 0
        self.answer = asyncio.get_running_loop().create_future()
        self.sent = time.perf_counter()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        received = self.received
        received += data
        if not self.body:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.body = end + 4
            _, found, length = bytes(received[:end]).lower().partition(b"content-length:")
            self.length = int(length.partition(b"\r\n")[0]) if found else -1
            self.begun = 0.0
        if not self.begun and len(received) > self.body:
            self.begun = time.perf_counter()
        chunked = self.length < 0
        if received.endswith(b"\r\n0\r\n\r\n") if chunked else len(received) - self.body >= self.length:
            self._answered(chunked)

    def _answered(self, chunked: bool) -> None:
        body = bytes(self.received[self.body :])
        took = time.perf_counter() - self.sent
        answer, self.answer = self.answer, None
        assert answer is not None
        status = int(self.received[9:12])
        answer.set_result(Answer(status, dechunked(body) if chunked else body, self.begun - self.sent, took))

    def close(self) -> None:
        """End it."""
        self.transport.close()


def dechunked(body: bytes) -> bytes:
    """What was sent in chunks."""
    pieces = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(pieces)


def post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A POST, as it is sent."""
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{told}content-length: {len(body)}\r\n\r\n".encode() + body


async def asked(port: int, request: bytes) -> Answer:
    """The answer to one request."""
    connection = await Connection.to(port)
    try:
        return await connection.ask(request)
    finally:
        connection.close()


async def flooded(port: int, request: bytes, together: int, *, seconds: float = 1e9, times: int = 10**9) -> int:
    """Ask on so many connections at once, each as soon as it is answered.

    Args:
        port: of the server.
        request: as it is sent.
        together: connections.
        seconds: after which none asks again.
        times: how often they ask together, at most.

    Returns:
        How often they have asked.
    """
    made = 0
    end = time.perf_counter() + seconds

    async def work(connection: Connection) -> None:
        nonlocal made
        while made < times and time.perf_counter() < end:
            made += 1
            answer = await connection.ask(request)
            assert answer.status == 200, answer

    connections = [await Connection.to(port) for _ in range(together)]
    await asyncio.gather(*map(work, connections))
    for one in connections:
        one.close()
    return made


async def paced(port: int, request: bytes, per_second: float, times: int) -> list[Answer]:
    """Ask at a steady pace, whether or not what was asked before is answered.

    Args:
        port: of the server.
        request: as it is sent.
        per_second: how often.
        times: how often in all.
    """
    loop = asyncio.get_running_loop()
    idle: list[Connection] = []
    answers: list[Answer] = []

    async def work() -> None:
        connection = idle.pop() if idle else await Connection.to(port)
        answer = await connection.ask(request)
        assert answer.status == 200, answer
        answers.append(answer)
        idle.append(connection)

    started = loop.time()
    tasks = []
    for number in range(times):
        await asyncio.sleep(started + number / per_second - loop.time())
        tasks.append(asyncio.create_task(work()))
    await asyncio.gather(*tasks)
    for one in idle:
        one.close()
    return answers


def run(work: Coroutine[None, None, Result]) -> Result:
    """What comes of it, on an event loop of its own."""
    return uvloop.run(work)
