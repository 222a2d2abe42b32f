"""Generator functions, sync and async, paid for: their steps run for whoever pays, and the consumer's code does not."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import copy_context
from typing import TypeVar

from budgeted.functions.returned_stream import Steps
from budgeted.functions.who_pays import Payment, give_up
from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner
from budgeted.payers.scope import Offer, Scope, current, enter, leave
from budgeted.wire.normalized_request import Request

G = TypeVar("G")


def paid(
    payment: Payment, fn: Callable[..., Generator[object, object, object]]
) -> Callable[..., Generator[object, object, object]]:
    """A generator function, paid for."""

    @functools.wraps(fn)
    def paid(*args: object, **kwargs: object) -> Generator[object, object, object]:
        scope = payment.scope(current(), args, kwargs)
        request = payment.request(args, kwargs)
        owner, steps = Owner(), None
        try:
            call = None if request is None else runner.begin(request, owner, scope)
            inner = _made(payment, fn, owner, request, scope, args, kwargs)
            steps = None if call is None else Steps(call, scope)
            return (yield from _steps(scope, inner, steps))
        except BaseException as error:
            _end(steps, owner, scope, error)
            raise

    return paid


def metered(call: Call, scope: Scope, inner: Generator[object, object, object]) -> Generator[object, object, object]:
    """The steps of a generator that a function returned, which may have sent its request already."""
    steps = _steps(scope, inner, Steps(call, scope), begun=True)
    next(steps)  # one that was never started would run no code when it is closed or forgotten
    return steps


def _made(
    payment: Payment,
    fn: Callable[..., G],
    owner: Owner,
    request: Request | None,
    scope: Scope,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> G:
    """The function's own generator, for what was granted. None of it runs if it does not take such arguments."""
    call = owner.call
    try:
        enter(scope)
        if call is not None:
            scope.offer = owner.offer = Offer(call)
            if call.capped or call.request is not request:
                args, kwargs = payment.capped(call, args, kwargs)
        inner = fn(*args, **kwargs)
        if call is not None:
            call.begun = True
        return inner
    finally:
        leave(scope)


def _end(steps: Steps | None, owner: Owner, scope: Scope, error: BaseException) -> None:
    """Whatever was raised, and wherever: leave the scope, and end the hold, which may have ended already."""
    if steps is None:
        give_up(owner, scope, error)
    else:
        leave(scope)
        steps.end(error)


def _steps(
    scope: Scope, inner: Generator[object, object, object], steps: Steps | None, *, begun: bool = False
) -> Generator[object, object, object]:
    """Run a generator's steps inside the scope, which is never current while the consumer runs.

    One that is to be ``begun`` comes to the consumer's first word before the generator's first step.
    """
    step: Callable[[], object] = functools.partial(inner.send, None)
    item: object = None
    try:
        while True:
            if not begun:
                try:
                    enter(scope)
                    item = step()
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
                step = functools.partial(inner.send, (yield item))
            except GeneratorExit:
                # In a copy of the context: the collector may have come in the midst of a change of the context itself,
                # of this or another variable, and CPython crashes if that is changed once more meanwhile.
                copy_context().run(_close, inner, scope)
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the generator
                step = functools.partial(inner.throw, error)
    except BaseException as error:
        if steps is not None:
            steps.end(error)
        raise


def _close(inner: Generator[object, object, object], scope: Scope) -> None:
    """Close a generator inside its scope."""
    try:
        enter(scope)
        inner.close()
    finally:
        leave(scope)


def paid_async(
    payment: Payment, fn: Callable[..., AsyncGenerator[object, object]]
) -> Callable[..., AsyncGenerator[object, object]]:
    """An async generator function, paid for."""

    @functools.wraps(fn)
    async def paid(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        scope = payment.scope(current(), args, kwargs)
        request = payment.request(args, kwargs)
        owner, steps = Owner(), None
        try:
            call = None if request is None else await runner.begin_async(request, owner, scope)
            inner = _made(payment, fn, owner, request, scope, args, kwargs)
            steps = None if call is None else Steps(call, scope)
            step = functools.partial(inner.asend, None)
            while True:
                try:
                    enter(scope)
                    item = await step()
                except StopAsyncIteration:
                    break
                finally:
                    leave(scope)
                if steps is not None:
                    steps.add(item)
                try:
                    step = functools.partial(inner.asend, (yield item))
                except GeneratorExit:
                    try:
                        enter(scope)
                        await inner.aclose()
                    finally:
                        leave(scope)
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the generator
                    step = functools.partial(inner.athrow, error)
            if steps is not None:
                await steps.end_async()
        except BaseException as error:
            _end(steps, owner, scope, error)
            raise

    return paid
