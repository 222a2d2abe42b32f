"""A function that runs for the payers of the code that has bound it, in this process or in another one."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import wrapt

from budgeted.payers.carried_payers import CarriedPayers, carried
from budgeted.payers.scope import Scope, enter, leave


class BoundFunction(wrapt.CallableObjectProxy):  # type: ignore[type-arg]  # none can be given at run time
    """A function that looks like the one it was made of, and runs for somebody.

    Args:
        fn: a function or coroutine function.
        scope: who pays; None to leave that to where it is called.
    """

    def __init__(self, fn: Callable[..., object], scope: Scope | None) -> None:
        super().__init__(fn)
        self._self_scope = scope

    def __call__(self, *args: object, **kwargs: object) -> object:
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

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return _arrived, (self.__wrapped__, carried(self._self_scope))

    def __reduce__(self) -> tuple[object, ...]:
        return self.__reduce_ex__(None)


async def _awaited(
    fn: Callable[..., Awaitable[object]], scope: Scope, args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    try:
        enter(scope)
        return await fn(*args, **kwargs)
    finally:
        leave(scope)


def _arrived(fn: Callable[..., object], payers: CarriedPayers | None) -> Callable[..., object]:
    """The function in the process that it was pickled for."""
    return BoundFunction(fn, None if payers is None else payers.scope())
