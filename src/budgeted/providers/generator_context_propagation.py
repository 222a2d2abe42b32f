"""Generators that send once they are read run for whoever called them, wherever that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from budgeted.payers.scope import Scope, current, enter, leave
from budgeted.providers.monkeypatching import enabled


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
            # For each step anew: between two of them, the reader's own blocks are in force.
            try:
                enter(scope)
                item = next(source)
            except StopIteration:
                return
            finally:
                leave(scope)
            yield item
    finally:  # also where the reader gives up, or forgets it: the connection is given back then
        source.close()


async def _steps_async(scope: Scope, source: Any) -> AsyncIterator[Any]:
    try:
        while True:
            try:
                enter(scope)
                item = await anext(source)
            except StopAsyncIteration:
                return
            finally:
                leave(scope)
            yield item
    finally:
        await source.aclose()
