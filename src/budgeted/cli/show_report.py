"""Reports: as a table, or as a file for a spreadsheet or a program."""

from __future__ import annotations

from typing import Literal

import click

from budgeted.cli import completions
from budgeted.cli.ledger_options import NOTHING_YET, books_to_read, on_books
from budgeted.cli.table_cells import Amount
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal_table import Column, Row
from budgeted.manager.spending_report import Report, ReportRow


@click.command()
@click.option(
    "--by",
    default="user",
    metavar="HEADING",
    shell_complete=completions.headings,
    help="user, model, provider, day, tool, key, account, tag:NAME or would_refuse.",
)
@click.option("--since", help="The first day, such as 2026-11-01.")
@click.option("--until", help="The last day; it is part of the report.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    help="How to print it, with its total. --json prints the rows alone.",
)
@on_books
@output_options
def report(
    by: str,
    since: str | None,
    until: str | None,
    form: Literal["table", "csv", "json"],
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    output: Output,
) -> None:
    """Show what was spent, and that it adds up."""
    with books_to_read(ledger, project, timezone) as found:
        made = found.report(by if by.startswith("tag:") else by.replace("-", "_"), since, until)
    if form == "csv" or (form == "table" and output.form == "csv"):
        click.echo(made.to_csv(), nl=False)
    elif form == "json" and output.for_people:
        click.echo(made.to_json())
    else:
        _show(made, output)


def _show(made: Report, output: Output) -> None:
    whole = made.since is None and made.until is None
    if made.by == "would_refuse" and made.total.calls:
        nothing = "no limit would have refused anything, of those that only warn"
    else:
        nothing = NOTHING_YET if whole else "nothing was spent"
    columns = (
        Column(made.by),
        Column("spent"),
        Column("calls", worth=1),
        Column("input tokens", worth=3),
        Column("output tokens", worth=3),
        Column("uncertain", worth=2),
    )
    rows = [_row(name, one) for name, one in made.items()]
    show(made, columns, rows, output, nothing=nothing, total=_row(made.total_name, made.total))
    if made.shared.calls and output.for_people:
        twice = Amount(made.shared.spent).text(exact=output.exact)
        click.echo(f"{twice} of it is in more than one row, and once in the total")


def _row(name: str, one: ReportRow) -> Row:
    return name, Amount(one.spent), one.calls, one.input_tokens, one.output_tokens, Amount(one.uncertain)
