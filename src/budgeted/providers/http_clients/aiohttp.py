"""aiohttp, where a session makes a request: its answer is read as it arrives, by whatever it is read with."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch
from budgeted.metering.owner import end_anywhere
from budgeted.providers.http_clients.recognition import (
    UNREADABLE,
    Posted,
    elsewhere,
    is_elsewhere,
    posted,
    recognised,
    watching,
    without_length,
)
from budgeted.providers.metered_method import End, run_async
from budgeted.providers.monkeypatching import Hook
from budgeted.wire.content_type_and_encoding import Meter, meter_of
from budgeted.wire.provider_hosts import named
from budgeted.wire.request_formats.http_bodies import encode, encoded

_watches: dict[int, tuple[Any, Watch, Meter]] = {}
"""By the id of a stream, the stream itself, who watches it, and what reads it: they have no room for more."""


class _Posted(Posted):
    content: bytes
    content_type: str
    unpacks: bool

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the body that was granted."""
        http = self.rewritten(call)
        if http is None:
            return self.args, self.kwargs
        method, url = self.args[:2]
        if http.path != self.http.path:
            url = str(url).replace(self.http.path, http.path, 1)
        kwargs = {**self.kwargs}
        if kwargs.get("json") is not None:
            kwargs["json"] = http.body
        else:
            kwargs["data"] = encoded(self.content, self.content_type, http.body)
        if kwargs.get("headers"):
            kwargs["headers"] = without_length(kwargs["headers"])
        return (method, url), kwargs

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response: its body is still to come, and ends it then."""
        if response.status >= 300:
            return call.release
        _watch(response, call, unpacks=self.unpacks, drop_usage=self.hide_usage)
        return None


def _watch(response: Any, call: Call, *, unpacks: bool, drop_usage: bool) -> None:
    reader = response.content
    watch = Watch(call, meter_of(response.headers.get("content-type", ""), drop_usage=drop_usage))
    meter: Meter = watch.meter if unpacks else watch.raw_meter(response)
    pieces = [meter.feed(data) for data in getattr(reader, "_buffer", ())]  # what has come already is told to nobody
    if reader.is_eof():
        _refill(reader, [*pieces, meter.flush() or b""])
        _at_end(watch)
        return
    _refill(reader, pieces)
    _watches[id(reader)] = reader, watch, meter
    reader.__class__ = _metered(type(reader))  # type: ignore[arg-type] # mypy takes the class of anything for unhashable
    weakref.finalize(response, _forget, id(reader))


def _refill(reader: Any, pieces: Iterable[bytes]) -> None:
    """Have a stream that nobody has read from tell these as what has come so far."""
    pieces = [data for data in pieces if data]
    if pieces or getattr(reader, "_buffer", None):
        reader._buffer.clear()  # noqa: SLF001 - there is no other way to tell it again
        reader._buffer.extend(pieces)  # noqa: SLF001
        reader._size = sum(map(len, pieces))  # noqa: SLF001


def _at_end(watch: Watch) -> None:
    watch.meter.flush()
    if not watch.call.ended:
        end_anywhere(watch.call, watch.outcome(None, at_end=True))


def _forget(reader: int, error: BaseException | None = None) -> None:
    """A stream is left: closed, broken or forgotten."""
    found = _watches.pop(reader, None)
    if found is not None:
        found[1].end_early(error)


@functools.cache
def _metered(kind: type) -> type:
    """A kind of stream that tells who watches it what arrives."""

    class Metered(kind):  # type: ignore[misc] # aiohttp's, which is imported only where it is used
        __slots__ = ()

        def feed_data(self, data: bytes, *args: Any) -> Any:
            found = _watches.get(id(self))
            if found is not None and data:
                data = found[2].feed(data)
                if not data:  # held back until an event is complete, or hidden
                    return False
            return super().feed_data(data, *args)

        def feed_eof(self) -> None:
            found = _watches.pop(id(self), None)
            if found is not None:
                rest = found[2].flush()
                if rest:
                    super().feed_data(rest)
                _at_end(found[1])
            super().feed_eof()

        def set_exception(self, exc: BaseException, *args: Any) -> None:
            closed = type(exc).__name__ == "ClientConnectionError" and str(exc) == "Connection closed"
            _forget(id(self), GeneratorExit() if closed else exc)
            super().set_exception(exc, *args)

    Metered.__name__ = Metered.__qualname__ = kind.__name__
    return Metered


def _read(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Posted | None:
    base = getattr(session, "_base_url", None)
    url = args[1]
    parts = urlsplit(str(url) if base is None else str(base.join(type(base)(str(url)))))
    host = parts.netloc.rpartition("@")[2]
    if is_elsewhere(parts.scheme, host, parts.path, url if base is None else None):
        return None
    headers = dict(getattr(session, "_default_headers", None) or {}) | dict(kwargs.get("headers") or {})
    given = kwargs.get("json")
    content = functools.partial(_encoded, given) if given is not None else lambda: kwargs.get("data")
    if given is not None:
        headers.setdefault("content-type", "application/json")
    found = recognised(parts.scheme, host, parts.path, content, headers)
    sent = posted(_Posted, args, kwargs, found, headers)
    if isinstance(sent, _Posted):
        unpacks = kwargs.get("auto_decompress")
        sent.unpacks = getattr(session, "_auto_decompress", True) if unpacks is None else bool(unpacks)
        data = content()
        sent.content = data.encode() if isinstance(data, str) else bytes(data) if isinstance(data, bytes) else b""
        sent.content_type = str(headers.get("content-type") or headers.get("Content-Type") or "")
    return sent


def _encoded(given: object) -> object:
    try:
        return encode(given)
    except (TypeError, ValueError, RecursionError):
        return UNREADABLE


def _make(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def request(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        sent = _read(self, args, kwargs) if watching() else None
        if sent is None:
            return await original(self, *args, **kwargs)

        async def send(*args: Any, **kwargs: Any) -> Any:
            response = await original(self, *args, **kwargs)
            if sent.may_be_refused(response.status):
                body = await response.read()
                if sent.is_refused(response.status, body.decode("latin-1")):
                    args, kwargs = sent.altered(sent.call)
                    return await original(self, *args, **kwargs)
                _refill(response.content, [body])
            return response

        return await run_async(lambda *_: sent, send, self, args, kwargs)

    # No coroutine function: what is not metered is awaited as if nothing were here.
    def _request(self: Any, method: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        if method == "GET" or str(method).upper() != "POST":
            return original(self, method, *args, **kwargs)
        url = args[0] if args else kwargs.get("str_or_url")
        if url in elsewhere and getattr(self, "_base_url", None) is None and not named:
            return original(self, method, *args, **kwargs)
        return request(self, (method, *args) if args else (method, kwargs.pop("str_or_url")), kwargs)

    return _request


HOOKS = (Hook("aiohttp.client", "ClientSession._request", _make, plain=True),)
