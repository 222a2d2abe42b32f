"""``@budgeted``: a function whose calls are paid for by somebody.

Works on functions, coroutines, generators and async generators. A function that takes a ``model`` and its input is
itself a metered call: it holds before it runs, and the first intercepted call inside takes that hold over.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, ParamSpec, TypeVar

from opentelemetry.context import detach, get_current

from budgeted import driving, responses
from budgeted.arguments import check_name, looks_like_a_limit
from budgeted.call import Call
from budgeted.errors import LedgerLockedError
from budgeted.money import shown
from budgeted.request import Request
from budgeted.returned import ANSWER, AWAITABLE, GENERATOR, STREAM, Items, kind_of
from budgeted.returned import metered as metered_stream
from budgeted.scope import (
    KEY,
    Budget,
    Group,
    Policy,
    Scope,
    current,
    enter,
    joined,
    leave,
)
from budgeted.streams import end_anywhere

P = ParamSpec("P")
R = TypeVar("R")

CONTENT = ("messages", "input", "prompt", "contents")
_BODY = (*CONTENT, "system", "instructions", "tools", "functions", "response_format")
_CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_STRUCTURED = ("response_format", "text_format", "output_format", "response_model")
_RARE = ("n", "base_url", "api_base", "service_tier", "custom_llm_provider", *_STRUCTURED)
_CONTENT = frozenset(CONTENT)
_SDKS = ("openai", "anthropic")


class Metered:
    """How a function's own arguments say what its call may cost."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        self.open = any(one.kind is one.VAR_KEYWORD for one in parameters)
        self.names = tuple(
            one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        )
        named = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        self.accepts = frozenset(one.name for one in named)
        self.defaults = {one.name: one.default for one in named if one.default not in (one.empty, None)}
        self.body = self._taken(_BODY)
        self.caps = self._taken(_CAPS)
        # The usual shape, a model, its content and perhaps one cap, is read without looking for anything else.
        self.only = self.body[0] if len(self.body) == 1 and len(self.caps) < 2 and not self._taken(_RARE) else None
        self.cap_name = next((name for name in _CAPS if name in self.accepts), None)
        # Whether an SDK's call inside took the hold over, as far as was seen.
        self.hooked: bool | None = None

    def _taken(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if self.open or name in self.accepts)

    @property
    def possible(self) -> bool:
        """Whether the function may be a metered call at all."""
        return self.open or ("model" in self.accepts and not self.accepts.isdisjoint(CONTENT))

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments by name, defaults included."""
        found = dict(zip(self.names, args))  # noqa: B905 - what is too many belongs to *args
        found.update(kwargs)
        return {**self.defaults, **found} if self.defaults else found

    def request(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request | None:
        """The call that the arguments describe, or None if they describe none."""
        if self.defaults:
            given = self.arguments(args, kwargs)
        else:
            given = {**dict(zip(self.names, args)), **kwargs} if args else kwargs  # noqa: B905
        model = given.get("model")
        if model.__class__ is not str or not model:
            return None
        cappable = self.cap_name is not None or self._left_to_the_sdk()
        only = self.only
        if only is not None:
            content = given.get(only)
            if content is None:
                return None
            cap = None if self.cap_name is None else given.get(self.cap_name)
            if cap is not None and not (cap.__class__ is int and cap > 0):
                cap = cap if _is_count(cap) else None
            return Request("", model, {only: content}, cap, 1, cappable, False)
        body = {}
        for name in self.body:
            value = given.get(name)
            if value is not None:
                body[name] = value
        cap = None
        for name in self.caps:
            cap = given.get(name)
            if cap is not None:
                cap = cap if _is_count(cap) else None
                break
        request = Request("", model, body, cap, 1, cappable, False)
        _read_rare(request, given)
        return request if _CONTENT.intersection(body) else None

    def _left_to_the_sdk(self) -> bool:
        """Whether an SDK's hook inside will write the cap, as far as one can tell before the first call."""
        return self.hooked is not False and any(name in sys.modules for name in _SDKS)

    def capped(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with what was granted written into them."""
        changes: dict[str, Any] = {}
        if call.capped and self.cap_name is not None:
            changes[self.cap_name] = call.granted
        given = self.arguments(args, kwargs)
        if call.request.model != given.get("model"):
            changes["model"] = call.request.model
        for name, value in changes.items():
            if name in self.names[: len(args)]:
                at = self.names.index(name)
                args = (*args[:at], value, *args[at + 1 :])
            else:
                kwargs = {**kwargs, name: value}
        return args, kwargs


def _read_rare(request: Request, given: Mapping[str, Any]) -> None:
    n = given.get("n")
    if _is_count(n):
        request.n = n  # type: ignore[assignment]
    url = given.get("base_url") or given.get("api_base")
    request.base_url = url if isinstance(url, str) else None
    tier = given.get("service_tier")
    request.tier = tier if isinstance(tier, str) else None
    provider = given.get("custom_llm_provider")
    request.provider = provider if isinstance(provider, str) else ""
    request.structured = any(given.get(name) is not None for name in _STRUCTURED)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class Payment:
    """What one decorated function does around each of its calls."""

    def __init__(
        self,
        fn: Callable[..., Any],
        manager: Callable[[], Any],
        user: str | Callable[..., str] | None,
        cap: object,
        policy: Callable[[Any], Policy | None],
    ) -> None:
        self.fn = fn
        self.manager = manager
        self.user = check_user(user, fn)
        self.cap = cap
        self.policy = policy
        metered = Metered(fn)
        self.metered = metered if metered.possible else None
        self._fixed = cap is None and not callable(self.user)
        self._base: Group | None = None
        self._groups: tuple[Group, ...] = ()

    def scope(self, parent: Scope | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope:
        """Who pays for this call, made inside ``parent``."""
        if parent is None and self._fixed:
            # Outside every block the payers are the same at each call until the manager is configured anew.
            manager = self.manager()
            if manager.group is not self._base:
                self._base, self._groups = manager.group, joined(None, manager, self.user, self.policy(manager)).groups
            return Scope(self._groups, (), manager)
        user = self.user
        if user is not None and user.__class__ is not str:
            user = user(*args, **kwargs)
            if user is not None:
                check_name(user, "user")
        manager = self.manager()
        policy = self.policy(manager)
        if self.cap is None:
            return joined(parent, manager, user, policy)
        return Budget(manager, user, cap=self.cap, policy=policy).scope(parent)

    def request(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request | None:
        """What the function itself is about to ask of a model."""
        return None if self.metered is None else self.metered.request(args, kwargs)

    def done(self, call: Call, scope: Scope, response: Any, timeout: float | None = None) -> None:
        """Settle the function's own hold, unless a call inside took it over."""
        metered: Any = self.metered
        if not withdrawn(scope):
            metered.hooked = True
            return
        if metered.hooked is None:
            metered.hooked = False
        try:
            call.settle(responses.read(response), timeout)
        except LedgerLockedError:
            offer_again(call, scope)
            raise

    def failed(self, call: Call, scope: Scope, error: BaseException, timeout: float | None = None) -> None:
        """The function raised before any call inside took its hold over."""
        if withdrawn(scope):
            try:
                call.fail(error, timeout)
            except LedgerLockedError:
                offer_again(call, scope)
                raise


def offer_again(call: Call, scope: Scope) -> None:
    """Where a ledger was only tried, the step is repeated beside the event loop: it must find the offer again."""
    scope.offer.append(call)  # type: ignore[union-attr]


def withdrawn(scope: Scope) -> bool:
    """Whether no call inside took the function's own hold over; none can any more."""
    try:
        scope.offer.pop()  # type: ignore[union-attr]  # the function offered it
    except IndexError:
        return False
    return True


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
        scope = payment.scope(context.get(KEY), args, kwargs)  # type: ignore[arg-type]
        metered = payment.metered
        request = None if metered is None else metered.request(args, kwargs)
        call = None if request is None else driving.begin(request, scope, context)
        token = enter(scope, context)
        try:
            if call is None:
                return fn(*args, **kwargs)
            scope.offer = [call]
            try:
                if call.capped or call.request is not request:
                    args, kwargs = metered.capped(call, args, kwargs)  # type: ignore[union-attr]
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
            await driving.settled(call, functools.partial(payment.failed, call, scope, error))
            raise
        stream = _stream(call, scope, found)
        if stream is not None:
            return stream
        await driving.settled(call, functools.partial(payment.done, call, scope, found))
        return found
    finally:
        leave(scope)


def _coroutine(payment: Payment) -> Callable[..., Any]:
    fn = payment.fn

    @functools.wraps(fn)
    async def paid(*args: Any, **kwargs: Any) -> Any:
        context = get_current()
        scope = payment.scope(context.get(KEY), args, kwargs)  # type: ignore[arg-type]
        metered = payment.metered
        request = None if metered is None else metered.request(args, kwargs)
        call = None if request is None else await driving.begin_async(request, scope, context)
        enter(scope, context)
        try:
            if call is None:
                return await fn(*args, **kwargs)
            scope.offer = [call]
            try:
                if call.capped or call.request is not request:
                    args, kwargs = metered.capped(call, args, kwargs)  # type: ignore[union-attr]
                response = await fn(*args, **kwargs)
            except BaseException as error:
                await driving.settled(call, functools.partial(payment.failed, call, scope, error))
                raise
            stream = _stream(call, scope, response)
            if stream is not None:
                return stream
            await driving.settled(call, functools.partial(payment.done, call, scope, response))
            return response
        finally:
            leave(scope)

    return paid


class Steps(Items):
    """What came out of a generator, or another stream, that is itself a metered call."""

    def __init__(self, call: Call, scope: Scope) -> None:
        super().__init__(call)
        self.scope = scope

    def add(self, item: Any) -> bool:
        """Note a chunk, unless a call inside took the hold over."""
        return super().add(item) if self.scope.offer else True

    def ending(self, error: BaseException | None) -> Callable[[float | None], None] | None:
        """How the call ends; None if it has, or a call inside took it over."""
        return super().ending(error) if withdrawn(self.scope) else None


def _generator(payment: Payment) -> Callable[..., Any]:
    fn = payment.fn

    @functools.wraps(fn)
    def paid(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        scope = payment.scope(current(), args, kwargs)
        request = payment.request(args, kwargs)
        call = None if request is None else driving.begin(request, scope)
        enter(scope)
        try:
            if call is not None:
                scope.offer = [call]
                if call.capped or call.request is not request:
                    args, kwargs = payment.metered.capped(call, args, kwargs)  # type: ignore[union-attr]
            inner = fn(*args, **kwargs)
        finally:
            leave(scope)
        return (yield from _steps(scope, inner, None if call is None else Steps(call, scope)))

    return paid


def _metered_steps(call: Call, scope: Scope, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The steps of a generator that a function returned, which may have sent its request already."""
    steps = _begun_steps(scope, inner, Steps(call, scope))
    next(steps)  # one that was never started would run no code when it is closed or forgotten
    return steps


def _begun_steps(scope: Scope, inner: Generator[Any, Any, Any], steps: Steps) -> Generator[Any, Any, Any]:
    try:
        first = yield
    except BaseException as error:
        inner.close()
        steps.end(error)
        raise
    return (yield from _steps(scope, inner, steps, first))


def _steps(
    scope: Scope, inner: Generator[Any, Any, Any], steps: Steps | None, first: Any = None
) -> Generator[Any, Any, Any]:
    """Run a generator's steps inside the scope, which is never current while the consumer runs."""
    action, value = inner.send, first
    try:
        while True:
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
        steps = None
        request = payment.request(args, kwargs)
        call = None if request is None else await driving.begin_async(request, scope)
        enter(scope)
        try:
            if call is not None:
                scope.offer = [call]
                steps = Steps(call, scope)
                if call.capped or call.request is not request:
                    args, kwargs = payment.metered.capped(call, args, kwargs)  # type: ignore[union-attr]
            inner = fn(*args, **kwargs)
        finally:
            leave(scope)
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


def check_user(user: object, fn: Callable[..., Any]) -> Any:
    """The ``user`` of a decorator: a name, or a callable given the function's own arguments.

    Raises:
        TypeError: it is neither.
        ValueError: it was probably meant as a limit, or as the name of a parameter.
    """
    if user is None or callable(user):
        return user
    name = check_name(user, "user")
    if looks_like_a_limit(name):
        msg = (
            f"@budgeted({name!r}) would bill a user of that name. For a limit on each call write "
            f"@budgeted(cap={name.strip('$ ').split('/')[0]!r}); for a limit on a user, set_limits(user, {name!r})"
        )
        raise ValueError(msg)
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return name
    if name in parameters:
        before = [*itertools.takewhile(lambda each: each != name, parameters), name]
        msg = (
            f"@budgeted({name!r}) would bill a user called {name!r}, and {getattr(fn, '__name__', 'the function')}() "
            f"has a parameter of that name; to bill its value write "
            f"@budgeted(user=lambda {', '.join(before)}, *_, **__: {name})"
        )
        raise ValueError(msg)
    return name


def unwrap_method(fn: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """Decorate what a ``staticmethod`` or ``classmethod`` wraps, or the function itself."""
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(wrap(fn.__func__))
    if not callable(fn):
        msg = f"@budgeted goes on a function, got {shown(fn)}"
        raise TypeError(msg)
    return wrap(fn)
