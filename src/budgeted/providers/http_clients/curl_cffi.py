"""curl_cffi, whose sessions send by libcurl."""

from __future__ import annotations

import functools
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch, items, items_async
from budgeted.providers.http_clients.recognition import (
    UNREADABLE,
    Posted,
    header,
    passes,
    posted,
    recognised,
    without_length,
)
from budgeted.providers.metered_method import End, run, run_async
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import attempt, attempt_async
from budgeted.wire.content_type_and_encoding import meter_of, read_whole, without_usage
from budgeted.wire.request_formats.http_bodies import encode, encoded


class _Posted(Posted):
    content: bytes
    content_type: str

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the body that was granted."""
        http = self.rewritten(call)
        if http is None:
            return self.args, self.kwargs
        method, url = self.args[:2]
        kwargs = {**self.kwargs}
        if kwargs.get("json") is not None:
            kwargs["json"] = http.body
        else:
            kwargs.pop("content", None)
            kwargs["data"] = encoded(self.content, self.content_type, http.body)
        if kwargs.get("headers"):
            kwargs["headers"] = without_length(kwargs["headers"])
        return (method, str(url).replace(self.http.path, http.path, 1)), kwargs

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response; None if its body is still to come, and ends it then."""
        if response.status_code >= 300:
            return call.release
        if not self.kwargs.get("stream"):
            answer = read_whole(response.content)
            if self.hide_usage:
                response.content = without_usage(response.content)
            return functools.partial(call.settle, answer)
        _watch(response, call, drop_usage=self.hide_usage)
        return None


def _watch(response: Any, call: Call, *, drop_usage: bool) -> None:
    watch = Watch(call, meter_of(response.headers.get("content-type", ""), drop_usage=drop_usage))
    response._budgeted_watch = watch  # noqa: SLF001 - what is ours
    # Not its methods, on the object: `post(..., stream=True).iter_content()` is to keep it until it has been read.
    response.__class__ = _metered(type(response))  # type: ignore[arg-type] # mypy takes any class for unhashable
    weakref.finalize(response, watch.end_early)


@functools.cache
def _metered(kind: type) -> type:
    """A kind of response that tells who watches it what is read of it."""

    class Metered(kind):  # type: ignore[misc] # curl_cffi's, which is imported only where it is used
        _budgeted_watch: Watch

        def iter_content(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
            return items(super().iter_content(*args, **kwargs), self._budgeted_watch)

        def aiter_content(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
            return items_async(super().aiter_content(*args, **kwargs), self._budgeted_watch)

        def close(self) -> None:
            try:
                if not self._budgeted_watch.reading:  # else it closes itself, as its last byte has come
                    self._budgeted_watch.end_early()
            finally:
                super().close()

        async def aclose(self) -> None:
            try:
                if not self._budgeted_watch.reading:  # else it closes itself, as its last byte has come
                    self._budgeted_watch.end_early()
            finally:
                await super().aclose()

    Metered.__name__ = Metered.__qualname__ = kind.__name__
    return Metered


def _read(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Posted | None:
    url = str(args[1])
    base = getattr(session, "base_url", None)
    parts = urlsplit(url if not base or "://" in url else f"{str(base).rstrip('/')}/{url.lstrip('/')}")
    host = parts.netloc.rpartition("@")[2]
    if passes(parts.scheme, host, parts.path):
        return None
    headers = {**dict(getattr(session, "headers", None) or {}), **dict(kwargs.get("headers") or {})}
    given = kwargs.get("json")
    content_type = header(headers, "content-type") or ("application/json" if given is not None else "")
    headers = {**headers, "content-type": content_type}
    content = functools.partial(_content, kwargs)
    sent = posted(_Posted, args, kwargs, recognised(parts.scheme, host, parts.path, content, headers), headers)
    if isinstance(sent, _Posted):
        data = content()
        sent.content = data.encode() if isinstance(data, str) else bytes(data) if isinstance(data, bytes) else b""
        sent.content_type = content_type
    return sent


def _content(kwargs: dict[str, Any]) -> object:
    if kwargs.get("files") is not None or kwargs.get("multipart") is not None:
        return UNREADABLE
    if kwargs.get("json") is None:
        data = kwargs.get("data")
        return data if data is not None else kwargs.get("content")
    try:
        return encode(kwargs["json"])
    except (TypeError, ValueError, RecursionError):
        return UNREADABLE


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _make(original: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        if str(method).upper() != "POST":
            return original(self, method, *args, **kwargs)
        given = (method, *args) if args else (method, kwargs.pop("url"))
        sent = _read(self, given, kwargs)
        if sent is None:
            return original(self, *given, **kwargs)

        def send(*args: Any, **kwargs: Any) -> Any:
            response = original(self, *args, **kwargs)
            if sent.may_be_refused(response.status_code):
                body = b"".join(response.iter_content()) if kwargs.get("stream") else response.content
                if sent.is_refused(response.status_code, body.decode("latin-1")):
                    args, kwargs = sent.altered(sent.call)
                    return original(self, *args, **kwargs)
                if kwargs.get("stream"):
                    response.iter_content = lambda *_, **__: iter((body,))
            return response

        return run(lambda *_: sent, send, self, given, kwargs)

    return request


def _make_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def request(self: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        if str(method).upper() != "POST":
            return await original(self, method, *args, **kwargs)
        given = (method, *args) if args else (method, kwargs.pop("url"))
        sent = _read(self, given, kwargs)
        if sent is None:
            return await original(self, *given, **kwargs)

        async def send(*args: Any, **kwargs: Any) -> Any:
            response = await original(self, *args, **kwargs)
            if sent.may_be_refused(response.status_code):
                body = await response.acontent() if kwargs.get("stream") else response.content
                if sent.is_refused(response.status_code, body.decode("latin-1")):
                    args, kwargs = sent.altered(sent.call)
                    return await original(self, *args, **kwargs)
                if kwargs.get("stream"):
                    response.aiter_content = lambda *_, **__: _one(body)
            return response

        return await run_async(lambda *_: sent, send, self, given, kwargs)

    return request


HOOKS = (
    Hook("curl_cffi.requests.session", "Session.request", _make, plain=True),
    Hook("curl_cffi.requests.session", "AsyncSession.request", _make_async, plain=True),
    Hook("curl_cffi.requests.session", "Session._request_once", attempt, optional=True),
    Hook("curl_cffi.requests.session", "AsyncSession._request_once", attempt_async, optional=True),
)
