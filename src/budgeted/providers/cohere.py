"""The Cohere SDK: chat, embeddings and reranking, of the second version of its API and the first."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner
from budgeted.payers.scope import Scope, enter, leave
from budgeted.providers.generator_context_propagation import for_caller
from budgeted.providers.metered_method import End, Sent, early_end, http_end, meterable, run, run_async, units_end
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.providers.sdk_retries import repeat, repeat_async
from budgeted.wire.request_formats.cohere import Cohere, is_by_number, units
from budgeted.wire.request_formats.http_request import HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import mapping

_MODULE = "cohere.core.http_client"
_FORMAT = Cohere()


class _Sent(Sent):
    """One request, as the SDK gives it to its HTTP client."""

    http: HTTPRequest

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose JSON has the model and cap that were granted."""
        http = self.granted(_FORMAT, self.http, call)
        changes = {name: value for name, value in http.body.items() if value is not self.http.body.get(name)}
        if not changes:
            return self.args, self.kwargs
        kwargs = {**self.kwargs, "json": {**self.kwargs["json"], **changes}}
        options = mapping(kwargs.get("request_options"))
        extra = mapping(options.get("additional_body_parameters"))
        if not changes.keys().isdisjoint(extra):
            kept = {name: value for name, value in extra.items() if name not in changes}
            kwargs["request_options"] = {**options, "additional_body_parameters": kept}
        return self.args, kwargs

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this HTTP response: the SDK makes an error of a bad status only later."""
        end = http_end(call, response)
        if end is None or response.status_code >= 400 or not is_by_number(call.request):
            return end
        return units_end(call, units(response.content, call.request)) if call.price and call.price.per_call else end


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    given = kwargs.get("json")
    if kwargs.get("method") != "POST":
        return None
    omit = kwargs.get("omit")
    body = {name: value for name, value in mapping(given).items() if value is not omit and value is not None}
    body.update(mapping(mapping(kwargs.get("request_options")).get("additional_body_parameters")))
    base_url = kwargs.get("base_url") or (client.base_url() if callable(client.base_url) else None)
    path = str(args[0] if args else kwargs.get("path")).strip("/")
    http = HTTPRequest(path, body, "cohere", None if base_url is None else str(base_url))
    request = _FORMAT.read(http)
    if request is None or not (request.unseen or isinstance(given, Mapping)):
        return None
    sent = _Sent(request, args, kwargs)
    sent.http = http
    return sent


def _request(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # The SDK repeats a request by calling this method from inside it, while it handles what went wrong.
    return repeat(wrapped, client, args, kwargs) if kwargs.get("retries") else run(_read, wrapped, client, args, kwargs)


async def _request_async(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if kwargs.get("retries"):
        return await repeat_async(wrapped, client, args, kwargs)
    return await run_async(_read, wrapped, client, args, kwargs)


@contextlib.contextmanager
def _entered(scope: Scope | None) -> Iterator[None]:
    """Send inside a scope; None for the one that is current."""
    try:
        if scope is not None:
            enter(scope)
        yield
    finally:
        if scope is not None:
            leave(scope)


@contextlib.contextmanager
def _stream(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    sent = meterable(_read(client, args, kwargs)) if enabled() else None
    owner, watched = Owner(), False
    try:
        call = None if sent is None else runner.begin(sent.request, owner)
        inside = None
        if sent is not None and call is not None:
            args, kwargs = sent.altered(call)
            inside = call.inside()  # what the SDK sends by is a part of this call
        with contextlib.ExitStack() as stack:
            with _entered(inside):
                response = stack.enter_context(wrapped(*args, **kwargs))
            if sent is not None and call is not None:
                owner.end = sent.finish(call, response)
                if owner.end is not None:
                    owner.end(None)
            watched = True
            yield response
    except BaseException as error:
        if not watched:  # else it has been closed, which ends the call
            end = early_end(owner, sent, error)
            if end is not None:
                end(None)
            owner.give_up(error)
        raise


@contextlib.asynccontextmanager
async def _stream_async(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncIterator[Any]:
    sent = meterable(_read(client, args, kwargs)) if enabled() else None
    owner, watched = Owner(), False
    try:
        call = None if sent is None else await runner.begin_async(sent.request, owner)
        inside = None
        if sent is not None and call is not None:
            args, kwargs = sent.altered(call)
            inside = call.inside()
        async with contextlib.AsyncExitStack() as stack:
            with _entered(inside):
                response = await stack.enter_async_context(wrapped(*args, **kwargs))
            if sent is not None and call is not None:
                owner.end = sent.finish(call, response)
                if owner.end is not None:
                    await runner.settled(call, owner.end)
            watched = True
            yield response
    except BaseException as error:
        if not watched:
            end = early_end(owner, sent, error)
            if end is not None and owner.call is not None:
                await runner.settled(owner.call, end)
            owner.give_up(error)
        raise


HOOKS = (
    Hook(_MODULE, "HttpClient.request", _request),
    Hook(_MODULE, "AsyncHttpClient.request", _request_async),
    Hook(_MODULE, "HttpClient.stream", _stream),
    Hook(_MODULE, "AsyncHttpClient.stream", _stream_async),
    *(
        Hook(module, f"{client}.chat_stream", for_caller)
        for module, clients in (
            ("cohere.v2.client", ("V2Client", "AsyncV2Client")),
            ("cohere.base_client", ("BaseCohere", "AsyncBaseCohere")),
        )
        for client in clients
    ),
    *(
        Hook("cohere.base_client", f"{client}.generate_stream", for_caller)
        for client in ("BaseCohere", "AsyncBaseCohere")
    ),
)
