"""The settings of a manager: what they may be, and a clear word where they are not."""

from __future__ import annotations

import datetime as dt
import difflib
import fnmatch
import inspect
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar

import msgspec

from budgeted.ledger.interface import Ledger
from budgeted.limits.limit import Limit, LimitLike
from budgeted.limits.periods import zone
from budgeted.money import nano_usd
from budgeted.payers.scope import check_fallback, check_on_exceed
from budgeted.telemetry.counters import user_names
from budgeted.validation import check_count, check_seconds, shown

if TYPE_CHECKING:
    from sqlalchemy import Engine

logger = logging.getLogger("budgeted")

F = TypeVar("F", bound=Callable[..., Any])

Limits: TypeAlias = "LimitLike | Iterable[LimitLike]"
"""What a limit, or several, may be given as."""

UserLimitsLike: TypeAlias = "Limits | Mapping[str, Limits]"
LedgerLike: TypeAlias = "str | os.PathLike[str] | Ledger | Engine | None"

OnExceed: TypeAlias = Literal["clamp", "raise", "warn"]
Fsync: TypeAlias = Literal["background", "always"]

WHOLE_HOLD = 2**62
"""As many output tokens assumed of an uncertain call as it was granted."""

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
    on_event: Callable[[Any], Any] | None
    metric_users: Any
    semconv: bool
    fsync: Fsync
    clock: Callable[[], float] | None


class Settings(msgspec.Struct, kw_only=True):
    """Every setting of a manager but its name, ledger and global limit, with its default."""

    default_user_limits: Any = ()
    unknown_users: str = "allow"
    timezone: Any = "UTC"
    on_exceed: str = "clamp"
    wait: float = 30.0
    fallback: Any = ()
    min_output_tokens: int = 4096
    unpriced: str = "deny"
    unattributed: str = "warn"
    on_ledger_error: str = "deny"
    on_uncertain: str = "estimate"
    uncertain_output_tokens: int = 1024
    hold_timeout: float = 900.0
    alerts: Any = (0.8, 1.0)
    on_event: Any = None
    metric_users: Any = False
    semconv: bool = False
    clock: Any = None

    def __post_init__(self) -> None:
        _word("unknown_users", self.unknown_users, "allow", "deny")
        _word("unpriced", self.unpriced, "deny", "free")
        _word("unattributed", self.unattributed, "warn", "deny")
        _word("on_ledger_error", self.on_ledger_error, "deny", "allow")
        _word("on_uncertain", self.on_uncertain, "estimate", "hold", "release")
        check_on_exceed(self.on_exceed)
        check_seconds(self.wait, "wait")
        check_hold_timeout(self.hold_timeout)
        self.fallback = check_fallback(self.fallback)
        check_count(self.min_output_tokens, "min_output_tokens")
        check_count(self.uncertain_output_tokens, "uncertain_output_tokens")
        self.default_user_limits = UserLimits(self.default_user_limits)
        self.timezone = zone(self.timezone)
        self.alerts = tuple(_share(share) for share in _listed(self.alerts))
        if self.on_event is not None and not callable(self.on_event):
            msg = f"on_event must be a function of one event, got {shown(self.on_event)}"
            raise TypeError(msg)
        if inspect.iscoroutinefunction(self.on_event):
            msg = (
                f"on_event is called in a thread without an event loop; write a plain function, not "
                f"async def, got {shown(self.on_event)}"
            )
            raise TypeError(msg)
        _yes_or_no("semconv", self.semconv)
        self.metric_users = user_names(self.metric_users)
        self.clock = _clock(self.clock)

    @property
    def uncertain_output(self) -> int:
        """Output tokens charged to a call that nobody confirms; -1 charges nothing."""
        if self.on_uncertain == "release":
            return -1
        return WHOLE_HOLD if self.on_uncertain == "hold" else self.uncertain_output_tokens


class UserLimits:
    """Limits of users that have none of their own: the same for all, or by patterns of their names."""

    patterns: tuple[tuple[str, tuple[Limit, ...]], ...]

    def __init__(self, given: Any) -> None:
        if isinstance(given, UserLimits):
            self.patterns = given.patterns
        elif isinstance(given, Mapping):
            self.patterns = tuple((_pattern(pattern), Limit.parse_all(limits)) for pattern, limits in given.items())
        else:
            limits = () if given is None else Limit.parse_all(given)
            self.patterns = (("*", limits),) if limits else ()

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def of(self, user: str) -> tuple[Limit, ...]:
        """The limits of the first pattern that matches a user's name."""
        for pattern, limits in self.patterns:
            if fnmatch.fnmatchcase(user, pattern):
                return limits
        return ()


def refuse_unknown(names: Iterable[str], fn: Callable[..., Any]) -> None:
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


def global_limits(max_budget: Any, duration: Any) -> tuple[Limit, ...] | None:
    """The limits that ``max_budget`` and ``duration`` mean, or None if neither was given.

    Raises:
        ValueError: they do not parse, or a duration has no budget to belong to.
    """
    if max_budget is None:
        if duration is not None:
            msg = f"duration={shown(duration)} needs max_budget, such as max_budget=10"
            raise ValueError(msg)
        return None
    if duration is None:
        return Limit.parse_all(max_budget)
    if isinstance(max_budget, Limit):
        return (Limit(max_budget, duration),)
    if not isinstance(max_budget, str):
        nano_usd(max_budget, "max_budget", up=False)
    return (Limit(max_budget, duration),)


_LISTS = {"alerts": float, "fallback": str}
_FLOATS = ("wait", "hold_timeout")
_TOKENS = ("min_output_tokens", "uncertain_output_tokens")
_TEXTS = (
    "max_budget duration project_name ledger default_user_limits unknown_users timezone on_exceed unpriced "
    "unattributed on_ledger_error on_uncertain fsync"
).split()
_OTHERS = "home token read_token max_body max_projects threads host port project".split()
"""Variables that are not about a manager's settings."""

_KNOWN = (*_TEXTS, *_LISTS, *_FLOATS, *_TOKENS, "metric_users", "semconv")

_PREFIX = "BUDGETED_"


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with each ``BUDGETED_*`` variable that nothing here reads: a sentence that names what was meant.

    Args:
        environment: such as ``os.environ``.
    """
    told = []
    for variable, value in environment.items():
        name = variable.removeprefix(_PREFIX).lower()
        if variable.startswith(_PREFIX) and value.strip() and name not in _KNOWN and name not in _OTHERS:
            meant = difflib.get_close_matches(name, (*_KNOWN, *_OTHERS), 1)
            hint = f"did you mean {_PREFIX}{meant[0].upper()}?" if meant else "nothing reads it"
            told.append(f"{variable} is not known; {hint}")
    return told


def warn_of_unknown(environment: Mapping[str, str]) -> None:
    """Log what :func:`unknown_variables` finds."""
    for problem in unknown_variables(environment):
        logger.warning("budgeted: %s", problem)


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The keywords of ``configure()`` that ``BUDGETED_*`` variables give: ``BUDGETED_MAX_BUDGET='$10/day'``.

    Lists are separated by commas. ``BUDGETED_METRIC_USERS`` is ``true``, ``false``, ``hash``, ``top 20`` or users'
    names, ``BUDGETED_SEMCONV`` is ``true`` or ``false``. ``BUDGETED_PROJECT``, which the command reads, stands in for
    ``BUDGETED_PROJECT_NAME``. Empty variables count as not set; those that are not known are logged as warnings.

    Args:
        environment: such as ``os.environ``.

    Raises:
        ValueError: a variable's value makes no sense, or its name is probably misspelt; the text quotes it.
    """
    warn_of_unknown(environment)
    found: dict[str, Any] = {}
    for variable, value in {"BUDGETED_PROJECT_NAME": environment.get("BUDGETED_PROJECT", ""), **environment}.items():
        name = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or not value.strip():
            continue
        if name in _KNOWN:
            try:
                found[name] = _from_text(name, value.strip())
            except ValueError:
                msg = f"{variable}={shown(value)} makes no sense; see {name!r} of budgeted.BudgetManager"
                raise ValueError(msg) from None
        elif name not in _OTHERS:
            meant = difflib.get_close_matches(name, _KNOWN, 1, 0.8)
            if meant:
                msg = f"{variable} is not known; write {_PREFIX}{meant[0].upper()}"
                raise ValueError(msg)
    return found


def _from_text(name: str, value: str) -> Any:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if name in _LISTS:
        return tuple(_LISTS[name](one.strip()) for one in value.split(",") if one.strip())
    if name in _FLOATS:
        return float(value)
    if name in _TOKENS:
        return int(value)
    if name == "semconv":
        if value.lower() not in words:
            raise ValueError
        return words[value.lower()]
    if name == "metric_users" and value != "hash":
        if value.lower() in words:
            return words[value.lower()]
        return value if value.startswith("top ") else [one.strip() for one in value.split(",") if one.strip()]
    return value


def check_fsync(value: object) -> None:
    """One of the words for ``fsync``."""
    _word("fsync", value, "background", "always")


def check_hold_timeout(value: object) -> None:
    """Seconds after which a hold that nobody ends is charged."""
    if check_seconds(value, "hold_timeout") == 0:
        msg = "hold_timeout=0 would charge every call before it can end; write seconds, such as 900"
        raise ValueError(msg)


def check_headers(headers: object) -> dict[str, str]:
    """HTTP headers as a mapping of text to text. Their values are secrets: errors do not show them."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        msg = f"headers must be a mapping such as {{'Authorization': 'Bearer ...'}}, not {type(headers).__name__}"
        raise TypeError(msg)
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            msg = f"headers must be text mapped to text, and {shown(name)} is mapped to {type(value).__name__}"
            raise TypeError(msg)
    return dict(headers)


def _word(name: str, value: object, *words: str) -> None:
    if not isinstance(value, str) or value not in words:
        msg = f"{name}={shown(value)} is not known; write one of {', '.join(map(repr, words))}"
        raise ValueError(msg)


def _yes_or_no(name: str, value: object) -> None:
    if not isinstance(value, bool):
        msg = f"{name} must be True or False, got {shown(value)}"
        raise TypeError(msg)


def _pattern(pattern: object) -> str:
    if not isinstance(pattern, str) or not pattern:
        msg = f"default_user_limits maps patterns of names, such as 'team:*', to limits; got {shown(pattern)}"
        raise TypeError(msg)
    return pattern


def _listed(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 10:
        msg = f"alerts are shares of a limit such as 0.8, got {shown(value)}"
        raise ValueError(msg)
    return float(value)


def _clock(clock: Any) -> Callable[[], float]:
    if clock is None:
        return time.time
    if not callable(clock):
        msg = f"clock must be a function that returns unix seconds, like time.time, got {shown(clock)}"
        raise TypeError(msg)
    now = clock()
    if isinstance(now, dt.datetime):
        return lambda: float(clock().timestamp())
    if isinstance(now, bool) or not isinstance(now, (int, float)) or not math.isfinite(now):
        msg = f"clock must return unix seconds, like time.time, and returned {shown(now)}"
        raise TypeError(msg)
    return clock  # type: ignore[no-any-return]
