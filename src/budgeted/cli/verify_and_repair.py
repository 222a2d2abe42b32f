"""Whether a project's ledger is whole, and what can be done if it is not."""

from __future__ import annotations

import contextlib
import sys

import click
import msgspec

from budgeted.cli import completions
from budgeted.cli.ledger_options import books, ledger_option, must_exist, on_books, project_option
from budgeted.cli.long_work import long_work
from budgeted.cli.table_output import Output, output_options, show
from budgeted.ledger.accounts import known_to_people
from budgeted.ledger.journal.repair import repair as repair_files
from budgeted.ledger.journal.verification import read_files
from budgeted.ledger.opening import directory_of, open_ledger
from budgeted.ledger.told_steps import Step
from budgeted.ledger.verification import contradictions
from budgeted.ledger.whole_content import Content

DAMAGED = 3
"""The exit code that says that a ledger was read, and is not whole."""


class Verified(msgspec.Struct, frozen=True):
    """What was read of a ledger.

    Args:
        project: its name.
        whole: whether nothing is wrong with it.
        problems: what is, in sentences.
        accounts, report_rows, uncertain_charges, calls_in_flight: how many there are.
    """

    project: str
    whole: bool
    problems: tuple[str, ...]
    accounts: int
    report_rows: int
    uncertain_charges: int
    calls_in_flight: int


@click.command()
@ledger_option
@project_option
@output_options
def verify(ledger: str | None, project: str, *, output: Output) -> None:
    """Check all of a project's ledger: every line of its files, every sum. Nothing is changed, and calls may go on.

    Exit code 0: it is whole. 3: it is damaged or contradicts itself, and each line of the output says where. 1: it
    cannot be read.
    """
    with long_work("nothing was changed; start again") as work:
        content, problems, read = _read(ledger, project, work.step)
        with work.step("adding up"):
            problems += contradictions(content)
    found = Verified(
        project=project,
        whole=not problems,
        problems=tuple(problems),
        accounts=len(known_to_people(content.accounts)),
        report_rows=len(content.rows),
        uncertain_charges=len(content.charges),
        calls_in_flight=len(content.holds),
    )
    _show(found, read, output)
    if problems:
        click.echo(
            f"{project} is not whole: {len(problems)} problems; `budgeted repair --help` says what helps", err=True
        )
        sys.exit(DAMAGED)


def _show(found: Verified, read: str, output: Output) -> None:
    problems = found.problems
    if not output.for_people:
        show(found, ("problem",), [(problem,) for problem in problems], output, nothing="")
    elif problems:
        click.echo("\n".join(problems))
    else:
        click.echo(
            f"{found.project} is whole: {found.accounts:,} accounts, {found.report_rows:,} report rows, "
            f"{found.uncertain_charges:,} uncertain charges, {found.calls_in_flight:,} calls in flight{read}"
        )


def _read(ledger: str | None, project: str, step: Step) -> tuple[Content, list[str], str]:
    """What a ledger holds, what is wrong with its files, and how much of them was read, in words."""
    directory = directory_of(ledger, project)
    if directory is None or not directory.is_dir():
        must_exist(ledger, project)
        with step("reading"), contextlib.closing(open_ledger(ledger, project, fsync="background")) as opened:
            return opened.everything(), opened.damage(), ""
    found = read_files(directory, step)
    return found.content(), found.problems, f", {found.lines:,} lines in {found.files} files"


@click.command()
@click.option("--period", is_flag=True, help="Bring back limits whose period a wrong clock has begun in the future.")
@click.option(
    "--user",
    shell_complete=completions.users,
    help="With --period: whose; those of all users and the global one if it is not given.",
)
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
    untouched = "nothing was changed; start again"
    begun = f"{project} is repaired in part, and what was cut off is in files called *.cut-*; write the same again"
    with long_work(untouched, begun) as work:
        directory = directory_of(ledger, project)
        if directory is None or not directory.is_dir():
            _refuse_broken(ledger, project, work.step)
            click.echo(f"nothing is wrong with {project}")
            return
        done = repair_files(directory, anew=anew, step=work.step)
    for line in done.told:
        click.echo(line)
    for file in done.files:
        click.echo(f"set aside: {file}")
    click.echo(f"{project} can be opened" if done.told else f"nothing is wrong with {project}")


def _refuse_broken(ledger: str | None, project: str, step: Step) -> None:
    """Say what is wrong with a ledger whose files are not ours to repair.

    Raises:
        ClickException: something is.
    """
    content, problems, _ = _read(ledger, project, step)
    problems += contradictions(content)
    for problem in problems:
        click.echo(problem)
    if problems:
        msg = f"{project} is not whole, and only a backup helps: `budgeted restore FILE`, into another project"
        raise click.ClickException(msg)
