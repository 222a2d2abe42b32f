"""Calls that were refused or wait, for people: whose limit is in the way and why, and what would let them through."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from budgeted.limits.limit import Limit
from budgeted.manager.account_names import KEY
from budgeted.manager.activity import RefusedCall
from budgeted.page.asking import Asked
from budgeted.page.rendering import short
from budgeted.page.views.account_fields import page_of
from budgeted.units import amount_text

_CENT: Final = 100

_REASONS: Final = {"unpriced": "the model has no price", "stopped": "stopped"}


@dataclass(frozen=True, slots=True)
class CallLine:
    """A call that was refused or waits.

    Attributes:
        call: the call.
        account: the name that addresses take; None for the global account, "" for one that has no page.
        why: the reason, for people.
        remedy: what somebody can do: "top up $2.50", "edit limits", "resume"; "" for nothing.
        where: the address where that is done.
    """

    call: RefusedCall
    account: str | None
    why: str
    remedy: str
    where: str


def lines(asked: Asked, calls: Iterable[RefusedCall]) -> list[CallLine]:
    """What is shown of some calls."""
    return [_line(asked, call) for call in calls]


def _line(asked: Asked, call: RefusedCall) -> CallLine:
    kind, name = call.account_kind, call.account
    account = None if kind == "global" else f"{KEY}{name}" if kind == "block" else name
    if kind == "block" and asked.books.info(account) is None:
        return CallLine(call, "", _why(call), "", "")  # a cap without a key, which its own process alone knows
    return CallLine(call, account, _why(call), *_remedy(asked, call, account))


def _why(call: RefusedCall) -> str:
    if call.reason == "spent":
        return f"{call.limit} has {short(call.remaining, call.unit)} left"
    if call.reason == "held":
        return f"calls in flight hold what {call.limit} has left"
    told = _REASONS.get(call.reason, call.reason)
    return f"{told} ({call.limit})" if call.limit else told


def _remedy(asked: Asked, call: RefusedCall, account: str | None) -> tuple[str, str]:
    """What would let such a call through, and where that is done."""
    if call.reason == "stopped" and account != "":
        return "resume", page_of(asked, account)
    if not call.limit or call.requested is None or call.remaining is None or account == "":
        return "", ""
    edit = "edit limits", asked.link("/page/limits", account=account)
    try:
        limit = Limit(call.limit)
    except ValueError:  # its text was too long to be told whole
        return edit
    if limit.period is None or limit.period.rolling:
        return edit  # there is no end of a period with which a raise would end
    missing = max(0.0, call.requested - call.remaining)
    if limit.unit == "usd":
        amount = f"${max(1, math.ceil(round(missing * _CENT, 7))) / _CENT:.2f}"
    else:
        amount = amount_text(max(1, math.ceil(missing)), limit.unit)
    amount = f"{amount} on {limit.models}" if limit.models else amount
    return f"top up {amount}", asked.link("/page/top-up", account=account, amount=amount)
