"""A project's books in one file: taken while calls go on, and put back."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click

from budgeted.cli.ledger_options import ledger_option, must_exist, must_last, project_option
from budgeted.cli.long_work import long_work
from budgeted.ledger import backup_file, restore_backup
from budgeted.ledger.accounts import GLOBAL, known_to_people
from budgeted.ledger.move_project import content
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.whole_content import Content
from budgeted.money import format_usd

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@file_argument
@ledger_option
@project_option
def backup(file: Path, ledger: str | None, project: str) -> None:
    """Write all that a project's ledger knows to FILE, as it is at one instant.

    Calls may go on meanwhile. The file is made anew, for its owner alone to read, and is read again and compared before
    this ends well. Exit code 1: there is no backup.
    """
    must_exist(ledger, project)
    untouched = f"{file} was not made; start again"
    begun = f"{file} is there, but was not checked to its end; remove it, and start again"
    with long_work(untouched, lambda: begun if file.exists() else untouched) as work:
        with work.step("reading"), contextlib.closing(open_ledger(ledger, project, fsync="background")) as opened:
            found = content(opened)
        first = backup_file.heading(project, found, int(time.time()))
        with work.step("writing", first.lines, changes=True) as tell:
            backup_file.write(file, first, found, tell)
        with work.step("checking", first.lines) as tell:
            if backup_file.read(file, tell) != (first, found):
                msg = f"{file} does not hold what was written to it; do not trust the disk that it is on"
                raise click.ClickException(msg)
    click.echo(f"{project} is in {file}: {_described(found)}. Checked: the file holds all of it.")


@click.command()
@file_argument
@ledger_option
@project_option
@click.option("--overwrite", is_flag=True, help="Replace what the ledger has of the same names already.")
def restore(file: Path, ledger: str | None, project: str, *, overwrite: bool) -> None:
    """Put the content of a backup, FILE, into a project's ledger, and check that every balance is equal.

    Calls that were in flight are charged what they were held for if nobody says what they cost, and are listed as
    uncertain. Stop what makes calls first. Exit code 1: not all of it was put back; doing it again is safe.
    """
    must_last(ledger)
    untouched = "nothing was put back; start again"
    begun = f"{project} has a part of {file}; write the same again, and the rest is put back"
    with long_work(untouched, begun) as work:
        with work.step("reading", None) as tell:
            first, found = backup_file.read(file, tell)
        with work.step("opening"):
            opened = open_ledger(ledger, project, fsync="background")
        with contextlib.closing(opened):
            put_back = restore_backup.restore(found, opened, taken=first.taken, overwrite=overwrite, step=work.step)
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(first.taken))
    click.echo(
        f"{project} is as {first.project} was at {taken} UTC: {_described(put_back)}. Checked: all is equal. "
        f"Charges made since then are not in it."
    )


def _described(found: Content) -> str:
    """How much a ledger knows, in words."""
    accounts = known_to_people(found.accounts)
    total = sum(account.usd for account in accounts if account.id == GLOBAL)
    limits = sum(len(account.slots) for account in accounts)
    return (
        f"{len(accounts):,} accounts, {limits:,} limits, {format_usd(total)} spent, {len(found.rows):,} report rows, "
        f"{len(found.charges):,} uncertain charges, {len(found.holds):,} calls in flight"
    )
