"""Switching metering off for a test, whose provider is a mock or a replay and bills nobody."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from ..payers.scope import Scope

P = ParamSpec("P")
R = TypeVar("R")


class Unmetered:
    """Code in which nothing is metered. Made by `unmetered()`; for `with`, also in coroutines, or as a decorator."""

    def __init__(self) -> None:
        self._scopes: list[Scope] = []

    def __enter__(self) -> None:
        from ..payers.scope import enter, unmetered  # not before it is wanted: this package needs no other

        scope = unmetered()
        enter(scope)
        self._scopes.append(scope)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from ..payers.scope import leave

        leave(self._scopes.pop())

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Run a function, or a coroutine function, so at each call.

        Raises:
            TypeError: it makes a generator, whose steps belong to whoever takes them.
        """
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(f"unmetered() takes no generators such as {fn!r}: write `with unmetered():` inside of it")
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def unmetered_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with Unmetered():
                    return await fn(*args, **kwargs)

            return unmetered_async  # type: ignore[return-value] # a coroutine function, as it was

        @functools.wraps(fn)
        def unmetered_fn(*args: P.args, **kwargs: P.kwargs) -> R:
            with Unmetered():
                return fn(*args, **kwargs)

        return unmetered_fn


def unmetered() -> Unmetered:
    """Meter nothing in here: no hold is made, nothing is charged, and nothing is refused.

    For tests whose provider is a mock or a recording that is replayed. Some of those (respx, vcrpy) answer so far
    below that their requests cannot be told from real ones. What is inside may configure budgets and open blocks as in
    production. Tasks and threads that are started inside are a part of it, and what runs beside is not: it
    is carried as payers are, in the OpenTelemetry context.

    Returns:
        A context manager, which is also a decorator of functions and coroutine functions.

    Example:
        >>> with unmetered():
        ...     client.chat.completions.create(model="gpt-5-mini", messages=messages)  # doctest: +SKIP

        >>> @unmetered()
        ... def test_the_summary(): ...
    """
    return Unmetered()
