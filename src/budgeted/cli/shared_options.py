"""What commands have in common: which ledger, which project, and how what they find is shown."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from budgeted.ledger.opening import exists, projects_beside
from budgeted.manager.bookkeeper import Books

MOST_NAMED = 20
"""Projects that are named where one is not there; of more, those with the most similar names."""

F = TypeVar("F", bound=Callable[..., Any])

ledger_option = click.option(
    "--ledger",
    envvar="BUDGETED_LEDGER",
    show_envvar=True,
    help="A path, or a URL such as https://host; the user's state directory if it is not given.",
)
project_option = click.option(
    "--project",
    envvar=["BUDGETED_PROJECT", "BUDGETED_PROJECT_NAME"],  # the latter is what an instrumented application reads
    show_envvar=True,
    default="default",
    help="The namespace in the ledger.",
)
timezone_option = click.option(
    "--timezone",
    envvar="BUDGETED_TIMEZONE",
    show_envvar=True,
    default="UTC",
    help="In which days and months begin, such as Europe/Berlin.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def on_books(command: F) -> F:
    """Options that say whose books are meant; the command gets ``ledger``, ``project`` and ``timezone``."""
    return ledger_option(project_option(timezone_option(command)))


def books(ledger: str | None, project: str, timezone: str, *, create: bool = False) -> Books:
    """Open a project's books.

    Raises:
        ClickException: there is no such project on disk, and it is not to be made.
    """
    if create:
        must_last(ledger)
    else:
        must_exist(ledger, project)
    return Books(project, ledger=ledger, timezone=timezone)


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
    return click.ClickException(f"there is no project {project!r} in {place}; {what}")


def show(found: Any, columns: Sequence[str], rows: Iterable[Sequence[object]], *, as_json: bool, nothing: str) -> None:
    """Print what was found as JSON, or its rows as a table: numbers to the right."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    lines = [[_text(cell) for cell in row] for row in rows]
    if not lines:
        click.echo(nothing)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        right = all(line[number].plain[:1] in "$0123456789-" for line in lines)
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 10_000  # what reads it knows no columns
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _text(cell: object) -> Text:
    """A cell; what a terminal would act on is spelt out."""
    if cell is None:
        return Text("-")
    text = str(cell)
    return Text("".join(char if char.isprintable() else ascii(char)[1:-1] for char in text))
