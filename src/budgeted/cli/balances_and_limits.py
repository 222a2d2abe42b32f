"""Looking at balances, and putting right what was charged."""

from __future__ import annotations

from collections.abc import Sequence

import click

from budgeted.cli import completions
from budgeted.cli.account_standing import state, tell_standing, told
from budgeted.cli.known_accounts import must_be_known, nothing_recorded
from budgeted.cli.ledger_options import NOTHING_YET, books, books_to_read, on_books
from budgeted.cli.table_output import json_option, show
from budgeted.html_tables import amount
from budgeted.manager.balances import Balance
from budgeted.money import format_usd, nano_usd

COLUMNS = ("limit", "spent", "held", "remaining", "resets")


def usd(amount: float | None) -> str:
    """USD as people read it."""
    return "-" if amount is None else format_usd(nano_usd(amount))


def resets(balance: Balance) -> str:
    """When a limit's period ends, as people read it."""
    return "never" if balance.resets_at is None else balance.resets_at.isoformat(" ", "minutes")


def row(balance: Balance) -> tuple[str, ...]:
    """A balance in a table."""
    figures = (amount(figure, balance.unit) for figure in (balance.spent, balance.held, balance.remaining))
    return (balance.text or "none", *figures, resets(balance))


def show_balances(name: str | None, found: Sequence[Balance], *, as_json: bool) -> None:
    """Print the balances of a user, or of the global account (None)."""
    who = "the global account" if name is None else name
    show(found, COLUMNS, map(row, found), as_json=as_json, nothing=f"{who} has no limits")


@click.command()
@click.argument("user", required=False, shell_complete=completions.users)
@on_books
@json_option
def balance(user: str | None, ledger: str | None, project: str, timezone: str, *, as_json: bool) -> None:
    """Show what is left of every limit of USER, of key:KEY, of tag:NAME=VALUE, or of the global account."""
    with books_to_read(ledger, project, timezone) as found:
        nothing = not as_json and user is None and nothing_recorded(found)
        if user is not None:
            must_be_known(found, user)
        balances = found.balances(user) or [found.balance(user)]
        standing = told(found, user)
    if nothing and not standing:
        click.echo(NOTHING_YET)
    else:
        show_balances(user, balances, as_json=as_json)
        tell_standing(standing, as_json=as_json)


@click.command()
@click.option("--prefix", default="", help="Only names that begin so.")
@click.option("--after", help="Only names behind this one.")
@click.option("--count", default=1000, help="How many at most.")
@on_books
@json_option
def accounts(
    prefix: str,
    after: str | None,
    count: int,
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    as_json: bool,
) -> None:
    """List users with the balance of each limit; with --prefix key: or tag: caps that have a key, or tags."""
    with books_to_read(ledger, project, timezone) as found:
        nothing = NOTHING_YET if nothing_recorded(found) else "there are no such users"
        infos = found.accounts(prefix, after, count)
        rows = [
            (info.name if number == 0 else "", *row(one))
            for info in infos
            for number, one in enumerate(info.balances or [found.balance(info.name)])
        ]
        standing = [f"{info.name} is {state(info)}" for info in infos if info.stopped] + told(found, None)
    show(infos, ("user", *COLUMNS), rows, as_json=as_json, nothing=nothing)
    tell_standing(standing, as_json=as_json)


@click.command()
@on_books
@json_option
def uncertain(ledger: str | None, project: str, timezone: str, *, as_json: bool) -> None:
    """List the charges that nobody confirmed, oldest first."""
    with books_to_read(ledger, project, timezone) as found:
        charges = found.uncertain()
    rows = [
        (one.id, one.at.isoformat(" ", "seconds"), ", ".join(one.users), one.model, usd(one.cost), one.reason)
        for one in charges
    ]
    columns = ("id", "charged", "users", "model", "cost", "reason")
    show(charges, columns, rows, as_json=as_json, nothing="every charge is confirmed")


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
@json_option
def reset(user: str | None, ledger: str | None, project: str, timezone: str, *, everybody: bool, as_json: bool) -> None:
    """Set what USER has spent back to zero."""
    if (user is None) != everybody:
        raise click.UsageError("name a user, or write --global")
    with books(ledger, project, timezone) as found:
        found.reset_cost(user)
        balances = found.balances(user)
    show_balances(user, balances, as_json=as_json)
