"""What the default manager of a program that is run here would have for settings, and where each was stated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

import click
import msgspec

from budgeted.cli.table_output import Output, output_options, show
from budgeted.gateway.settings import UpstreamSettings
from budgeted.gateway.stated_gateway import PREFIX as VARIABLES
from budgeted.gateway.stated_gateway import stated_gateway
from budgeted.ledger.default_place import default_directory
from budgeted.ledger.urls import public
from budgeted.limits.limit import Limit
from budgeted.manager.environment import GATEWAY_SETTINGS, HIDDEN, MANAGER_SETTINGS, shown_variables, variable_of
from budgeted.manager.settings import UserLimits
from budgeted.manager.stated_belonging import MEMBERS
from budgeted.manager.stated_settings import TABLES, Setting, Stated, defaults, stated

DEFAULT: Final = "default"


class ShownSetting(msgspec.Struct, frozen=True):
    """A setting as others may read it.

    Args:
        setting: its name; of a table, with the name of whom or what it is about.
        value: without passwords and tokens.
        source: a variable, or a file with line and key, or ``"default"``.
    """

    setting: str
    value: str
    source: str


@click.command()
@output_options
def config(*, output: Output) -> None:
    """Show every setting of a program that is run here, and where it is from.

    Settings are those of a file (the one that BUDGETED_CONFIG names, else budgeted.toml, else [tool.budgeted] in
    pyproject.toml, of this directory or one above it), then BUDGETED_* variables, then what the program gives to
    configure(): later ones win. Exit code 1: something of it makes no sense, and no program would start with it.
    """
    found = stated()
    found.register_prices()  # so that they are looked at
    rows = [*_of_manager(found), *_of_tables(found), *_of_gateway(os.environ), *_of_others(os.environ)]
    if output.for_people:
        file = found.file.path if found.file is not None else "none"
        click.echo(f"file: {file}\n")
    table = [(row.setting, row.value, row.source) for row in rows]
    show(rows, ("setting", "value", "from"), table, output, nothing="")


def _of_manager(found: Stated) -> list[ShownSetting]:
    plain = defaults()
    names = [name for name in MANAGER_SETTINGS if name != "duration"]  # which max_budget is shown with
    settings = {name: found.settings.get(name, Setting(plain.get(name), DEFAULT)) for name in names}
    return [ShownSetting(name, _text(name, one.value), one.source) for name, one in settings.items()]


def _of_tables(found: Stated) -> list[ShownSetting]:
    """The limits of users whom the file names, and prices."""
    file = found.file
    if file is None:
        return []
    rows = []
    for table in TABLES:
        inner = file.table.get(table)
        if isinstance(inner, dict) and table not in ("limits", "gateway"):
            rows += [
                ShownSetting(f"{table}.{name}", _plain(one), file.where(table, name)) for name, one in inner.items()
            ]
    return rows


def _of_gateway(environment: Mapping[str, str]) -> list[ShownSetting]:
    """What is stated of a gateway, of which most programs know nothing."""
    found = stated_gateway(environment)
    return [
        ShownSetting(f"gateway.{name}", HIDDEN if name == "metrics_token" else _text(name, found.value(name)), source)
        for name, source in found.sources.items()
    ]


def _of_others(environment: Mapping[str, str]) -> list[ShownSetting]:
    """Variables that are about something else than a manager."""
    told = {variable_of(name, environment) for name in MANAGER_SETTINGS}
    told |= {VARIABLES + name.upper() for name in GATEWAY_SETTINGS}
    readable = shown_variables(environment)
    return [ShownSetting(name, value, "variable") for name, value in readable.items() if name not in told]


def _text(name: str, value: object) -> str:
    if name == "ledger":
        return public(str(default_directory() if value is None else value))
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items())
    if isinstance(value, UpstreamSettings):  # whose headers may have keys
        more = {"key_env": value.key_env, "headers": " ".join(value.headers)}
        return ", ".join([value.url, *(f"{name} = {told}" for name, told in more.items() if told)])
    if isinstance(value, UserLimits):
        return ", ".join(f"{pattern}: {_text('', limits)}" for pattern, limits in value.patterns) or "none"
    if isinstance(value, tuple):
        return (" + " if isinstance(value[0], Limit) else ", ").join(map(str, value))
    return str(value)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{key} = {', '.join(map(str, inner)) if key == MEMBERS and isinstance(inner, list) else _plain(inner)}"
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return " + ".join(map(_plain, value))
    return str(value)
