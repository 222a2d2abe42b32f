"""Write the tables of the reference that are made from the code into their pages, after a change of the code.

python -m scripts.reference_tables

A test fails where a page has not what this makes.
"""

# ruff: noqa: INP001

from __future__ import annotations

import ast
import dataclasses
import inspect
import logging
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click
import griffe
import msgspec
from scripts import http_api_page
from scripts.docstrings_for_site import for_site

from budgeted import BudgetManager
from budgeted.cli.gateway import gateway
from budgeted.cli.serve import serve
from budgeted.gateway.access_log import Line
from budgeted.gateway.settings import GatewaySettings, KeyDefaults, ListenSettings
from budgeted.gateway.stated_gateway import PREFIX
from budgeted.manager import argument_types
from budgeted.manager.environment import GATEWAY_SETTINGS, MANAGER_SETTINGS
from budgeted.server.settings import ServerSettings
from budgeted.telemetry import events
from budgeted.telemetry.gauges import GAUGES
from budgeted.telemetry.instruments import COUNTERS

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"

SECRET_LISTS = {"tokens": "BUDGETED_TOKEN", "read_tokens": "BUDGETED_READ_TOKEN"}

UNITS = {
    "alerts": "shares",
    "alerts_secret": "text",
    "alerts_to": "addresses",
    "api_base": "address",
    "client_type": "`local`, `hosted`",
    "clock": "function",
    "default_user_limits": "limits",
    "duration": "period",
    "expires": "period",
    "fallback": "models",
    "fsync": "`background`, `always`",
    "headers": "names and values",
    "host": "address",
    "ledger": "path or address",
    "limit": "limits",
    "max_body": "bytes",
    "max_budget": "USD, or limits",
    "max_connections": "connections",
    "max_connections_per_address": "connections",
    "max_projects": "projects",
    "metric_tags": "names of tags",
    "metric_users": "users, or `true`, `hash`, `top N`",
    "metrics_token": "text",
    "min_output_tokens": "tokens",
    "models": "patterns",
    "on_event": "function",
    "port": "number",
    "project_name": "text",
    "read_tokens": "texts",
    "ssl_certfile": "file",
    "ssl_keyfile": "file",
    "tags": "names and values",
    "threads": "threads",
    "timezone": "name of a zone",
    "tokens": "texts",
    "trusted_proxies": "addresses",
    "unmetered_hosts": "hosts",
    "upstreams": "names and addresses",
    "wait": "seconds",
    "workers": "processes",
}
"""What a setting is measured in, or what it is, where its type does not tell."""


def tables() -> dict[Path, dict[str, list[str]]]:
    """All tables, as lines of Markdown, by their page and their name in it."""
    settings = {
        "BudgetManager": list(of_manager()),
        "gateway": list(of_gateway()),
        "keys of a gateway": list(of_keys()),
        "server": list(of_server()),
    }
    told = {
        "counters": list(of_instruments(COUNTERS, "counter")),
        "shared attributes": list(of_shared()),
        "gauges": list(of_instruments(GAUGES, "gauge")),
        "kinds of events": list(of_kinds()),
        "fields of events": list(of_events()),
        "access log": list(of_access_log()),
    }
    return {
        REFERENCE / "settings.md": settings,
        REFERENCE / "telemetry.md": told,
        REFERENCE / "http-api.md": http_api_page.sections(),
    }


def of_manager() -> Iterator[str]:
    """The settings of a manager."""
    yield from head("keyword and key, variable")
    told = explained(BudgetManager)
    for name, one in inspect.signature(BudgetManager).parameters.items():
        where = f"`BUDGETED_{name.upper()}`" if name in MANAGER_SETTINGS else "in Python alone"
        yield row([f"`{name}`", where], one.default, unit(name, kind_of(one.annotation)), told[name])


def of_gateway() -> Iterator[str]:
    """The settings of a gateway: what it forwards, and where it listens."""
    yield from head("key, variable, option")
    options = options_of(gateway)
    for name in GATEWAY_SETTINGS:
        struct = GatewaySettings if name in GatewaySettings.__struct_fields__ else ListenSettings
        written = [f"`{name}`", f"`{PREFIX}{name.upper()}`", *options.get(name, [])]
        yield row(written, default_of(struct, name), unit(name, hints(struct)[name]), explained(struct)[name])


def of_keys() -> Iterator[str]:
    """What a new key has."""
    yield from head("key")
    for name in KeyDefaults.__struct_fields__:
        told = explained(KeyDefaults)[name]
        yield row([f"`{name}`"], default_of(KeyDefaults, name), unit(name, hints(KeyDefaults)[name]), told)


def of_server() -> Iterator[str]:
    """The settings of a server, and the options of its command."""
    yield from head("variable, option")
    options = options_of(serve)
    told = explained(ServerSettings)
    for name in ServerSettings.__struct_fields__:
        variable = SECRET_LISTS.get(name, f"BUDGETED_{name.upper()}")
        written = [f"`{variable}`", *options.pop(name, [])]
        yield row(written, default_of(ServerSettings, name), unit(name, hints(ServerSettings)[name]), told[name])
    for one in serve.params:
        if one.name in options and isinstance(one, click.Option):
            written = [f"`{variable}`" for variable in (one.envvar,) if variable] + options[one.name]
            yield row(written, one.default, unit(str(one.name), str), as_cell(one.help or ""))


SHARED = {
    "a call's": (
        *("gen_ai.provider.name", "gen_ai.operation.name", "gen_ai.request.model", "gen_ai.tool.name"),
        *("user.id", "budgeted.tag.NAME"),
    ),
    "a limit's": (
        *("budgeted.project", "budgeted.account", "budgeted.period"),
        *("budgeted.models", "budgeted.ledger", "user.id"),
    ),
}
"""Attributes that several instruments have."""

ATTRIBUTES = {
    "budgeted.spend": ("a call's",),
    "budgeted.tokens": ("a call's", "gen_ai.token.type"),
    "budgeted.calls": ("a call's", "budgeted.outcome", "budgeted.reason", "budgeted.account.kind"),
    "budgeted.overrun": ("a call's",),
    "budgeted.corrections": ("budgeted.direction",),
    "budgeted.clamped": ("a call's",),
    "budgeted.unmetered": ("server.address",),
    "budgeted.alerts": ("budgeted.project", "budgeted.account.kind", "budgeted.threshold"),
    "budgeted.alerts.sent": ("server.address", "budgeted.outcome"),
    **dict.fromkeys(GAUGES, ("a limit's",)),
}
"""What the series of each instrument are told apart by, which a test compares with what calls emit."""


def of_instruments(instruments: Mapping[str, tuple[str, str]], kind: str) -> Iterator[str]:
    """The metrics of this process's calls and budgets."""
    yield from [f"| {kind} | unit | what it is | attributes |", "|---|---|---|---|"]
    for name, (unit, text) in instruments.items():
        attributes = ", ".join(one if one in SHARED else f"`{one}`" for one in ATTRIBUTES[name])
        yield f"| `{name}` | `{unit}` | {as_cell(text)} | {attributes} |"


def of_shared() -> Iterator[str]:
    """What attributes are meant by a word."""
    yield from ["| attributes | |", "|---|---|"]
    yield from (f"| {word} | {', '.join(f'`{one}`' for one in named)} |" for word, named in SHARED.items())


def of_kinds() -> Iterator[str]:
    """The kinds of events, and how loud the log tells them."""
    yield from ["| kind | level | one a minute of those that are alike |", "|---|---|---|"]
    for kind in typing.get_args(events.Kind):
        level = logging.getLevelName(events.LEVELS[kind])
        yield f"| `{kind}` | {level} | {'yes' if kind in events.REPEATED else ''} |"


def of_events() -> Iterator[str]:
    """The fields of an event, by their names in each place."""
    yield from ["| in `Event` | in the log, and on spans | what it is |", "|---|---|---|"]
    told = explained(events.Event)
    elsewhere = {"account": "`budgeted.account`; of users `user.id` as well", "at": "the record's own time"}
    for name in (field.name for field in dataclasses.fields(events.Event)):
        there = elsewhere.get(name) or f"`{events.FIELDS[name]}`"
        yield f"| `{name}` | {there} | {told[name]} |"


def of_access_log() -> Iterator[str]:
    """What a gateway tells of each request."""
    yield from ["| key | what it is |", "|---|---|"]
    yield from (f"| `{name}` | {text} |" for name, text in explained(Line).items())


def options_of(command: click.Command) -> dict[str, list[str]]:
    """The options of a command, by what they are about."""
    return {one.name: [f"`{option}`" for option in one.opts] for one in command.params if one.name}


def head(first: str) -> list[str]:
    """The first lines of a table."""
    return [f"| {first} | default | unit or values | what it is |", "|---|---|---|---|"]


def row(written: Iterable[str], default: object, unit: str, text: str) -> str:
    """A line of a table."""
    stated = isinstance(default, (bool, float, int, list, str, tuple)) and default not in ("", (), [])
    plain = f"`{shown(default)}`" if stated else ""
    return f"| {'<br>'.join(written)} | {plain} | {unit} | {text} |"


def shown(default: object) -> str:
    """A default as a file has it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (tuple, list)):
        return f"[{', '.join(map(str, default))}]"
    return f"{default:g}" if isinstance(default, float) else str(default)


def kind_of(annotation: str) -> object:
    """What a type is that is written as text, if it is one that says all that is needed."""
    if annotation.startswith("Literal["):
        return typing.Literal[tuple(ast.literal_eval(annotation.removeprefix("Literal")))]
    return bool if annotation == "bool" else getattr(argument_types, annotation, None)


def unit(name: str, kind: object) -> str:
    """What a setting is measured in, or the words that it may be."""
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{word}`" for word in typing.get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    return "seconds" if name.endswith(("_seconds", "_timeout")) else UNITS[name]


def hints(struct: type[msgspec.Struct]) -> dict[str, object]:
    """The types of a struct's fields."""
    return typing.get_type_hints(struct)


def default_of(struct: type[msgspec.Struct], name: str) -> object:
    """What a field of a struct is where nobody states it."""
    return getattr(struct(), name)


def explained(documented: Callable[..., object]) -> dict[str, str]:
    """What a docstring says of each argument: its first sentence."""
    docstring = griffe.Docstring(for_site(inspect.getdoc(documented) or ""), parser="google")
    found = {}
    for section in docstring.parse(warn_unknown_params=False, warn_missing_types=False):
        if isinstance(section, (griffe.DocstringSectionParameters, griffe.DocstringSectionAttributes)):
            found |= {one.name: as_cell(one.description) for one in section.value}
    return found


def as_cell(text: str) -> str:
    """A text's first sentence, as a cell of a table has it."""
    text = re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))
    sentence = re.split(r"(?<=[a-z0-9)`\"])\. (?=[A-Z])", text, maxsplit=1)[0].rstrip(".")
    sentence = re.sub(r"`~?budgeted[\w.]*?\.(\w+)`", r"`\1`", sentence).replace("|", "\\|")
    return sentence if sentence[1:2].isupper() else sentence[:1].lower() + sentence[1:]


def put(text: str, name: str, lines: Sequence[str]) -> str:
    """A page with a table, or a whole section, in its place, between its marks.

    Raises:
        ValueError: the page has no place for it, or several.
    """
    begin, end = f"<!-- made from the code: {name} -->\n", "<!-- made -->"
    if text.count(begin) != 1:
        raise ValueError(f"there must be one place for it in the page: {begin}")
    before, after = text.split(begin)
    made = "\n".join(lines)
    if lines[0].startswith("|"):
        made = f'<div class="names" markdown>\n\n{made}\n\n</div>'
    return f"{before}{begin}{made}\n{end}{after.partition(end)[2]}"


def pages() -> dict[Path, str]:
    """Each page with its tables, as it should be."""
    made = {}
    for page, named in tables().items():
        text = page.read_text(encoding="utf-8")
        for name, lines in named.items():
            text = put(text, name, lines)
        made[page] = text
    return made


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
