"""The Ollama SDK: chat, generate and embed, free unless priced."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch, items, items_async
from budgeted.metering.owner import Owner
from budgeted.payers.scope import Scope
from budgeted.providers.generator_context_propagation import payers, steps, steps_async
from budgeted.providers.metered_method import Sent, run, run_async
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.wire.request_formats.http_request import HTTPRequest
from budgeted.wire.request_formats.ollama import Ollama
from budgeted.wire.sdk_object_fields import fields_of
from budgeted.wire.stream_usage import ItemMeter

_MODULE = "ollama._client"
_FORMAT = Ollama()


class _Sent(Sent):
    """One request, as the SDK gives it to its HTTP client."""

    http: HTTPRequest

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose JSON has the model and cap that were granted."""
        http = self.granted(_FORMAT, self.http, call)
        return self.args, self.kwargs if http is self.http else {**self.kwargs, "json": http.body}


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    path = args[2] if len(args) > 2 else kwargs.get("url")
    body = kwargs.get("json")
    if not isinstance(path, str) or not isinstance(body, Mapping):
        return None
    http = HTTPRequest(path, body, "ollama", str(client._client.base_url))  # noqa: SLF001 - the SDK keeps it nowhere else
    request = _FORMAT.read(http)
    if request is None:
        return None
    sent = _Sent(request, args, kwargs)
    sent.http = http
    return sent


def _request(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    sent = _read(client, args, kwargs) if enabled() and kwargs.get("stream") else None
    if sent is None:
        return run(_read, wrapped, client, args, kwargs)
    return _stream(sent, payers(), wrapped)


async def _request_async(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    sent = _read(client, args, kwargs) if enabled() and kwargs.get("stream") else None
    if sent is None:
        return await run_async(_read, wrapped, client, args, kwargs)
    watching: list[Watch] = []
    stream = _stream_async(sent, payers(), wrapped, watching)
    # For a stream that is forgotten half read: its generator would settle the call, but is not closed once its loop is
    # gone.
    weakref.finalize(stream, _forget, watching)
    return stream


def _stream(sent: _Sent, scope: Scope | None, wrapped: Callable[..., Any]) -> Iterator[Any]:
    """The SDK's generator sends its request when it is first read: so it is held then, for whoever asked."""
    owner, watch = Owner(), None
    try:
        call = runner.begin(sent.request, owner, scope)
        if call is None:
            yield from wrapped(*sent.args, **sent.kwargs)
            return
        args, kwargs = sent.altered(call)
        with contextlib.closing(steps(call.inside(), wrapped(*args, **kwargs))) as source:
            watch = _watch(call)
            yield from items(source, watch)
    except BaseException as error:
        _end(owner, watch, error)
        raise


async def _stream_async(
    sent: _Sent, scope: Scope | None, wrapped: Callable[..., Any], watching: list[Watch]
) -> AsyncIterator[Any]:
    owner, watch = Owner(), None
    try:
        call = await runner.begin_async(sent.request, owner, scope)
        if call is None:
            async with contextlib.aclosing(await wrapped(*sent.args, **sent.kwargs)) as unmetered:
                async for item in unmetered:
                    yield item
            return
        args, kwargs = sent.altered(call)
        async with contextlib.aclosing(steps_async(call.inside(), await wrapped(*args, **kwargs))) as source:
            watch = _watch(call)
            watching.append(watch)
            async with contextlib.aclosing(items_async(source, watch)) as parts:
                async for item in parts:
                    yield item
    except BaseException as error:
        _end(owner, watch, error)
        raise


def _end(owner: Owner, watch: Watch | None, error: BaseException) -> None:
    """Whatever was raised, and wherever: end the call, which may have ended already."""
    if watch is None:
        owner.give_up(error)
    else:
        watch.end_early(error)


def _watch(call: Call) -> Watch:
    return Watch(call, ItemMeter(_said, ends=True))


def _said(part: Any) -> Mapping[str, Any] | str:
    """What a part of an answer says: its text, and the last one its counts."""
    if part.done:
        return fields_of(part)
    message = getattr(part, "message", None)
    text = part.response if message is None else message.content or message.thinking
    return text or ""


def _forget(watching: list[Watch]) -> None:
    for watch in watching:
        watch.end_early()


HOOKS = (
    Hook(_MODULE, "Client._request", _request),
    Hook(_MODULE, "AsyncClient._request", _request_async),
)
