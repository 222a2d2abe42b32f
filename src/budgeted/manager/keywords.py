"""Which keywords managers and blocks take, and what is said of those that users of other packages bring."""

from __future__ import annotations

import datetime as dt
import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, TypeVar

from budgeted.ledger.interface import Ledger
from budgeted.limits.limit import LimitLike
from budgeted.telemetry.events import Event

if TYPE_CHECKING:
    from sqlalchemy import Engine

F = TypeVar("F", bound=Callable[..., object])

Limits: TypeAlias = "LimitLike | Iterable[LimitLike]"
"""What a limit, or several, may be given as."""

UserLimitsLike: TypeAlias = "Limits | Mapping[str, Limits]"
MetricUsers: TypeAlias = "bool | str | Iterable[str] | Callable[[str], str | None] | None"
"""How telemetry may name users; see :class:`~budgeted.BudgetManager`."""

LedgerLike: TypeAlias = "str | os.PathLike[str] | Ledger | Engine | None"

OnExceed: TypeAlias = Literal["clamp", "raise", "warn"]
Fsync: TypeAlias = Literal["background", "always"]

ELSEWHERE = {
    "max_usd": "max_budget cap cost",
    "max_cost": "max_budget cap cost",
    "budget": "max_budget cap",
    "limit": "max_budget cap",
    "total_budget": "max_budget cap",
    "max_budget": "cap cost",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "prompt": "input",
    "service_tier": "tier",
    "user_id": "user",
    "budget_duration": "duration",
    "reset": "duration",
    "period": "duration",
    "soft_budget": "alerts",
    "warn_at": "alerts",
    "path": "ledger",
    "storage": "ledger",
    "backend": "ledger",
    "redis_url": "ledger",
    "db": "ledger",
    "fallback_model": "fallback",
    "fallbacks": "fallback",
    "timeout": "wait",
    "tz": "timezone",
    "on_limit": "on_exceed",
    "hard": "on_exceed",
    "user_limits": "default_user_limits",
    "callback": "on_event",
    "namespace": "project_name",
    "project": "project_name",
}
"""What other packages call things, and what they are called here: the first that the function at hand has."""


class Keywords(TypedDict, total=False):
    """The keywords that ``configure`` takes besides those it names, for type checkers and editors."""

    default_user_limits: UserLimitsLike
    unknown_users: Literal["allow", "deny"]
    timezone: str | dt.tzinfo
    on_exceed: OnExceed
    wait: float
    fallback: str | Sequence[str]
    min_output_tokens: int
    unpriced: Literal["deny", "free"]
    unattributed: Literal["warn", "deny"]
    on_ledger_error: Literal["deny", "allow"]
    on_uncertain: Literal["estimate", "hold", "release"]
    uncertain_output_tokens: int
    hold_timeout: float
    alerts: float | Iterable[float]
    on_event: Callable[[Event], object] | None
    metric_users: MetricUsers
    semconv: bool
    fsync: Fsync
    clock: Callable[[], float] | None


def refuse_unknown(names: Iterable[str], fn: Callable[..., object]) -> None:
    """Refuse keywords that a function does not have, naming the one of its own that was probably meant.

    Raises:
        TypeError: there is such a name.
    """
    for name in names:
        known = sorted(inspect.signature(fn).parameters)
        meant = [ours for ours in ELSEWHERE.get(name, "").split() if ours in known]
        meant += difflib.get_close_matches(name, known, 1)
        hint = f"here it is called {meant[0]!r}" if meant else f"there are {', '.join(known)}"
        msg = f"unknown keyword {name!r}; {hint}"
        raise TypeError(msg)


def documented(fn: F) -> F:
    """Show the parameters that callers are meant to give, without those that take a bare function, or refuse."""
    signature = inspect.signature(fn)
    mine = [one for one in signature.parameters.values() if one.name not in {"target", "unknown"}]
    if "target" in signature.parameters:
        mine = [one.replace(kind=one.POSITIONAL_OR_KEYWORD) if one.name == "user" else one for one in mine]
    fn.__signature__ = signature.replace(parameters=mine)  # type: ignore[attr-defined]
    return fn
