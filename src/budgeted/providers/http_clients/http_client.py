"""The standard library's HTTP client, by which urllib.request sends."""

from __future__ import annotations

import functools
import io
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch
from budgeted.metering.owner import Owner
from budgeted.payers.scope import enter, leave
from budgeted.providers.http_clients.recognition import (
    Posted,
    elsewhere,
    header,
    is_elsewhere,
    posted,
    recognised,
    watching,
)
from budgeted.providers.metered_method import End, early_end, meterable
from budgeted.providers.monkeypatching import Hook
from budgeted.wire.content_type_and_encoding import Meter, meter_of
from budgeted.wire.provider_hosts import named
from budgeted.wire.request_formats.http_bodies import encoded

_SENT = "_budgeted_sent"
"""Under this name a connection has what it was asked for, until its answer is asked for."""


class _Posted(Posted):
    headers: Mapping[str, str]
    content: bytes
    owner: Owner

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The method, the URL, the body and the headers that were granted."""
        http = self.rewritten(call)
        if http is None:
            return self.args, self.kwargs
        method, url, *_ = self.args
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        content = encoded(self.content, header(self.headers, "content-type") or "", http.body)
        return (method, str(url).replace(self.http.path, http.path, 1), content, headers), self.kwargs

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response: its body is still to come, and ends it then."""
        if response.status >= 300:
            return call.release
        _watch(response, call, drop_usage=self.hide_usage)
        return None


class _Reading:
    """A response that is being read.

    Args:
        watch: who is told of it.
        meter: what reads it.
        hides: whether that hides what its caller did not ask for.

    Attributes:
        busy: whether one way of reading uses another.
    """

    def __init__(self, watch: Watch, meter: Meter, *, hides: bool) -> None:
        self.watch = watch
        self.meter = meter
        self.hides = hides
        self.busy = False


def _watch(response: Any, call: Call, *, drop_usage: bool) -> None:
    watch = Watch(call, meter_of(response.headers.get("content-type", ""), drop_usage=drop_usage))
    response._budgeted_reading = _Reading(watch, watch.raw_meter(response), hides=drop_usage)  # noqa: SLF001 - what is ours
    # Not its methods, on the object: `urlopen(request).read()` is to keep it until it has been read.
    response.__class__ = _metered(type(response))  # type: ignore[arg-type] # mypy takes any class for unhashable
    weakref.finalize(response, watch.end_early)


@functools.cache
def _metered(kind: type) -> type:
    """A kind of response that tells who watches it what is read of it."""

    class Metered(kind):  # type: ignore[misc] # whatever class a connection has for them
        _budgeted_reading: _Reading

        def read(self, amt: int | None = None) -> bytes:
            return _taken(self, super().read, amt, whole=amt is None or amt < 0)

        def read1(self, n: int = -1) -> bytes:
            return _taken(self, super().read1, n)

        def readline(self, limit: int = -1) -> bytes:
            return _taken(self, super().readline, limit)

        def readinto(self, b: Any) -> int:
            reading = self._budgeted_reading
            if reading.busy:
                return int(super().readinto(b))
            size = 0

            def read_into(_: None) -> bytes:
                nonlocal size
                size = super(Metered, self).readinto(b)
                return bytes(memoryview(b).cast("B")[:size])

            _taken(self, read_into, None)
            return size

        def close(self) -> None:
            if not self._budgeted_reading.busy:
                self._budgeted_reading.watch.end_early()
            super().close()

    Metered.__name__ = Metered.__qualname__ = kind.__name__
    return Metered


def _taken(response: Any, method: Callable[[Any], bytes], argument: int | None, *, whole: bool = False) -> bytes:
    """What a method reads of a response, metered unless it is another one that asks."""
    reading: _Reading = response._budgeted_reading  # noqa: SLF001 - what is ours
    if reading.busy:
        return method(argument)
    watch = reading.watch
    try:
        reading.busy = True
        try:
            data = method(argument)
        finally:
            reading.busy = False
        shown = reading.meter.feed(data)
        if (response.isclosed() or response.length == 0) and not watch.call.ended:
            shown += reading.meter.flush() or b""
            watch.outcome(None, at_end=True)(None)
        return shown if whole and reading.hides else data
    except BaseException as error:
        watch.end_early(error)
        raise


def _key(connection: Any, url: object) -> object:
    """What a URL is known by before it is taken apart."""
    tunnel = getattr(connection, "_tunnel_host", None)
    return type(connection), connection.host, connection.port, tunnel and (tunnel, connection._tunnel_port), url  # noqa: SLF001


def _read(connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Posted | None:
    scheme = "https" if hasattr(connection, "_context") else "http"
    host = getattr(connection, "_tunnel_host", None) or connection.host
    port = connection.port if getattr(connection, "_tunnel_host", None) is None else connection._tunnel_port  # noqa: SLF001
    url = str(args[1])
    path = url.partition("://")[2].partition("/")[2] if "://" in url else url.lstrip("/")
    if is_elsewhere(scheme, f"{host}:{port}", f"/{path}", _key(connection, args[1])) or not watching():
        return None
    body = kwargs.pop("body", None) if len(args) < 3 else args[2]
    headers = kwargs.pop("headers", {}) if len(args) < 4 else args[3]
    found = recognised(scheme, f"{host}:{port}", f"/{path}", lambda: body, headers)
    sent = posted(_Posted, (args[0], args[1], body, headers), kwargs, found, headers)
    if not isinstance(sent, _Posted):
        return None
    sent.headers, sent.content = headers, body.encode() if isinstance(body, str) else bytes(body)
    return sent


def _make_request(original: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        left = vars(self).pop(_SENT, None)
        if left is not None:  # sent, and nobody has asked for its answer: the next one is another's
            _end(left, GeneratorExit())
        if method != "POST" or (_key(self, url) in elsewhere and not named):
            return original(self, method, url, *args, **kwargs)
        sent = meterable(_read(self, (method, url, *args), {**kwargs}))
        if sent is None:
            return original(self, method, url, *args, **kwargs)
        owner = sent.owner = Owner()
        try:
            call = runner.begin(sent.request, owner)
            if call is None:
                return original(self, method, url, *args, **kwargs)
            given, by_name = sent.altered(call)
            owner.scope = call.inside()
            enter(owner.scope)
            result = original(self, *given, **by_name)
            leave(owner.scope)
            vars(self)[_SENT] = sent
            return result
        except BaseException as error:
            _end(sent, error)
            raise

    return request


def _end(sent: _Posted, error: BaseException) -> None:
    """Whatever was raised, and wherever: end the call."""
    owner = sent.owner
    if owner.scope is not None:
        leave(owner.scope)
    end = early_end(owner, sent, error)
    if end is not None:
        end(None)
    owner.give_up(error)


def _send_again(connection: Any, sent: _Posted) -> None:
    """Send a request once more that was refused for what was written into it."""
    scope = sent.owner.scope = sent.call.inside()
    args, kwargs = sent.altered(sent.call)
    enter(scope)
    connection.request(*args, **kwargs)
    leave(scope)


def _make_getresponse(original: Callable[..., Any]) -> Callable[..., Any]:
    def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        sent: _Posted | None = vars(self).pop(_SENT, None)
        if sent is None:
            return original(self, *args, **kwargs)
        try:
            response = original(self, *args, **kwargs)
            if sent.may_be_refused(response.status):
                body = response.read()
                if sent.is_refused(response.status, body.decode("latin-1")):
                    _send_again(self, sent)
                    response = original(self, *args, **kwargs)
                else:  # for its caller, who can still read it
                    response.fp, response.length, response.chunked = io.BytesIO(body), len(body), False
            call = sent.owner.call
            if call is not None:
                sent.owner.end = sent.finish(call, response)
                if sent.owner.end is not None:
                    sent.owner.end(None)
            return response
        except BaseException as error:
            _end(sent, error)
            raise

    return getresponse


HOOKS = (
    Hook("http.client", "HTTPConnection.request", _make_request, plain=True),
    Hook("http.client", "HTTPConnection.getresponse", _make_getresponse, plain=True),
)
