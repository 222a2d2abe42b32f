"""Whether a project's ledger is whole, and what can be done if it is not."""

from __future__ import annotations

import contextlib
import sys

import click

from budgeted.cli.ledger_options import books, ledger_option, must_exist, on_books, project_option
from budgeted.ledger.accounts import known_to_people
from budgeted.ledger.journal.repair import repair as repair_files
from budgeted.ledger.journal.verification import read_files
from budgeted.ledger.opening import directory_of, open_ledger
from budgeted.ledger.verification import contradictions

DAMAGED = 3
"""The exit code that says that a ledger was read, and is not whole."""


@click.command()
@ledger_option
@project_option
def verify(ledger: str | None, project: str) -> None:
    """Check all of a project's ledger: every line of its files, every sum. Nothing is changed, and calls may go on.

    Exit code 0: it is whole. 3: it is damaged or contradicts itself, and each line of the output says where. 1: it
    cannot be read.
    """
    directory = directory_of(ledger, project)
    if directory is None or not directory.is_dir():
        must_exist(ledger, project)
        opened = open_ledger(ledger, project, fsync="background")
        with contextlib.closing(opened):
            content, problems, read = opened.everything(), opened.damage(), ""
    else:
        found = read_files(directory)
        content, problems = found.content(), found.problems
        read = f", {found.lines} lines in {found.files} files"
    problems += contradictions(content)
    for problem in problems:
        click.echo(problem)
    if problems:
        click.echo(
            f"{project} is not whole: {len(problems)} problems; `budgeted repair --help` says what helps", err=True
        )
        sys.exit(DAMAGED)
    click.echo(
        f"{project} is whole: {len(known_to_people(content.accounts))} accounts, {len(content.rows)} report rows, "
        f"{len(content.charges)} uncertain charges, {len(content.holds)} calls in flight{read}"
    )


@click.command()
@click.option("--period", is_flag=True, help="Bring back limits whose period a wrong clock has begun in the future.")
@click.option("--user", help="With --period: whose; those of all users and the global one if it is not given.")
@click.option("--anew", is_flag=True, help="Begin an empty ledger where nothing is left; its limits must be set again.")
@on_books
def repair(ledger: str | None, project: str, timezone: str, *, period: bool, user: str | None, anew: bool) -> None:
    """Have a project's ledger go on from what is intact of it.

    Of a directory, everything before the first damage is kept, and the rest is set aside in files beside it: stop what
    uses it first, and read what is printed: charges and limits that are lost are to be set again. Where a process that
    knows more still runs, have that one call `BudgetManager.repair()` instead.

    Exit code 0: the ledger can be opened. 1: it cannot, and the text says what to do.
    """
    if period:
        with books(ledger, project, timezone) as found:
            count = found.repair_periods(user)
        click.echo(f"{count} limits count in the present period again")
        return
    if user is not None:
        raise click.UsageError("--user goes with --period")
    directory = directory_of(ledger, project)
    if directory is None or not directory.is_dir():
        must_exist(ledger, project)
        opened = open_ledger(ledger, project, fsync="background")
        with contextlib.closing(opened):
            problems = [*opened.damage(), *contradictions(opened.everything())]
        for problem in problems:
            click.echo(problem)
        if problems:
            msg = f"{project} is not whole, and only a backup helps: `budgeted restore FILE`, into another project"
            raise click.ClickException(msg)
        click.echo(f"nothing is wrong with {project}")
        return
    done = repair_files(directory, anew=anew)
    for line in done.told:
        click.echo(line)
    for file in done.files:
        click.echo(f"set aside: {file}")
    click.echo(f"{project} can be opened" if done.told else f"nothing is wrong with {project}")
