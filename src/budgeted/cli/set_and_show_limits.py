"""Limits: seeing those of a user or of everybody together, setting them, taking them away."""

from __future__ import annotations

import click

from budgeted.cli import completions
from budgeted.cli.account_standing import tell_standing, told
from budgeted.cli.balances_and_limits import RESETS, show_balances
from budgeted.cli.known_accounts import must_be_known
from budgeted.cli.ledger_options import books, books_to_read, on_books
from budgeted.cli.limits_and_users import told_apart
from budgeted.cli.table_cells import Amount
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal_table import Column

COLUMNS = (Column("limit"), Column("unit", shown="programs"), Column("this period", "amount"), RESETS)

user_option = click.option(
    "--user",
    "named",
    shell_complete=completions.users,
    metavar="USER",
    help="Whose, where the name could be taken for a limit.",
)


@click.group()
def limits() -> None:
    """See, set and take away limits of a user, or of all users together."""


@limits.command("show")
@click.argument("user", required=False, shell_complete=completions.users)
@on_books
@output_options
def show_limits(user: str | None, ledger: str | None, project: str, timezone: str, *, output: Output) -> None:
    """Show the limits of USER, or of all users together. What is left of them, `budgeted balance` tells."""
    with books_to_read(ledger, project, timezone) as found:
        if user is not None:
            must_be_known(found, user)
        balances = found.balances(user)
        standing = told(found, user)
    # Where it was raised, or something was carried over, what counts now is not what the limit states.
    rows = [(one.text, one.unit, Amount(one.limit, one.unit), one.resets_at) for one in balances]
    who = "the global account" if user is None else user
    show(balances, COLUMNS, rows, output, nothing=f"{who} has no limits")
    tell_standing(standing, output)


@limits.command("set")
@click.argument("words", metavar="LIMIT... [USER]", nargs=-1, shell_complete=completions.users)
@user_option
@click.option("--none", "no_limits", is_flag=True, help="Take all limits away.")
@on_books
@output_options
def set_limits(
    words: tuple[str, ...],
    named: str | None,
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    no_limits: bool,
    output: Output,
) -> None:
    """Give USER, or all users together, these limits instead of those that are there. What was spent stays."""
    texts, user = told_apart(words, named)
    if bool(texts) == no_limits:
        whom = "" if user is None else f" for {user!r}"
        raise click.UsageError(f"give limits{whom} such as '$10/day', or --none")
    with books(ledger, project, timezone, create=True) as found:
        found.set_limits(user, *texts)
        balances = found.balances(user)
    show_balances(user, balances, output)


@limits.command()
@click.argument("user", required=False, shell_complete=completions.users)
@click.option("--global", "everybody", is_flag=True, help="The global account.")
@on_books
def unset(user: str | None, ledger: str | None, project: str, timezone: str, *, everybody: bool) -> None:
    """Take all limits of USER away. What was spent stays."""
    if (user is None) != everybody:
        raise click.UsageError("name a user, or write --global")
    with books(ledger, project, timezone) as found:
        if user is not None:
            must_be_known(found, user)
        found.set_limits(user)
    click.echo(f"{'the global account' if user is None else user} has no limits")
