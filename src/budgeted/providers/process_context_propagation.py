"""Processes that ``multiprocessing`` starts go on with their parent's managers, and run for whoever started them.

A pool's process outlives the block that happened to start it: there, each task carries its own payers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from budgeted.ledger import background_worker
from budgeted.payers import scope as scopes
from budgeted.payers.carried_payers import CarriedPayers, carried
from budgeted.payers.scope import current
from budgeted.providers.monkeypatching import Hook, enabled

_POOLS = ("concurrent.futures.process", "multiprocessing.pool")
_NAME = "_budgeted_payers"


class Escorted:
    """A process object on its way to a process that is not forked, with who pays there.

    Not an attribute of the object: its class may have a way of its own of being pickled.

    Args:
        process: what is sent.
        payers: of the code that starts it; of the whole parent where it is a pool's.
    """

    def __init__(self, process: object, payers: CarriedPayers) -> None:
        self._process, self._payers = process, payers

    def __reduce__(self) -> tuple[object, ...]:
        return _arrived, (self._process, self._payers)


def _arrived(process: object, payers: CarriedPayers) -> object:
    _go_on(payers)
    return process


def _go_on(payers: CarriedPayers) -> None:
    """Go on as the parent did, in its child. Managers that are made for it have the SDKs hooked."""
    scopes.hide()  # where it was forked, the parent's own blocks are there as copies
    scopes.inherit(payers.scope())


def _start(wrapped: Callable[..., Any], process: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    payers = _payers(process) if enabled() else None
    if payers is None:
        return wrapped(*args, **kwargs)
    setattr(process, _NAME, payers)
    try:
        return wrapped(*args, **kwargs)
    finally:
        vars(process).pop(_NAME, None)


def _dump(wrapped: Callable[..., Any], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Pickle what is sent to a process that is being started."""
    if not args or _NAME not in getattr(args[0], "__dict__", ()):
        return wrapped(*args, **kwargs)
    return wrapped(Escorted(args[0], vars(args[0]).pop(_NAME)), *args[1:], **kwargs)


def _payers(process: Any) -> CarriedPayers | None:
    pooled = getattr(getattr(process, "_target", None), "__module__", "") in _POOLS
    return carried(scopes.inherited[0] if scopes.inherited else None) if pooled else carried(current())


def _bootstrap(wrapped: Callable[..., Any], process: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    payers = vars(process).pop(_NAME, None)  # where it was forked
    if payers is not None:
        _go_on(payers)
    try:
        return wrapped(*args, **kwargs)
    finally:
        background_worker.drain()  # such a process does not end as others do: nothing is called at its exit


def _task(wrapped: Callable[..., Any], pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take a task for a pool, of threads or of processes: it is pickled later, and only for the latter."""
    scope = current()
    if not enabled() or (scope is None and not scopes.by_default and not scopes.always):
        return wrapped(*args, **kwargs)
    from budgeted.payers.bound_function import BoundFunction

    if args:
        args = BoundFunction(args[0], scope), *args[1:]
    elif "func" in kwargs:
        kwargs = {**kwargs, "func": BoundFunction(kwargs["func"], scope)}
    return wrapped(*args, **kwargs)


HOOKS = (
    Hook("multiprocessing.process", "BaseProcess.start", _start, watched=False),
    Hook("multiprocessing.process", "BaseProcess._bootstrap", _bootstrap, watched=False),
    Hook("multiprocessing.reduction", "dump", _dump, watched=False),
    *(
        Hook("multiprocessing.pool", f"Pool.{name}", _task, watched=False)
        for name in ("apply_async", "_map_async", "imap", "imap_unordered")
    ),
    Hook("concurrent.futures.process", "ProcessPoolExecutor.submit", _task, watched=False),
)
