"""Requests to a real server on loopback: like those of its description, and then broken in their bytes."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import READER, TOKEN, Serving

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.server import openapi_document
from proof.malice import hostile_text
from proof.malice.checked import require
from proof.trial import Case

WAIT = 20.0
"""Seconds within which a server has answered, or ended the connection: each of its deadlines is far below."""

SILENCE = 0.3
"""Seconds without a byte after which a request counts as one that is not whole."""

WORDS = [
    "a",
    "a.1",
    "g",
    "u:alice",
    "b:key",
    "alice",
    "usd",
    "usd/day",
    "$1",
    "$5/day",
    "2026-01-01",
    "day",
    "model",
    "gpt-4o",
    "m",
    "p",
]
NUMBERS = [0, 1, -1, 2, 100, 20_000, 1_800_000_000, 2**31, 2**53, 2**62, 2**63, 2**64, -(2**63), 0.5, 1e308, -0.0, 1e-9]
LINES = [
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Host: [",
    "Host: localhost",
    "Connection: upgrade",
    "Upgrade: h2c",
]
LINES += [
    "Expect: 100-continue",
    "Content-Encoding: gzip",
    "Idempotency-Key: a",
    "Idempotency-Repeat: true",
    "X: \0",
    " folded",
]


class Target:
    """A server, what it describes, and what it logs as errors."""

    def __init__(self, directory: Path) -> None:
        self.document = json.loads(json.dumps(openapi_document.document()))
        self.operations = [(path, method) for path, each in self.document["paths"].items() for method in each]
        self._errors = _Errors()
        limits = ConnectionLimits(header_seconds=1, body_seconds=1, answer_seconds=WAIT / 2)
        self._serving = Serving(
            limits, ledger=str(directory), tokens=(TOKEN,), read_tokens=(READER,), max_body=2**18, max_projects=8
        )
        self.port, self.url = self._serving.port, self._serving.url
        for name in ("budgeted", "uvicorn.error"):
            logging.getLogger(name).addHandler(self._errors)

    def close(self) -> None:
        """Stop it."""
        for name in ("budgeted", "uvicorn.error"):
            logging.getLogger(name).removeHandler(self._errors)
        self._serving.close()

    def check(self) -> None:
        """See that it lives, and has met nothing unforeseen."""
        answer = self.send([b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"], silence=WAIT)
        require(answer.startswith(b"HTTP/1.1 200 "), f"the server lives on: {answer[:200]!r}")
        require(not self._errors.lines, f"the server meets nothing unforeseen: {self._errors.lines[:1]}")

    def send(self, pieces: list[bytes], silence: float = SILENCE) -> bytes:
        """Send bytes, and after a while of silence that no more come. Returns all that is answered until the end."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), WAIT) as one, contextlib.suppress(ConnectionError):
            for piece in pieces:
                one.sendall(piece)
            one.settimeout(silence)
            while True:
                try:
                    piece = one.recv(2**16)
                except TimeoutError:
                    if one.gettimeout() == WAIT:
                        raise
                    one.shutdown(socket.SHUT_WR)
                    one.settimeout(WAIT)
                    continue
                if not piece:
                    break
                answer += piece
        return answer


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record)[-2000:])


def attempt(case: Case, target: Target) -> None:
    """One request, or a few on one connection."""
    rng = case.rng
    data = b"".join(_request(rng, target) for _ in range(rng.choice([1, 1, 1, 2, 5])))
    for _ in range(rng.choice([0, 0, 1, 3])):
        data = _broken(rng, data)
        case.fault("broken bytes")
    case.fault("hostile request")
    case.tell(f"sent: {data[:1500]!r}")
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([0, 0, 1, 4])))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    try:
        answer = target.send([piece for piece in pieces if piece])
    except TimeoutError:
        require(False, "a server answers, or ends the connection")
    else:
        case.tell(f"answered: {answer[:500]!r}")
        require(b"HTTP/1.1 500" not in answer, f"no request is the server's fault: {answer[:500]!r}")
    if case.number % 10 == 0 or case.trial.only is not None:
        target.check()


def _request(rng: random.Random, target: Target) -> bytes:
    path, method = rng.choice(target.operations)
    operation = target.document["paths"][path][method]
    if rng.random() < 0.05:
        path, method = (
            rng.choice(["/", "/nowhere", "/health", "/openapi.json", "//", "/%00", "*"]),
            rng.choice(["get", "put", "brew"]),
        )
    query = {
        one["name"]: _text(rng)
        for one in operation.get("parameters", ())
        if one["in"] == "query" and rng.random() < 0.5
    }
    target_ = path + ("?" + "&".join(f"{name}={_quoted(text)}" for name, text in query.items()) if query else "")
    lines = [f"{method.upper()} {target_} HTTP/1.1", "Host: localhost"]
    if rng.random() < 0.9:
        lines.append("Connection: close")
    if rng.random() < 0.9:
        lines.append(f"Authorization: Bearer {rng.choice([TOKEN, TOKEN, TOKEN, READER, 'x'])}")
    lines += [rng.choice(LINES) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    body = b""
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = json.dumps(_value(rng, schema, target.document, 0)).encode("utf-8", "surrogatepass")
        if rng.random() < 0.05:
            body = hostile_text.nested(rng, rng.randint(10, 20_000)).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


def _broken(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    noise = rng.choice(
        [
            b"\0",
            b"\r",
            b"\n",
            b"\r\n\r\n",
            b":",
            b"\xff",
            b"9",
            b"{",
            b'"',
            rng.randbytes(4),
            b"a" * rng.randint(1, 100_000),
        ]
    )
    return rng.choice(
        [data[:at], data[:at] + noise + data[at:], data[:at] + noise + data[at + len(noise) :], data + data[at:]]
    )


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _text(rng: random.Random) -> str:
    return rng.choice(WORDS) if rng.random() < 0.6 else hostile_text.name(rng)


def _value(rng: random.Random, schema: dict[str, Any], document: dict[str, Any], depth: int) -> Any:
    """What a schema describes, more or less."""
    if rng.random() < 0.04 or depth > 12:
        return rng.choice([None, True, [], {}, "", *NUMBERS, _text(rng)])
    if "$ref" in schema:
        return _value(rng, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, depth + 1)
    if "anyOf" in schema:
        return _value(rng, rng.choice(schema["anyOf"]), document, depth + 1)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kinds: dict[str, Callable[[], Any]] = {
        "object": lambda: _object(rng, schema, document, depth),
        "array": lambda: _array(rng, schema, document, depth),
        "string": lambda: _text(rng),
        "integer": lambda: rng.choice([schema.get("minimum", 0), 1, rng.choice(NUMBERS)]),
        "number": lambda: rng.choice(NUMBERS),
        "boolean": lambda: rng.random() < 0.5,
        "null": lambda: None,
    }
    return kinds.get(schema.get("type", "string"), kinds["string"])()


def _object(rng: random.Random, schema: dict[str, Any], document: dict[str, Any], depth: int) -> Any:
    needed = schema.get("required", ())
    chosen = {name: each for name, each in schema.get("properties", {}).items() if name in needed or rng.random() < 0.5}
    found = {name: _value(rng, each, document, depth + 1) for name, each in chosen.items() if rng.random() > 0.02}
    if isinstance(schema.get("additionalProperties"), dict):
        inner = schema["additionalProperties"]
        found |= {_text(rng): _value(rng, inner, document, depth + 1) for _ in range(rng.randint(0, 3))}
    return found


def _array(rng: random.Random, schema: dict[str, Any], document: dict[str, Any], depth: int) -> Any:
    first = [_value(rng, each, document, depth + 1) for each in schema.get("prefixItems", ())]
    inner = schema.get("items")
    more = rng.randint(0, 3) if isinstance(inner, dict) else 0
    found = first + [_value(rng, inner, document, depth + 1) for _ in range(more)] if isinstance(inner, dict) else first
    return found[: rng.randint(0, len(found))] if rng.random() < 0.03 else found
