"""LiteLLM's streams that send their request no sooner than they are read, and may have to send it once more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


def repeated(
    source: Iterator[T], again: Callable[[Exception], Iterator[T] | None], answered: Callable[[], None]
) -> Iterator[T]:
    """A stream's items: those of another one in its place, if its request is refused.

    Args:
        source: which sends its request when its first item is asked for.
        again: given what it raised then, makes the other one; None if the error is the caller's to see.
        answered: told that an item of the other one came.
    """
    begun = False
    try:
        for item in source:
            begun = True
            yield item
    except Exception as error:
        other = None if begun else again(error)
        if other is None:
            raise
    else:
        return
    for item in other:
        answered()
        yield item


async def repeated_async(
    source: AsyncGenerator[T, None],
    again: Callable[[Exception], Awaitable[AsyncIterator[T] | None]],
    answered: Callable[[], None],
) -> AsyncIterator[T]:
    """The same for a coroutine."""
    begun = False
    try:
        async with aclosing(source):
            async for item in source:
                begun = True
                yield item
    except Exception as error:
        other = None if begun else await again(error)
        if other is None:
            raise
    else:
        return
    async for item in other:
        answered()
        yield item
