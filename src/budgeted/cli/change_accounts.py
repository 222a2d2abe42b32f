"""Raises for a period, stopping and resuming, and whom users belong to."""

from __future__ import annotations

import click

from budgeted.cli import completions
from budgeted.cli.balances_and_limits import show_balances
from budgeted.cli.known_accounts import must_be_known
from budgeted.cli.ledger_options import books, on_books
from budgeted.cli.limits_and_users import told_apart
from budgeted.cli.set_and_show_limits import user_option
from budgeted.cli.table_cells import spelt_out
from budgeted.cli.table_output import Output, output_options
from budgeted.manager.stated_belonging import TEAM


@click.command("top-up")
@click.argument("words", metavar="[USER] AMOUNT", nargs=-1, required=True, shell_complete=completions.users)
@user_option
@click.option("--until", default="period", show_default=True, help="When it ends: with the period of the limit.")
@on_books
@output_options
def top_up(
    words: tuple[str, ...],
    named: str | None,
    until: str,
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    output: Output,
) -> None:
    """Let USER, or all users together, spend AMOUNT more, until the limit's period ends.

    AMOUNT is USD, or text such as '20 calls'. For example: budgeted top-up alice 5
    """
    texts, user = told_apart(words, named)
    if not texts:
        raise click.UsageError(f"say how much is added for {user!r}: USD, or text such as '20 calls'")
    with books(ledger, project, timezone) as found:
        if user is not None:
            must_be_known(found, user)
        found.top_up(user, " + ".join(texts), until)
        balances = found.balances(user)
    show_balances(user, balances, output)


@click.command()
@click.argument("user", required=False, shell_complete=completions.users)
@click.option("--reason", default="", help="Is told with every refusal.")
@on_books
def stop(user: str | None, reason: str, ledger: str | None, project: str, timezone: str) -> None:
    """Refuse every call of USER, or all calls, at once, in all processes. Calls in flight end as they would."""
    with books(ledger, project, timezone) as found:
        if user is not None:
            must_be_known(found, user)
        found.stop(user, reason)
        info = found.info(user)
    why = "" if info is None else info.stopped
    click.echo(spelt_out(f"{'all calls are' if user is None else f'{user} is'} stopped: {why}"))
    end = "budgeted resume" if user is None else f"budgeted resume {user}"
    click.echo(spelt_out(f"`{end}` lets them go on"))


@click.command()
@click.argument("user", required=False, shell_complete=completions.users)
@on_books
def resume(user: str | None, ledger: str | None, project: str, timezone: str) -> None:
    """Let calls of USER, or all calls, go on that were stopped. Exit code 1: they were not stopped."""
    with books(ledger, project, timezone) as found:
        if user is not None:
            must_be_known(found, user)
        before = found.info(user)
        if before is None or not before.stopped:
            who = "no stop is on all calls together" if user is None else f"{user} is not stopped"
            raise click.ClickException(f"{who}; `budgeted users` tells who is")
        found.resume(user)
    click.echo(spelt_out("calls go on" if user is None else f"calls of {user} go on"))


@click.command()
@click.argument("user", shell_complete=completions.users)
@click.argument("team", required=False, shell_complete=completions.users)
@click.option("--none", "nobody", is_flag=True, help="To nothing any more.")
@on_books
def assign(user: str, team: str | None, ledger: str | None, project: str, timezone: str, *, nobody: bool) -> None:
    """Have USER belong to TEAM, which pays whatever USER pays from then on, too."""
    if (team is None) != nobody:
        raise click.UsageError("name a team, such as team:search, or write --none")
    with books(ledger, project, timezone, create=True) as found:
        if team is None:
            must_be_known(found, user)
        elif found.info(team) is None and found.info(f"{TEAM}{team}") is not None:
            raise click.ClickException(f"{team!r} is not known; did you mean {TEAM + team!r}?")
        found.assign(user, team)
        above = None if team is None else found.info(team)
    click.echo(spelt_out(f"{user} belongs to {'nothing' if team is None else team}"))
    if above is not None and not above.balances:
        click.echo(spelt_out(f"{team} has no limits; `budgeted limits set '$50/month' {team}` gives it some"), err=True)
