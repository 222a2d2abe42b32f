"""Functions that run inside a block which is entered for each of their calls, as it sets something aside."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeAlias

from budgeted.payers.block import Budget

Block: TypeAlias = Callable[[tuple[object, ...], dict[str, object]], Budget]
"""Makes the block of a call, of its arguments."""


def around(block: Block, fn: Callable[..., object], inner: Callable[..., Any]) -> Callable[..., object]:
    """A function in a block of its own.

    Args:
        block: makes the block of a call.
        fn: the function, whose kind counts.
        inner: what runs inside.
    """
    if inspect.isasyncgenfunction(fn):
        call = _async_generator(block, inner)
    elif inspect.isgeneratorfunction(fn):
        call = _generator(block, inner)
    elif inspect.iscoroutinefunction(fn):
        call = _coroutine(block, inner)
    else:
        call = _plain(block, inner)
    return functools.wraps(fn)(call)


def _plain(block: Block, inner: Callable[..., object]) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        with block(args, kwargs):
            return inner(*args, **kwargs)

    return call


def _coroutine(block: Block, inner: Callable[..., Awaitable[object]]) -> Callable[..., object]:
    async def call(*args: object, **kwargs: object) -> object:
        async with block(args, kwargs):
            return await inner(*args, **kwargs)

    return call


def _generator(block: Block, inner: Callable[..., Generator[object, object, object]]) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> Generator[object, object, object]:
        with block(args, kwargs):
            return (yield from inner(*args, **kwargs))

    return call


def _async_generator(block: Block, inner: Callable[..., AsyncGenerator[object, object]]) -> Callable[..., object]:
    async def call(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        async with block(args, kwargs):
            steps = inner(*args, **kwargs)
            try:
                step = steps.__anext__()
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - the generator's own to handle
                        step = steps.athrow(error)
                    else:
                        step = steps.asend(sent)
            finally:
                await steps.aclose()

    return call
