"""Moving a project from one ledger to another."""

from __future__ import annotations

import contextlib

import click

from budgeted.cli.ledger_options import must_exist, must_last, not_there, project_option
from budgeted.cli.long_work import long_work
from budgeted.ledger.accounts import GLOBAL, known_to_people
from budgeted.ledger.interface import Ledger
from budgeted.ledger.move_project import is_empty
from budgeted.ledger.move_project import migrate as run
from budgeted.ledger.network_ledger import RemoteLedger
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.money import format_usd

OTHERWISE = "nothing was moved, and nothing made"
"""What is said of a source of which nothing is known."""


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@project_option
@click.option("--to-project", help="The project's name in TO; the same if it is not given.")
@click.option("--overwrite", is_flag=True, help="Replace what TO has of the same names already.")
def migrate(source: str, target: str, project: str, to_project: str | None, *, overwrite: bool) -> None:
    """Copy a project from one ledger to another, and check that every balance is equal.

    FROM and TO are paths or URLs. Stop what makes calls first: calls in flight are refused, those of killed processes
    are charged. FROM is not changed.
    """
    must_last(target)
    must_exist(source, project, OTHERWISE)
    name = to_project or project
    untouched = f"TO holds nothing of {project} yet, and FROM is as it was; start again"
    begun = "TO has a part of it, and FROM is as it was; write the same again, and the rest is copied"
    with long_work(untouched, begun) as work:
        with work.step("opening"):
            old = open_ledger(source, project, fsync="background")
        with contextlib.closing(old):
            if is_empty(old):
                raise not_there(source, project, OTHERWISE)
            with work.step("opening"):
                new = open_ledger(target, name, fsync="background")
            if old is new:
                raise click.UsageError("FROM and TO are the same")
            with contextlib.closing(new):
                found = run(old, new, overwrite=overwrite, step=work.step)
    accounts = known_to_people(found.accounts)
    limits = sum(len(account.slots) for account in accounts)
    total = sum(account.usd for account in accounts if account.id == GLOBAL)
    named = f" as {name}" if name != project else ""
    click.echo(
        f"{project} is now in {_place(new, target)}{named}: {len(accounts):,} accounts, "
        f"{limits:,} limits, {format_usd(total)} spent, {len(found.rows):,} report rows, {len(found.charges):,} "
        f"uncertain charges. Checked: all are equal."
    )


def _place(ledger: Ledger, named: str) -> str:
    """Where a ledger is: as it was named, or its host and port alone where the name may hold a password."""
    behind = ledger.shared_ledger if isinstance(ledger, SlicedLedger) else ledger
    return behind.where if isinstance(behind, RemoteLedger) else named
