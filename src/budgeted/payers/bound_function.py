"""A function that runs for the payers of the code that has bound it, in this process or in another one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import wrapt

from budgeted.payers.carried_payers import CarriedPayers, carried
from budgeted.payers.scope import Scope, enter, leave


class BoundFunction(wrapt.CallableObjectProxy):  # type: ignore[type-arg]  # none can be given at run time
    """A function that looks like the one it was made of, and runs for somebody.

    Args:
        fn: a function or coroutine function.
        scope: who pays; None to leave that to where it is called.
    """

    def __init__(self, fn: Callable[..., Any], scope: Scope | None) -> None:
        super().__init__(fn)
        self._self_scope = scope

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function for whoever pays."""
        fn, scope = self.__wrapped__, self._self_scope
        if scope is None:
            return fn(*args, **kwargs)
        if inspect.iscoroutinefunction(fn):
            return _awaited(fn, scope.copy(), args, kwargs)
        inner = scope.copy()
        try:
            enter(inner)
            return fn(*args, **kwargs)
        finally:
            leave(inner)

    def __reduce_ex__(self, protocol: Any) -> tuple[object, ...]:
        return _arrived, (self.__wrapped__, carried(self._self_scope))

    def __reduce__(self) -> tuple[object, ...]:
        return self.__reduce_ex__(None)


async def _awaited(fn: Callable[..., Any], scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        enter(scope)
        return await fn(*args, **kwargs)
    finally:
        leave(scope)


def _arrived(fn: Callable[..., Any], payers: CarriedPayers | None) -> Callable[..., Any]:
    """The function in the process that it was pickled for."""
    return BoundFunction(fn, None if payers is None else payers.scope())
