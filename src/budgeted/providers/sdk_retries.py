"""The attempts that an SDK repeats by itself: one that failed after it was sent may have been billed."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.payers.scope import current
from budgeted.providers.metered_method import End
from budgeted.wire.exception_classification import UNCERTAIN, classify, reason_of


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
    call = None if scope is None else scope.call
    return call if isinstance(call, Call) else None


def _loss(call: Call, reason: str) -> End:
    return functools.partial(call.lose_attempt, f"{reason}; the SDK sent it again")


def repeat(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method by which an SDK repeats a request whose error it handles: that one may have been billed."""
    note_lost(sys.exception())  # the SDK calls this while it handles what went wrong
    return wrapped(*args, **kwargs)


async def repeat_async(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same for a coroutine function."""
    await note_lost_async(sys.exception())
    return await wrapped(*args, **kwargs)


# By call, and weakly: one that ends with its failed attempt is never asked for again.
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
