"""The least that a proxy can do in Python: ``python -m benchmarks.bare_proxies aiohttp|httpx PORT UPSTREAM``.

Raw ASGI on uvicorn with httptools and uvloop. A request's body is read whole and sent on by a client library; the
answer goes back piece by piece. Nothing is looked at, and nothing is done when the library fails.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable

import aiohttp
import httpx
import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

Headers = Iterable[tuple[bytes, bytes]]
OURS = frozenset((b"connection", b"transfer-encoding"))
NOT_SENT = OURS | {b"host", b"content-length"}


async def whole(receive: Receive) -> bytes:
    """The body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def passed_on(send: Send, status: int, headers: Headers, pieces: AsyncIterator[bytes]) -> None:
    """Answer what the upstream has answered."""
    kept = [(lower, value) for name, value in headers if (lower := name.lower()) not in OURS]
    await send({"type": "http.response.start", "status": status, "headers": kept})
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def by_aiohttp(upstream: str) -> ASGIApp:
    client = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole(receive)
        url = upstream + scope["path"]
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"] if n not in NOT_SENT]
        async with client.request(scope["method"], url, headers=headers, data=body, allow_redirects=False) as answer:
            await passed_on(send, answer.status, answer.raw_headers, answer.content.iter_any())

    return app


def by_httpx(upstream: str) -> ASGIApp:
    client = httpx.AsyncClient(limits=httpx.Limits(), timeout=None)  # noqa: S113 - as a proxy must wait for models

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole(receive)
        url = upstream + scope["path"]
        headers = [header for header in scope["headers"] if header[0] not in NOT_SENT]
        async with client.stream(scope["method"], url, headers=headers, content=body) as answer:
            await passed_on(send, answer.status_code, answer.headers.raw, answer.aiter_raw())

    return app


async def serve(library: str, port: int, upstream: str) -> None:
    app = {"aiohttp": by_aiohttp, "httpx": by_httpx}[library](upstream)
    config = uvicorn.Config(app, port=port, loop="uvloop", http="httptools", lifespan="off", access_log=False)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
