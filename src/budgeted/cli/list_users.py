"""Who is known in a project."""

from __future__ import annotations

import click

from budgeted.cli.account_standing import state, tell_standing, told
from budgeted.cli.balances_and_limits import usd
from budgeted.cli.ledger_options import books_to_read, on_books
from budgeted.cli.table_output import json_option, show, spelt_out

COLUMNS = ("user", "limits", "spent", "team", "state")


@click.command()
@click.option("--prefix", default="", help="Only names that begin so.")
@click.option("--after", help="Only names behind this one: the last of the page before.")
@click.option("--count", default=1000, show_default=True, help="How many at most.")
@on_books
@json_option
def users(
    prefix: str, after: str | None, count: int, ledger: str | None, project: str, timezone: str, *, as_json: bool
) -> None:
    """List users: limits, what was spent since the last reset, team, and why they are stopped.

    What is left of each limit, `budgeted accounts` tells.
    """
    with books_to_read(ledger, project, timezone) as found:
        infos = found.accounts(prefix, after, count)
        more = len(infos) == count > 0 and bool(found.accounts(prefix, infos[-1].name, 1))
        everybody = list(told(found, None))
    rows = [
        (one.name, " + ".join(balance.text for balance in one.balances) or "none", usd(one.spent), one.team, state(one))
        for one in infos
    ]
    show(infos, COLUMNS, rows, as_json=as_json, nothing="there are no such users" if prefix or after else "nobody yet")
    if more:
        click.echo(spelt_out(f"there are more: --after {infos[-1].name}"), err=True)
    tell_standing(everybody, as_json=as_json)
