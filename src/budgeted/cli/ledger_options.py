"""Options that commands share: which ledger, which project, which time zone; and opening what they name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from typing import TypeVar

import click

from budgeted.cli import completions
from budgeted.ledger.opening import exists, projects_beside
from budgeted.manager.administrative_manager import Books
from budgeted.manager.stated_settings import stated_by_file

MOST_NAMED = 20
"""Projects that are named where one is not there; of more, those with the most similar names."""

NOTHING_YET = "nothing recorded yet"
"""What is said of a project that nobody has spent anything in."""

F = TypeVar("F", bound=Callable[..., None])


def _stated(name: str, otherwise: str | None) -> Callable[[], str | None]:
    """What an option has that is neither given nor a variable: the settings file's, as programs here would have it."""

    def read() -> str | None:
        setting = stated_by_file(os.environ).get(name)
        return otherwise if setting is None else str(setting.value)

    return read


ledger_option = click.option(
    "--ledger",
    envvar="BUDGETED_LEDGER",
    show_envvar=True,
    default=_stated("ledger", None),
    help="A path, or a URL such as https://host; the user's state directory if it is not given.",
)

project_option = click.option(
    "--project",
    envvar=["BUDGETED_PROJECT", "BUDGETED_PROJECT_NAME"],  # the latter is what an instrumented application reads
    show_envvar=True,
    default=_stated("project_name", "default"),
    shell_complete=completions.projects,
    help="The namespace in the ledger.",
)

timezone_option = click.option(
    "--timezone",
    envvar="BUDGETED_TIMEZONE",
    show_envvar=True,
    default=_stated("timezone", "UTC"),
    help="In which days and months begin, such as Europe/Berlin.",
)


def on_books(command: F) -> F:
    """Options that say whose books are meant; the command gets ``ledger``, ``project`` and ``timezone``."""
    return ledger_option(project_option(timezone_option(command)))


def books(ledger: str | None, project: str, timezone: str, *, create: bool = False) -> Books:
    """Open a project's books.

    Args:
        ledger: a path or URL; None for the user's state directory.
        project: the namespace in it.
        timezone: in which days and months begin.
        create: whether a project that is not there is made.

    Raises:
        ClickException: there is no such project on disk, and it is not to be made.
    """
    if create:
        must_last(ledger)
    else:
        must_exist(ledger, project)
    return Books(project, ledger=ledger, timezone=timezone)


def books_to_read(ledger: str | None, project: str, timezone: str) -> Books:
    """Open a project's books to look at them; before any program has run, say that nothing is recorded, and end.

    Args:
        ledger: a path or URL; None for the user's state directory.
        project: the namespace in it.
        timezone: in which days and months begin.

    Raises:
        ClickException: there is no such project where the command says, or beside others, or a program reads this.
        Exit: there is no project yet where programs would make one.
    """
    asked = click.get_current_context()
    for_people = not asked.params.get("as_json") and asked.params.get("form", "table") == "table"
    typed = asked.get_parameter_source("ledger") is click.core.ParameterSource.COMMANDLINE  # perhaps with a mistake
    if for_people and not typed and exists(ledger, project) is False:
        place, there = projects_beside(ledger)
        if not there:
            click.echo(f"{NOTHING_YET} in {place}; name another place with --ledger")
            raise click.exceptions.Exit(0)
    return books(ledger, project, timezone)


def must_last(ledger: str | None) -> None:
    """Refuse to write to what ends with the command.

    Raises:
        UsageError: it is in memory.
    """
    if ledger == "memory://":
        msg = f"{ledger} ends with this command; name a path or a URL"
        raise click.UsageError(msg)


def must_exist(ledger: str | None, project: str, otherwise: str = "name another with --ledger") -> None:
    """Refuse a project that is not there: looking at a misspelt one would make it.

    Raises:
        ClickException: it is not there; the text names those that are, or else what to do ``otherwise``.
    """
    if ledger != "memory://" and exists(ledger, project) is False:
        raise not_there(ledger, project, otherwise)


def not_there(ledger: str | None, project: str, otherwise: str) -> click.ClickException:
    """The refusal of a project of which nothing is known."""
    place, there = projects_beside(ledger)
    names = [name for name in there or () if name != project]
    if len(names) > MOST_NAMED:
        names = [*difflib.get_close_matches(project, names, MOST_NAMED, 0.0), "others"]
    what = f"there are {', '.join(names)}; name one with --project" if names else otherwise
    nothing = "" if names else f"{NOTHING_YET}: "
    return click.ClickException(f"{nothing}there is no project {project!r} in {place}; {what}")
