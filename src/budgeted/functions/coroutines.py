"""Coroutine functions, and functions that return something to await, paid for."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from types import GeneratorType
from typing import Any

from opentelemetry.context import get_current

from budgeted.functions import generators
from budgeted.functions.result_type_classification import GENERATOR, STREAM, kind_of
from budgeted.functions.returned_stream import Steps
from budgeted.functions.who_pays import Payment, early_end, give_up, withdrawn
from budgeted.metering import item_streams, runner
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner, end_anywhere
from budgeted.payers.scope import KEY, Offer, Scope, current, enter, finder, inherited, leave


def paid(payment: Payment, fn: Callable[..., Awaitable[object]]) -> Callable[..., Coroutine[object, object, object]]:
    """A coroutine function, paid for."""

    @functools.wraps(fn)
    async def paid(*args: object, **kwargs: object) -> object:
        context = get_current()
        around: Any = context.get(KEY)  # as current() has it, without another call
        if finder or (around is None and inherited):
            around = current()
        scope = payment.scope(around, args, kwargs)
        metered = payment.metered
        request = None if metered is None else metered.request(args, kwargs)
        owner = Owner()
        try:
            try:
                call = None if request is None else await runner.begin_async(request, owner, scope, context)
                enter(scope, context)
                if call is None:
                    return await fn(*args, **kwargs)
                scope.offer = owner.offer = Offer(call)
                if call.capped or call.request is not request:
                    args, kwargs = payment.capped(call, args, kwargs)
                call.begun = True
                response = await fn(*args, **kwargs)
                stream = _stream(call, scope, response)
                if stream is not None:
                    return stream
                owner.end = functools.partial(payment.done, call, scope, response)
                await runner.settled(call, owner.end)
                return response
            except BaseException as error:
                await _end_early(payment, owner, scope, error)
                raise
            finally:
                leave(scope)
        except BaseException as error:
            give_up(owner, scope, error)
            raise

    return paid


async def _end_early(payment: Payment, owner: Owner, scope: Scope, error: BaseException) -> None:
    """End the hold of a function that has raised, unless it is known how that ends."""
    end = early_end(payment, owner, scope, error)
    if end is not None and owner.call is not None:
        await runner.settled(owner.call, end)


def awaited(
    payment: Payment, call: Call, scope: Scope, response: Awaitable[object]
) -> Coroutine[object, object, object]:
    """What a plain function returned to be awaited, such as a lambda around a coroutine."""
    unbegun = [True]
    waiting = _wait(payment, call, scope, response, unbegun)
    # A finaliser: of a coroutine that never began no line runs, not even a `finally`.
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


async def _wait(payment: Payment, call: Call, scope: Scope, response: Awaitable[object], unbegun: list[bool]) -> object:
    owner = Owner(call, offer=scope.offer)
    try:
        try:
            unbegun.clear()
            enter(scope)
            found = await response
            stream = _stream(call, scope, found)
            if stream is not None:
                return stream
            owner.end = functools.partial(payment.done, call, scope, found)
            await runner.settled(call, owner.end)
            return found
        except BaseException as error:
            await _end_early(payment, owner, scope, error)
            raise
        finally:
            leave(scope)
    except BaseException as error:
        give_up(owner, scope, error)
        raise


def _stream(call: Call, scope: Scope, response: object) -> object:
    """What a coroutine is to return for a stream or generator that ends the call; None for anything else."""
    if scope.offer is None or scope.offer.takers:
        return None
    kind = kind_of(response)
    if kind == GENERATOR and isinstance(response, GeneratorType):
        return generators.metered(call, scope, response)
    return item_streams.metered(Steps(call, scope), response) if kind == STREAM else None
