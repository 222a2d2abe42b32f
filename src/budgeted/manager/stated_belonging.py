"""Whom users and teams belong to, as a settings file states it: a team's members, and each one's own team."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from budgeted.manager.project_payer import MOST_LEVELS
from budgeted.manager.settings_file import SettingsFile
from budgeted.validation import check_name, check_user, is_tag, shown

TEAM: Final = "team:"
"""How the name of a team's account begins."""

PATTERN: Final = re.compile(r"[*?\[]")
"""What a name has that stands for several."""

OWN: Final = ("team", "belongs_to")
"""What a table calls that which its account belongs to."""

MEMBERS: Final = "members"

KEYS: Final = (*OWN, MEMBERS)
"""What a table says of belonging, beside its limits."""

_TABLES: Final = (("users", ""), ("teams", TEAM))


class Belonging(NamedTuple):
    """To what a user or a team belongs.

    Args:
        team: the name of its account.
        where: where that is stated.
        described: whether the file says anything else of the team: else its name may be a mistake.
    """

    team: str
    where: str
    described: bool


def of_file(file: SettingsFile) -> dict[str, Belonging]:
    """To what each user and team belongs that a file says it of; teams by the names of their accounts.

    Returns:
        Who is nearer to the top comes first, so that each can be assigned where those above it are in their places.

    Raises:
        ValueError: it makes no sense, one belongs to two, or to itself in the end; the text tells where.
    """
    found: dict[str, Belonging] = {}
    for name, one in _stated(file):
        before = found.setdefault(name, one)
        if before.team != one.team:
            msg = (
                f"{one.where}: {name!r} belongs to {one.team!r} here, and to {before.team!r} by {before.where}: one "
                f"belongs to one team, which may belong to another; leave one of them out"
            )
            raise ValueError(msg)
    for name in found:
        _check_chain(name, found)
    return dict(sorted(found.items(), key=lambda item: len(_chain(item[0], found))))


def says_only_belonging(value: object) -> bool:
    """Whether a table of a user or a team says what belongs to what, and nothing of limits."""
    return isinstance(value, dict) and bool(value) and all(key in KEYS for key in value)


def _stated(file: SettingsFile) -> Iterator[tuple[str, Belonging]]:
    for table, prefix in _TABLES:
        inner = file.table.get(table)
        for name, value in inner.items() if isinstance(inner, dict) else ():
            if not isinstance(value, dict):
                continue
            for key in [key for key in KEYS if key in value]:
                keys = table, name, key
                _refuse_pattern(file, keys, name)
                if key == MEMBERS:
                    for member in _names(file, keys, value[key]):
                        yield member, Belonging(prefix + name, file.where(*keys), described=True)
                else:
                    team = _team(file, keys, value[key])
                    yield prefix + name, Belonging(team, file.where(*keys), described=_is_described(file, team))


def _names(file: SettingsFile, keys: tuple[str, ...], value: object) -> list[str]:
    if not isinstance(value, list):
        msg = f'{file.where(*keys)}: must be a list of names, as in members = ["alice", "bob"], got {shown(value)}'
        raise ValueError(msg)  # noqa: TRY004 - as whatever is wrong in a file
    for name in value:
        if isinstance(name, str):
            _refuse_pattern(file, keys, name)
    return [_checked(file, keys, name, "a member") for name in value]


def _team(file: SettingsFile, keys: tuple[str, ...], value: object) -> str:
    """The account of a team by its name: ``"search"`` and ``"team:search"`` are the same, ``"org:acme"`` is no team."""
    name = _checked(file, keys, value, keys[-1])
    _refuse_pattern(file, keys, name)
    if name == TEAM:
        msg = f"{file.where(*keys)}: {name!r} names no team; write {TEAM + 'search'!r}, or 'search' alone"
        raise ValueError(msg)
    teams = file.table.get("teams")
    named = isinstance(teams, dict) and name in teams
    return name if name.startswith(TEAM) or (":" in name and not named) else TEAM + name


def _is_described(file: SettingsFile, account: str) -> bool:
    tables = [(file.table.get(table), prefix) for table, prefix in _TABLES]
    return any(isinstance(inner, dict) and account in (prefix + name for name in inner) for inner, prefix in tables)


def _checked(file: SettingsFile, keys: tuple[str, ...], name: object, what: str) -> str:
    try:
        return check_user(name) if isinstance(name, str) and is_tag(name) else check_name(name, what)
    except (ValueError, TypeError) as error:
        msg = f"{file.where(*keys)}: {error}"
        raise ValueError(msg) from None


def _refuse_pattern(file: SettingsFile, keys: tuple[str, ...], name: str) -> None:
    if PATTERN.search(name):
        msg = (
            f"{file.where(*keys)}: {name!r} stands for several names, of which nobody knows all; whom each belongs to "
            f"is told by whole names"
        )
        raise ValueError(msg)


def _chain(name: str, found: Mapping[str, Belonging]) -> list[str]:
    """A name, and all that it belongs to as far as the file says; the last one comes twice if it is a cycle."""
    chain = [name]
    while (above := found.get(chain[-1])) is not None:
        again = above.team in chain
        chain.append(above.team)
        if again:
            break
    return chain


def _check_chain(name: str, found: Mapping[str, Belonging]) -> None:
    """Refuse that one belongs to itself in the end, and that too many pay for one."""
    chain = _chain(name, found)
    names = " -> ".join(map(repr, chain))
    if chain[-1] in chain[:-1]:
        msg = f"{found[name].where}: {chain[-1]!r} would belong to itself in the end: {names}; leave one of them out"
        raise ValueError(msg)
    if len(chain) - 1 > MOST_LEVELS:
        msg = f"{found[name].where}: at most {MOST_LEVELS} accounts pay for one besides it, got {names}"
        raise ValueError(msg)
