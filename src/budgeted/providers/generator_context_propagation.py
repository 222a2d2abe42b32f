"""Generators that send once they are read run for whoever called them, wherever that is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from budgeted.payers.scope import Scope, current, enter, leave
from budgeted.providers.monkeypatching import enabled


def for_caller(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a generator function that sends only once it is read: for whoever called it, wherever it is read."""
    source = wrapped(*args, **kwargs)
    scope = payers()
    if scope is None:
        return source
    return steps(scope, source) if hasattr(source, "__next__") else steps_async(scope, source)


async def for_caller_async(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The same for a coroutine function that returns an asynchronous generator."""
    scope = payers()
    source = await wrapped(*args, **kwargs)
    return source if scope is None else steps_async(scope, source)


def payers() -> Scope | None:
    """A copy of the current scope, to be entered elsewhere."""
    scope = current() if enabled() else None
    return None if scope is None else scope.copy()


def steps(scope: Scope, source: Any) -> Generator[Any, None, None]:
    """A generator's items, each of which is taken inside a scope, that is not current while its reader runs.

    Args:
        scope: of the reader's payers, or of the call that sends what is read.
        source: the generator; closed when this one is.
    """
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


async def steps_async(scope: Scope, source: Any) -> AsyncGenerator[Any, None]:
    """The same of an asynchronous generator.

    Args:
        scope: of the reader's payers, or of the call that sends what is read.
        source: the generator; closed when this one is.
    """
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
