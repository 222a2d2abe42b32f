"""How commands show what they found: as a table, or as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def show(
    found: object, columns: Sequence[str], rows: Iterable[Sequence[object]], *, as_json: bool, nothing: str
) -> None:
    """Print what was found as JSON, or its rows as a table: numbers to the right.

    Args:
        found: what msgspec can encode.
        columns: the table's heads.
        rows: a cell for each column.
        as_json: print ``found`` rather than the table.
        nothing: what is said in place of a table without rows.
    """
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    found_rows = list(rows)
    click.echo("\n".join(as_lines(columns, found_rows)) if found_rows else nothing)


def as_lines(columns: Sequence[str], rows: Iterable[Sequence[object]], *, err: bool = False) -> list[str]:
    """A table as lines, numbers to the right.

    Args:
        columns: the table's heads.
        rows: a cell for each column.
        err: whether it is for standard error, whose width counts then.
    """
    lines = [[_text(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        right = all(line[number].plain[:1] in "$0123456789-" for line in lines)
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    console = Console(highlight=False, soft_wrap=False, stderr=err)
    if not console.is_terminal:
        console.width = 10_000  # what reads it knows no columns
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def csv_line(cells: Iterable[object]) -> str:
    """Cells as a line of CSV, with its end."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _text(cell: object) -> Text:
    """A cell; what a terminal would act on is spelt out."""
    if cell is None:
        return Text("-")
    return Text(spelt_out(str(cell)))


def spelt_out(text: str) -> str:
    """Text without what a terminal would act on: that is written as Python would."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
