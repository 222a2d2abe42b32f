"""``@budgeted``: a function whose calls are paid for by somebody.

Works on functions, coroutines, generators and async generators. A function that takes a ``model`` and its input is
itself a metered call: it holds before it runs, and the first intercepted call inside takes that hold over.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import GeneratorType
from typing import Any

from opentelemetry.context import detach, get_current

from budgeted.functions import coroutines, generators
from budgeted.functions.result_type_classification import ANSWER, kind_of
from budgeted.functions.returned_stream import Steps
from budgeted.functions.who_pays import Payment, early_end, give_up, on_offer
from budgeted.metering import item_streams, runner
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner
from budgeted.payers.scope import KEY, Offer, Scope, current, enter, finder, inherited


def decorate(payment: Payment) -> Callable[..., object]:
    """The function, paid for."""
    fn = payment.fn
    if inspect.isasyncgenfunction(fn):
        return generators.paid_async(payment, fn)
    if inspect.isgeneratorfunction(fn):
        return generators.paid(payment, fn)
    if inspect.iscoroutinefunction(fn):
        return coroutines.paid(payment, fn)
    return _paid(payment)


def _paid(payment: Payment) -> Callable[..., object]:
    fn = payment.fn

    @functools.wraps(fn)
    def paid(*args: object, **kwargs: object) -> object:
        context = get_current()
        around: Any = context.get(KEY)  # as current() has it, without another call
        if finder or (around is None and inherited):
            around = current()
        scope = payment.scope(around, args, kwargs)
        metered = payment.metered
        request = None if metered is None else metered.request(args, kwargs)
        owner = Owner()
        answer: tuple[object, ...] = ()
        try:
            try:
                call = None if request is None else runner.begin(request, owner, scope, context)
                enter(scope, context)
                if call is None:
                    return fn(*args, **kwargs)
                scope.offer = owner.offer = Offer(call)
                if call.capped or call.request is not request:
                    args, kwargs = payment.capped(call, args, kwargs)
                call.begun = True
                response = fn(*args, **kwargs)
                if kind_of(response) != ANSWER:
                    later = _later(payment, call, scope, response)
                    if later is not None:
                        return later
                answer = (response,)
                payment.done(call, scope, response)
                return response
            except BaseException as error:
                end = early_end(payment, owner, scope, error, answer)
                if end is not None:
                    end(None)
                raise
            finally:
                if scope.token is not None:
                    detach(scope.token)  # as leave(), which has more to ask: a plain function ends where it began
                    scope.token = None
        except BaseException as error:
            give_up(owner, scope, error)
            raise

    return paid


def _later(payment: Payment, call: Call, scope: Scope, response: object) -> object:
    """What a function is to return whose call ends later than it does; None if its hold was taken over."""
    if isinstance(response, GeneratorType):
        return generators.metered(call, scope, response)
    if isinstance(response, Awaitable):
        return coroutines.awaited(payment, call, scope, response)
    return item_streams.metered(Steps(call, scope), response) if on_offer(scope) else None
