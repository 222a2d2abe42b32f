"""Threads and executors run what they are given for whoever started it."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

from budgeted.payers.function_context_propagation import bind
from budgeted.payers.scope import current
from budgeted.providers.monkeypatching import Hook, enabled

_POOLS = (
    *("concurrent.futures.thread", "multiprocessing.pool", "multiprocessing.dummy"),
    *("concurrent.futures.process", "multiprocessing.queues"),
)


def _start(wrapped: Callable[..., Any], thread: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # A pool's thread outlives the block that happened to start it: there, each task carries its own payer.
    target = getattr(thread, "_target", None)
    pooled = getattr(target, "__module__", "") in _POOLS or type(thread).__module__ in _POOLS
    if enabled() and not pooled and current() is not None:
        run = bind(thread.run)
        # A method, as it was: other tools take it apart to call it with the thread.
        thread.run = MethodType(lambda _: run(), thread)
    return wrapped(*args, **kwargs)


def _submit(wrapped: Callable[..., Any], pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if enabled() and args and current() is not None:
        return wrapped(bind(args[0]), *args[1:], **kwargs)
    return wrapped(*args, **kwargs)


HOOKS = (
    Hook("threading", "Thread.start", _start),
    Hook("concurrent.futures.thread", "ThreadPoolExecutor.submit", _submit),
)
