"""The standard library's HTTP client, by which urllib.request sends."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch
from budgeted.metering.owner import Owner
from budgeted.payers.scope import enter, leave
from budgeted.providers.http_clients.recognition import Posted, header, posted, recognised, watching
from budgeted.providers.metered_method import End, early_end, meterable
from budgeted.providers.monkeypatching import Hook
from budgeted.wire.content_type_and_encoding import meter_of
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
        _watch(response, call)
        return None


def _watch(response: Any, call: Call) -> None:
    watch = Watch(call, meter_of(response.headers.get("content-type", ""), drop_usage=False))
    meter = watch.raw_meter(response)
    busy = [False]

    def metered(name: str) -> Callable[..., Any]:
        method = getattr(type(response), name)

        def read(*args: Any, **kwargs: Any) -> Any:
            if busy[0]:  # one way of reading uses another
                return method(response_of(), *args, **kwargs)
            busy[0] = True
            try:
                data = method(response_of(), *args, **kwargs)
            except BaseException as error:
                watch.end_early(error)
                raise
            finally:
                busy[0] = False
            arrived = bytes(args[0][:data]) if name == "readinto" else data
            meter.feed(arrived)
            if response_of().isclosed() and not call.ended:
                meter.flush()
                watch.outcome(None, at_end=True)(None)
            return data

        return read

    response_of: Any = weakref.ref(response)
    for name in ("read", "read1", "readinto", "readline"):
        setattr(response, name, metered(name))
    close = type(response).close

    def closed() -> None:
        if not busy[0]:
            watch.end_early()
        close(response_of())

    response.close = closed
    weakref.finalize(response, watch.end_early)


def _read(connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Posted | None:
    body = kwargs.pop("body", None) if len(args) < 3 else args[2]
    headers = kwargs.pop("headers", {}) if len(args) < 4 else args[3]
    scheme = "https" if hasattr(connection, "_context") else "http"
    host = getattr(connection, "_tunnel_host", None) or connection.host
    port = connection.port if getattr(connection, "_tunnel_host", None) is None else connection._tunnel_port  # noqa: SLF001
    url = str(args[1])
    path = url.partition("://")[2].partition("/")[2] if "://" in url else url.lstrip("/")
    found = recognised(scheme, f"{host}:{port}", f"/{path}", lambda: body, headers)
    sent = posted(_Posted, (args[0], args[1], body, headers), kwargs, found, headers)
    if not isinstance(sent, _Posted):
        return None
    sent.headers, sent.content = headers, body.encode() if isinstance(body, str) else bytes(body)
    return sent


def _make_request(original: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if method != "POST" or not watching():
            return original(self, method, url, *args, **kwargs)
        vars(self).pop(_SENT, None)
        sent = meterable(_read(self, (method, url, *args), {**kwargs}))
        if sent is None:
            return original(self, method, url, *args, **kwargs)
        owner = sent.owner = Owner()
        try:
            call = runner.begin(sent.request, owner)
            if call is None:
                return original(self, method, url, *args, **kwargs)
            given, named = sent.altered(call)
            owner.scope = call.inside()
            enter(owner.scope)
            result = original(self, *given, **named)
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


def _make_getresponse(original: Callable[..., Any]) -> Callable[..., Any]:
    def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        sent: _Posted | None = vars(self).pop(_SENT, None)
        if sent is None:
            return original(self, *args, **kwargs)
        try:
            response = original(self, *args, **kwargs)
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
