"""Types of the arguments that managers and blocks take."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

from budgeted.ledger.interface import Ledger
from budgeted.limits.limit import LimitLike
from budgeted.payers.purpose_tags import Tags
from budgeted.telemetry.events import Event

if TYPE_CHECKING:
    from sqlalchemy import Engine

Limits: TypeAlias = "LimitLike | Iterable[LimitLike]"
"""What a limit, or several, may be given as."""

UserLimitsLike: TypeAlias = "Limits | Mapping[str, Limits]"
MetricUsers: TypeAlias = "bool | str | Iterable[str] | Callable[[str], str | None] | None"
"""How telemetry may name users; see :class:`~budgeted.BudgetManager`."""

LedgerLike: TypeAlias = "str | os.PathLike[str] | Ledger | Engine | None"

OnExceed: TypeAlias = Literal["clamp", "raise", "warn", "ask"]

Fallback: TypeAlias = "str | Sequence[str] | Mapping[float, str]"
"""Models to try instead of refusing, or the model to ask for once a share of a limit is spent."""

Fsync: TypeAlias = Literal["background", "always"]


class Keywords(TypedDict, total=False):
    """The keywords that ``configure`` takes besides those it names, for type checkers and editors."""

    default_user_limits: UserLimitsLike
    unknown_users: Literal["allow", "deny"]
    timezone: str | dt.tzinfo
    on_exceed: OnExceed
    wait: float
    fallback: Fallback
    min_output_tokens: int
    unpriced: Literal["deny", "free"]
    unattributed: Literal["warn", "deny"]
    unmetered: Literal["deny", "warn", "allow"]
    unmetered_hosts: Iterable[str]
    on_ledger_error: Literal["deny", "allow"]
    on_uncertain: Literal["estimate", "hold", "release"]
    hold_timeout: float
    alerts: float | Iterable[float]
    alerts_to: str | Iterable[str] | None
    alerts_secret: str | None
    on_event: Callable[[Event], object] | None
    metric_users: MetricUsers
    metric_tags: str | Iterable[str]
    tags: Tags | None
    semconv: bool
    fsync: Fsync
    clock: Callable[[], float] | None
