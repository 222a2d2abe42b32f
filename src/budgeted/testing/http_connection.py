"""HTTP/1.1 as far as the simulated provider needs it: keep-alive, chunks, resets, and who has left."""

from __future__ import annotations

import asyncio
import email
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec

from .scripted_reply import Request

MAX_BODY_BYTES = 1 << 28
_LINGER_ZERO = struct.pack("ii", 1, 0)  # closing then sends RST, not FIN


class Received(msgspec.Struct, frozen=True):
    """A request with the bytes of its body.

    Attributes:
        request: The request; its `body` is the object in the bytes, or empty.
        content: The body's bytes.
        keep_alive: Whether the connection stays open afterwards.
        is_json: Whether the body is a JSON object, or empty.
    """

    request: Request
    content: bytes
    keep_alive: bool
    is_json: bool


class ProtocolError(Exception):
    """The client does not speak HTTP/1.1."""


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        loop: The event loop that runs it.
        serve: Answers one request after the other, until the connection is gone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, serve: Callable[[Connection], Awaitable[None]]) -> None:
        self.gone = False
        self._loop = loop
        self._serve = serve
        self._data = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport
        self._task: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes no other
        self._transport = transport
        transport.set_write_buffer_limits(0)
        self._task = asyncio.ensure_future(self._serve(self), loop=self._loop)

    def data_received(self, data: bytes) -> None:
        """Keep what has arrived."""
        self._data += data
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let whoever waits see that the client has left."""
        self.gone = True
        self.wake()

    def resume_writing(self) -> None:
        """Let whoever waits see that everything is written."""
        self.wake()

    def wake(self) -> None:
        """Let `until` look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def until(self, ready: Callable[[], bool]) -> bool:
        """Wait until `ready()`, asked at each `wake`, or the client has left; return whether it is there."""
        while not self.gone and not ready():
            self._waiter = self._loop.create_future()
            await self._waiter
        return not self.gone

    async def receive(self) -> Received | None:
        """Return the next request, or None when there are no more.

        Raises:
            ProtocolError: What arrived is not a request.
        """
        if not await self.until(lambda: b"\r\n\r\n" in self._data):
            return None
        head, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        self._data[:] = rest
        method, path, version, headers = _parse_head(head)
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = await self._body(headers)
        if content is None:
            return None
        keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        kind = headers.get("content-type", "")
        body = _form(content, kind) if kind.startswith("multipart/form-data") else _object(content)
        request = Request(method=method, path=path, headers=headers, body=body or {})
        return Received(request, content, keep_alive, body is not None)

    async def _body(self, headers: dict[str, str]) -> bytes | None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunked_body()
        try:
            length = int(headers.get("content-length", 0))
        except ValueError as problem:
            raise ProtocolError("content-length is no number") from problem
        if not 0 <= length <= MAX_BODY_BYTES:
            raise ProtocolError("content-length is out of range")
        return await self._take(length)

    async def _chunked_body(self) -> bytes | None:
        content = bytearray()
        while await self.until(lambda: b"\r\n" in self._data):
            line = bytes(self._data).partition(b"\r\n")[0]
            del self._data[: len(line) + 2]
            try:
                length = int(line.partition(b";")[0], 16)
            except ValueError as problem:
                raise ProtocolError("a chunk's length is no number") from problem
            chunk = await self._take(length + 2)
            if chunk is None:
                return None
            content += chunk[:-2]
            if length == 0:
                return bytes(content)
        return None

    async def _take(self, length: int) -> bytes | None:
        if not await self.until(lambda: len(self._data) >= length):
            return None
        taken = bytes(self._data[:length])
        del self._data[:length]
        return taken

    async def send(self, data: bytes) -> bool:
        """Write bytes and return whether the kernel took all of them."""
        if not self._is_open():
            return False
        self._transport.write(data)
        if self._transport.get_write_buffer_size():
            await self.until(lambda: not self._transport.get_write_buffer_size())
        return self._is_open()

    def _is_open(self) -> bool:
        return not self.gone and not self._transport.is_closing()

    async def breathe(self) -> None:
        """Let other connections have their turn, and notice whether the client has left."""
        await asyncio.sleep(0)

    def close(self) -> None:
        """Close the connection once everything is written."""
        self._transport.close()

    def reset(self) -> None:
        """Break the connection: the client gets a connection reset."""
        sock = self._transport.get_extra_info("socket")
        if not self.gone and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    async def stop(self) -> None:
        """Break the connection and wait until nothing of it runs any more."""
        self.reset()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def come_in() -> None:
    """Let everything come in that was sent before, also by clients that have left."""
    for _ in range(10):  # turns of the loop: a request on a new connection takes six
        await asyncio.sleep(0)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content or b"{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None


def _form(content: bytes, media_type: str) -> dict[str, Any]:
    """Return the fields of a form: text, or a number where it is one; of files, their sizes."""
    form = email.message_from_bytes(f"content-type: {media_type}\r\n\r\n".encode() + content)
    fields: dict[str, Any] = {}
    for part in form.walk():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            text = data.decode("latin-1")
            fields[name] = len(data) if part.get_filename() else int(text) if text.isdigit() else text
    return fields


def _parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ProtocolError(f"not a request line: {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return words[0], words[1], words[2], headers


def response_head(status: int, headers: dict[str, str], length: int | None) -> bytes:
    """Return the head of a response; a length of None means chunks."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded"


def chunk(data: bytes) -> bytes:
    """Return bytes as one HTTP chunk; nothing for no bytes, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"
