"""What the SDKs made by Speakeasy share: one method that sends each request, built as HTTP, with its retries inside."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from budgeted.metering.call import Call
from budgeted.providers.metered_method import End, Sent, http_end, pair
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import attempt, attempt_async
from budgeted.wire.normalized_request import Request


class Dialect(ABC):
    """How one SDK's requests are read and altered."""

    @abstractmethod
    def read(self, path: str, http: Any) -> tuple[Request, dict[str, Any]] | None:
        """The request as a call to meter, and its JSON; None if it is not billed.

        Args:
            path: its URL, without a query.
            http: as the SDK has built it for HTTP.

        Raises:
            UnpricedModelError: it starts what is billed out of sight.
        """

    @abstractmethod
    def alter(self, path: str, body: dict[str, Any], call: Call) -> dict[str, Any]:
        """A copy of the JSON with the model and cap that were granted.

        Args:
            path: the URL of the request, without a query.
            body: its JSON.
            call: which says what was granted.
        """

    def encoded(self, http: Any, body: dict[str, Any]) -> bytes:  # noqa: ARG002 - for those that differ
        """What is sent instead of an HTTP request's content.

        Args:
            http: as the SDK has built it.
            body: the altered JSON.
        """
        return msgspec.json.encode(body)

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with its HTTP response; None for one that ends it when it has been read."""
        return http_end(call, response)


class _Sent(Sent):
    """One request, as the SDK has built it for HTTP."""

    dialect: Dialect
    path: str
    body: dict[str, Any]
    http: Any

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose HTTP request has the model and cap that were granted."""
        if not call.capped and call.request is self.request:
            return self.args, self.kwargs
        old = self.http
        body = self.dialect.encoded(old, self.dialect.alter(self.path, self.body, call))
        headers = {name: value for name, value in old.headers.items() if name.lower() != "content-length"}
        http = type(old)(old.method, old.url, headers=headers, content=body, extensions=old.extensions)
        if len(self.args) > 1:
            return (self.args[0], http, *self.args[2:]), self.kwargs
        return self.args, {**self.kwargs, "request": http}

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this HTTP response."""
        return self.dialect.finish(call, response)


def hooks(
    package: str,
    dialect: Dialect,
    *,
    asynchronous: str = "BaseSDK",
    retries: Iterable[str] = ("retry_with_backoff",),
) -> tuple[Hook, ...]:
    """The hooks of one SDK.

    Args:
        package: what its modules are in.
        dialect: how its requests are read.
        asynchronous: the class whose method sends for coroutines.
        retries: the functions that repeat a request; each has a twin for coroutines.
    """
    module = f"{package}.utils.retries"
    return (
        *pair(
            f"{package}.basesdk",
            "BaseSDK.do_request",
            f"{asynchronous}.do_request_async",
            functools.partial(_read, dialect),
        ),
        *(Hook(module, name, _repeated, watched=False) for name in retries),
        *(Hook(module, f"{name}_async", _repeated_async, watched=False) for name in retries),
    )


def _read(dialect: Dialect, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    http = args[1] if len(args) > 1 else kwargs.get("request")
    if http is None or http.method != "POST":
        return None
    path = str(http.url).partition("?")[0].partition("#")[0]
    found = dialect.read(path, http)
    if found is None:
        return None
    sent = _Sent(found[0], args, kwargs)
    sent.dialect, sent.path, sent.body, sent.http = dialect, path, found[1], http
    return sent


def decoded(http: Any) -> dict[str, Any] | None:
    """The JSON object that an HTTP request brings; None if it brings something else."""
    try:
        body = msgspec.json.decode(http.read())
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


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
