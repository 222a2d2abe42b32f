"""``bind()``: the payers of the running code, carried into a function that runs elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from budgeted.payers.scope import current
from budgeted.validation import shown

P = ParamSpec("P")

R = TypeVar("R")


def bind(fn: Callable[P, R]) -> Callable[P, R]:
    """Carry the payers of the running code into a function that runs elsewhere: a callback, an executor, a signal.

    Args:
        fn: called later, in any thread, context or process. Works for functions and coroutine functions.

    Returns:
        The function, which runs with the payers that are current now, and with nothing else of this context. It pickles
        if the function does, for a process that this one has started.

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
    from budgeted.payers.bound_function import BoundFunction  # which needs wrapt: importing the package is to be quick

    return BoundFunction(fn, current())  # type: ignore[return-value] # it returns what the function does
