"""Reading one request from a connection's bytes: by llhttp (httptools), within bounds, and never beyond its end.

Where two servers could read a request differently, it is refused: who passes requests on would else be told one thing,
and the next server another (https://www.rfc-editor.org/rfc/rfc9112#section-11.2). llhttp refuses most of it; what is
checked here beside it holds for whichever version of llhttp is installed.
"""

from __future__ import annotations

import re

import httptools

MOST_HEAD = 64 * 1024
"""Bytes that the request line and all headers may have together, and what a chunked body has beside its content."""

MOST_LINE = 16 * 1024
"""Bytes that the request line may have."""

MOST_HEADERS = 200
"""Headers that a request may have."""

_END = b"\r\n\r\n"
"""The end of every head, and of every chunked body: no other place needs to be looked at for the end of either."""

_LINE = re.compile(rb"([A-Z-]+) ([!\"$-~]+) HTTP/(1\.[01])")
"""A request line: the method, what is asked for (in visible ASCII, without a fragment), and the version."""

_LENGTH = re.compile(rb"[0-9]{1,15}")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"host"))


class Unreadable(Exception):  # noqa: N818 - it is an answer
    """What came is no request that is served.

    Attributes:
        status: HTTP's, from 400 on.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RequestReader:
    r"""Reads one request. For the next one, there is another reader.

    Attributes:
        complete: whether the head is. What follows is not known before.
        ended: whether the whole request is.
        method: such as ``"GET"``.
        target: what is asked for, as it came.
        version: ``"1.0"`` or ``"1.1"``.
        headers: names in lower case, and values.
        keep_alive: whether further requests may follow on the connection.
        pieces: of the body, that nobody has taken yet.

    Example:
        >>> reader = RequestReader()
        >>> reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET ")
        27
        >>> reader.ended, reader.target
        (True, b'/')
    """

    __slots__ = (
        "_head", "_idle", "_left", "_parser", "_whole",
        "complete", "ended", "headers", "keep_alive", "method", "pieces", "target", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.complete = self.ended = self.keep_alive = False
        self.method = self.version = ""
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self._head = b""
        self._whole = False
        self._left = 0
        self._idle = 0
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> int:
        """Read on, until these bytes end or the request does.

        Args:
            data: what has come.

        Returns:
            How many of the bytes belong to the request.

        Raises:
            Unreadable: they are no request, or one that is beyond a bound. The reader is of no use any more.
        """
        at = 0
        while at < len(data) and not self.ended:
            if not self.complete:
                at = self._read_head(data, at)
            elif self._left:
                piece = data[at : at + self._left]
                self.pieces.append(piece)
                self._left -= len(piece)
                self.ended = not self._left
                at += len(piece)
            else:
                at = self._read_chunks(data, at)
        return at

    def close(self) -> None:
        """Read nothing any more. The parser refers to its reader: without this, both would wait for a collector."""
        self._parser = None

    # -- what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, whole. After the head they are a chunked body's trailers, which nobody asked for."""
        if not self.complete and len(self.headers) <= MOST_HEADERS:
            self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is there. What the parser knows of it is forgotten when the request ends."""
        if not self.complete:
            assert self._parser is not None  # noqa: S101 - it is what calls
            self.keep_alive = self._parser.should_keep_alive()
            self._whole = True

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._idle = 0

    def on_body(self, piece: bytes) -> None:
        """Some of a chunked body."""
        self._idle = 0
        self.pieces.append(piece)

    def on_message_begin(self) -> None:
        """As the parser wants it."""

    def on_message_complete(self) -> None:
        """A chunked body has ended; of other requests the end is known without the parser."""
        self.ended = self.complete

    # -- the parts of a request

    def _read_head(self, data: bytes, at: int) -> int:
        had = len(self._head)
        head = self._head + data[at : at + MOST_HEAD + 1 - had]
        end = head.find(_END, max(0, had - 3))
        if end >= 0:
            head = head[: end + len(_END)]
        self._parse(head[had:], head)
        at += len(head) - had
        if self._whole:
            self._check_head(head)
        elif end < 0:
            self._check_size(head)
            self._head = head
        elif not head.isspace():  # some empty lines before a request are allowed
            raise _unreadable(head, "it has no headers")
        else:
            self._head = b""
        return at

    def _read_chunks(self, data: bytes, at: int) -> int:
        before = self._head  # the end may be divided between what came before and this
        end = (before + data).find(_END, at) if before else data.find(_END, at)
        stop = len(data) if end < 0 else end + len(_END) - len(before)
        piece = data[at:stop]
        self._idle += len(piece)
        self._parse(piece, b"")
        if self._idle > MOST_HEAD and not self.ended:
            raise Unreadable(400, f"a chunked body has more than {MOST_HEAD} bytes beside its content")
        self._head = (before + piece)[-3:] if end < 0 else b""
        if self.ended:
            self.close()
        return stop

    def _parse(self, piece: bytes, head: bytes) -> None:
        assert self._parser is not None  # noqa: S101 - it is there until the request has ended
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:  # a request as any other: what it wants to become is not spoken here
            return
        except httptools.HttpParserError as error:
            raise _unreadable(head, str(error)) from None

    def _check_size(self, head: bytes) -> None:
        if len(_line(head)) > MOST_LINE:
            raise Unreadable(414, f"the request line has more than {MOST_LINE} bytes; send what is long in the body")
        if len(head) > MOST_HEAD:
            raise Unreadable(431, f"the headers have more than {MOST_HEAD} bytes in all; send fewer or shorter ones")
        if len(self.headers) > MOST_HEADERS:
            raise Unreadable(431, f"there are more than {MOST_HEADERS} headers; send fewer")

    def _check_head(self, head: bytes) -> None:
        self._check_size(head)
        if _BARE.search(head):
            raise Unreadable(400, "the headers hold a NUL, or a line that does not end in CR LF")
        line = _LINE.fullmatch(_line(head))
        if line is None:
            raise _unreadable(head, "the request line must be METHOD ADDRESS HTTP/1.1, the address percent-encoded")
        self.method, self.target, self.version = line[1].decode(), line[2], line[3].decode()
        self.keep_alive = self.keep_alive and self.version == "1.1" and self.method != "CONNECT"
        self._head, self.complete = b"", True
        self._check_framing()

    def _check_framing(self) -> None:
        """Find how long the body is, by the one header that says so."""
        found = [header for header in self.headers if header[0] in _FRAMING]
        told = dict(found)
        if len(told) != len(found):
            raise Unreadable(400, "Host, Content-Length or Transfer-Encoding is there twice")
        length, coding = told.get(b"content-length"), told.get(b"transfer-encoding")
        if b"host" not in told and self.version == "1.1":
            raise Unreadable(400, "there is no Host header")
        if coding is not None:
            if length is not None or coding.lower() != b"chunked" or self.version != "1.1":
                text = "Transfer-Encoding must be `chunked`, alone, and without a Content-Length"
                raise Unreadable(400, text)
            self._await_chunks()
            return
        if length is not None and not _LENGTH.fullmatch(length):
            raise Unreadable(400, "Content-Length must be a number of bytes, in decimal digits")
        self._left = int(length or b"0")
        self.ended = not self._left
        self.close()

    def _await_chunks(self) -> None:
        assert self._parser is not None  # noqa: S101 - it has read the head
        if self._parser.should_upgrade():
            # For it, the body would be in another protocol.
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")


def _line(head: bytes) -> bytes:
    return head.lstrip(b"\r\n").partition(b"\r\n")[0]


def _unreadable(head: bytes, why: str) -> Unreadable:
    if head[:1] == b"\x16":
        return Unreadable(400, "this port speaks HTTP without TLS: ask for http://, not https://")
    if head.startswith(b"PRI * HTTP/2"):
        return Unreadable(400, "this port speaks HTTP/1.1, not HTTP/2")
    return Unreadable(400, f"this cannot be read as HTTP: {why}")
