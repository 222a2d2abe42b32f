"""What goes on in all processes: calls that wait and that ask, the last that were refused and why, calls in flight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from budgeted.limits.limit import Limit
from budgeted.manager.account_names import KEY
from budgeted.manager.activity import RefusedCall, WaitingCall
from budgeted.manager.administrative_manager import Books
from budgeted.page.asking import Asked, Shown
from budgeted.units import amount_text

MOST_IN_FLIGHT: Final = 100
"""Calls in flight that are shown, the oldest ones."""

Remedy: TypeAlias = Literal["top-up", "limits", "resume", ""]

_CENT: Final = 100

_REASONS: Final = {
    "spent": "used up",
    "held": "what is left is held by calls in flight",
    "stopped": "stopped",
    "unpriced": "the model has no price",
    "unattributed": "nobody pays for it",
    "unknown": "nobody knows this user",
}


@dataclass(frozen=True, slots=True)
class _Line:
    """A call that was refused or waits, and what would let such a call through.

    Attributes:
        call: the call.
        account: the name that forms take; None for the global account, "" for one that has no page.
        why: the reason, for people.
        remedy: what somebody can do, or "".
        amount: for a top-up: what is missing, rounded up to whole cents.
    """

    call: RefusedCall
    account: str | None
    why: str
    remedy: Remedy
    amount: str


def show(asked: Asked) -> Shown:
    """What goes on now, and what was refused lately."""
    activity = asked.books.activity()
    data = {
        "waiting": [_line(asked.books, call) for call in activity.waiting],
        "refusals": [_line(asked.books, call) for call in activity.refusals],
        "refused_today": activity.refused_today,
        "in_flight": activity.in_flight[:MOST_IN_FLIGHT],
        "in_flight_count": len(activity.in_flight),
        "held": sum(call.held for call in activity.in_flight),
    }
    return Shown("activity.html", "Activity", data)


def _line(books: Books, call: RefusedCall | WaitingCall) -> _Line:
    kind, name = call.account_kind, call.account
    account = None if kind == "global" else f"{KEY}{name}" if kind == "block" else name
    remedy, amount = _remedy(call)
    if kind == "block" and books.info(account) is None:
        account = remedy = ""  # a cap without a key, which is known to its own process alone
    return _Line(call, account, _REASONS.get(call.reason, call.reason), remedy, amount)


def _remedy(call: RefusedCall) -> tuple[Remedy, str]:
    """What would let such a call through, and how much more it takes."""
    if call.reason == "stopped" and call.account_kind in ("global", "user", "tag"):
        return "resume", ""
    if not call.limit or call.requested is None or call.remaining is None or not call.account_kind:
        return "", ""
    try:
        limit = Limit(call.limit)
    except ValueError:  # its text was too long to be told whole
        return "limits", ""
    if limit.period is None or limit.period.rolling:
        return "limits", ""  # there is no end of a period with which a raise would end
    missing = max(0.0, call.requested - call.remaining)
    if limit.unit == "usd":
        amount = f"${max(1, math.ceil(round(missing * _CENT, 7))) / _CENT:.2f}"
    else:
        amount = amount_text(max(1, math.ceil(missing)), limit.unit)
    return "top-up", f"{amount} on {limit.models}" if limit.models else amount
