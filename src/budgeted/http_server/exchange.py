"""One request and its answer, as ASGI has them (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

import asyncio
import functools
import http
import logging
import re
from collections.abc import Iterable
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

MOST_UNTAKEN = 64 * 1024
"""Bytes of a body that wait for the application before no more are read."""

PIECE = 64 * 1024
"""Bytes of an answer that are written at once: between two pieces, the reader has to have taken most of the first."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

logger = logging.getLogger("uvicorn.error")


class Wire(Protocol):
    """The connection that an exchange is part of."""

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes."""

    async def drained(self) -> None:
        """Wait until the reader has taken most of what was written."""

    def read_on(self) -> None:
        """The application awaits more of the body."""

    def answered(self) -> None:
        """The answer is whole."""

    def cut(self, *, visibly: bool) -> None:
        """End the connection in the middle of an answer; by a reset, where nothing else shows that it is not whole."""

    def date(self) -> bytes:
        """The header that tells the time."""


@functools.lru_cache(1024)
def _checked_name(name: bytes) -> bytes:
    if not _NAME.fullmatch(name):
        msg = f"the application answers with a header whose name is none: {name[:50]!r}"
        raise RuntimeError(msg)
    return name.lower()


@functools.lru_cache(1024)
def _status_line(status: int) -> bytes:
    if not 200 <= status <= 999:
        msg = f"the application answers with status {status}; it must be from 200 to 999"
        raise RuntimeError(msg)
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


class Exchange:
    """A request and its answer.

    Args:
        wire: the connection.
        scope: what the application is told of the request.
        keep_alive: whether another request may follow.

    Attributes:
        keep_alive: as above, until the answer's head was sent.
        begun: whether some of the answer was sent.
        complete: whether all of it was.
        gone: whether who asked has gone.
    """

    __slots__ = (
        "_body", "_chunked", "_continue", "_ended", "_head", "_left", "_news", "_told", "_wire", "begun",
        "complete", "gone", "keep_alive", "scope",
    )  # fmt: skip

    def __init__(self, wire: Wire, scope: Scope, *, keep_alive: bool) -> None:
        self.scope, self.keep_alive = scope, keep_alive
        self.begun = self.complete = self.gone = False
        self._wire = wire
        self._news = asyncio.Event()
        self._body = bytearray()  # not the pieces: of one byte each, they would take forty times as much
        self._ended = self._told = False  # the body; and whether the application was told so
        self._continue = scope["http_version"] == "1.1" and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]
        )
        self._head: bytes | None = None  # as the application has given it, and nobody has sent it yet
        self._chunked = False
        self._left: int | None = None  # bytes of the answer that are still to come, where it has told how many

    # -- for the connection

    def take(self, pieces: list[bytes], *, ended: bool) -> bool:
        """Some of the body has come, and perhaps its end.

        Returns:
            Whether no more should be read until the application has taken some.
        """
        if self.complete:
            return False
        for piece in pieces:
            self._body += piece
        self._ended = ended
        self._news.set()
        return len(self._body) > MOST_UNTAKEN

    def leave(self) -> None:
        """Who asked has gone."""
        self.gone = True
        self._news.set()

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer. An answer that breaks off must not look whole."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            logger.exception("Exception in ASGI application")
            await self._fail()
        except BaseException:
            if not self.complete:
                self._wire.cut(visibly=self._looks_whole())
            raise
        else:
            if not self.complete and not self.gone:
                logger.error("the ASGI application has returned before its answer was whole")
                await self._fail()

    # -- for the application

    async def receive(self) -> Message:
        """Some of the body, or that who asked has gone or has been answered."""
        if self._continue and not self.begun and not self.gone:
            self._continue = False
            if not self._body and not self._ended:
                self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.gone or self.complete or self._body or (self._ended and not self._told)):
            if not self._ended:
                self._wire.read_on()
            self._news.clear()
            await self._news.wait()
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        body, self._body, self._told = bytes(self._body), bytearray(), self._ended
        return {"type": "http.request", "body": body, "more_body": not self._ended}

    async def send(self, message: Message) -> None:
        """Answer, in the order that ASGI has. It is ignored when who asked has gone.

        Raises:
            RuntimeError: it makes no sense.
        """
        if self.gone:
            await asyncio.sleep(0)  # who only ever sends would keep the loop to itself
            return
        kind = message["type"]
        if self.complete or kind != ("http.response.start" if self._head is None and not self.begun else _BODY):
            msg = f"the application sends {kind!r} where an answer has none"
            raise RuntimeError(msg)
        if kind == _BODY:
            await self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            self._head = self._make_head(message["status"], message.get("headers", ()))

    # -- the answer

    def _make_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        lines = [_status_line(status), self._wire.date()]
        dated = False
        for name, value in headers:
            lower = _checked_name(bytes(name))
            if b"\n" in value or b"\r" in value or b"\0" in value:
                msg = f"the application answers with a header {lower.decode()} that holds a line's end or a NUL"
                raise RuntimeError(msg)
            if lower == b"content-length":
                self._set_length(value)
            elif lower == b"connection":
                if b"close" in value.lower():
                    self.keep_alive = False
                    continue
            elif lower == b"transfer-encoding":  # is the connection's business
                continue
            elif lower == b"date":
                dated = True
            lines += (lower, b": ", value, b"\r\n")
        if dated:
            lines[1] = b""
        if self._continue:
            # Nobody knows whether the body still comes, which was to be sent after a word that it did not get.
            self.keep_alive = False
        if self.scope["method"] == "HEAD" or status in (204, 304):
            self._left = -1
        elif self._left is None:
            self._chunked = self.scope["http_version"] == "1.1"
            self.keep_alive = self.keep_alive and self._chunked  # else the end of the connection is the answer's
            if self._chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _set_length(self, value: bytes) -> None:
        if not value.isdigit() or self._left is not None:
            msg = f"the application answers with a content-length that is none, or two: {value[:50]!r}"
            raise RuntimeError(msg)
        self._left = int(value)

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._left is not None:
            body = self._counted(body, more=more)
        if len(body) > PIECE:
            await self._send_pieces(memoryview(body))
            body = b""
        elif self._chunked and body:
            body = b"%x\r\n%b\r\n" % (len(body), body)
        if not more and self._chunked:
            body += b"0\r\n\r\n"
        await self._write(body)
        if not more and not self.gone:
            self.complete = True
            self._news.set()
            self._wire.answered()

    def _counted(self, body: bytes, *, more: bool) -> bytes:
        """The body, whose length was told."""
        assert self._left is not None  # noqa: S101 - else nobody calls this
        if self._left < 0:  # a kind of answer that has none
            return b""
        self._left -= len(body)
        if self._left < 0 or (self._left and not more):
            problem = "more" if self._left < 0 else f"{self._left} bytes less"
            self._left = max(1, self._left)
            msg = f"the application sends {problem} than its content-length says"
            raise RuntimeError(msg)
        return body

    async def _send_pieces(self, body: memoryview) -> None:
        if self._chunked:
            await self._write(b"%x\r\n" % len(body))
        for start in range(0, len(body), PIECE):
            await self._write(body[start : start + PIECE])
        if self._chunked:
            await self._write(b"\r\n")

    async def _write(self, data: bytes | memoryview) -> None:
        if self._head is not None:
            data = self._head + bytes(data)
            self._head, self.begun = None, True
        await self._wire.drained()
        if data and not self.gone:
            self._wire.write(data)

    # -- answers that go wrong

    async def _fail(self) -> None:
        if self.complete or self.gone:
            return
        if self.begun:
            self._wire.cut(visibly=self._looks_whole())
            return
        self._head, self._left, self._chunked, self.keep_alive = None, None, False, False
        text = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
        self._head = self._make_head(500, headers)
        await self._send_body(text, more=False)

    def _looks_whole(self) -> bool:
        """Whether a connection's end is the answer's."""
        return self.begun and not self._chunked and self._left is None


_BODY = "http.response.body"
