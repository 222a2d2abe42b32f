"""Reading one answer from a connection's bytes, by llhttp (httptools), and never beyond its end."""

from __future__ import annotations

import httptools


class ResponseReader:
    r"""Reads one answer after the other from one connection.

    Attributes:
        status: HTTP's, once the answer is whole.
        whole: whether it is.
        keep_alive: whether the connection takes another request then.

    Example:
        >>> reader = ResponseReader()
        >>> reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        >>> reader.whole, reader.status, reader.content()
        (True, 200, b'{}')
    """

    __slots__ = ("_framed", "_headed", "_parser", "_pieces", "keep_alive", "status", "whole")

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.start()

    def start(self) -> None:
        """Await an answer."""
        self.status = 0
        self.whole = self.keep_alive = False
        self._headed = self._framed = False
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Read on.

        Args:
            data: what has come; nothing if the other end has said that nothing more will.

        Raises:
            ConnectionError: it is no HTTP, or the answer broke off.
        """
        assert self._parser is not None  # noqa: S101 - whoever has closed the reader reads no more
        if not data:
            if not self._headed or self._framed:
                msg = "the connection ended before the answer was whole"
                raise ConnectionError(msg)
            self.whole, self.keep_alive = True, False  # the end of the connection is the answer's
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.whole:
                msg = f"what answers does not speak HTTP: {error}"
                raise ConnectionError(msg) from None
            self.keep_alive = False

    def content(self) -> bytes:
        """The body of the answer."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def close(self) -> None:
        """Read nothing any more. The parser refers to its reader: without this, both would wait for a collector."""
        self._parser = None

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """An answer begins; after a whole one, it is one that nobody asked for."""
        if self.whole:
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 - as the parser calls it
        """A header: whether one tells where the answer ends."""
        if not self._framed and name.lower() in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        """The head is there."""
        assert self._parser is not None  # noqa: S101 - it is what calls
        if not self.whole:
            self.status = self._parser.get_status_code()
            self.keep_alive = self._parser.should_keep_alive()
            self._headed = True

    def on_body(self, piece: bytes) -> None:
        """Some of the body."""
        if not self.whole:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it is one of those that come before the answer."""
        if self.status >= 200:
            self.whole = True
        elif not self.whole:
            self.start()
