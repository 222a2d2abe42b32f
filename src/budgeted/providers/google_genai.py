"""Google's Gen AI SDK, for the Gemini API and for Vertex AI: generated content and embeddings.

``generate_content`` may send several requests (automatic function calling), each of which is billed: what is hooked
is what sends one of them, with its retries inside.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec

from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch, items, items_async
from budgeted.pricing import token_types
from budgeted.pricing.token_types import draws, kinds_in, kinds_out
from budgeted.providers.billed_tools import GOOGLES_MAPS, GOOGLES_SEARCHES, MOST_SEARCHES
from budgeted.providers.generator_context_propagation import for_caller, for_caller_async
from budgeted.providers.metered_method import End, Sent, pair, units_end
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.parameter_coercion import count, mapping, text
from budgeted.providers.sdk_retries import attempt, attempt_async, repeat_async
from budgeted.providers.unmeterable_requests import refuse_connection, refuse_unseen, refuse_unseen_at
from budgeted.wire import response_usage
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.sdk_object_fields import json_of
from budgeted.wire.stream_usage import ItemMeter

_MODULE = "google.genai._api_client"
_METHODS = {
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "predict": "embeddings",
}
_PLACE = re.compile(r"(?P<before>.*/(?:models|tunedModels|endpoints)/)(?P<model>[^/:?]+):(?P<method>\w+)(?P<after>.*)")
_PICTURES = "image_generation"
_UNSEEN = {
    "predictLongRunning": "a video",
    "batchGenerateContent": "a batch that the provider runs",
    "asyncBatchEmbedContent": "a batch that the provider runs",
}
"""By the method: what is billed, and not by the answer to the request that starts it."""

_UNSEEN_PATHS = {
    "/batchPredictionJobs": "a job that the provider runs",
    "/tuningJobs": "a job that the provider runs",
    "/tunedModels": "a job that the provider runs",
    "/cachedContents": "what is kept in a cache",
    "/auth_tokens": "what is said in a live session",
    ":uploadToFileSearchStore": "an index of files",
    ":importFile": "an index of files",
}
"""The same, by the end of the path."""

_TIER_HEADER = "x-gemini-service-tier"
_CAPITAL = re.compile("[A-Z]")
MOST_PICTURES = 4
"""Pictures that Imagen makes at once (https://ai.google.dev/gemini-api/docs/imagen)."""

MOST_PICTURE_TOKENS = 2_520
"""The most output tokens of one picture, of the models that draw (https://ai.google.dev/gemini-api/docs/pricing)."""


class _Sent(Sent):
    """One request, as the SDK has built it for HTTP."""

    http: Any

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose HTTP request has the model and cap that were granted."""
        changes: dict[str, Any] = {}
        if call.request is not self.request:
            model = call.request.model
            changes["url"] = _PLACE.sub(lambda at: f"{at['before']}{model}:{at['method']}{at['after']}", self.http.url)
        if call.capped:
            name = "generation_config" if "generation_config" in self.http.data else "generationConfig"
            config = {**mapping(self.http.data.get(name)), "maxOutputTokens": call.granted}
            changes["data"] = {**self.http.data, name: config}
        if not changes:
            return self.args, self.kwargs
        http = dataclasses.replace(self.http, **changes)
        if self.args:
            return (http, *self.args[1:]), self.kwargs
        return self.args, {**self.kwargs, "http_request": http}

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with the SDK's own response; None for a stream, which ends it when it has been read."""
        body = response.response_stream
        if call.request.operation == _PICTURES:
            return units_end(call, _pictures(body))
        if isinstance(body, list):
            answer = response_usage.read(body[0] if body else None)
            tier = _served_tier(response)
            if tier is not None and answer.usage is not None and answer.usage.service_tier is None:
                usage = msgspec.structs.replace(answer.usage, service_tier=tier)
                answer = msgspec.structs.replace(answer, usage=usage)
            return functools.partial(call.settle, answer)
        _watch(response, call)
        return None


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    http: Any = args[0] if args else kwargs.get("http_request")
    url = str(getattr(http, "url", ""))
    place = _PLACE.fullmatch(url)
    if place is None or place["method"] not in _METHODS or not isinstance(http.data, Mapping):
        _refuse_unseen(url, "" if place is None else place["method"], http)
        return None
    body = http.data
    request = Request(
        provider="google",
        operation=_METHODS[place["method"]],
        model=place["model"],
        body=body,
        tier=text(_field(body, "serviceTier")),
        base_url=place["before"],
        exact_bytes=False,
    )
    if request.operation == "chat":
        _read_content(request, body)
    else:
        request.output = False
    if place["method"] == "predict" and not _embeds(body):
        request.operation, request.body = _PICTURES, {}
        request.units = count(_field(mapping(body.get("parameters")), "sampleCount")) or MOST_PICTURES
    sent = _Sent(request, args, kwargs)
    sent.http = http
    return sent


def _refuse_unseen(url: str, method: str, http: Any) -> None:
    if method in _UNSEEN:
        refuse_unseen(_UNSEEN[method])
    if str(getattr(http, "method", "")).upper() == "POST":
        refuse_unseen_at(url.partition("?")[0], _UNSEEN_PATHS)


def _read_content(request: Request, body: Mapping[str, Any]) -> None:
    config = mapping(_field(body, "generationConfig"))
    request.cap = count(_field(config, "maxOutputTokens"))
    request.n = count(_field(config, "candidateCount")) or 1
    request.thinking = count(_field(mapping(_field(config, "thinkingConfig")), "thinkingBudget")) or 0
    request.structured = (
        _field(config, "responseMimeType") not in (None, "text/plain")
        or _field(config, "responseSchema") is not None
        or _field(config, "responseJsonSchema") is not None
    )
    request.kinds = kinds_out(request.model, _field(config, "responseModalities") or None)
    if draws(request.model) and request.kinds & token_types.IMAGE_OUT:
        request.thinking += MOST_PICTURE_TOKENS  # a cap is to leave room for it, as it does for thoughts
    request.kinds |= kinds_in(body.get("contents"))
    request.elsewhere = _elsewhere(body)
    tools = [mapping(tool) for tool in body.get("tools") or ()]
    if any(_field(tool, name) is not None for tool in tools for name in GOOGLES_SEARCHES):
        request.searches = MOST_SEARCHES
    if any(_field(tool, GOOGLES_MAPS) is not None for tool in tools):
        request.fees = (("maps", 1),)  # the prompt is billed, however often it looks


def _field(fields: Mapping[str, Any], name: str) -> Any:
    """A field of a request: the API takes its names in both spellings, and the SDK writes both."""
    found = fields.get(name)
    return found if found is not None else fields.get(_CAPITAL.sub(lambda sign: f"_{sign[0].lower()}", name))


def _elsewhere(body: Mapping[str, Any]) -> str:
    """What the request refers to without holding it."""
    for tool in body.get("tools") or ():
        for name in mapping(tool):
            if name not in ("functionDeclarations", "function_declarations"):
                return f"what the server-side tool {name} brings"
    return referenced(body)


def _embeds(body: Mapping[str, Any]) -> bool:
    """Whether a prediction on Vertex AI is one of embeddings: pictures and films have a prompt instead."""
    instances = body.get("instances") or ()
    return bool(instances) and all("content" in mapping(instance) for instance in instances)


def _pictures(body: Any) -> int | None:
    """How many pictures an answer brings; None if it does not say."""
    try:
        answer = msgspec.json.decode(body[0]) if isinstance(body[0], (str, bytes)) else body[0]
        return len(answer["predictions"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return None


def _served_tier(response: Any) -> str | None:
    """The service tier that a response's headers name (https://ai.google.dev/gemini-api/docs/service-tiers)."""
    headers = mapping(getattr(response, "headers", None))
    return next((str(value).lower() for name, value in headers.items() if name.lower() == _TIER_HEADER), None)


def _watch(response: Any, call: Call) -> None:
    """Meter a stream at the SDK's own parts: the transport below may be httpx, httpx2, aiohttp or requests."""
    state = Watch(call, ItemMeter(_decoded, tier=_served_tier(response)))
    # No reference to the response: it is to be collected when its reader forgets it.
    itself = weakref.ref(response)
    response._iter_response_stream = functools.partial(_parts, itself, state)  # noqa: SLF001 - no other place
    response._aiter_response_stream = functools.partial(_parts_async, itself, state)  # noqa: SLF001 - as above
    weakref.finalize(response, state.end_early)  # for a reader that never reads it to its end


def _parts(itself: weakref.ref[Any], state: Watch) -> Iterator[Any]:
    response: Any = itself()
    return items(type(response)._iter_response_stream(response), state)  # noqa: SLF001 - what was overridden


def _parts_async(itself: weakref.ref[Any], state: Watch) -> AsyncIterator[Any]:
    response: Any = itself()
    return items_async(type(response)._aiter_response_stream(response), state)  # noqa: SLF001 - what was overridden


def _decoded(part: object) -> Mapping[str, object]:
    return (json_of(part) if isinstance(part, str) else None) or {}


HOOKS = (
    *pair(_MODULE, "BaseApiClient._request", "BaseApiClient._async_request", _read),
    Hook(_MODULE, "BaseApiClient._request_once", attempt, watched=False),
    Hook(_MODULE, "BaseApiClient._async_request_once", attempt_async, watched=False),
    # Where aiohttp lost the connection, it is asked for again and the request repeated, within one attempt.
    Hook(_MODULE, "BaseApiClient._get_aiohttp_session", repeat_async, watched=False),
    Hook("google.genai.models", "Models.generate_content_stream", for_caller),
    Hook("google.genai.models", "AsyncModels.generate_content_stream", for_caller_async),
    Hook("google.genai.live", "AsyncLive.connect", refuse_connection),
    Hook("google.genai.live_music", "AsyncLiveMusic.connect", refuse_connection),
    Hook("google.genai.chats", "Chat.send_message_stream", for_caller),
    Hook("google.genai.chats", "AsyncChat.send_message_stream", for_caller_async),
)
