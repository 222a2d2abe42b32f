"""Looking at balances, and putting right what was charged."""

from __future__ import annotations

from collections.abc import Sequence

import click

from budgeted.cli import completions
from budgeted.cli.account_standing import state, tell_standing, told
from budgeted.cli.bars import bar_and_share
from budgeted.cli.known_accounts import must_be_known, nothing_recorded
from budgeted.cli.ledger_options import NOTHING_YET, books, books_to_read, on_books
from budgeted.cli.table_cells import Amount
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal import bar_width, marks
from budgeted.cli.terminal_table import Column, Row
from budgeted.manager.balances import Balance
from budgeted.money import format_usd, nano_usd, to_usd

UNCERTAIN = (
    Column("id", whole=True),
    Column("charged", "charged_at", worth=2),
    Column("users", worth=1),
    Column("model", worth=3),
    Column("cost", "cost_usd"),
    Column("reason"),
)

RESETS = Column("resets", "resets_at", worth=2, none="never")

COLUMNS = (
    Column("limit", none="none"),
    Column("used", worth=1, shown="terminal"),
    Column("unit", shown="programs"),
    Column("spent"),
    Column("held", worth=3),
    Column("remaining"),
    RESETS,
)


def row(balance: Balance) -> Row:
    """A balance in a table."""
    figures = (Amount(figure, balance.unit) for figure in (balance.spent, balance.held, balance.remaining))
    return (
        balance.text or None,
        bar_and_share(balance, marks(), bar_width()),
        balance.unit,
        *figures,
        balance.resets_at,
    )


def show_balances(name: str | None, found: Sequence[Balance], output: Output) -> None:
    """Print the balances of a user, or of the global account (None)."""
    who = "the global account" if name is None else name
    show(found, COLUMNS, map(row, found), output, nothing=f"{who} has no limits")


@click.command()
@click.argument("user", required=False, shell_complete=completions.users)
@on_books
@output_options
def balance(user: str | None, ledger: str | None, project: str, timezone: str, *, output: Output) -> None:
    """Show what is left of every limit of USER, of key:KEY, of tag:NAME=VALUE, or of the global account."""
    with books_to_read(ledger, project, timezone) as found:
        nothing = output.for_people and user is None and nothing_recorded(found)
        if user is not None:
            must_be_known(found, user)
        balances = found.balances(user) or [found.balance(user)]
        standing = told(found, user)
    if nothing and not standing:
        click.echo(NOTHING_YET)
    else:
        show_balances(user, balances, output)
        tell_standing(standing, output)


@click.command()
@click.option("--prefix", default="", help="Only names that begin so.")
@click.option("--after", help="Only names behind this one.")
@click.option("--count", default=1000, help="How many at most.")
@on_books
@output_options
def accounts(
    prefix: str,
    after: str | None,
    count: int,
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    output: Output,
) -> None:
    """List users with the balance of each limit; with --prefix key: or tag: caps that have a key, or tags."""
    with books_to_read(ledger, project, timezone) as found:
        nothing = NOTHING_YET if nothing_recorded(found) else "there are no such users"
        infos = found.accounts(prefix, after, count)
        rows = [
            (info.name if number == 0 or not output.for_people else "", *row(one))
            for info in infos
            for number, one in enumerate(info.balances or [found.balance(info.name)])
        ]
        standing = [f"{info.name} is {state(info)}" for info in infos if info.stopped] + told(found, None)
    show(infos, (Column("user"), *COLUMNS), rows, output, nothing=nothing)
    tell_standing(standing, output)


@click.command()
@on_books
@output_options
def uncertain(ledger: str | None, project: str, timezone: str, *, output: Output) -> None:
    """List the charges that nobody confirmed, oldest first."""
    with books_to_read(ledger, project, timezone) as found:
        charges = found.uncertain()
    rows = [
        (one.id, one.at, ", ".join(one.users), one.model, Amount(one.cost, exact=True), one.reason) for one in charges
    ]
    whole = Amount(to_usd(sum(nano_usd(one.cost) for one in charges)), exact=True)
    total = ("(total)", "", "", "", whole, f"{len(charges):,} charges") if len(charges) > 1 else None
    show(charges, UNCERTAIN, rows, output, nothing="every charge is confirmed", total=total)


@click.command()
@click.argument("charge_id")
@click.option("--cost", required=True, help="What it really cost, in USD.")
@on_books
def reconcile(charge_id: str, cost: str, ledger: str | None, project: str, timezone: str) -> None:
    """Replace the figure of a charge by what the provider's invoice says."""
    with books(ledger, project, timezone) as found:
        found.reconcile(charge_id, cost=cost)
    click.echo(f"{charge_id} cost {format_usd(nano_usd(cost))}")


@click.command()
@click.argument("user", required=False, shell_complete=completions.users)
@click.option("--global", "everybody", is_flag=True, help="The global account.")
@on_books
@output_options
def reset(
    user: str | None, ledger: str | None, project: str, timezone: str, *, everybody: bool, output: Output
) -> None:
    """Set what USER has spent back to zero."""
    if (user is None) != everybody:
        raise click.UsageError("name a user, or write --global")
    with books(ledger, project, timezone) as found:
        if user is not None:
            must_be_known(found, user)
        found.reset_cost(user)
        balances = found.balances(user)
    show_balances(user, balances, output)
