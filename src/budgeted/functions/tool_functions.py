"""Functions that are tools: each of their calls is one of the tool's, held before it and charged after it."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator

from budgeted.functions.request_from_arguments import Metered
from budgeted.functions.who_pays import Function
from budgeted.metering.tool_hold import ToolHold
from budgeted.payers.block import Budget
from budgeted.payers.payer_interface import Payer


def as_tool(fn: Callable[..., object], tool: str, payer: Callable[[], Payer]) -> Function:
    """A function that holds the price of a tool while it runs, in the blocks that it is called in.

    Args:
        fn: the function, of whatever kind.
        tool: the tool's name.
        payer: gives whose accounts, asked at each call.

    Raises:
        TypeError: it is a call of a model by its parameters.
    """
    if Metered(fn).certain:
        msg = (
            f"@budgeted(tool={tool!r}) is on {getattr(fn, '__name__', 'a function')}(), which is a call of a model, as "
            f"it takes a model and its input; leave out tool, or put it on another function around"
        )
        raise TypeError(msg)

    def begin() -> ToolHold:
        return ToolHold(tool, None, Budget(payer()))

    if inspect.isasyncgenfunction(fn):
        return _steps_async(fn, begin)
    if inspect.isgeneratorfunction(fn):
        return _steps(fn, begin)
    return _coroutine(fn, begin) if inspect.iscoroutinefunction(fn) else _plain(fn, begin)


def _plain(fn: Callable[..., object], begin: Callable[[], ToolHold]) -> Function:
    @functools.wraps(fn)
    def held(*args: object, **kwargs: object) -> object:
        with contextlib.ExitStack() as stack:
            stack.enter_context(begin())
            result = fn(*args, **kwargs)
            return _awaited(stack.pop_all(), result) if isinstance(result, Awaitable) else result

    return held


async def _awaited(stack: contextlib.ExitStack, result: Awaitable[object]) -> object:
    """What a plain function returned to be awaited, such as a lambda around a coroutine: till then it runs."""
    with stack:
        return await result


def _coroutine(
    fn: Callable[..., Awaitable[object]], begin: Callable[[], ToolHold]
) -> Callable[..., Coroutine[object, object, object]]:
    @functools.wraps(fn)
    async def held(*args: object, **kwargs: object) -> object:
        async with begin():
            return await fn(*args, **kwargs)

    return held


def _steps(
    fn: Callable[..., Generator[object, object, object]], begin: Callable[[], ToolHold]
) -> Callable[..., Generator[object, object, object]]:
    @functools.wraps(fn)
    def held(*args: object, **kwargs: object) -> Generator[object, object, object]:
        with begin():
            return (yield from fn(*args, **kwargs))

    return held


def _steps_async(
    fn: Callable[..., AsyncGenerator[object, object]], begin: Callable[[], ToolHold]
) -> Callable[..., AsyncGenerator[object, object]]:
    @functools.wraps(fn)
    async def held(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        async with begin(), contextlib.aclosing(fn(*args, **kwargs)) as inner:
            step = functools.partial(inner.asend, None)
            while True:
                try:
                    item = await step()
                except StopAsyncIteration:
                    return
                try:
                    step = functools.partial(inner.asend, (yield item))
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the generator
                    step = functools.partial(inner.athrow, error)

    return held
