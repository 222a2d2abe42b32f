"""Google's Gen AI SDK, for the Gemini API and for Vertex AI: generated content and embeddings.

``generate_content`` may send several requests (automatic function calling), each of which is billed: what is hooked
is what sends one of them, with its retries inside.
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec

from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch, items, items_async
from budgeted.providers.generator_context_propagation import for_caller, for_caller_async
from budgeted.providers.metered_method import End, Sent, pair, units_end
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import attempt, attempt_async, repeat_async
from budgeted.providers.unmeterable_requests import refuse_connection
from budgeted.wire import response_usage
from budgeted.wire.request_formats.google_gemini import PICTURES, Gemini, pictures
from budgeted.wire.request_formats.http_request import HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import mapping
from budgeted.wire.sdk_object_fields import json_of
from budgeted.wire.stream_usage import ItemMeter

_MODULE = "google.genai._api_client"
_FORMAT = Gemini()
_TIER_HEADER = "x-gemini-service-tier"


class _Sent(Sent):
    """One request, as the SDK has built it for HTTP."""

    built: Any
    http: HTTPRequest

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose HTTP request has the model and cap that were granted."""
        http = self.granted(_FORMAT, self.http, call)
        if http is self.http:
            return self.args, self.kwargs
        built = dataclasses.replace(self.built, url=http.path, data=http.body)
        if self.args:
            return (built, *self.args[1:]), self.kwargs
        return self.args, {**self.kwargs, "http_request": built}

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with the SDK's own response; None for a stream, which ends it when it has been read."""
        body = response.response_stream
        if call.request.operation == PICTURES:
            return units_end(call, pictures(body[0]) if isinstance(body, list) and body else None)
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
    built: Any = args[0] if args else kwargs.get("http_request")
    data = getattr(built, "data", None)
    if str(getattr(built, "method", "")).upper() != "POST":
        return None
    http = HTTPRequest(str(getattr(built, "url", "")), mapping(data), "google")
    request = _FORMAT.read(http)
    if request is None or not (request.unseen or isinstance(data, Mapping)):
        return None
    given = mapping(getattr(built, "headers", None))
    _FORMAT.told(request, {str(name).lower(): str(value) for name, value in given.items()})
    sent = _Sent(request, args, kwargs)
    sent.built, sent.http = built, http
    return sent


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
