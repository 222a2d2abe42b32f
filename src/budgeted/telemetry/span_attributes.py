"""What a call writes on the span that it was made in: its outcome and its cost."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from budgeted.money import NANO
from budgeted.payers.payer_interface import Group
from budgeted.system.forks import at_fork
from budgeted.telemetry.series_labels import Wanted, tag_attributes, user_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_marking = threading.RLock()

COST_ATTRIBUTES = ("gen_ai.usage.cost.amount", "gen_ai.usage.cost.currency", "gen_ai.usage.cost.source")
"""A proposal to OpenTelemetry's GenAI conventions, written where ``semconv=True``."""


def unlocked(span: Span) -> bool:
    """Whether nobody is writing to a span this instant: asked where this very thread may be doing so."""
    locks = [getattr(holder, "_lock", None) for holder in (span, getattr(span, "_attributes", None))]
    return not any(lock is not None and hasattr(lock, "locked") and lock.locked() for lock in locks)


def mark(
    span: Span,
    outcome: str,
    cost: int | None = None,
    groups: Sequence[Group] = (),
    more: Mapping[str, str] | None = None,
    source: str = "",
) -> None:
    """Write a call's outcome on the span it was made in, and add its cost up: a span may cover several calls.

    Args:
        span: the span that was current when the call began. One that has ended is left as it is.
        outcome: ``"settled"``, ``"estimated"``, ``"failed"`` or ``"refused"``.
        cost: nano-USD; None for a call that was not sent.
        groups: the call's payers, for its tags, and for the user whom telemetry may name.
        more: further attributes.
        source: where the cost is from; given, it is also written by the names that are proposed to OpenTelemetry.
    """
    if not span.is_recording():
        return
    # Reentrant: a finaliser may end a call while this thread is in here.
    with _marking:
        present = getattr(span, "attributes", None) or {}
        # Each attribute takes the SDK two microseconds: those that are there already are not written again.
        attributes: dict[str, str | float] = (
            {} if present.get("budgeted.outcome") == outcome else {"budgeted.outcome": outcome}
        )
        if more:
            attributes |= more
        if cost is not None:
            attributes["budgeted.cost"] = (round(present.get("budgeted.cost", 0) * NANO) + cost) / NANO
            if source:
                amount = attributes["budgeted.cost"]
                attributes |= zip(COST_ATTRIBUTES, (amount, "USD", source), strict=True)
        user = user_of(groups) if Wanted.any else ""
        if user and "user.id" not in present:
            attributes["user.id"] = user
        if any(group.tagged for group in groups):
            tags = tag_attributes(groups)
            attributes |= {name: value for name, value in tags.items() if present.get(name) != value}
        for name, value in attributes.items():
            span.set_attribute(name, value)


def _after_fork() -> None:
    """A child has none of the threads that may have been marking."""
    global _marking  # noqa: PLW0603
    _marking = threading.RLock()


at_fork(after_in_child=_after_fork)
