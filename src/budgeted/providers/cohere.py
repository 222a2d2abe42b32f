"""The Cohere SDK: chat, embeddings and reranking, of the second version of its API and the first."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner
from budgeted.providers.billed_tools import searches_to_rank
from budgeted.providers.generator_context_propagation import for_caller
from budgeted.providers.metered_method import End, Sent, early_end, http_end, run, run_async, units_end
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.providers.parameter_coercion import count, is_structured, items, mapping, text
from budgeted.providers.sdk_retries import repeat, repeat_async
from budgeted.providers.unmeterable_requests import refuse_unseen
from budgeted.wire import usage_report_formats
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.sdk_object_fields import fields_of, json_of

_MODULE = "cohere.core.http_client"
_OPERATIONS = {
    "v2/chat": "chat",
    "v1/chat": "chat",
    "v1/generate": "text_completion",
    "v1/summarize": "text_completion",
    "v2/embed": "embeddings",
    "v1/embed": "embeddings",
    "v2/rerank": "rerank",
    "v1/rerank": "rerank",
    "v1/classify": "classify",
}
_UNITS = {"rerank": "search_units", "classify": "classifications"}
"""By the operation: what is billed by number, as an answer calls it."""

_UNSEEN = {
    "v1/embed-jobs": "a batch that the provider runs",
    "v2/batches": "a batch that the provider runs",
    "v1/finetuning/finetuned-models": "fine-tuning",
    "v2/audio/transcriptions": "a transcript",
    "v2/parse": "reading a document",
}


class _Sent(Sent):
    """One request, as the SDK gives it to its HTTP client."""

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose JSON has the model and cap that were granted."""
        changes: dict[str, Any] = {}
        if call.request.model != self.request.model or call.request is not self.request:
            changes["model"] = call.request.model
        if call.capped:
            changes["max_tokens"] = call.granted
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
        unit = _UNITS.get(call.request.operation)
        if end is None or unit is None or response.status_code >= 400 or not (call.price and call.price.per_call):
            return end
        return units_end(call, _units(response, unit))


def _units(response: Any, unit: str) -> int | None:
    """How many units an answer says that it is billed for."""
    meta = fields_of(json_of(response.content)).get("meta")
    found = mapping(mapping(meta).get("billed_units")).get(unit)
    return (
        math.ceil(found) if isinstance(found, (int, float)) and 0 <= found <= usage_report_formats.MOST_TOKENS else None
    )


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    path = str(args[0] if args else kwargs.get("path")).strip("/")
    given = kwargs.get("json")
    if path in _UNSEEN and kwargs.get("method") == "POST":
        refuse_unseen(_UNSEEN[path])
    if path not in _OPERATIONS or not isinstance(given, Mapping):
        return None
    omit = kwargs.get("omit")
    body = {name: value for name, value in given.items() if value is not omit and value is not None}
    body.update(mapping(mapping(kwargs.get("request_options")).get("additional_body_parameters")))
    base_url = kwargs.get("base_url") or (client.base_url() if callable(client.base_url) else None)
    request = Request(
        provider="cohere",
        operation=_OPERATIONS[path],
        model=str(body.get("model") or ""),
        body=body,
        base_url=None if base_url is None else str(base_url),
        exact_bytes=False,
    )
    if request.operation == "embeddings":
        request.output = False
    elif request.operation in _UNITS:
        request.output = False
        request.units = searches_to_rank(_query(body), body.get("documents")) if "rerank" in path else _examples(body)
    else:
        request.n = count(body.get("num_generations")) or 1
        request.cappable = path != "v1/summarize"
        request.cap = count(body.get("max_tokens"))
        request.thinking = count(mapping(body.get("thinking")).get("token_budget")) or 0
        request.structured = is_structured(body.get("response_format"))
        request.elsewhere = referenced(body)
    return _Sent(request, args, kwargs)


def _query(body: Mapping[str, Any]) -> str:
    return text(body.get("query")) or ""


def _examples(body: Mapping[str, Any]) -> int:
    return len(items(body.get("inputs"))) or 1


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
def _stream(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    sent = _read(client, args, kwargs) if enabled() else None
    owner, watched = Owner(), False
    try:
        call = None if sent is None else runner.begin(sent.request, owner)
        if sent is not None and call is not None:
            args, kwargs = sent.altered(call)
            call.begun = True
        with wrapped(*args, **kwargs) as response:
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
    sent = _read(client, args, kwargs) if enabled() else None
    owner, watched = Owner(), False
    try:
        call = None if sent is None else await runner.begin_async(sent.request, owner)
        if sent is not None and call is not None:
            args, kwargs = sent.altered(call)
            call.begun = True
        async with wrapped(*args, **kwargs) as response:
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
