"""Who pays for one decorated function, and how the function's own hold ends."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from budgeted.functions.request_from_arguments import Metered
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner
from budgeted.metering.set_aside import SetAside, set_aside
from budgeted.payers.block import Budget
from budgeted.payers.block_ahead import BudgetAhead
from budgeted.payers.cap_text import Cap
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Group, Payer
from budgeted.payers.purpose_tags import Accounts, AskedTags
from budgeted.payers.scope import THE_FUNCTION, Scope, joined, leave
from budgeted.validation import check_user, looks_like_a_limit
from budgeted.wire import response_usage
from budgeted.wire.normalized_request import Request

Ending: TypeAlias = Callable[[float | None], None]
"""A step that ends a call; it takes the timeout for the ledger's lock."""

Function: TypeAlias = Callable[..., object]
"""A function, of whatever kind, before it is paid for and after."""


class BlockOfCall(msgspec.Struct, frozen=True):
    """What the block of each call of a function has, besides its user.

    Args:
        cap: what the call may spend, or None.
        repeat_limit: how often the same request may be made in it, or None.
        share, reserve: what it sets aside when the function is called, as a block's are.
    """

    cap: Cap | None = None
    repeat_limit: int | None = None
    share: object = None
    reserve: bool = False

    @property
    def ahead(self) -> SetAside | None:
        """What one block sets aside, as it is entered; None for nothing.

        Raises:
            TypeError, ValueError: that makes no sense.
        """
        if self.share is None and self.reserve is False:
            return None
        return set_aside(self.cap, None, self.share, self.reserve)


class Payment:
    """What one decorated function does around each of its calls."""

    def __init__(
        self,
        fn: Function,
        payer: Callable[[], Payer],
        user: object,
        own_block: BlockOfCall | None,
        policy: Callable[[Payer], Policy | None],
        tags: AskedTags | None = None,
        *,
        metered: bool = True,
    ) -> None:
        self.fn = fn
        self.payer = payer
        self.user = user_of(user, fn)
        self.own_block = own_block
        self.policy = policy
        described = Metered(fn) if metered else None
        self.metered = described if described is not None and described.possible else None
        self._asked = tags if tags is not None and tags.callables else None
        self._tags = tags.accounts if tags is not None else ()
        self._fixed = own_block is None and self._asked is None and not callable(self.user)
        self._name = self.user if isinstance(self.user, str) else None
        self._base: Group | None = None
        self._groups: tuple[Group, ...] = ()

    def scope(self, parent: Scope | None, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Scope:
        """Who pays for this call, made inside ``parent``."""
        if parent is None and self._fixed:
            # Outside every block the payers are the same at each call until the manager is configured anew.
            payer = self.payer()
            if payer.group is not self._base:
                self._base, self._groups = payer.group, self._outside(payer)
            return Scope(self._groups, (), payer)
        if self.own_block is not None:
            return self.block(self.own_block, args, kwargs).scope(parent)
        if self._fixed:
            user, tags = self._name, self._tags
        else:
            user, tags = self._user_of(args, kwargs), self._tags_of(args, kwargs)
        payer = self.payer()
        return joined(parent, payer, user, self.policy(payer), None, tags)

    def block(self, own: BlockOfCall, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Budget:
        """The block of one call."""
        user, tags, payer = self._user_of(args, kwargs), self._tags_of(args, kwargs), self.payer()
        policy, limit = self.policy(payer), own.repeat_limit
        ahead = own.ahead
        if ahead is None:
            return Budget(payer, user, cap=own.cap, policy=policy, repeat_limit=limit, tags=tags)
        block = BudgetAhead(payer, user, cap=own.cap, policy=policy, repeat_limit=limit, tags=tags)
        block.ahead = ahead
        return block

    def _user_of(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
        user = self.user
        if user is None or isinstance(user, str):
            return user
        told = user(*args, **kwargs)
        return None if told is None else check_user(told)

    def _tags_of(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Accounts:
        return self._tags if self._asked is None else self._asked.read(self._asked.ask(*args, **kwargs))

    def _outside(self, payer: Payer) -> tuple[Group, ...]:
        """The accounts of a call outside every block, of which nothing is asked."""
        return joined(None, payer, self._name, self.policy(payer), None, self._tags).groups

    def request(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Request | None:
        """What the function itself is about to ask of a model."""
        return None if self.metered is None else self.metered.request(args, kwargs)

    def capped(
        self, call: Call, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments of the function's own call, with what it was granted."""
        assert self.metered is not None  # noqa: S101 - or else there was no such call
        return self.metered.capped(call, args, kwargs)

    def done(self, call: Call, scope: Scope, response: object, timeout: float | None = None) -> None:
        """Settle the function's own hold, unless a call inside took it over."""
        metered = self.metered
        assert metered is not None  # noqa: S101 - or else there was no such hold
        assert scope.offer is not None  # noqa: S101 - nor such an offer
        if not scope.offer.take(THE_FUNCTION):  # as withdrawn() has it, without another call
            metered.hooked = True
            return
        if metered.hooked is None:
            metered.hooked = False
        call.settle(response_usage.read(response), timeout)

    def failed(self, call: Call, scope: Scope, error: BaseException, timeout: float | None = None) -> None:
        """The function raised before any call inside took its hold over."""
        if withdrawn(scope):
            call.fail(error, timeout)


def early_end(
    payment: Payment, owner: Owner, scope: Scope, error: BaseException, answer: tuple[object, ...] = ()
) -> Ending | None:
    """How the hold of a function ends that has raised; None if it has none, or it is known how that ends.

    Args:
        payment: for the function.
        owner: of its hold.
        scope: that its payers are in.
        error: what was raised.
        answer: what the function returned, if it did: then something has struck while the hold was being ended by it.
    """
    if owner.call is None or owner.offer is None or owner.end is not None:
        return None
    if answer:
        owner.end = functools.partial(payment.done, owner.call, scope, answer[0])
        return None
    owner.end = functools.partial(payment.failed, owner.call, scope, error)
    return owner.end


def give_up(owner: Owner, scope: Scope, error: BaseException) -> None:
    """Whatever was raised, and wherever: leave the scope, and end the function's own hold, unless it was taken over."""
    leave(scope)
    if owner.offer is None or owner.offer.take(THE_FUNCTION):
        owner.give_up(error)


def on_offer(scope: Scope) -> bool:
    """Whether no call inside has taken the function's own hold over so far, and it has not ended."""
    return scope.offer is not None and not scope.offer.takers


def withdrawn(scope: Scope) -> bool:
    """Whether no call inside took the function's own hold over; none can any more. It may be asked again."""
    offer = scope.offer
    assert offer is not None  # noqa: S101 - the function has made it
    return offer.take(THE_FUNCTION)


def user_of(user: object, fn: Function) -> str | Callable[..., object] | None:
    """The ``user`` of a decorator: a name, or a callable given the function's own arguments.

    Raises:
        TypeError: it is neither.
        ValueError: it was probably meant as a limit, or as the name of a parameter.
    """
    if user is None or callable(user):
        return user
    name = check_user(user)
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
