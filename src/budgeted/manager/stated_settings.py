"""What a program's surroundings state of the default manager: a settings file, then ``BUDGETED_*`` variables.

``configure()`` has the last word. A manager that the application constructs by itself takes nothing from here.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import user_account
from budgeted.ledger.limit_conversion import limit_of, spec
from budgeted.ledger.urls import PATH, SQL, kind_of
from budgeted.limits.limit import Limit
from budgeted.manager import settings_file, stated_belonging, stated_limits, stated_prices
from budgeted.manager.account_changes import AccountChanges
from budgeted.manager.declared_limits import declare
from budgeted.manager.environment import MANAGER_SETTINGS, unknown_variables, variable_of, variables_of
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.settings import Settings, UserLimits, check_fsync, global_limits, read_settings
from budgeted.manager.settings_file import SettingsFile
from budgeted.manager.stated_belonging import TEAM, Belonging
from budgeted.manager.stated_limits import Limits, last_of_all
from budgeted.manager.unknown_keywords import ELSEWHERE
from budgeted.validation import check_name, is_tag, shown

logger = logging.getLogger("budgeted")

TABLES: Final = ("limits", "users", "teams", "prices", "tools", "gateway")
"""The tables of a file. What is in ``[gateway]`` is the gateway's business."""

LIMITING: Final = ("max_budget", "default_user_limits")

_HIDDEN: Final = ("alerts_to", "alerts_secret")
"""Settings that are kept as they are read, as what is read does not show what is secret."""

told: set[str] = set()
"""What was said of variables that are not known: they are read again with each ``configure()``."""


class Setting(msgspec.Struct, frozen=True):
    """A setting of a manager, and where it is stated.

    Args:
        value: as a manager takes it.
        source: a variable, or a file with line and key.
    """

    value: object
    source: str


class Stated(msgspec.Struct, frozen=True):
    """All that is stated for the default manager.

    Args:
        settings: by the names of a manager's keywords; ``max_budget`` is all global limits, with their periods.
        file: that some of it is from.
        users: limits of users, by their whole names; those of teams as ``"team:search"``.
        patterns: limits of users by patterns of their names, as the file has them.
        belonging: to which team or other account users and teams belong, those nearest to the top first.
    """

    settings: dict[str, Setting]
    file: SettingsFile | None = None
    users: dict[str, Limits] = {}
    patterns: dict[str, Limits] = {}
    belonging: dict[str, Belonging] = {}

    @property
    def says_anything(self) -> bool:
        """Whether there is anything that a manager has to be made for."""
        return bool(self.settings or self.users or self.patterns or self.belonging)

    def limiting(self) -> str | None:
        """Where a limit is stated, if one is."""
        for name in LIMITING:
            if name in self.settings:
                return self.settings[name].source
        return str(self.file.path) if self.file is not None and self.users else None

    def keywords(self, given: Mapping[str, object]) -> dict[str, Any]:
        """The keywords of a manager: what is stated, and what ``configure()`` was given, which wins.

        Limits of patterns of names go together: only those of the same pattern are replaced.
        """
        found = {name: one.value for name, one in self.settings.items()}
        if "max_budget" in given or "duration" in given:
            found.pop("max_budget", None)
        if self.patterns and "default_user_limits" in given:
            own = dict(UserLimits(given["default_user_limits"]).patterns)
            given = {**given, "default_user_limits": last_of_all({**self.patterns, **own})}
        return {**found, **given}

    def register_prices(self) -> None:
        """Register the prices of models and tools that the file states.

        Raises:
            ValueError: one makes no sense; the text tells where.
        """
        if self.file is not None:
            stated_prices.register_prices(self.file)

    def give_limits(self, payer: ProjectPayer) -> None:
        """Give each user whom the file names its limits and its team, unless an operator has changed them since."""
        at = payer.clock()
        for user, limits in self.users.items():
            account = user_account(user)
            found = payer.ledger.read(account)
            now = () if found is None else tuple(limit_of(slot) for slot in found.slots)
            if found is None or not found.explicit or set(now) != set(limits):
                specs = [spec(limit, at, payer.timezone) for limit in limits]
                declare(payer.ledger, account, specs, at, payer.project_name)
            if limits and not is_tag(user):
                payer.user_limits = True
        AccountChanges(payer).declare_teams(self.belonging)


def stated(environment: Mapping[str, str] = os.environ) -> Stated:
    """What is stated here and now.

    Args:
        environment: such as ``os.environ``.

    Raises:
        ValueError: something makes no sense, contradicts itself, or is known to nobody; the text tells where it stands,
            quotes it, and says what was meant.

    Example:
        >>> stated({"BUDGETED_MAX_BUDGET": "$5/day"}).settings["max_budget"]
        Setting(value=(Limit('$5/day'),), source='BUDGETED_MAX_BUDGET')
    """
    by_variables = _by_variables(environment)
    file = settings_file.find_file(environment)
    if file is None:
        return Stated(by_variables)
    found = _by_file(file)
    users = stated_limits.of_users(file)
    patterns = users.patterns
    if patterns:
        found["default_user_limits"] = Setting(UserLimits(patterns), _of_patterns(file, patterns))
    if "default_user_limits" in by_variables:
        own = dict(cast("UserLimits", by_variables["default_user_limits"].value).patterns)
        patterns = last_of_all({**patterns, **own})
        source = by_variables["default_user_limits"].source
        by_variables["default_user_limits"] = Setting(UserLimits(patterns), source)
    for name in found.keys() & by_variables.keys():
        one = by_variables[name]
        by_variables[name] = Setting(one.value, f"{one.source}, over {found[name].source}")
    return Stated({**found, **by_variables}, file, users.named, users.patterns, stated_belonging.of_file(file))


def stated_by_file(environment: Mapping[str, str]) -> dict[str, Setting]:
    """The settings that a file states alone, by their names.

    Args:
        environment: such as ``os.environ``, which may name the file.

    Raises:
        ValueError: as :func:`stated`.
    """
    file = settings_file.find_file(environment)
    return {} if file is None else _by_file(file)


def _by_variables(environment: Mapping[str, str]) -> dict[str, Setting]:
    given = variables_of(environment)
    for problem in unknown_variables(environment):
        if problem not in told:
            told.add(problem)
            logger.warning("budgeted: %s", problem)
    found = {name: Setting(value, variable_of(name, environment)) for name, value in given.items()}
    for name, setting in found.items():
        if name not in ("max_budget", "duration"):
            found[name] = Setting(_checked(name, setting.value, setting.source), setting.source)
    duration = found.pop("duration", None)
    budget = found.get("max_budget")
    if budget is not None or duration is not None:
        source = " and ".join(one.source for one in (budget, duration) if one is not None)
        value = None if budget is None else budget.value
        found["max_budget"] = Setting(_global(value, None if duration is None else duration.value, source), source)
    return found


def _global(max_budget: object, duration: object, source: str) -> tuple[Limit, ...] | None:
    try:
        return global_limits(max_budget, duration)
    except (ValueError, TypeError) as error:
        msg = f"{source}: {error}"
        raise ValueError(msg) from None


def _by_file(file: SettingsFile) -> dict[str, Setting]:
    for name in file.table:
        if name not in MANAGER_SETTINGS and name not in TABLES:
            msg = f"{file.where(name)}: is not known; {_meant(name)}"
            raise ValueError(msg)
    found: dict[str, Setting] = {}
    limits = stated_limits.of_everybody(file)
    if limits or "max_budget" in file.table:
        keys = [name for name in ("max_budget", "limits") if name in file.table]
        found["max_budget"] = Setting(limits, " and ".join(file.where(name) for name in keys))
    for name, value in file.table.items():
        if name in MANAGER_SETTINGS and name not in ("max_budget", "duration", "default_user_limits"):
            where = file.where(name)
            given = _beside(file.path, value) if name == "ledger" else value
            found[name] = Setting(_checked(name, given, where), where)
    return found


def _meant(name: str) -> str:
    if name == "tool":
        return "[tool.budgeted] is for pyproject.toml; write here what is in it, outside of any table"
    known = (*MANAGER_SETTINGS, *TABLES)
    meant = [ours for ours in ELSEWHERE.get(name, "").split() if ours in known]
    meant += difflib.get_close_matches(name, known, 1)
    return f"did you mean {meant[0]}?" if meant else f"there are {', '.join(known)}"


def _checked(name: str, value: object, where: str) -> object:
    """A value that a manager would take.

    Raises:
        ValueError: it would not.
    """
    try:
        if name == "project_name":
            check_name(value, name)
        elif name == "ledger":
            if not isinstance(value, str):
                msg = f"ledger must be a path or a URL as text, got {shown(value)}"
                raise ValueError(msg)  # noqa: TRY301 - as the others
            kind_of(value)
        elif name == "fsync":
            check_fsync(value)
        elif name == "default_user_limits":
            return UserLimits(value)
        elif name in _HIDDEN:
            return getattr(read_settings({name: value}), name)
        else:
            read_settings({name: value})
    except (ValueError, TypeError, LedgerError) as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None
    return value


def _beside(file: Path, where: object) -> object:
    """A ledger's path as it is meant in a file: from the file's directory on, wherever the program is run."""
    if not isinstance(where, str) or where.startswith("~"):
        return where
    try:
        kind = kind_of(where)
    except LedgerError:  # which is told where the value is looked at
        return where
    if kind == PATH and "://" not in where and where:
        return str(file.parent / where)
    scheme, separator, path = where.partition(":///")
    if kind == SQL and separator and scheme.startswith("sqlite") and path and path[0] not in "/~?:":
        return f"{scheme}:///{file.parent / path}"
    return where


def _of_patterns(file: SettingsFile, patterns: Mapping[str, Limits]) -> str:
    """Where the limits of patterns stand."""
    found = []
    for pattern in patterns:
        team = pattern.removeprefix(TEAM)
        for table, name in (("users", pattern), ("teams", team), ("default_user_limits", pattern)):
            inner = cast("dict[str, Any] | Any", file.table.get(table))
            if isinstance(inner, dict) and name in inner:
                found.append(file.where(table, name))
                break
        else:
            found.append(file.where("default_user_limits"))
    return " and ".join(found)


def defaults() -> dict[str, object]:
    """What a manager has where nothing is stated, by the names of its keywords."""
    plain = Settings()
    found: dict[str, object] = {"project_name": "default", "ledger": None, "max_budget": (), "fsync": "background"}
    return {**found, **{name: getattr(plain, name) for name in MANAGER_SETTINGS if hasattr(plain, name)}}
