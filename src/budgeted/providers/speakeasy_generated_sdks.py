"""What the SDKs made by Speakeasy share: one method that sends each request, built as HTTP, with its retries inside."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from budgeted.metering.call import Call
from budgeted.providers.metered_method import End, Sent, http_end, pair
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import attempt, attempt_async
from budgeted.wire.request_formats.http_bodies import decoded, encoded
from budgeted.wire.request_formats.http_request import Format, HTTPRequest


class SDK(NamedTuple):
    """One SDK: how its requests are read and written, whose prices apply, and how its calls end."""

    format: Format
    provider: str
    finish: Callable[[Call, Any], End | None] = http_end


class _Sent(Sent):
    """One request, as the SDK has built it for HTTP."""

    sdk: SDK
    http: HTTPRequest
    built: Any

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose HTTP request has the model and cap that were granted."""
        http = self.granted(self.sdk.format, self.http, call)
        if http is self.http:
            return self.args, self.kwargs
        old = self.built
        content = encoded(old.read(), old.headers.get("content-type", ""), http.body)
        headers = {name: value for name, value in old.headers.items() if name.lower() != "content-length"}
        built = type(old)(old.method, old.url, headers=headers, content=content, extensions=old.extensions)
        if len(self.args) > 1:
            return (self.args[0], built, *self.args[2:]), self.kwargs
        return self.args, {**self.kwargs, "request": built}

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this HTTP response."""
        return self.sdk.finish(call, response)


def hooks(
    package: str,
    sdk: SDK,
    *,
    asynchronous: str = "BaseSDK",
    retries: Iterable[str] = ("retry_with_backoff",),
) -> tuple[Hook, ...]:
    """The hooks of one SDK.

    Args:
        package: what its modules are in.
        sdk: how its requests are read.
        asynchronous: the class whose method sends for coroutines.
        retries: the functions that repeat a request; each has a twin for coroutines.
    """
    module = f"{package}.utils.retries"
    return (
        *pair(
            f"{package}.basesdk",
            "BaseSDK.do_request",
            f"{asynchronous}.do_request_async",
            functools.partial(_read, sdk),
        ),
        *(Hook(module, name, _repeated, watched=False) for name in retries),
        *(Hook(module, f"{name}_async", _repeated_async, watched=False) for name in retries),
    )


def _read(sdk: SDK, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    built = args[1] if len(args) > 1 else kwargs.get("request")
    if built is None or built.method != "POST":
        return None
    path = str(built.url).partition("?")[0].partition("#")[0]
    body = decoded(built.read(), built.headers.get("content-type", ""))
    http = HTTPRequest(path, body or {}, sdk.provider, str(built.url.copy_with(raw_path=b"/")))
    request = sdk.format.read(http)
    if request is None or not (request.unseen or body is not None):
        return None
    sent = _Sent(request, args, kwargs)
    sent.sdk, sent.http, sent.built = sdk, http, built
    return sent


def _repeated(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the function that repeats a request, whose attempts are told apart."""
    if not args:
        return wrapped(*args, **kwargs)
    send: Callable[..., Any] = args[0]

    def one(*given: Any, **named: Any) -> Any:
        return attempt(send, client, given, named)

    return wrapped(one, *args[1:], **kwargs)


async def _repeated_async(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if not args:
        return await wrapped(*args, **kwargs)
    send: Callable[..., Awaitable[Any]] = args[0]

    async def one(*given: Any, **named: Any) -> Any:
        return await attempt_async(send, client, given, named)

    return await wrapped(one, *args[1:], **kwargs)
