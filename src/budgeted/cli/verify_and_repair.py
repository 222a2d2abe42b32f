"""Whether a project's ledger is whole, and what can be done if it is not."""

from __future__ import annotations

import contextlib
import sys

import click

from budgeted.cli.ledger_options import ledger_option, must_exist, project_option
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
    must_exist(ledger, project)
    directory = directory_of(ledger, project)
    if directory is None:
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
        f"{project} is whole: {len(content.accounts)} accounts, {len(content.rows)} report rows, "
        f"{len(content.charges)} uncertain charges, {len(content.holds)} calls in flight{read}"
    )
