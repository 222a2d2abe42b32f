"""Running an SDK's method as one metered call: what the provider modules share.

Each of them says how a request of its SDK is read (a :class:`Sent`, or None for what is not billed by tokens); the
rest of the call's life is here.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from opentelemetry.context import get_value

from budgeted.errors import UnpricedModelError
from budgeted.metering import http_streams, runner
from budgeted.metering.call import Call
from budgeted.payers.scope import BY_HAND, Scope, current, enter, leave, outside
from budgeted.pricing.usage import Usage
from budgeted.providers.hooks import Hook, enabled
from budgeted.wire import response_usage
from budgeted.wire.exception_classification import UNCERTAIN, classify, reason_of
from budgeted.wire.normalized_request import Request

End: TypeAlias = Callable[[float | None], None]
"""How a call ends: a step that takes the timeout for the ledger's lock."""

RANKED_AT_ONCE = 100
RANKED_TOKENS = 500
MOST_SEARCHES = 10
"""Searches held for a request that lets the provider search and does not say how often."""

MOST_SEARCHES_OF_RESEARCH = 100
"""The same for models that do research on their own."""

GOOGLES_SEARCHES = ("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "googleMaps")
"""Google's tools whose use is billed beside the tokens."""


class Sent:
    """One request of an SDK, as read, and how it is sent on.

    Args:
        request: what is metered.
        args: what the hooked method was called with.
        kwargs: and by name.
    """

    def __init__(self, request: Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.request = request
        self.args = args
        self.kwargs = kwargs

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:  # noqa: ARG002 - for those that differ
        """What the method is called with instead, given what the call was granted."""
        return self.args, self.kwargs

    def outcome(self, call: Call, error: BaseException) -> End:
        """How the call ends that raised."""
        return functools.partial(call.fail, error)

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response; None for a stream, which ends it when it has been read."""
        return functools.partial(call.settle, response_usage.read(response))


Read: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Sent | None]
"""Reads what a hooked method of an SDK's object was called with."""


def pair(module: str, sync: str, asynchronous: str, read: Read) -> tuple[Hook, Hook]:
    """The hooks of a method and its asynchronous twin, each of which is one logical call."""
    return (
        Hook(module, sync, functools.partial(run, read)),
        Hook(module, asynchronous, functools.partial(run_async, read)),
    )


def run(read: Read, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a hooked method, as a metered call if it makes one."""
    sent = read(client, args, kwargs) if enabled() else None
    call = None if sent is None else runner.begin(sent.request)
    if sent is None or call is None:
        return wrapped(*args, **kwargs)
    try:
        args, kwargs = sent.altered(call)
        inner = call.inside()
        enter(inner)
        try:
            response = wrapped(*args, **kwargs)
        finally:
            leave(inner)
    except BaseException as error:
        sent.outcome(call, error)(None)
        raise
    end = sent.finish(call, response)
    if end is not None:
        end(None)
    return response


async def run_async(
    read: Read, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The same for a coroutine function."""
    sent = read(client, args, kwargs) if enabled() else None
    call = None if sent is None else await runner.begin_async(sent.request)
    if sent is None or call is None:
        return await wrapped(*args, **kwargs)
    try:
        args, kwargs = sent.altered(call)
        inner = call.inside()
        enter(inner)
        try:
            response = await wrapped(*args, **kwargs)
        finally:
            leave(inner)
    except BaseException as error:
        await runner.settled(call, sent.outcome(call, error))
        raise
    end = sent.finish(call, response)
    if end is not None:
        await runner.settled(call, end)
    return response


def http_end(call: Call, response: Any) -> End | None:
    """How a call ends with an HTTP response: httpx's or httpx2's, with its body read or still to come.

    None if it is still to come: the call ends when it has been read.
    """
    if response.status_code >= 400:
        return call.release
    if getattr(response, "is_stream_consumed", True):
        return functools.partial(call.settle, response_usage.read(response))
    http_streams.watch(response, call)
    return None


def units_end(call: Call, units: int | None) -> End:
    """How a call ends that is billed by the unit: at as many as the answer says, else at as many as there may be."""
    if units is None:
        return functools.partial(call.estimate, "the response does not say what it used")
    call.request.units = units
    return functools.partial(call.settle, response_usage.Answer(Usage(service_tier=call.request.tier)))


def searches_to_rank(query: str, documents: Any) -> int:
    """The most searches that a reranking is billed as.

    One ranks 100 documents, of which each 500 tokens are one, with the query among them:
    https://docs.cohere.com/docs/rerank-overview, https://aws.amazon.com/bedrock/pricing. A query that fills most of
    that leaves half of it.
    """
    size = max(RANKED_TOKENS - len(query.encode("utf-8", "replace")), RANKED_TOKENS // 2)
    chunks = sum(max(1, -(-_size(document) // size)) for document in items(documents))
    return max(1, -(-chunks // RANKED_AT_ONCE))


def _size(document: Any) -> int:
    try:
        return len(msgspec.json.encode(document))
    except (TypeError, ValueError, RecursionError):
        return 0


def count(value: Any) -> int | None:
    """A number of tokens or answers that a request asks for; None for what is none, which the provider will refuse."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def text(value: Any) -> str | None:
    """A text that a request may have; None for what is none."""
    return value if isinstance(value, str) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping that a request may have; an empty one for what is none."""
    return value if value.__class__ is dict or (value is not None and isinstance(value, Mapping)) else {}


def items(value: Any) -> Sequence[Any]:
    """A list that a request may have; an empty one for what is none."""
    return value if isinstance(value, (list, tuple)) else ()


def is_structured(wanted: Any) -> bool:
    """Whether a response format, as OpenAI has it, is one that an answer cut short would break."""
    return mapping(wanted).get("type") in ("json_schema", "json_object")


def prompts(prompt: Any) -> int:
    """How many texts a request for completions, as OpenAI has it, asks to complete: a list of numbers is one."""
    several = items(prompt)
    return len(several) if several and not isinstance(several[0], int) else 1


def searches(tool: Any) -> int:
    """How many web searches a tool, as Anthropic has it, may make that are billed each."""
    kind = mapping(tool).get("type")
    if not isinstance(kind, str) or not kind.startswith("web_search"):
        return 0
    return count(tool.get("max_uses")) or MOST_SEARCHES


def most_searches(model: str) -> int:
    """The searches held for a model that searches as often as it likes."""
    return MOST_SEARCHES_OF_RESEARCH if "deep-research" in model else MOST_SEARCHES


def refuse_unseen(what: str) -> None:
    """Refuse what nobody here could see the cost of, unless the caller holds for it by hand.

    Args:
        what: how a sentence about it begins, such as ``"a background response"``.

    Raises:
        UnpricedModelError: the running code is inside a budget.
    """
    scope = current() or (outside[0] if outside else None)
    held: Any = get_value(BY_HAND)
    if scope is None or scope.silent or (held is not None and held.covers(scope)):
        return
    msg = (
        f"{what} is billed where no hook can see it, so no budget can bound it; nothing was sent. Hold what it may "
        f"cost by hand: `with budgeted.hold(cost=USD) as held: ...; held.settle(cost=USD)`"
    )
    raise UnpricedModelError(msg)


def refuse_unseen_at(path: str, unseen: Mapping[str, str]) -> None:
    """Refuse what nobody here could see the cost of, by the end of the path that it is asked for at.

    Args:
        path: without a query.
        unseen: what is billed there, by the ends of paths, as :func:`refuse_unseen` takes it.

    Raises:
        UnpricedModelError: the path ends so, and the running code is inside a budget.
    """
    for end, what in unseen.items():
        if path.endswith(end):
            refuse_unseen(what)


def refuse_connection(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Refuse to open a WebSocket, on which everything is billed out of sight."""
    if enabled():
        refuse_unseen("what is said over a WebSocket")
    return wrapped(*args, **kwargs)


def note_lost(error: BaseException | None) -> None:
    """Note that an attempt that failed may have been billed, before it is repeated.

    Args:
        error: how it failed; None if it did not.
    """
    lost = _lost(error)
    if lost is not None:
        lost[1](None)


async def note_lost_async(error: BaseException | None) -> None:
    """The same for a coroutine."""
    lost = _lost(error)
    if lost is not None:
        await runner.settled(*lost)


def _lost(error: BaseException | None) -> tuple[Call, End] | None:
    """The call whose attempt may have been billed, and how to note that; None if it cost nothing, or is not metered."""
    call = _current_call()
    if call is None or error is None or classify(error, call.handled) != UNCERTAIN:
        return None
    return call, _loss(call, reason_of(error))


def _current_call() -> Call | None:
    scope = current()
    return None if scope is None else scope.call


def _loss(call: Call, reason: str) -> End:
    return functools.partial(call.lose_attempt, f"{reason}; the SDK sent it again")


def repeat(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method by which an SDK repeats a request whose error it handles: that one may have been billed."""
    note_lost(sys.exception())
    return wrapped(*args, **kwargs)


async def repeat_async(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same for a coroutine function."""
    await note_lost_async(sys.exception())
    return await wrapped(*args, **kwargs)


_failed: weakref.WeakKeyDictionary[Call, str] = weakref.WeakKeyDictionary()
"""Why it is not known what a call's last attempt cost, where the SDK does not say that it goes on to another."""


def attempt(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method that an SDK calls for each of its attempts: one that has failed before may have been billed."""
    call, end = _attempted()
    if end is not None:
        end(None)
    try:
        return wrapped(*args, **kwargs)
    except Exception as error:
        _note_failed(call, error)
        raise


async def attempt_async(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same for a coroutine function."""
    call, end = _attempted()
    if call is not None and end is not None:
        await runner.settled(call, end)
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        _note_failed(call, error)
        raise


def _attempted() -> tuple[Call | None, End | None]:
    call = _current_call()
    reason = None if call is None else _failed.pop(call, None)
    return call, None if call is None or reason is None else _loss(call, reason)


def _note_failed(call: Call | None, error: BaseException) -> None:
    if call is not None and classify(error, call.handled) == UNCERTAIN:
        _failed[call] = reason_of(error)


def for_caller(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a generator function that sends only once it is read: for whoever called it, wherever it is read."""
    source = wrapped(*args, **kwargs)
    scope = payers()
    if scope is None:
        return source
    return _steps(scope, source) if hasattr(source, "__next__") else _steps_async(scope, source)


async def for_caller_async(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The same for a coroutine function that returns an asynchronous generator."""
    scope = payers()
    source = await wrapped(*args, **kwargs)
    return source if scope is None else _steps_async(scope, source)


def payers() -> Scope | None:
    """A copy of the current scope, to be entered elsewhere."""
    scope = current() if enabled() else None
    return None if scope is None else scope.copy()


def _steps(scope: Scope, source: Any) -> Iterator[Any]:
    try:
        while True:
            enter(scope)
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                leave(scope)
            yield item
    finally:
        source.close()


async def _steps_async(scope: Scope, source: Any) -> AsyncIterator[Any]:
    try:
        while True:
            enter(scope)
            try:
                item = await anext(source)
            except StopAsyncIteration:
                return
            finally:
                leave(scope)
            yield item
    finally:
        await source.aclose()
