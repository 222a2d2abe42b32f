"""``bind()``: the payers of the running code, carried into a function that runs elsewhere."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from budgeted.payers.scope import Scope, current, enter, leave
from budgeted.validation import shown

P = ParamSpec("P")

R = TypeVar("R")


def bind(fn: Callable[P, R]) -> Callable[P, R]:
    """Carry the payers of the running code into a function that runs elsewhere: a callback, an executor, a signal.

    Args:
        fn: called later, in any thread or context. Works for functions and coroutine functions.

    Returns:
        The function, which runs with the payers that are current now, and with nothing else of this context.

    Raises:
        TypeError: it is no function, or makes a generator, whose steps belong to whoever takes them.

    Example:
        >>> with budget("alice"):
        ...     thread = threading.Thread(target=bind(work))
    """
    given: object = fn
    if not callable(given):
        msg = f"bind takes a function, got {shown(fn)}"
        raise TypeError(msg)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        msg = f"bind takes functions and coroutine functions; for the generator {shown(fn)} write @budgeted(user) on it"
        raise TypeError(msg)
    scope = current()

    def mine() -> Scope | None:
        return None if scope is None else scope.copy()

    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def bound_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            inner = mine()
            try:
                if inner is not None:
                    enter(inner)
                return await fn(*args, **kwargs)
            finally:
                if inner is not None:
                    leave(inner)

        return bound_async  # type: ignore[return-value]

    @functools.wraps(fn)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        inner = mine()
        try:
            if inner is not None:
                enter(inner)
            return fn(*args, **kwargs)
        finally:
            if inner is not None:
                leave(inner)

    return bound
