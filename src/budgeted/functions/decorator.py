"""``@budgeted``: a function whose calls are paid for by somebody.

Works on functions, coroutines, generators and async generators. A function that takes a ``model`` and its input is
itself a metered call: it holds before it runs, and the first intercepted call inside takes that hold over.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from opentelemetry.context import detach, get_current

from budgeted.functions.who_pays import Payment, withdrawn
from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.item_streams import ANSWER, AWAITABLE, GENERATOR, STREAM, Items, kind_of
from budgeted.metering.item_streams import metered as metered_stream
from budgeted.metering.runner import end_anywhere
from budgeted.payers.scope import KEY, Scope, current, enter, leave
from budgeted.validation import shown
from budgeted.wire.normalized_request import Request


def decorate(payment: Payment) -> Callable[..., Any]:
    """The function, paid for."""
    fn = payment.fn
    if inspect.isasyncgenfunction(fn):
        return _async_generator(payment)
    if inspect.isgeneratorfunction(fn):
        return _generator(payment)
    if inspect.iscoroutinefunction(fn):
        return _coroutine(payment)
    return _function(payment)


def _function(payment: Payment) -> Callable[..., Any]:
    fn = payment.fn

    @functools.wraps(fn)
    def paid(*args: Any, **kwargs: Any) -> Any:
        context = get_current()
        around: Any = context.get(KEY)
        scope = payment.scope(around, args, kwargs)
        metered = payment.metered
        request = None if metered is None else metered.request(args, kwargs)
        call = None if request is None else runner.begin(request, scope, context)
        token = enter(scope, context)
        try:
            if call is None:
                return fn(*args, **kwargs)
            scope.offer = [call]
            try:
                if call.capped or call.request is not request:
                    args, kwargs = payment.capped(call, args, kwargs)
                response = fn(*args, **kwargs)
            except BaseException as error:
                payment.failed(call, scope, error)
                raise
            kind = kind_of(response)
            if kind != ANSWER:
                if kind == GENERATOR:
                    return _metered_steps(call, scope, response)
                if kind == AWAITABLE:
                    return _awaited(payment, call, scope, response)
                if scope.offer:
                    return metered_stream(Steps(call, scope), response)
            payment.done(call, scope, response)
            return response
        finally:
            detach(token)  # a plain function ends where it began

    return paid


def _stream(call: Call, scope: Scope, response: Any) -> Any:
    """What a coroutine is to return for a stream or generator that ends the call; None for anything else."""
    kind = kind_of(response) if scope.offer else ANSWER
    if kind == GENERATOR:
        return _metered_steps(call, scope, response)
    return metered_stream(Steps(call, scope), response) if kind == STREAM else None


def _awaited(payment: Payment, call: Call, scope: Scope, response: Any) -> Any:
    """A plain function that returns an awaitable, such as a lambda around a coroutine."""
    unbegun = [True]
    waiting = _wait(payment, call, scope, response, unbegun)
    weakref.finalize(waiting, _forgotten, call, scope, unbegun, unsent=inspect.iscoroutine(response))
    return waiting


def _forgotten(call: Call, scope: Scope, unbegun: list[bool], *, unsent: bool) -> None:
    """End the hold of an awaitable that nobody ever awaited: a task may be cancelled before its first step."""
    if not unbegun:
        return
    if not unsent:
        Steps(call, scope).end(GeneratorExit())
    elif withdrawn(scope):
        end_anywhere(call, call.release)


async def _wait(payment: Payment, call: Call, scope: Scope, response: Any, unbegun: list[bool]) -> Any:
    unbegun.clear()
    enter(scope)
    try:
        try:
            found = await response
        except BaseException as error:
            await runner.settled(call, functools.partial(payment.failed, call, scope, error))
            raise
        stream = _stream(call, scope, found)
        if stream is not None:
            return stream
        await runner.settled(call, functools.partial(payment.done, call, scope, found))
        return found
    finally:
        leave(scope)


def _coroutine(payment: Payment) -> Callable[..., Any]:
    fn = payment.fn

    @functools.wraps(fn)
    async def paid(*args: Any, **kwargs: Any) -> Any:
        context = get_current()
        around: Any = context.get(KEY)
        scope = payment.scope(around, args, kwargs)
        metered = payment.metered
        request = None if metered is None else metered.request(args, kwargs)
        call = None if request is None else await runner.begin_async(request, scope, context)
        enter(scope, context)
        try:
            if call is None:
                return await fn(*args, **kwargs)
            scope.offer = [call]
            try:
                if call.capped or call.request is not request:
                    args, kwargs = payment.capped(call, args, kwargs)
                response = await fn(*args, **kwargs)
            except BaseException as error:
                await runner.settled(call, functools.partial(payment.failed, call, scope, error))
                raise
            stream = _stream(call, scope, response)
            if stream is not None:
                return stream
            await runner.settled(call, functools.partial(payment.done, call, scope, response))
            return response
        finally:
            leave(scope)

    return paid


class Steps(Items):
    """What came out of a generator, or another stream, that is itself a metered call."""

    def __init__(self, call: Call, scope: Scope) -> None:
        super().__init__(call)
        self.scope = self.inside = scope  # some send their request when they are read, or entered

    def add(self, item: Any) -> bool:
        """Note a chunk, unless a call inside took the hold over."""
        return super().add(item) if self.scope.offer else True

    def ending(self, error: BaseException | None) -> Callable[[float | None], None] | None:
        """How the call ends; None if it has, or a call inside took it over."""
        return super().ending(error) if withdrawn(self.scope) else None


def _made(
    payment: Payment,
    call: Call | None,
    request: Request | None,
    scope: Scope,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """The function's own generator, for what was granted. None of it runs if it does not take such arguments."""
    enter(scope)
    try:
        if call is not None:
            scope.offer = [call]
            if call.capped or call.request is not request:
                args, kwargs = payment.capped(call, args, kwargs)
        return payment.fn(*args, **kwargs)
    except BaseException:
        if call is not None:
            end_anywhere(call, call.release)
        raise
    finally:
        leave(scope)


def _generator(payment: Payment) -> Callable[..., Any]:
    fn = payment.fn

    @functools.wraps(fn)
    def paid(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        scope = payment.scope(current(), args, kwargs)
        request = payment.request(args, kwargs)
        call = None if request is None else runner.begin(request, scope)
        inner = _made(payment, call, request, scope, args, kwargs)
        return (yield from _steps(scope, inner, None if call is None else Steps(call, scope)))

    return paid


def _metered_steps(call: Call, scope: Scope, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The steps of a generator that a function returned, which may have sent its request already."""
    steps = _steps(scope, inner, Steps(call, scope), begun=True)
    next(steps)  # one that was never started would run no code when it is closed or forgotten
    return steps


def _steps(
    scope: Scope, inner: Generator[Any, Any, Any], steps: Steps | None, *, begun: bool = False
) -> Generator[Any, Any, Any]:
    """Run a generator's steps inside the scope, which is never current while the consumer runs.

    One that is to be ``begun`` comes to the consumer's first word before the generator's first step.
    """
    action: Callable[[Any], Any] = inner.send
    value = item = None
    try:
        while True:
            if not begun:
                enter(scope)
                try:
                    item = action(value)
                except StopIteration as stop:
                    if steps is not None:
                        steps.end(None)
                    return stop.value
                finally:
                    leave(scope)
                if steps is not None:
                    steps.add(item)
            begun = False
            try:
                action, value = inner.send, (yield item)
            except GeneratorExit:
                enter(scope)
                try:
                    inner.close()
                finally:
                    leave(scope)
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the generator
                action, value = inner.throw, error
    except BaseException as error:
        if steps is not None:
            steps.end(error)
        raise


def _async_generator(payment: Payment) -> Callable[..., Any]:
    fn = payment.fn

    @functools.wraps(fn)
    async def paid(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        scope = payment.scope(current(), args, kwargs)
        request = payment.request(args, kwargs)
        call = None if request is None else await runner.begin_async(request, scope)
        inner = _made(payment, call, request, scope, args, kwargs)
        steps = None if call is None else Steps(call, scope)
        action, value = inner.asend, None
        try:
            while True:
                enter(scope)
                try:
                    item = await action(value)
                except StopAsyncIteration:
                    break
                finally:
                    leave(scope)
                if steps is not None:
                    steps.add(item)
                try:
                    action, value = inner.asend, (yield item)
                except GeneratorExit:
                    enter(scope)
                    try:
                        await inner.aclose()
                    finally:
                        leave(scope)
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the generator
                    action, value = inner.athrow, error
        except BaseException as error:
            if steps is not None:
                steps.end(error)
            raise
        if steps is not None:
            await steps.end_async()

    return paid


def unwrap_method(fn: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """Decorate what a ``staticmethod`` or ``classmethod`` wraps, or the function itself."""
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(wrap(fn.__func__))
    if not callable(fn):
        msg = f"@budgeted goes on a function, got {shown(fn)}"
        raise TypeError(msg)
    return wrap(fn)
