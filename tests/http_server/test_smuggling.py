"""Requests that two servers could read differently are refused by the first one, and nothing after them is read."""

from __future__ import annotations

import itertools
import json

import pytest
from listening import Listening, status

from budgeted.http_server.request_reader import RequestReader, Unreadable

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODY = b"5\r\nabcde\r\n0\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

FRAMING = [
    CHUNKED + b"Content-Length: 5\r\n\r\n",
    b"Content-Length: 5\r\n" + CHUNKED + b"\r\n",
    b"Content-Length: 0\r\n" + CHUNKED + b"\r\n",
    CHUNKED + CHUNKED + b"\r\n",
    CHUNKED + b"Transfer-Encoding: identity\r\n\r\n",
    *(
        b"Transfer-Encoding: %b\r\n\r\n" % coding
        for coding in (
            b"chunked, chunked", b"gzip, chunked", b"chunked, identity", b"chunked,", b"identity", b"", b"xchunked",
            b"chunkedx", b'"chunked"', b"chunked;q=1", b"\x0bchunked", b"chunked\x0c", b"chunked\0", b"chu nked",
        )
    ),
    b"Transfer-Encoding : chunked\r\n\r\n",
    b"Transfer-Encoding\t: chunked\r\n\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    b" Transfer-Encoding: chunked\r\n\r\n",
    b"X: y\nTransfer-Encoding: chunked\r\n\r\n",
    b"X: y\rTransfer-Encoding: chunked\r\n\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
    b"Content-Length: 5\r\ncontent-length: 0\r\n\r\n",
    *(
        b"Content-Length: %b\r\n\r\n" % length
        for length in (
            b"5, 5", b"+5", b"-5", b"0x5", b"5e0", b"5.0", b"5 5", b"", b"1_0", b"\xd9\xa5", b"18446744073709551621",
            b"9999999999999999", b"5\0", b"5;", b"five",
        )
    ),
    b"Content-Length : 5\r\n\r\n",
]  # fmt: skip

CHUNKS = [
    *(
        b"%b\r\nabcde\r\n0\r\n\r\n" % size
        for size in (
            b"-5", b"+5", b"0x5", b" 5", b"5 ", b"5\t", b"0_5", b"", b";", b"f" * 17, b"10000000000000005", b"6",
            b"5;a\nb", b"5;a\rb", b"5;a\0", b'5;a="', b"5;a=\x01",
        )
    ),
    b"5\nabcde\r\n0\r\n\r\n",
    b"5\rXabcde\r\n0\r\n\r\n",
    b"5\r\nabcde\n0\r\n\r\n",
    b"5\r\nabcdef\r\n0\r\n\r\n",
    b"5\r\nabcde\r\n0\n\n",
    b"5\r\nabcde\r\n0\r\n\n",
    b"5\r\nabcde\r\n0\r\nno colon\r\n\r\n",
    b"5\r\nabcde\r\n0\r\nA: b\n\r\n",
    b"5\r\nabcde\r\n0\r\nContent-Length: 5\r\n\r\n",
    b"5\r\nabcde\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
]  # fmt: skip

LINES = [
    *(
        line + HOST + b"\r\n"
        for line in (
            b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\r\n", b"GET / HTTP/1.1 \r\n", b"GET  / HTTP/1.1\r\n",
            b"GET\t/\tHTTP/1.1\r\n", b" GET / HTTP/1.1\r\n", b"\nGET / HTTP/1.1\r\n", b"\rGET / HTTP/1.1\r\n",
            b"GET /a b HTTP/1.1\r\n", b"GET /a\0b HTTP/1.1\r\n", b"GET /a\tb HTTP/1.1\r\n",
            b"GET /\xc3\xa4 HTTP/1.1\r\n",
            b"GET /a#b HTTP/1.1\r\n", b"get / HTTP/1.1\r\n", b"FOO / HTTP/1.1\r\n", b"GET HTTP/1.1\r\n",
            b"GET / HTTP/1.2\r\n", b"GET / HTTP/2.0\r\n", b"GET / HTTP/0.9\r\n", b"GET / HTTP/1.1x\r\n",
            b"GET / HTTP/01.1\r\n", b"GET / http/1.1\r\n", b"DESCRIBE / RTSP/1.0\r\n", b"GET / ICE/1.0\r\n",
        )
    ),
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]  # fmt: skip

HEADERS = [
    b"Host: b\r\n\r\n",
    b"Host: a\r\n\r\n",
    b"A: b\r\n c\r\n\r\n",
    b"A: b\r\n\tc\r\n\r\n",
    b"A: b\r\r\n\r\n",
    b"A: b\r\n\n",
    *(b"A: b%bc\r\n\r\n" % bytes([code]) for code in (0, 1, 11, 12, 27, 127)),
    *(b"%b: c\r\n\r\n" % name for name in (b"", b"A b", b"A\0", b"A(", b"A@", b"\xc3\x84", b"A\x7f")),
    b"no colon\r\n\r\n",
]

TRICKS = [
    *(POST + framing + BODY for framing in FRAMING),
    *(POST + CHUNKED + b"\r\n" + chunks for chunks in CHUNKS),
    *LINES,
    *(GET + header for header in HEADERS),
    POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n" + CHUNKED + b"\r\n" + BODY,
]

SOUND = [
    (GET + b"\r\n", b""),
    (b"\r\n\r\n" + GET + b"\r\n", b""),
    (GET + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, SMUGGLED),
    (POST + b"CONTENT-LENGTH:\t5 \r\n\r\nabcde", b"abcde"),
    (POST + b"Transfer-Encoding:\tChunked \r\n\r\n" + BODY, b"abcde"),
    (POST + CHUNKED + b'\r\n0005;a=b;c="d"\r\nabcde\r\n1\r\n\n\r\n00\r\n\r\n', b"abcde\n"),
    (POST + CHUNKED + b"\r\n8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n\r\n\r\n"),
    (POST + CHUNKED + b"\r\n0\r\nX-Budgeted-User: eve\r\n\r\n", b""),
]  # fmt: skip


@pytest.fixture(scope="module")
def loop() -> str:
    return "auto"


@pytest.mark.parametrize("trick", TRICKS)
def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_connection(
    telling_server: Listening, trick: bytes
) -> None:
    answer = telling_server.send(trick + SMUGGLED)
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["error"]["type"] == "BadRequest"
    assert b"connection: close\r\n" in answer


@pytest.mark.parametrize(("request_", "body"), SOUND)
def test_what_can_be_read_in_one_way_alone_is_served(telling_server: Listening, request_: bytes, body: bytes) -> None:
    answer = telling_server.send(request_ + GET + b"Connection: close\r\n\r\n")
    first, second = (json.loads(each.partition(b"\r\n\r\n")[2]) for each in answer.split(b"HTTP/1.1 200 OK")[1:])
    assert first["body"].encode("latin-1") == body
    assert "eve" not in str(first)
    assert second["headers"] == [["host", "a"], ["connection", "close"]]


def test_requests_are_read_alike_however_their_bytes_are_divided() -> None:
    def read(request: bytes, size: int) -> tuple[object, ...]:
        reader, body, used = RequestReader(), b"", 0
        try:
            for start in range(0, len(request), size):
                used += reader.feed(request[start : start + size])
                body += b"".join(reader.pieces)
                reader.pieces.clear()
        except Unreadable as problem:
            return (problem.status,)
        return used, reader.ended, reader.method, reader.target, reader.headers, body

    for request, size in itertools.product(
        [*(each + SMUGGLED for each in TRICKS), *(each for each, _ in SOUND)], (1, 7)
    ):
        assert read(request, size) == read(request, len(request)), request


@pytest.mark.parametrize(
    ("request_", "expected", "told"),
    [
        (GET + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431, "65536 bytes"),
        (GET + b"X" * 1_000_000, 431, "65536 bytes"),
        (GET + b"".join(b"X%d: y\r\n" % number for number in range(200)) + b"\r\n", 431, "200 headers"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "16384 bytes"),
        (b"GET /" + b"a" * 1_000_000, 414, "16384 bytes"),
        (b"\x16\x03\x01\x02\x00", 400, "https://"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "not HTTP/2"),
        (POST + CHUNKED + b"\r\n5;" + b"a" * 500_000, 400, "beside its content"),
        (POST + CHUNKED + b"\r\n0\r\nA" + b"a" * 500_000, 400, "beside its content"),
        (POST + CHUNKED + b"\r\n0\r\n" + b"A: b\r\n" * 50_000, 400, "beside its content"),
    ],
    ids=["header", "headers", "many", "line", "endless line", "tls", "http2", "extension", "trailer", "trailers"],
)
def test_what_is_beyond_a_bound_is_refused_with_the_bound(
    telling_server: Listening, request_: bytes, expected: int, told: str
) -> None:
    answer = telling_server.send(request_)
    assert status(answer) == expected
    assert told in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_200_headers_of_64_kib_are_read(telling_server: Listening) -> None:
    headers = b"".join(b"X%03d: %s\r\n" % (number, b"y" * 310) for number in range(198))
    answer = telling_server.send(GET + b"Connection: close\r\n" + headers + b"\r\n")
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]) == 200
