"""Who is known in a project."""

from __future__ import annotations

import click

from budgeted.cli.account_standing import state, tell_standing, told
from budgeted.cli.bars import REFUSED
from budgeted.cli.ledger_options import books_to_read, on_books
from budgeted.cli.table_cells import Amount, marked, spelt_out
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal_table import Column, Row
from budgeted.manager.account_names import free_name
from budgeted.manager.balances import AccountInfo

COLUMNS = (
    Column("user"),
    Column("limits", worth=1, none="none"),
    Column("spent", "spent_usd"),
    Column("team", worth=3),
    Column("state", "stopped", worth=2),
)


@click.command()
@click.option("--prefix", default="", help="Only names that begin so.")
@click.option("--after", help="Only names behind this one: the last of the page before.")
@click.option("--count", default=1000, show_default=True, help="How many at most.")
@on_books
@output_options
def users(
    prefix: str, after: str | None, count: int, ledger: str | None, project: str, timezone: str, *, output: Output
) -> None:
    """List users: limits, what was spent since the last reset, team, and why they are stopped.

    What is left of each limit, `budgeted accounts` tells. The last row is what all calls together have cost, with the
    limits that they have together: a call that a user and a team paid for is in it once.
    """
    with books_to_read(ledger, project, timezone) as found:
        infos = found.accounts(prefix, after, count)
        more = len(infos) == count > 0 and bool(found.accounts(prefix, infos[-1].name, 1))
        whole = None if prefix or after or more else found.info(None)
        everybody = list(told(found, None))
    nothing = "there are no such users" if prefix or after else "nobody yet"
    names = {one.name for one in infos}
    total = None if whole is None else _row(whole, free_name("(everybody)", names))
    show(infos, COLUMNS, [_row(one, one.name) for one in infos], output, nothing=nothing, total=total)
    if more:
        click.echo(spelt_out(f"there are more: --after {infos[-1].name}"), err=True)
    tell_standing(everybody, output)


def _row(info: AccountInfo, name: str) -> Row:
    limits = " + ".join(balance.text for balance in info.balances) or None
    return name, limits, Amount(info.spent), info.team, marked(state(info), REFUSED)
