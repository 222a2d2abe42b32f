"""Headers that make no sense, refused before anything is asked: a malformed host, or two where one decides."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from budgeted.http_server.refusals import refuse

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
"""A host and its port (https://www.rfc-editor.org/rfc/rfc9110#section-7.2)."""

_LONGEST_HOST = 300
"""Bytes: a name has at most 253."""

_ONCE = (b"authorization", b"content-length", b"host", b"idempotency-key", b"idempotency-repeat")
"""Headers of which one decides: a proxy and this server may each take another of two."""


class CheckedHeaders:
    """Around an application: refuses, with status 400, requests whose headers make no sense."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the application, if the headers may pass."""
        problem = _problem(scope["headers"]) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await refuse(send, 400, "BadRequest", problem)


def _problem(headers: list[tuple[bytes, bytes]]) -> str | None:
    seen = set()
    for name, value in headers:
        if name in _ONCE:
            if name in seen:
                return f"the header {name.decode()} is there twice"
            seen.add(name)
        if name == b"host":
            host, _, port = value.rpartition(b":")
            valid = len(value) <= _LONGEST_HOST and _HOST.fullmatch(value)
            if not valid or (host and port.isdigit() and int(port) > 65_535):
                return "the Host header names no host"
    return None
