"""httpx and httpx2, where a client's transport sends a request: not what a mock answers in its place."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from budgeted.metering import http_streams
from budgeted.metering.call import Call
from budgeted.providers.http_clients.recognition import (
    UNREADABLE,
    Posted,
    elsewhere,
    is_elsewhere,
    posted,
    recognised,
    watching,
)
from budgeted.providers.metered_method import End, run, run_async
from budgeted.providers.monkeypatching import Hook
from budgeted.wire.content_type_and_encoding import read_whole
from budgeted.wire.provider_hosts import named
from budgeted.wire.request_formats.http_bodies import encoded


class _Posted(Posted):
    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose request has what was granted."""
        http = self.rewritten(call)
        if http is None:
            return self.args, self.kwargs
        old = self.args[0]
        content = encoded(old.content, old.headers.get("content-type", ""), http.body)
        headers = [
            (name, value)
            for name, value in old.headers.multi_items()
            if name.lower() not in ("content-length", "transfer-encoding")
        ]
        url = old.url
        if http.path != self.http.path:
            url = url.copy_with(raw_path=url.raw_path.replace(self.http.path.encode(), http.path.encode(), 1))
        return (type(old)(old.method, url, headers=headers, content=content, extensions=old.extensions),), self.kwargs

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response; None if its body is still to come, and ends it then."""
        if response.status_code >= 300:
            return call.release
        if getattr(response, "is_stream_consumed", True):
            return functools.partial(call.settle, read_whole(response))
        http_streams.watch(response, call, drop_usage=self.hide_usage)
        return None


def _read(request: Any) -> Posted | None:
    url = request.url
    parts = getattr(url, "_uri_reference", None)  # of httpx's own: to ask for each takes longer than all else here
    if parts in elsewhere and not named:
        return None
    # As it is sent: of a name that is quoted in it, a slash is no end.
    scheme, host, port, path = url.scheme, url.host, url.port, url.raw_path.decode("ascii")
    if port is not None:
        host = f"{host}:{port}"
    if is_elsewhere(scheme, host, path, parts) or not watching():
        return None
    headers = request.headers
    found = recognised(scheme, host, path, functools.partial(_content, request), headers)
    return posted(_Posted, (request,), {}, found, headers)


def _content(request: Any) -> object:
    """The body, if it is there or made of what can be read twice."""
    if hasattr(request, "_content"):
        return request.content
    # A form is made anew each time that it is read, and a redirected request has a stream of the same bytes. What was
    # read of them is kept.
    return request.read() if type(request.stream).__name__ in ("MultipartStream", "ByteStream") else UNREADABLE


def _peeked(response: Any, raw: bytes) -> tuple[str, Any]:
    """What an answer says whose body was read, and the answer for its caller, who may read it in any way."""
    kind, status, headers = type(response), response.status_code, response.headers
    package = sys.modules[kind.__module__.partition(".")[0]]
    unread = kind(status, headers=headers, stream=package.ByteStream(raw), extensions=response.extensions)
    return kind(status, headers=headers, content=raw).content.decode("latin-1"), unread


def _sync(original: Callable[..., Any]) -> Callable[..., Any]:
    def handle_request(self: Any, request: Any) -> Any:
        if request.method != "POST":
            return original(self, request)
        sent = _read(request)
        if sent is None:
            return original(self, request)

        def send(request: Any) -> Any:
            response = original(self, request)
            if sent.may_be_refused(response.status_code):
                raw = b"".join(response.iter_raw())  # which closes it
                text, response = _peeked(response, raw)
                if sent.is_refused(response.status_code, text):
                    return original(self, sent.altered(sent.call)[0][0])
            return response

        return run(lambda *_: sent, send, self, (request,), {})

    return handle_request


def _async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def handle_async_request(self: Any, request: Any) -> Any:
        if request.method != "POST":
            return await original(self, request)
        sent = _read(request)
        if sent is None:
            return await original(self, request)

        async def send(request: Any) -> Any:
            response = await original(self, request)
            if sent.may_be_refused(response.status_code):
                raw = b"".join([data async for data in response.aiter_raw()])
                text, response = _peeked(response, raw)
                if sent.is_refused(response.status_code, text):
                    return await original(self, sent.altered(sent.call)[0][0])
            return response

        return await run_async(lambda *_: sent, send, self, (request,), {})

    return handle_async_request


HOOKS = tuple(
    Hook(f"{package}._transports.default", f"{kind}.{method}", make, plain=True)
    for package in ("httpx", "httpx2")
    for kind, method, make in (
        ("HTTPTransport", "handle_request", _sync),
        ("AsyncHTTPTransport", "handle_async_request", _async),
    )
)
