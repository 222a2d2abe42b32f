"""The settings of a manager: what they may be, and a clear word where they are not."""

from __future__ import annotations

import datetime as dt
import fnmatch
import inspect
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, cast

import msgspec

from budgeted.limits.limit import Limit, LimitLike
from budgeted.limits.periods import zone
from budgeted.limits.trusted_clock import system_clock
from budgeted.money import nano_usd
from budgeted.payers.on_exceed_policy import check_fallback, check_on_exceed
from budgeted.payers.purpose_tags import check_tags
from budgeted.telemetry.events import Event
from budgeted.telemetry.user_names import UserNames, user_names
from budgeted.telemetry.webhooks.destinations import Destination, destinations, is_url
from budgeted.telemetry.webhooks.signatures import Secret, secret
from budgeted.validation import TAG, check_count, check_seconds, check_tag_name, check_yes_or_no, is_tag, shown

WHOLE_HOLD = 2**62
"""As many output tokens assumed of an uncertain call as it was granted."""


def _limits(given: object) -> tuple[Limit, ...]:
    return Limit.parse_all(cast("LimitLike", given))  # which looks at it itself


def _pattern(pattern: object) -> str:
    if not isinstance(pattern, str) or not pattern:
        msg = f"default_user_limits maps patterns of names, such as 'team:*', to limits; got {shown(pattern)}"
        raise TypeError(msg)
    return pattern


class UserLimits:
    """Limits of users that have none of their own: the same for all, or by patterns of their names."""

    patterns: tuple[tuple[str, tuple[Limit, ...]], ...]

    def __init__(self, given: object) -> None:
        if isinstance(given, UserLimits):
            self.patterns = given.patterns
        elif isinstance(given, Mapping):
            self.patterns = tuple((_pattern(name), _limits(limits)) for name, limits in given.items())
        else:
            limits = () if given is None else _limits(given)
            self.patterns = (("*", limits),) if limits else ()

    def __bool__(self) -> bool:
        return bool(self.patterns)

    @property
    def of_users(self) -> bool:
        """Whether users may have any of them: some patterns are for tags alone."""
        return any(not pattern.startswith(TAG) for pattern, _ in self.patterns)

    def of(self, user: str) -> tuple[Limit, ...]:
        """The limits of the first pattern that matches a name: a user's, or a tag's, as ``tag:NAME=VALUE``.

        Only patterns that begin with ``tag:`` are for tags.
        """
        tagged = is_tag(user)
        for pattern, limits in self.patterns:
            if fnmatch.fnmatchcase(user, pattern) and (not tagged or pattern.startswith(TAG)):
                return limits
        return ()


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """Every setting of a manager but its name, ledger and global limit, as :func:`read_settings` has read it."""

    default_user_limits: UserLimits = UserLimits(())
    unknown_users: str = "allow"
    timezone: dt.tzinfo = dt.UTC
    on_exceed: str = "clamp"
    wait: float = 30.0
    fallback: tuple[str, ...] = ()
    min_output_tokens: int = 4096
    unpriced: str = "deny"
    unattributed: str = "warn"
    unmetered: str = "deny"
    unmetered_hosts: tuple[str, ...] = ()
    on_ledger_error: str = "deny"
    on_uncertain: str = "estimate"
    hold_timeout: float = 900.0
    alerts: tuple[float, ...] = (0.8, 1.0)
    alerts_to: tuple[Destination, ...] = ()
    alerts_secret: Secret | None = None
    on_event: Callable[[Event], object] | None = None
    metric_users: UserNames | None = None
    metric_tags: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    semconv: bool = False
    clock: Callable[[], float] = system_clock

    @property
    def uncertain_output(self) -> int:
        """Output tokens charged to a call that nobody confirms, at most; -1 charges nothing."""
        return -1 if self.on_uncertain == "release" else WHOLE_HOLD


def read_settings(given: Mapping[str, object], before: Settings | None = None) -> Settings:
    """Read settings by their names.

    Args:
        given: what an application says.
        before: what holds for those that it does not name; None for the defaults.

    Raises:
        ValueError, TypeError: one makes no sense; the text quotes it.
    """
    read = {name: _READERS[name](name, value) for name, value in given.items()}
    return msgspec.structs.replace(before or Settings(), **read)


def global_limits(max_budget: object, duration: object) -> tuple[Limit, ...] | None:
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
        return _limits(max_budget)
    if not isinstance(max_budget, (str, Limit)):
        nano_usd(max_budget, "max_budget", up=False)
    return (Limit(cast("LimitLike", max_budget), cast("str", duration)),)  # which looks at both itself


def check_fsync(value: object) -> Literal["background", "always"]:
    """One of the words for ``fsync``."""
    if value not in ("background", "always"):
        msg = f"fsync={shown(value)} is not known; write one of 'background', 'always'"
        raise ValueError(msg)
    return "always" if value == "always" else "background"


def check_hold_timeout(value: object) -> float:
    """Seconds after which a hold that nobody ends is charged."""
    seconds = check_seconds(value, "hold_timeout")
    if seconds == 0:
        msg = "hold_timeout=0 would charge every call before it can end; write seconds, such as 900"
        raise ValueError(msg)
    return seconds


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


Reader = Callable[[str, object], object]
"""Reads a setting: its name, and what was given for it."""


def _word(*words: str) -> Reader:
    def read(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in words:
            msg = f"{name}={shown(value)} is not known; write one of {', '.join(map(repr, words))}"
            raise ValueError(msg)
        return value

    return read


def _yes_or_no(name: str, value: object) -> bool:
    return check_yes_or_no(value, name)


def _count(name: str, value: object) -> int:
    return check_count(value, name)


_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?(?::\d{1,5})?|\[[0-9a-f:.]+\](?::\d{1,5})?")


def _hosts(name: str, value: object) -> tuple[str, ...]:
    listed = (value,) if isinstance(value, str) else value
    if not isinstance(listed, Iterable):
        msg = f"{name} must be names of hosts such as ['llm.example.com'], got {shown(value)}"
        raise TypeError(msg)
    found = []
    for host in listed:
        if not isinstance(host, str) or not _HOST.fullmatch(host.lower()):
            msg = f"{name} are names of hosts such as 'llm.example.com' or '10.0.0.7:8000', got {shown(host)}"
            raise ValueError(msg)
        found.append(host.lower())
    return tuple(found)


def _names_of_tags(name: str, value: object) -> tuple[str, ...]:
    listed = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(listed, Iterable):
        msg = f"{name} must be names of tags such as ['feature'], got {shown(value)}"
        raise TypeError(msg)
    return tuple(dict.fromkeys(check_tag_name(one) for one in listed))


def _hold_timeout(_: str, value: object) -> float:
    return check_hold_timeout(value)


def _shares(_: str, value: object) -> tuple[float, ...]:
    if value is None:
        return ()
    listed = value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    return tuple(_share(share) for share in listed)


def _share(value: object) -> float:
    if is_url(value):
        msg = "alerts are shares of a limit such as 0.8, and URLs to send them to go into alerts_to"
        raise ValueError(msg)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 10:
        msg = f"alerts are shares of a limit such as 0.8, got {shown(value)}"
        raise ValueError(msg)
    return float(value)


def _listener(_: str, value: object) -> object:
    if is_url(value):
        msg = "on_event must be a function of one event, and URLs to send events to go into alerts_to"
        raise TypeError(msg)
    if value is not None and not callable(value):
        msg = f"on_event must be a function of one event, got {shown(value)}"
        raise TypeError(msg)
    if inspect.iscoroutinefunction(value):
        msg = (
            f"on_event is called in a thread without an event loop; write a plain function, not "
            f"async def, got {shown(value)}"
        )
        raise TypeError(msg)
    return value


def _clock(_: str, clock: object) -> Callable[[], float]:
    if clock is None or clock is time.time:
        return system_clock
    if not callable(clock):
        msg = f"clock must be a function that returns unix seconds, like time.time, got {shown(clock)}"
        raise TypeError(msg)
    now = clock()
    if isinstance(now, dt.datetime):
        return lambda: float(clock().timestamp())
    if isinstance(now, bool) or not isinstance(now, (int, float)) or not math.isfinite(now):
        msg = f"clock must return unix seconds, like time.time, and returned {shown(now)}"
        raise TypeError(msg)
    return clock


_READERS: Final[Mapping[str, Reader]] = {
    "unknown_users": _word("allow", "deny"),
    "unpriced": _word("deny", "free"),
    "unattributed": _word("warn", "deny"),
    "unmetered": _word("deny", "warn", "allow"),
    "unmetered_hosts": _hosts,
    "on_ledger_error": _word("deny", "allow"),
    "on_uncertain": _word("estimate", "hold", "release"),
    "on_exceed": lambda _, value: check_on_exceed(value),
    "wait": lambda name, value: check_seconds(value, name),
    "hold_timeout": _hold_timeout,
    "fallback": lambda _, value: check_fallback(value),
    "min_output_tokens": _count,
    "default_user_limits": lambda _, value: UserLimits(value),
    "timezone": lambda _, value: zone(cast("str", value)),
    "alerts": _shares,
    "alerts_to": lambda _, value: destinations(value),
    "alerts_secret": lambda _, value: secret(value),
    "on_event": _listener,
    "semconv": _yes_or_no,
    "metric_users": lambda _, value: user_names(value),
    "metric_tags": _names_of_tags,
    "tags": lambda _, value: check_tags(value),
    "clock": _clock,
}
