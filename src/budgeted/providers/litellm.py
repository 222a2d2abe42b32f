"""LiteLLM: completions, text completions, embeddings and responses, sync, async and streamed, and its Router.

LiteLLM decorates its functions with one that looks into the cache and calls the function proper. That inner one is
hooked, in the closure where the decorator keeps it: so an answer from the cache costs nothing, every retry holds for
itself, and a function that was imported by its name before (`from litellm import completion`) is metered as well. What
it calls in turn, the OpenAI SDK or its own HTTP handler, is silent.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any

from budgeted.functions.result_type_classification import GENERATOR, STREAM, kind_of
from budgeted.metering.call import Call
from budgeted.metering.item_streams import Items, metered
from budgeted.pricing import token_types
from budgeted.pricing.token_types import kinds_of
from budgeted.pricing.tool_prices import provider_of_model
from budgeted.providers.litellm_answers import Chunks, SayingItems, as_billed, below, origin, read_usage
from budgeted.providers.litellm_deferred_streams import repeated, repeated_async
from budgeted.providers.metered_method import End, Sent, run, run_async
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import note_lost_async
from budgeted.providers.stream_usage_refusal import note_refusing
from budgeted.providers.unmeterable_requests import refuse_unseen
from budgeted.wire.exception_classification import came_through
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.request_formats import stream_usage_option
from budgeted.wire.request_formats.billed_tools import GOOGLES_MAPS, GOOGLES_SEARCHES, MOST_SEARCHES, fees_of, searches
from budgeted.wire.request_formats.parameter_coercion import count, items, mapping, prompts, text

_OPERATIONS = {
    "completion": "chat",
    "acompletion": "chat",
    "text_completion": "text_completion",
    "atext_completion": "text_completion",
    "embedding": "embeddings",
    "aembedding": "embeddings",
    "responses": "chat",
    "aresponses": "chat",
}
_CONTENT = (
    *("messages", "prompt", "input", "instructions", "suffix"),
    *("tools", "functions", "response_format", "text", "text_format"),
    *("reasoning_effort", "reasoning", "thinking"),
)
_TELLING = ("messages", "input", "tools", "modalities")
_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_STRUCTURED = ("response_format", "text_format")
_FREE = ("mock_response", "mock_tool_calls", "mock_timeout")
_PREPARING = frozenset(
    {
        *("get_llm_provider", "get_optional_params", "validate_environment", "transform_request"),
        *("validate_and_fix_openai_messages", "validate_and_fix_openai_tools", "validate_chat_completion_tool_choice"),
        *("validate_and_fix_thinking_param", "pre_process_non_default_params"),
    }
)
"""Functions that an exception passes through only before anything is sent."""


class _Sent(Sent):
    """One call of a function of LiteLLM's."""

    def __init__(
        self, function: Callable[..., Any], operation: str, given: dict[str, Any], names: frozenset[str]
    ) -> None:
        super().__init__(request_of(operation, given), (), given)
        self.function = function
        self.given = given
        self.asks_usage = False
        self.refused_asking = False
        self.stream: Any = None
        self._names = names

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the model and cap that were granted; a stream is asked to say its usage."""
        given = {**self.given, "model": call.request.model}
        if call.capped:
            given["max_output_tokens" if "max_output_tokens" in self._names else "max_tokens"] = call.granted
        options = None
        if given.get("stream") and stream_usage_option.OPTION in self._names and not self.refused_asking:
            options = stream_usage_option.asking(given, self._place(call))
        self.asks_usage = options is not None
        if options is not None:
            given[stream_usage_option.OPTION] = options
            if _speaks_like_openai(call.request):
                # Of some of these LiteLLM thinks that they do not know the option, and leaves it out.
                given["allowed_openai_params"] = [
                    *items(given.get("allowed_openai_params")),
                    stream_usage_option.OPTION,
                ]
        return (), given

    def again(self, call: Call, error: Exception) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments without what asks for the usage, where the endpoint refuses that."""
        self.refused_asking = self.asks_usage and stream_usage_option.is_refused(error)
        return self.altered(call) if self.refused_asking else None

    def _place(self, call: Call) -> str:
        """Where a request is sent: LiteLLM knows the address by the provider's name, if it is not told one."""
        request = call.request
        return request.base_url or request.provider or request.model.partition("/")[0]

    def finish(self, call: Call, response: Any) -> End | None:
        """Settle at the usage in the answer; a stream settles when it has been read."""
        self._answered(call)
        if kind_of(response) not in (STREAM, GENERATOR):
            return functools.partial(call.settle, as_billed(read_usage(response), response))
        if hasattr(below(response), "chunks"):
            self._keep_usage(response)
            items: Items = Chunks(call, response)
        else:
            self._defer(call, response)
            items = SayingItems(call, hide=self.asks_usage)
        items.inside = call.inside()  # some send their request when the first item is asked for
        self.stream = metered(items, response)
        return None

    def _answered(self, call: Call) -> None:
        if self.refused_asking:
            note_refusing(self._place(call))

    def _defer(self, call: Call, stream: Any) -> None:
        """Have a stream that is yet to send its request do so once more, where the endpoint refuses to be asked."""
        source: Any = getattr(stream, "completion_stream", None)
        answered = functools.partial(self._answered, call)
        if self.asks_usage and isinstance(source, Generator):
            stream.completion_stream = repeated(source, functools.partial(self._other, call), answered)
        elif self.asks_usage and isinstance(source, AsyncGenerator):
            stream.completion_stream = repeated_async(source, functools.partial(self._other_async, call), answered)

    def _other(self, call: Call, error: Exception) -> Any:
        again = self.again(call, error)
        return None if again is None else self.function(*again[0], **again[1]).completion_stream

    async def _other_async(self, call: Call, error: Exception) -> Any:
        again = self.again(call, error)
        return None if again is None else (await self.function(*again[0], **again[1])).completion_stream

    def _keep_usage(self, stream: Any) -> None:
        """Have LiteLLM keep the chunk that only brings the usage, and to itself where the caller did not ask for it.

        Most of its providers' streams know only the options that its decorator read, before they were altered: they
        drop such a chunk, and count tokens themselves, for which some models' tokenizers are downloaded.
        """
        chunks = below(stream)
        chunks.stream_options = {**mapping(chunks.stream_options), "include_usage": True}
        if not mapping(self.given.get(stream_usage_option.OPTION)).get("include_usage"):
            chunks.send_stream_usage = False
            if chunks is not stream:
                stream.stream_options = self.given.get(stream_usage_option.OPTION)

    def outcome(self, call: Call, error: BaseException) -> End:
        """How a call ends that raised."""
        first = origin(error)
        unsent = came_through(error, _PREPARING) or came_through(first, _PREPARING)
        return functools.partial(call.fail, first, sent=not unsent)


def _speaks_like_openai(request: Request) -> bool:
    """Whether LiteLLM counts the provider among those that take what OpenAI takes."""
    provider = request.provider or request.model.partition("/")[0]
    return request.operation == "chat" and provider in sys.modules["litellm"].openai_compatible_providers


def request_of(operation: str, given: Mapping[str, Any]) -> Request:
    """What one of LiteLLM's functions is about to ask.

    Args:
        operation: the function's name, such as ``"acompletion"``.
        given: its arguments, by name.
    """
    base_url = given.get("api_base") or given.get("base_url")
    cap = next((given[name] for name in _CAPS if given.get(name) is not None), None)
    request = Request(
        # Without a name of its own, the model's prefix tells the provider, here as in LiteLLM.
        provider=provider_of_model(given.get("custom_llm_provider")),
        operation=_OPERATIONS[operation],
        model=str(given.get("model") or ""),
        body={name: _plain(given[name]) for name in _CONTENT if given.get(name) is not None},
        cap=count(cap),
        cappable=cap is None or count(cap) is not None,
        n=(count(given.get("n")) or 1) * prompts(given.get("prompt")),
        thinking=count(mapping(given.get("thinking")).get("budget_tokens")) or 0,
        output=_OPERATIONS[operation] != "embeddings",
        structured=any(_is_structured(given.get(name)) for name in _STRUCTURED),
        tier=text(given.get("service_tier")),
        base_url=text(base_url),
        kinds=kinds_of(str(given.get("model")), {name: given[name] for name in _TELLING if name in given}),
        exact_bytes=False,
        elsewhere=referenced(given),
        # A prefix says where the model is hosted; the answer names it without.
        renamed=True,
        region=text(given.get("inference_geo")) or "",
    )
    if given.get("cache_control_injection_points"):
        request.kinds |= token_types.CACHE_WRITE | token_types.CACHE_WRITE_1H
    request.searches = sum(map(_searches, items(given.get("tools"))))
    request.fees = fees_of(given.get("tools"), count(given.get("max_tool_calls")))
    if any(GOOGLES_MAPS in mapping(tool) for tool in items(given.get("tools"))):
        request.fees = (*request.fees, ("maps", 1))
    if request.searches or request.fees:
        request.elsewhere = "what a search by the provider brings"
    elif given.get("web_search_options") is not None:
        request.searches = MOST_SEARCHES
    return request


def made_up(given: Mapping[str, Any]) -> bool:
    """Whether LiteLLM is asked to make an answer up, which costs nothing.

    Args:
        given: the arguments of one of its functions, by name.
    """
    return any(given.get(name) is not None for name in _FREE)


def _searches(tool: Any) -> int:
    """How many searches a tool may make that are billed each: it is given in the provider's own words."""
    if any(name in mapping(tool) for name in GOOGLES_SEARCHES):
        return MOST_SEARCHES
    return searches(tool)


def _plain(value: Any) -> Any:
    """A value of an argument as JSON may have it: of a model class for structured output, its schema."""
    schema = getattr(value, "model_json_schema", None)
    return schema() if isinstance(value, type) and schema is not None else value


def _is_structured(value: Any) -> bool:
    return value is not None and not (isinstance(value, Mapping) and value.get("type") in ("text", None))


@functools.cache
def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))


def _read(wrapped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    if made_up(kwargs):
        return None
    operation = wrapped.__name__
    names = _names(wrapped)
    if not names:  # aembedding(*args, **kwargs), and its like
        names = ("model", "prompt") if "text" in operation else ("model", "input")
    given = {**dict(zip(names, args)), **kwargs}  # noqa: B905 - what is too many is LiteLLM's to refuse
    if len(args) > len(names) or not isinstance(given.get("model"), str):
        return None
    if given.get("background"):
        refuse_unseen("a background response")
    unnamed = (stream_usage_option.OPTION,) if operation == "atext_completion" else ()
    return _Sent(wrapped, operation, given, frozenset((*names, *unnamed)))


class _Reader:
    """Reads one call of a function, and keeps what the caller gets in place of a stream."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped
        self._sent: _Sent | None = None

    def __call__(self, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
        self._sent = _read(self._wrapped, args, kwargs)
        return self._sent

    def returned(self, response: Any) -> Any:
        """What the caller gets."""
        return response if self._sent is None or self._sent.stream is None else self._sent.stream


def _function(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    reader = _Reader(wrapped)
    return reader.returned(run(reader, wrapped, instance, args, kwargs))


async def _coroutine(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    reader = _Reader(wrapped)
    return reader.returned(await run_async(reader, wrapped, instance, args, kwargs))


async def _again(wrapped: Callable[..., Any], handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """LiteLLM's own HTTP handler repeats a request whose connection broke: it may have been billed."""
    error = sys.exception()
    await note_lost_async(None if error is None else origin(error))
    return await wrapped(*args, **kwargs)


HOOKS = (
    *(
        Hook(
            "litellm.responses.main" if name.endswith("responses") else "litellm.main",
            name,
            _coroutine if name.startswith("a") else _function,
            inside="original_function",
        )
        for name in _OPERATIONS
    ),
    Hook(
        "litellm.llms.custom_httpx.http_handler",
        "AsyncHTTPHandler.single_connection_request",
        _again,
        formerly="AsyncHTTPHandler.single_connection_post_request",
    ),
)
