"""How commands show what they found: as a table, as JSON, or as CSV."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

import click
import msgspec

from budgeted.cli.table_cells import for_programs, spelt_out
from budgeted.cli.terminal import console_for
from budgeted.cli.terminal_table import Column, Row, TerminalTable

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Output:
    """How a command is to show what it found.

    Attributes:
        form: as a table for people, as JSON, or as CSV.
        exact: whether people get amounts in full.
    """

    form: Literal["table", "json", "csv"] = "table"
    exact: bool = False

    @property
    def for_people(self) -> bool:
        """Whether people read it, who can be told more than what is in the table."""
        return self.form == "table"


def output_options(command: F) -> F:
    """The options ``--json``, ``--csv`` and ``--exact``; the command gets an ``output``."""

    @functools.wraps(command)
    def with_output(*args: object, as_json: bool, as_csv: bool, exact: bool, **given: object) -> None:
        if as_json and as_csv:
            raise click.UsageError("--json and --csv are two formats; write one of them")
        form: Literal["table", "json", "csv"] = "json" if as_json else "csv" if as_csv else "table"
        command(*args, output=Output(form, exact), **given)

    for option in (
        click.option("--exact", is_flag=True, help="Write amounts in full, to the billionth of a dollar."),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table, amounts in full."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table, amounts in full."),
    ):
        with_output = option(with_output)
    return cast("F", with_output)  # it takes what the options give in the command's stead


def show(
    found: object,
    columns: Sequence[Column | str],
    rows: Iterable[Row],
    output: Output,
    *,
    nothing: str,
    total: Row | None = None,
) -> None:
    """Print what was found.

    Args:
        found: what msgspec can encode, for JSON.
        columns: of the table, or their heads.
        rows: a cell for each column, in the table and in CSV.
        output: as what it is printed.
        nothing: what is said in place of a table without rows.
        total: a row below the others, for people.
    """
    whole = [Column(one) if isinstance(one, str) else one for one in columns]
    if output.form == "json":
        print_json(found)
    elif output.form == "csv":
        _print_csv(whole, rows)
    elif told := list(rows):
        print_table(whole, told, total, exact=output.exact)
    else:
        click.echo(spelt_out(nothing))


def print_json(found: object) -> None:
    """Print what msgspec can encode, for programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))


def print_table(
    columns: Sequence[Column | str],
    rows: Iterable[Row],
    total: Row | None = None,
    *,
    exact: bool = False,
    err: bool = False,
) -> None:
    """Print a table for people.

    Args:
        columns: of the table, or their heads.
        rows: a cell for each.
        total: a row below the others; None for none.
        exact: whether amounts are written in full.
        err: whether on standard error.
    """
    console = console_for(err=err)
    whole = [Column(one) if isinstance(one, str) else one for one in columns]
    with console.capture() as captured:
        console.print(TerminalTable(whole, rows, total, console, exact=exact).rendered(), crop=False)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), err=err, color=console.is_terminal or None)


def csv_line(cells: Iterable[object]) -> str:
    """Cells as a line of CSV, with its end."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _print_csv(columns: Sequence[Column], rows: Iterable[Row]) -> None:
    kept = [at for at, one in enumerate(columns) if one.shown in ("", "programs")]
    click.echo(csv_line(columns[at].key or columns[at].head.replace(" ", "_") for at in kept), nl=False)
    for row in rows:
        click.echo(csv_line(for_programs(row[at]) for at in kept), nl=False)
