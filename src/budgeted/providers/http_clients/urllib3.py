"""urllib3, by which requests, botocore and many SDKs send."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

from budgeted.metering import http_streams
from budgeted.metering.call import Call
from budgeted.providers.http_clients.recognition import (
    Posted,
    elsewhere,
    header,
    is_elsewhere,
    posted,
    recognised,
    watching,
)
from budgeted.providers.metered_method import End, run
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import note_lost
from budgeted.wire.content_type_and_encoding import read_whole, without_usage
from budgeted.wire.provider_hosts import named
from budgeted.wire.request_formats.http_bodies import encoded

_BODY, _HEADERS, _RETRIES = 2, 3, 4
"""Where the arguments have them, behind the method and the URL."""


class _Posted(Posted):
    headers: Mapping[str, str]
    content: bytes

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the body and the headers that were granted."""
        http = self.rewritten(call)
        if http is None:
            return self.args, self.kwargs
        content = encoded(self.content, header(self.headers, "content-type") or "", http.body)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("content-length", "transfer-encoding")
        }
        url = self.args[1]
        if http.path != self.http.path:
            url = url.replace(self.http.path, http.path, 1)
        kwargs = {**self.kwargs, "body": content, "headers": headers, "chunked": False}
        return (self.args[0], url, *self.args[_HEADERS + 1 :]), kwargs

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response; None if its body is still to come, and ends it then."""
        if response.status >= 300:
            return call.release
        # Whether it was read: asking for the data would read it. A recorder's own response (vcrpy's) has it all.
        if getattr(response, "_body", b"") is not None:
            data = getattr(response, "data", None)
            if self.hide_usage and data:
                response._body = without_usage(data)  # noqa: SLF001 - there is no other way to change it
            return functools.partial(call.settle, read_whole(data))
        http_streams.watch(response, call, drop_usage=self.hide_usage)
        return None


def _key(pool: Any, url: object) -> object:
    """What a URL is known by before it is taken apart."""
    return pool.scheme, pool.host, pool.port, url if isinstance(url, str) else str(url)


def _read(pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Posted | None:
    url = str(args[1])
    scheme, host, path = pool.scheme, pool.host, url
    if "://" in url:  # through a proxy
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        path = f"/{path}"
    elif pool.port is not None:
        host = f"{host}:{pool.port}"
    if is_elsewhere(scheme, host, path, _key(pool, args[1])) or not watching():
        return None
    body = kwargs.get("body", args[_BODY] if len(args) > _BODY else None)
    headers = kwargs.get("headers", args[_HEADERS] if len(args) > _HEADERS else None)
    headers = pool.headers if headers is None else headers
    found = recognised(scheme, host, path, lambda: body, headers)
    sent = posted(_Posted, args, kwargs, found, headers)
    if not isinstance(sent, _Posted):
        return None
    sent.headers, sent.content = headers, body.encode() if isinstance(body, str) else bytes(body or b"")
    return sent


def _peeked(response: Any) -> tuple[str, Any]:
    """What an answer says, and the answer for its caller, who may read it in any way."""
    if response._body is not None:  # noqa: SLF001 - as above
        return response.data.decode("latin-1"), response
    raw = response.read(decode_content=False)

    def unread() -> Any:
        return type(response)(
            io.BytesIO(raw),
            response.headers,
            response.status,
            version=response.version,
            reason=response.reason,
            preload_content=False,
            decode_content=response.decode_content,
            original_response=response._original_response,  # noqa: SLF001 - where requests looks for cookies
            retries=response.retries,
            request_url=response.geturl(),
        )

    return unread().data.decode("latin-1"), unread()


def _make(original: Callable[..., Any]) -> Callable[..., Any]:
    def urlopen(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "POST":
            return original(self, method, *args, **kwargs)
        if _key(self, args[0] if args else kwargs.get("url")) in elsewhere and not named:
            return original(self, method, *args, **kwargs)
        args = (method, *args) if args else (method, kwargs.pop("url"))
        sent = _read(self, args, kwargs)
        if sent is None:
            # urllib3 repeats a request by asking itself again, and says why the one before has failed.
            retries = kwargs.get("retries", args[_RETRIES] if len(args) > _RETRIES else None)
            history = getattr(retries, "history", None)
            if history:
                note_lost(history[-1].error)
            return original(self, *args, **kwargs)

        def send(*args: Any, **kwargs: Any) -> Any:
            response = original(self, *args, **kwargs)
            if sent.may_be_refused(response.status):
                text, response = _peeked(response)
                if sent.is_refused(response.status, text):
                    args, kwargs = sent.altered(sent.call)
                    return original(self, *args, **kwargs)
            return response

        return run(lambda *_: sent, send, self, args, kwargs)

    return urlopen


HOOKS = (Hook("urllib3.connectionpool", "HTTPConnectionPool.urlopen", _make, plain=True),)
