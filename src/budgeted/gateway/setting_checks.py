"""What each setting of a gateway may be, and a clear word where it is not."""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

from budgeted.gateway.key_expiry import expires_at
from budgeted.limits.limit import Limit, LimitLike
from budgeted.validation import check_count, check_text, check_yes_or_no, shown

MOST_WORKERS: Final = 256
_LAST_PORT: Final = 65_535


def checked(name: str, value: object) -> object:
    """A setting as it is kept.

    Args:
        name: as its table has it.
        value: as somebody has stated it.

    Raises:
        ValueError: it makes no sense; the text quotes it, unless it may be a secret.

    Example:
        >>> checked("models", "gpt-5*")
        ('gpt-5*',)
    """
    try:
        return _CHECKS[name](name, value)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _between(least: int, most: int) -> Callable[[str, object], int]:
    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            msg = f"{name} must be a whole number from {least} to {most}, got {shown(value)}"
            raise ValueError(msg)
        return value

    return check


def _count(name: str, value: object) -> int:
    return check_count(value, name, 1)


def _yes_or_no(name: str, value: object) -> bool:
    return check_yes_or_no(value, name)


def _seconds(name: str, value: object) -> float:
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        msg = f"{name} must be seconds above 0, got {shown(value)}"
        raise ValueError(msg)
    return number


def _free(name: str, value: object) -> str:
    if value not in ("few", "all"):
        msg = f"{name}={shown(value)} is not known; write one of 'few', 'all'"
        raise ValueError(msg)
    return str(value)


def _host(name: str, value: object) -> str:
    host = check_text(value, name)
    if not host.isascii() or not host.isprintable() or set(host) & set(" /?#@") or "://" in host:
        msg = f"{name} must be a name or an address such as 127.0.0.1, without a port, got {shown(value)}"
        raise ValueError(msg)
    return host


def _patterns(name: str, value: object) -> tuple[str, ...]:
    return tuple(_words(name, value, "patterns of models such as ['gpt-5*']"))


def _words(name: str, value: object, example: str) -> list[str]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, Iterable) or isinstance(listed, (bytes, Mapping)):
        msg = f"{name} must be {example}, got {shown(value)}"
        raise TypeError(msg)
    found = list(listed)
    for one in found:
        if not isinstance(one, str) or not one or not one.isprintable() or one != one.strip():
            msg = f"{name} must be {example}, got {shown(one)}"
            raise ValueError(msg)
    return cast("list[str]", found)


def _proxies(name: str, value: object) -> tuple[str, ...]:
    example = "addresses or networks such as ['10.0.0.0/8']"
    found = _words(name, value, example)
    for one in found:
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            msg = f"{name} must be {example}, got {shown(one)}: {error}"
            raise ValueError(msg) from None
    return tuple(found)


def _token(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        msg = f"{name} must be printable ASCII without blanks; make one with: openssl rand -hex 32"
        raise ValueError(msg)
    return value


def _limits(_: str, value: object) -> tuple[Limit, ...]:
    return Limit.parse_all(cast("LimitLike", value))  # which looks at it itself


def _expires(name: str, value: object) -> str:
    if value == "":
        return ""
    if not isinstance(value, str):
        msg = f'{name} must be text such as "30d" or "2027-01-31", got {shown(value)}'
        raise TypeError(msg)
    expires_at(value, 0, dt.UTC)  # a day that has passed is told when a key is made
    return value


_CHECKS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "host": _host,
    "port": _between(0, _LAST_PORT),
    "workers": _between(1, MOST_WORKERS),
    "open": _yes_or_no,
    "models": _patterns,
    "free": _free,
    "headers": _yes_or_no,
    "access_log": _yes_or_no,
    "max_body": _count,
    "connect_seconds": _seconds,
    "silence_seconds": _seconds,
    "header_seconds": _seconds,
    "body_seconds": _seconds,
    "unread_seconds": _seconds,
    "grace_seconds": _seconds,
    "max_connections": _count,
    "max_connections_per_address": _count,
    "trusted_proxies": _proxies,
    "metrics_token": _token,
    "limit": _limits,
    "expires": _expires,
}
