"""What the server itself answers to requests that it passes on to no application."""

from __future__ import annotations

import http

import msgspec
from starlette.types import Send


def refusal_body(kind: str, text: str) -> bytes:
    """A refusal as JSON, in the form that this package's servers and most providers have.

    Args:
        kind: a name for programs.
        text: for people.
    """
    return msgspec.json.encode({"error": {"type": kind, "message": text}})


def refusal_bytes(status: int, kind: str, text: str) -> bytes:
    """A refusal as it is sent where there is no request as yet that an answer could belong to.

    Args:
        status: HTTP's.
        kind: a name for programs.
        text: for people.
    """
    body = refusal_body(kind, text)
    line = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}"
    head = f"{line}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


async def refuse(send: Send, status: int, kind: str, text: str, **headers: str) -> None:
    """Answer a request in the application's place, and end its connection.

    Args:
        send: the application's.
        status: HTTP's.
        kind: a name for programs.
        text: for people.
        headers: further ones, with ``_`` for ``-``.
    """
    body = refusal_body(kind, text)
    names = {"content_type": "application/json", "content_length": str(len(body)), "connection": "close", **headers}
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in names.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
