"""The table that tells at the end of a run what it has spent."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from budgeted.cli.account_standing import told
from budgeted.cli.table_cells import Amount, spelt_out
from budgeted.cli.table_output import print_table
from budgeted.cli.terminal_table import Row
from budgeted.manager.administrative_manager import Books
from budgeted.manager.run_books import RunBooks, RunReport, Spent
from budgeted.manager.running_program import is_there
from budgeted.money import to_usd
from budgeted.telemetry import run_notes

HELPERS_SECONDS: Final = 0.5

MOST_ROWS: Final = 20
"""Models, or users, that are listed one by one."""


def tell(paying: RunBooks, books: Books, folder: Path, main: int, *, asked: int) -> None:
    """Print on standard error what a run has spent, and close its books if it has ended.

    Args:
        paying: the run's books.
        books: of its project.
        folder: where its processes have noted what no ledger keeps.
        main: the pid of the process that was run, which has ended.
        asked: how often the run's gateway was asked for something.
    """
    started = _started(folder)
    running = _running(pid for pid in started if pid != main)
    report = paying.report(books)
    refused = sum(run_notes.counts(folder, run_notes.REFUSED).values())
    columns = ("budgeted run", "calls", "spent", "uncertain")
    print_table(columns, _rows(report, refused), err=True)
    if report.whole.uncertain:
        click.echo("uncertain: nobody said what it cost, so it is an estimate; see `budgeted uncertain`", err=True)
    for line in told(books, paying.user):
        click.echo(spelt_out(line), err=True)
    if running:
        text = "still running, within the same limits, so that this is what was spent until now: "
        click.echo(f"{text}{', '.join(map(str, running))}", err=True)
    if not running:
        paying.close(books)
    if not started and not asked:
        text = "nothing was metered: no Python program was started that loads the metering"
        click.echo(f"{text}, and nothing was sent to the run's gateway", err=True)


def _rows(report: RunReport, refused: int) -> Iterator[Row]:
    yield from _headed("model", report.models)
    yield from _headed("user", report.users)
    yield "total", *_figures(report.whole)
    if report.held:
        yield "held by calls that have not ended", "", Amount(to_usd(report.held), exact=True), ""
    yield "refused", refused, "", ""
    for who, balance in report.left:
        yield f"left of {balance.text} ({who})", "", Amount(balance.remaining or 0, balance.unit, exact=True), ""


def _headed(what: str, found: dict[str, Spent]) -> Iterator[Row]:
    for name, one in list(found.items())[:MOST_ROWS]:
        yield f"{what} {name}" if name else f"{what}: none named", *_figures(one)
    rest = list(found.values())[MOST_ROWS:]
    if rest:
        sums = [sum(getattr(one, name) for one in rest) for name in ("calls", "usd", "uncertain")]
        yield f"{len(rest)} other {what}s", *_figures(Spent(*sums))


def _figures(one: Spent) -> tuple[int, Amount, Amount]:
    # In full, so that it agrees with a bill to the last digit.
    return one.calls, Amount(to_usd(one.usd), exact=True), Amount(to_usd(one.uncertain), exact=True)


def _started(folder: Path) -> dict[int, int]:
    """How often each process has started. One that was forked just before its parent ended gets a moment to tell."""
    deadline = time.monotonic() + HELPERS_SECONDS
    while run_notes.has_forks_on_the_way(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    return run_notes.counts(folder, run_notes.STARTED)


def _running(started: Iterable[int]) -> list[int]:
    """Those of some processes that are there. Helpers, such as multiprocessing has, get a moment to end as well."""
    running = list(started)
    deadline = time.monotonic() + HELPERS_SECONDS
    while (running := [pid for pid in running if is_there(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return running
