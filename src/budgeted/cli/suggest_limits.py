"""Limits that fit what was spent lately, for somebody to choose from."""

from __future__ import annotations

from typing import Literal

import click

from budgeted.cli.ledger_options import NOTHING_YET, books_to_read, on_books
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal_table import Column
from budgeted.manager.suggestions import Suggestion

COLUMNS = (Column("account"), Column("limit", whole=True), Column("reason"))


@click.command()
@click.option("--days", default=30, show_default=True, help="How many are looked at, today among them.")
@click.option(
    "--percentile",
    default=95.0,
    show_default=True,
    help="Of the days with spend, how many in a hundred a limit lets pass.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", help="How to print them."
)
@on_books
@output_options
def suggest(
    days: int,
    percentile: float,
    form: Literal["table", "csv", "json"],
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    output: Output,
) -> None:
    """Suggest daily limits by what was spent lately, and set none."""
    with books_to_read(ledger, project, timezone) as found:
        made = found.suggest(days, percentile)
        ever = made or found.report("day").total.calls
    nothing = f"nothing was spent in the last {days} days" if ever else NOTHING_YET
    asked = output if form == "table" else Output(form)
    show(made, COLUMNS, map(_cells, made), asked, nothing=nothing)


def _cells(one: Suggestion) -> tuple[str, str, str]:
    return "global" if one.account is None else one.account, one.limit, one.reason
