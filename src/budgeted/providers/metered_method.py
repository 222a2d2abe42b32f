"""Running an SDK's method as one metered call: what the provider modules share.

Each of them says how a request of its SDK is read (a :class:`Sent`, or None for what is not billed by tokens); the
rest of the call's life is here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from opentelemetry.context import detach

from budgeted.metering import http_streams, runner
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner
from budgeted.payers.scope import enter, leave
from budgeted.pricing.usage import Usage
from budgeted.providers.addresses_of_run import is_left_to_gateway
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.providers.unmeterable_requests import refuse_unseen
from budgeted.wire import response_usage
from budgeted.wire.content_type_and_encoding import read_whole
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest

End: TypeAlias = Callable[[float | None], None]
"""How a call ends: a step that takes the timeout for the ledger's lock."""


class Sent:
    """One request of an SDK, as read, and how it is sent on.

    Args:
        request: what is metered.
        args: what the hooked method was called with.
        kwargs: and by name.
    """

    def __init__(self, request: Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.request = request
        self.args = args
        self.kwargs = kwargs

    def granted(self, read_by: Format, http: HTTPRequest, call: Call) -> HTTPRequest:
        """A request with what the call was granted: a cap, and another model where it fell back to one.

        Args:
            read_by: the format that it was read by.
            http: as it was read.
            call: which says what was granted.
        """
        if call.request is self.request and not call.capped:
            return http  # as most are sent
        model = call.request.model if call.request.model != self.request.model else None
        return read_by.granted(http, call.request, model=model, cap=call.granted if call.capped else None)

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:  # noqa: ARG002 - for those that differ
        """What the method is called with instead, given what the call was granted.

        Args:
            call: which says the cap that was ``granted``, if it is ``capped``, and the model of its ``request``.

        Returns:
            The positional arguments and those by name.
        """
        return self.args, self.kwargs

    def again(self, call: Call, error: Exception) -> tuple[tuple[Any, ...], dict[str, Any]] | None:  # noqa: ARG002 - as above
        """What the method is called with once more, where it was refused for what was written into its request.

        Args:
            call: the metered call, which goes on.
            error: what the method raised.

        Returns:
            The positional arguments and those by name; None if the error is the caller's to see.
        """
        return None

    def outcome(self, call: Call, error: BaseException) -> End:
        """How the call ends that raised.

        Args:
            call: the metered call.
            error: what the method raised.
        """
        return functools.partial(call.fail, error)

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response.

        Args:
            call: the metered call.
            response: what the method returned.

        Returns:
            The step that ends it; None for a stream, which ends it when it has been read.
        """
        return functools.partial(call.settle, read_whole(response))


Read: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Sent | None]
"""Reads what a hooked method of an SDK's object was called with."""


Kind = TypeVar("Kind", bound=Sent)


def meterable(sent: Kind | None) -> Kind | None:
    """A request that was read, unless it is sent without being metered here: held for by hand, elsewhere, or by nobody.

    Args:
        sent: the request; None if it is not billed.

    Raises:
        UnpricedModelError: it starts what is billed out of sight, inside a budget.
    """
    if sent is None or is_left_to_gateway(sent.request.base_url):
        return None
    if not sent.request.unseen:
        return sent
    refuse_unseen(sent.request.unseen)
    return None


def pair(module: str, sync: str, asynchronous: str, read: Read) -> tuple[Hook, Hook]:
    """The hooks of a method and its asynchronous twin, each of which is one logical call.

    Args:
        module: where both are, such as ``openai._base_client``.
        sync: the method in it, such as ``SyncAPIClient.request``.
        asynchronous: the coroutine function in it.
        read: reads what either was called with.
    """
    return (
        Hook(module, sync, functools.partial(run, read)),
        Hook(module, asynchronous, functools.partial(run_async, read)),
    )


def run(read: Read, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a hooked method, as a metered call if it makes one.

    Args:
        read: reads what it was called with.
        wrapped: the method, bound to its object.
        client: its object.
        args: what it was called with.
        kwargs: and by name.

    Returns:
        What the method returns.

    Raises:
        BudgetError: the call does not fit, or must not be made; nothing was sent.
    """
    sent = meterable(read(client, args, kwargs)) if enabled() else None
    if sent is None:
        return wrapped(*args, **kwargs)
    owner = Owner()
    try:
        try:
            call = runner.begin(sent.request, owner)
            if call is None:
                return wrapped(*args, **kwargs)
            args, kwargs = sent.altered(call)
            owner.scope = call.inside()  # what the method calls in turn, hooked or not, is a part of this call
            token = enter(owner.scope)
            response = _answer(sent, call, wrapped, args, kwargs)
            detach(token)  # as leave(), which has more to ask: a method ends where it began
            owner.scope.token = None
            owner.end = sent.finish(call, response)
            if owner.end is not None:
                owner.end(None)
            return response
        except BaseException as error:  # Ctrl-C as well: a hold that nobody ends would count until it times out
            if owner.scope is not None:
                leave(owner.scope)
            end = early_end(owner, sent, error)
            if end is not None:
                end(None)
            raise
    except BaseException as error:
        owner.give_up(error)
        raise


def _answer(sent: Sent, call: Call, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the method returns, called once more if it is refused for what was written into its request."""
    try:
        return wrapped(*args, **kwargs)
    except Exception as error:
        again = sent.again(call, error)
        if again is None:
            raise
    # Not while the error is handled: what is raised now would seem to come of it.
    return wrapped(*again[0], **again[1])


async def _answer_async(
    sent: Sent, call: Call, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The same for a coroutine function."""
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        again = sent.again(call, error)
        if again is None:
            raise
    return await wrapped(*again[0], **again[1])


def early_end(owner: Owner, sent: Sent | None, error: BaseException) -> End | None:
    """How a call ends that has raised.

    Args:
        owner: whose call it is.
        sent: its request, as it was read.
        error: what was raised.

    Returns:
        The step that ends it; None if it has ended, or nothing was sent.
    """
    call = owner.call
    if sent is None or call is None or call.ended or not call.begun:
        return None
    if owner.end is None:
        owner.end = sent.outcome(call, error)
    return owner.end


async def run_async(
    read: Read, wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The same for a coroutine function."""
    sent = meterable(read(client, args, kwargs)) if enabled() else None
    if sent is None:
        return await wrapped(*args, **kwargs)
    owner = Owner()
    try:
        try:
            call = await runner.begin_async(sent.request, owner)
            if call is None:
                return await wrapped(*args, **kwargs)
            args, kwargs = sent.altered(call)
            owner.scope = call.inside()
            enter(owner.scope)
            response = await _answer_async(sent, call, wrapped, args, kwargs)
            leave(owner.scope)
            owner.end = sent.finish(call, response)
            if owner.end is not None:
                await runner.settled(call, owner.end)
            return response
        except BaseException as error:  # a cancelled task as well
            if owner.scope is not None:
                leave(owner.scope)
            if owner.end is None:  # else it goes on, whatever has become of this coroutine
                end = early_end(owner, sent, error)
                if end is not None and owner.call is not None:
                    await runner.settled(owner.call, end)
            raise
    except BaseException as error:
        owner.give_up(error)
        raise


def http_end(call: Call, response: Any) -> End | None:
    """How a call ends with an HTTP response: httpx's or httpx2's, with its body read or still to come.

    Args:
        call: the metered call.
        response: its HTTP response.

    Returns:
        The step that ends it; None if the body is still to come: the call ends when it has been read.
    """
    if response.status_code >= 400:
        return call.release
    if getattr(response, "is_stream_consumed", True):
        return functools.partial(call.settle, read_whole(response))
    http_streams.watch(response, call)
    return None


def units_end(call: Call, units: int | None) -> End:
    """How a call ends that is billed by the unit: at as many as the answer says, else at as many as there may be.

    Args:
        call: the metered call.
        units: how many the answer says; None if it does not.
    """
    if units is None:
        return functools.partial(call.estimate, "the response does not say what it used")
    call.request.units = units
    return functools.partial(call.settle, response_usage.Answer(Usage(service_tier=call.request.tier)))
