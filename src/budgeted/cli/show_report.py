"""Reports: as a table, or as a file for a spreadsheet or a program."""

from __future__ import annotations

from typing import Literal

import click

from budgeted.cli import completions
from budgeted.cli.balances_and_limits import usd
from budgeted.cli.ledger_options import NOTHING_YET, books_to_read, on_books
from budgeted.cli.table_output import json_option, show
from budgeted.manager.spending_report import Report


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
@json_option
def report(
    by: str,
    since: str | None,
    until: str | None,
    form: Literal["table", "csv", "json"],
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    as_json: bool,
) -> None:
    """Show what was spent, and that it adds up."""
    with books_to_read(ledger, project, timezone) as found:
        made = found.report(by if by.startswith("tag:") else by.replace("-", "_"), since, until)
    if as_json or form == "table":
        _show(made, as_json=as_json)
    else:
        click.echo(made.to_csv() if form == "csv" else made.to_json(), nl=form == "json")


def _show(made: Report, *, as_json: bool) -> None:
    whole = made.since is None and made.until is None
    if made.by == "would_refuse" and made.total.calls:
        nothing = "no limit would have refused anything, of those that only warn"
    else:
        nothing = NOTHING_YET if whole else "nothing was spent"
    rows = [
        (name, usd(one.spent), one.calls, one.input_tokens, one.output_tokens, usd(one.uncertain))
        for name, one in made.lines()
    ]
    columns = (made.by, "spent", "calls", "input tokens", "output tokens", "uncertain")
    show(made, columns, rows, as_json=as_json, nothing=nothing)
    if made.shared.calls and not as_json:
        click.echo(f"{usd(made.shared.spent)} of it is in more than one row, and once in the total")
