"""What ``@budgeted`` may be given: nothing, a user, a cap, a policy; bare on a function, or called first."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TypeAlias

from budgeted.functions import decorator, entered_block
from budgeted.functions.tool_functions import as_tool
from budgeted.functions.who_pays import BlockOfCall, Function, Payment
from budgeted.payers.cap_text import read_cap
from budgeted.payers.on_exceed_policy import Policy, make_policy
from budgeted.payers.payer_interface import Payer
from budgeted.payers.purpose_tags import AskedTags
from budgeted.validation import check_count, check_name, shown

Choices: TypeAlias = tuple[str | None, object, float | None]
"""A policy as it is asked for: ``on_exceed``, ``fallback`` and ``wait``, or None each."""


def read_block(cap: object, repeat_limit: int | None, share: object, reserve: bool) -> BlockOfCall | None:
    """What the block of each call of a function has, besides its user; None for nothing.

    Raises:
        TypeError, ValueError: an argument makes no sense; the text quotes it.
    """
    if cap is None and repeat_limit is None and share is None and reserve is False:
        return None
    limit = None if repeat_limit is None else check_count(repeat_limit, "repeat_limit", 1)
    own = BlockOfCall(None if cap is None else read_cap(cap), limit, share, reserve)
    own.ahead  # noqa: B018 - what makes no sense is told where the function is decorated
    return own


def decorate(
    payer: Callable[[], Payer],
    target: object,
    user: object,
    own_block: BlockOfCall | None,
    choices: Choices,
    tags: object = None,
    tool: object = None,
) -> object:
    """The decorator behind ``budgeted``: bare on a function, or with arguments first.

    Args:
        payer: gives whose accounts, asked at each call.
        target: what came first: the function, or the user.
        user: the user, by name.
        own_block: what the block of each call has, or None.
        choices: the policy.
        tags: what the calls are for, as :class:`AskedTags` takes it.
        tool: the name of the tool that the function is, or None.

    Raises:
        TypeError, ValueError: an argument makes no sense; the text quotes it.
    """
    own = make_policy(Policy(), *choices)
    named = None if tool is None else check_name(tool, "tool")
    asked = None if tags is None else AskedTags(tags)
    for name, one in (("user", user), *(("tags", one) for one in (asked.callables if asked is not None else ()))):
        if inspect.iscoroutinefunction(one):
            msg = (
                f"{name}={shown(one)} is a coroutine function, and who pays is asked before anything runs; write a "
                f"plain one"
            )
            raise TypeError(msg)

    @functools.lru_cache(maxsize=16)
    def over(base: Policy) -> Policy | None:
        return make_policy(base, *choices)

    def policy(paying: Payer) -> Policy | None:
        return None if own is None else over(paying.policy)

    def paid(fn: Function) -> Function:
        if inspect.isclass(fn):
            msg = f"@budgeted goes on functions, and {fn.__name__} is a class; put it on the methods that make calls"
            raise TypeError(msg)
        called, metered = fn if named is None else as_tool(fn, named, payer), named is None
        payment = Payment(called, payer, user, own_block, policy, asked, metered=metered)
        if own_block is None or own_block.ahead is None:
            return decorator.decorate(payment)
        inner = decorator.decorate(Payment(called, payer, None, None, policy, metered=metered))
        return entered_block.around(functools.partial(payment.block, own_block), called, inner)

    if isinstance(target, (int, float)) and not isinstance(target, bool):
        msg = f"@budgeted({shown(target)}) names no user; for a cap on each call write @budgeted(cap={shown(target)})"
        raise TypeError(msg)
    if target is not None and user is not None:
        msg = f"@budgeted got two users, {shown(target)} and {shown(user)}; nest two blocks to have both pay"
        raise TypeError(msg)
    said = any(one is not None for one in (own_block, own, asked, named))
    if target is None or isinstance(target, str) or (callable(target) and said):
        user = target if user is None else user
        return lambda fn: _unwrapped(fn, paid)
    return _not_a_user(_unwrapped(target, paid), target)


def _unwrapped(fn: object, wrap: Callable[[Function], Function]) -> object:
    """Decorate what a ``staticmethod`` or ``classmethod`` wraps, or the function itself."""
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(wrap(fn.__func__))
    if not callable(fn):
        msg = f"@budgeted goes on a function, got {shown(fn)}"
        raise TypeError(msg)
    return wrap(fn)


def _not_a_user(paid: object, target: object) -> object:
    """A bare ``@budgeted(lambda ...)`` pays for the lambda's own calls, and may have been meant otherwise."""
    if not callable(paid) or not callable(target) or getattr(target, "__name__", "") != "<lambda>":
        return paid

    @functools.wraps(target)
    def call(*args: object, **kwargs: object) -> object:
        if len(args) == 1 and not kwargs and inspect.isfunction(args[0]):
            msg = (
                f"@budgeted(lambda ...) on {args[0].__name__}() takes the lambda for the function to pay for; "
                f"to have it tell who pays write @budgeted(user=lambda ...)"
            )
            raise TypeError(msg)
        return paid(*args, **kwargs)

    return call
