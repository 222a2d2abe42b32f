"""What a shell offers when Tab is pressed: projects, users, headings of reports, models. Never an error, never late."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import click

from budgeted.ledger.opening import exists, open_ledger, projects_beside
from budgeted.manager import account_names
from budgeted.pricing import known_models

MOST: Final = 50
"""Names that are offered at once: who wants another one types more of it."""

SECONDS: Final = 0.3
"""How long a ledger is waited for. Nothing is offered then."""

HEADINGS: Final = ("user", "model", "provider", "day", "tool", "key", "account", "tag:", "would_refuse")

_HARMLESS: Final = re.compile(r"[\w@%+=:,./-]+")
"""What a shell takes for one word and nothing else: it puts what it completes into its line as it is."""

Completion: TypeAlias = Callable[[click.Context, click.Parameter, str], list[str]]


def _in_time(find: Callable[[click.Context, str], Iterable[str]]) -> Completion:
    """What is found soon, and begins as what was typed; nothing where something is wrong."""

    def complete(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:  # noqa: ARG001 - click's
        found: list[str] = []

        def look() -> None:
            # There is nobody to tell: the command itself will say what is wrong.
            with contextlib.suppress(Exception):
                found.extend(_offered(find(ctx, typed), typed))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(SECONDS)
        return list(found)

    return complete


def _offered(names: Iterable[str], typed: str) -> Sequence[str]:
    return sorted({name for name in names if name.startswith(typed) and _HARMLESS.fullmatch(name)})[:MOST]


@_in_time
def projects(ctx: click.Context, typed: str) -> Iterable[str]:  # noqa: ARG001 - all are looked through
    """Projects of the ledger."""
    return projects_beside(ctx.params.get("ledger"))[1] or ()


@_in_time
def users(ctx: click.Context, typed: str) -> Iterable[str]:
    """Users of the project; caps that have a key, and tags, behind ``key:`` and ``tag:``."""
    ledger, project = ctx.params.get("ledger"), str(ctx.params["project"])
    if exists(ledger, project) is False:  # opening it would make it
        return ()
    with contextlib.closing(open_ledger(ledger, project, fsync="background")) as opened:
        return list(account_names.page(opened, typed, None, MOST))


@_in_time
def models(ctx: click.Context, typed: str) -> Iterable[str]:  # noqa: ARG001 - it is asked of no ledger
    """Models that have a price."""
    return known_models.beginning(typed)


def headings(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:  # noqa: ARG001 - click's
    """Headings of reports."""
    return [heading for heading in HEADINGS if heading.startswith(typed)]
