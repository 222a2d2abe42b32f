"""Refusing requests whose cost no hook can see, such as batches, agents and WebSockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.context import get_value

from budgeted.errors import UnpricedModelError
from budgeted.payers import swallowed_refusals
from budgeted.payers.scope import BY_HAND, Scope, current, outside
from budgeted.providers.monkeypatching import enabled
from budgeted.telemetry import run_notes


def held_by_hand(scope: Scope) -> bool:
    """Whether the caller holds by hand for what is sent here, and settles it, for all who pay in a scope."""
    by_hand: Any = get_value(BY_HAND)  # a weak reference
    held = None if by_hand is None else by_hand()
    return held is not None and bool(held.covers(scope))


def refuse_unseen(what: str) -> None:
    """Refuse what nobody here could see the cost of, unless the caller holds for it by hand.

    Args:
        what: how a sentence about it begins, such as ``"a background response"``.

    Raises:
        UnpricedModelError: the running code is inside a budget.
    """
    scope = current() or (outside[0] if outside else None)
    if scope is None or scope.silent or held_by_hand(scope):
        return
    msg = (
        f"{what} is billed where no hook can see it, so no budget can bound it; nothing was sent. Hold what it may "
        f"cost by hand: `with budgeted.hold(cost=USD) as held: ...; held.settle(cost=USD)`"
    )
    error = UnpricedModelError(msg)
    swallowed_refusals.note(scope.blocks, error)
    run_notes.note(run_notes.REFUSED)
    raise error


def refuse_connection(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Refuse to open a WebSocket, on which everything is billed out of sight."""
    if enabled():
        refuse_unseen("what is said over a WebSocket")
    return wrapped(*args, **kwargs)
