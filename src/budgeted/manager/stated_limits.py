"""Limits as a settings file states them: of everybody together, of users, of teams, and by patterns of names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, cast

from budgeted.limits.limit import Limit, LimitLike
from budgeted.limits.periods import parse_period
from budgeted.manager import account_names
from budgeted.manager.settings import global_limits
from budgeted.manager.settings_file import SettingsFile
from budgeted.manager.stated_belonging import KEYS, PATTERN, TEAM, says_only_belonging
from budgeted.validation import check_name, check_user, shown

Limits = tuple[Limit, ...]

_NUMBER: Final = re.compile(r"[\d.,_\s]+[kmb]?", re.ASCII | re.IGNORECASE)
_HOUR: Final = 3600
_KEYS: Final = ("max_budget", "duration", "limit", "limits")


class StatedLimit(NamedTuple):
    """A limit, and where it is stated."""

    limit: Limit
    where: str


class UsersLimits(NamedTuple):
    """Limits of users by their whole names, and of those that match a pattern, ``"*"`` last."""

    named: dict[str, Limits]
    patterns: dict[str, Limits]


def of_everybody(file: SettingsFile) -> Limits:
    """The global limits: ``max_budget`` with its ``duration``, and the table ``[limits]``.

    Raises:
        ValueError: they make no sense, or contradict each other; the text tells where.
    """
    own: dict[str, object] = {name: file.table[name] for name in ("max_budget", "duration") if name in file.table}
    stated = list(_of_table(file, (), own)) if own else []
    if "limits" in file.table:
        stated += _read(file, ("limits",), file.table["limits"])
    return _agreed(stated)


def of_users(file: SettingsFile) -> UsersLimits:
    """The limits in ``[users]``, ``[teams]`` and ``default_user_limits``.

    Raises:
        ValueError: as above.
    """
    stated: dict[str, list[StatedLimit]] = {}
    for table, prefix in (("users", ""), ("teams", TEAM)):
        for name, value in _table(file, table).items():
            keys = table, name
            if prefix and name.startswith(prefix):
                meant = name.removeprefix(prefix)
                msg = f"{file.where(*keys)}: the account of a team begins with {TEAM!r} by itself; write {meant!r}"
                raise ValueError(msg)
            checked = _checked(file, keys, prefix + name)
            if not says_only_belonging(value):
                stated.setdefault(checked, []).extend(_read(file, keys, value))
    given = file.table.get("default_user_limits")
    for pattern, value in given.items() if isinstance(given, dict) else (("*", given),) if given is not None else ():
        place = ("default_user_limits", *([pattern] if isinstance(given, dict) else []))
        stated.setdefault(_checked(file, place, pattern), []).extend(_read(file, place, value))
    agreed = {name: _agreed(limits) for name, limits in stated.items()}
    patterns = {name: limits for name, limits in agreed.items() if PATTERN.search(name)}
    return UsersLimits({name: limits for name, limits in agreed.items() if name not in patterns}, last_of_all(patterns))


def last_of_all(patterns: dict[str, Limits]) -> dict[str, Limits]:
    """The patterns in their order, the first of which that matches counts; so ``"*"`` comes last."""
    rest = {"*": patterns["*"]} if "*" in patterns else {}
    return {**{pattern: limits for pattern, limits in patterns.items() if pattern != "*"}, **rest}


def _table(file: SettingsFile, name: str) -> dict[str, object]:
    found = file.table.get(name, {})
    if not isinstance(found, dict):
        msg = f'{file.where(name)}: must be a table, as in [{name}."search"], got {shown(found)}'
        raise ValueError(msg)  # noqa: TRY004 - as whatever is wrong in a file
    return found


def _checked(file: SettingsFile, keys: tuple[str, ...], name: str) -> str:
    try:
        if PATTERN.search(name):
            return check_name(name, "user")
        account_names.check_limited(name, lambda _: None)
        return check_user(name)
    except ValueError as error:
        msg = f"{file.where(*keys)}: {error}"
        raise ValueError(msg) from None


def _read(file: SettingsFile, keys: tuple[str, ...], value: object) -> Iterator[StatedLimit]:
    """The limits that a value states: text, a number, a list of these, or a table."""
    if isinstance(value, dict):
        yield from _of_table(file, keys, value)
    else:
        yield from _parsed(file, keys, value)


def _of_table(file: SettingsFile, keys: tuple[str, ...], table: dict[str, object]) -> Iterator[StatedLimit]:
    """The limits of a table such as ``max_budget = 10, duration = "daily"``, or ``day = 10``."""
    budget = {name: table[name] for name in ("max_budget", "duration") if name in table}
    if budget:
        yield from _parsed(file, (*keys, next(iter(budget))), table.get("max_budget"), table.get("duration"))
    for key, value in table.items():
        if key in ("limit", "limits") or (key == "global" and keys == ("limits",)):
            yield from _read(file, (*keys, key), value)
        elif key not in budget and not (key in KEYS and len(keys) == 2 and keys[0] in ("users", "teams")):
            period = _period(file, (*keys, key))
            yield from _parsed(file, (*keys, key), _per(period, value), period)


def _per(period: str, value: object) -> object:
    """What a number per period counts, as in a limit's text: calls, per less than an hour, else USD."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or _NUMBER.fullmatch(str(value))):
        return value
    return f"{value} calls" if parse_period(period).seconds < _HOUR else value


def _period(file: SettingsFile, keys: tuple[str, ...]) -> str:
    """A key that is a period, such as ``day``."""
    key = keys[-1]
    try:
        parse_period(key)
    except ValueError:
        meant = difflib.get_close_matches(key, (*_KEYS, *KEYS, "hour", "day", "week", "month"), 1)
        hint = f"did you mean {meant[0]}?" if meant else "write limits = ..., or a period such as day = ..."
        msg = f"{file.where(*keys)}: is not known; {hint}"
        raise ValueError(msg) from None
    return key


def _parsed(file: SettingsFile, keys: tuple[str, ...], value: object, period: object = None) -> Iterable[StatedLimit]:
    where = file.where(*keys)
    try:
        # Both look at what they are given themselves.
        limits = Limit.parse_all(cast("LimitLike", value)) if period is None else global_limits(value, period)
    except (ValueError, TypeError) as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None
    return [StatedLimit(limit, where) for limit in limits or ()]


def _agreed(stated: Iterable[StatedLimit]) -> Limits:
    """Limits that were stated in several places, each once.

    Raises:
        ValueError: one was stated with two amounts.
    """
    first: dict[str, StatedLimit] = {}
    for one in stated:
        before = first.setdefault(one.limit.id, one)
        if before.limit != one.limit:
            msg = (
                f"{one.where}: {str(one.limit)!r} contradicts {str(before.limit)!r} ({before.where}): one limit has "
                f"one amount; leave one of them out"
            )
            raise ValueError(msg)
    return tuple(one.limit for one in first.values())
