"""How a project stands, once: what is left of its limits, who is near one, what goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import click

from budgeted.cli.account_standing import state
from budgeted.cli.bars import NEARLY, REFUSED, bar_and_share
from budgeted.cli.known_accounts import nothing_recorded
from budgeted.cli.ledger_options import NOTHING_YET, books_to_read, on_books
from budgeted.cli.table_cells import Amount
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal import bar_width, marks, tell
from budgeted.cli.terminal_table import Column, Row
from budgeted.cli.top_events import event_lines
from budgeted.manager.account_names import free_name
from budgeted.manager.activity import Activity
from budgeted.manager.balances import AccountInfo, Balance
from budgeted.manager.project_status import ProjectStatus, project_status, tightest

MOST_EVENTS = 12
"""Lines on calls that wait, are in flight, or were refused."""

COLUMNS = (
    Column("account"),
    Column("limit", worth=2, none="none"),
    Column("used", worth=1, shown="people"),
    Column("unit", shown="programs"),
    Column("spent"),
    Column("held", worth=4),
    Column("left", "remaining"),
    Column("reached", "exhausted_at", worth=5, none=""),
    Column("resets", "resets_at", worth=3, none="never"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Stands(ProjectStatus):
    """How a project stands, and what goes on in it, for programs."""

    activity: Activity


@click.command()
@click.option("--count", type=click.IntRange(0), default=10, show_default=True, help="How many users at most.")
@on_books
@output_options
def status(count: int, ledger: str | None, project: str, timezone: str, *, output: Output) -> None:
    """Show what is left of all limits, whose are nearly used up, what was spent today, and what goes on.

    Of each user, it is the limit of which most is used. "reached" is when that is all used if spending goes on as it
    does. `budgeted top` shows the same as it changes.
    """
    with books_to_read(ledger, project, timezone) as found:
        nothing = output.for_people and nothing_recorded(found)
        now, activity = project_status(found), found.activity()
    if nothing:
        click.echo(NOTHING_YET)
    else:
        show_status(now, activity, output, count)


def show_status(now: ProjectStatus, activity: Activity, output: Output, count: int) -> None:
    """Print how a project stands.

    Args:
        now: how it stands.
        activity: what goes on in it.
        output: as what it is printed.
        count: of users, how many at most.
    """
    if output.for_people:
        for text, style in _told_first(now, activity, exact=output.exact):
            tell(text, style)
        click.echo()
    found = Stands(**{field.name: getattr(now, field.name) for field in dataclasses.fields(now)}, activity=activity)
    show(found, COLUMNS, [*_rows(now, count, output)], output, nothing="")
    if output.for_people:
        for line in _told_last(now, count):
            tell(line)
        for event in event_lines(activity, now.at, MOST_EVENTS):
            tell(event)


def _rows(now: ProjectStatus, count: int, output: Output) -> Iterator[Row]:
    everybody = free_name("(everybody)", {one.name for one in now.accounts})
    for number, balance in enumerate(now.balances):
        yield _row("" if number and output.for_people else everybody, balance)
    for info in now.accounts[:count]:
        yield _row(info.name, _nearest(info))


def _nearest(info: AccountInfo) -> Balance:
    return tightest(info.balances) or Balance(None, info.spent, 0.0, None)


def _row(name: str, balance: Balance) -> Row:
    figures = (Amount(figure, balance.unit) for figure in (balance.spent, balance.held, balance.remaining))
    drawn = bar_and_share(balance, marks(), bar_width())
    return name, balance.text or None, drawn, balance.unit, *figures, balance.exhausted_at, balance.resets_at


def _told_first(now: ProjectStatus, activity: Activity, *, exact: bool) -> Iterator[tuple[str, str]]:
    """What there is to say of all together, each with its colour."""
    spent, held, doubtful = (Amount(figure).text(exact=exact) for figure in (now.spent_today, now.held, now.uncertain))
    yield f"{now.project} at {now.at.isoformat(' ', 'minutes')}", ""
    yield f"today: {spent} in {_several(now.calls_today, 'call')}", ""
    if activity.refused_today:
        yield f"refused today: {_several(activity.refused_today, 'call')}", REFUSED
    if now.calls_in_flight:
        yield f"in flight: {_several(now.calls_in_flight, 'call')}, {held} held", ""
    if now.uncertain_charges:
        charges = _several(now.uncertain_charges, "charge")
        yield f"uncertain: {charges} of {doubtful} that nobody has confirmed: `budgeted uncertain`", NEARLY
    if now.stopped:
        yield f"all calls are stopped: {now.stopped}; `budgeted resume` lets them go on", REFUSED
    for info in now.accounts:
        if info.stopped:
            yield f"{info.name} is {state(info)}", REFUSED


def _told_last(now: ProjectStatus, count: int) -> Iterator[str]:
    """What is not in the table."""
    if not now.complete:
        yield "there are very many users: these are of those who have spent most today"
    elif len(now.accounts) > count:
        more = len(now.accounts) - count
        told = "one more user has" if more == 1 else f"{more:,} more users have"
        yield f"{told} more left: `budgeted accounts` lists all"


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
