"""Looking at budgets and changing them."""

from __future__ import annotations

from collections.abc import Sequence

import click

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


def row(balance: Balance) -> tuple[str, ...]:
    """A balance in a table."""
    figures = (amount(figure, balance.unit) for figure in (balance.spent, balance.held, balance.remaining))
    resets = "never" if balance.resets_at is None else balance.resets_at.isoformat(" ", "minutes")
    return (balance.text or "none", *figures, resets)


def _show(name: str | None, found: Sequence[Balance], *, as_json: bool) -> None:
    who = "the global account" if name is None else name
    show(found, COLUMNS, map(row, found), as_json=as_json, nothing=f"{who} has no limits")


@click.command()
@click.argument("user", required=False)
@on_books
@json_option
def balance(user: str | None, ledger: str | None, project: str, timezone: str, *, as_json: bool) -> None:
    """Show what is left of every limit of USER, of key:KEY, of tag:NAME=VALUE, or of the global account."""
    with books_to_read(ledger, project, timezone) as found:
        nothing = not as_json and user is None and nothing_recorded(found)
        if user is not None:
            must_be_known(found, user)
        balances = found.balances(user) or [found.balance(user)]
    if nothing:
        click.echo(NOTHING_YET)
    else:
        _show(user, balances, as_json=as_json)


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
    show(infos, ("user", *COLUMNS), rows, as_json=as_json, nothing=nothing)


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
@click.argument("user", required=False)
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
    _show(user, balances, as_json=as_json)


@click.group()
def limits() -> None:
    """Set limits."""


@limits.command("set")
@click.argument("texts", metavar="LIMIT...", nargs=-1)
@click.option("--user", help="Whose; the global account's if it is not given.")
@click.option("--none", "no_limits", is_flag=True, help="Take all limits away.")
@on_books
@json_option
def set_limits(
    texts: tuple[str, ...],
    user: str | None,
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    no_limits: bool,
    as_json: bool,
) -> None:
    """Give a user, or the global account, these limits instead of those it has. What was spent stays.

    For example: budgeted limits set '$10/day' '60 calls/minute' --user alice
    """
    if bool(texts) == no_limits:
        raise click.UsageError("give limits such as '$10/day', or --none")
    with books(ledger, project, timezone, create=True) as found:
        found.set_limits(user, *texts)
        balances = found.balances(user)
    _show(user, balances, as_json=as_json)
