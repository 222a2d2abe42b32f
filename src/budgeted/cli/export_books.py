"""All that a project's books have, for other programs: as lines of JSON, or as a table in CSV."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import click
import msgspec

from budgeted.cli.ledger_options import books, on_books
from budgeted.cli.table_output import csv_line
from budgeted.ledger.accounts import account_kind
from budgeted.ledger.interface import PAGE
from budgeted.ledger.limit_conversion import EPOCH
from budgeted.manager import account_names
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import AccountInfo, Balance
from budgeted.manager.report_days import days_between
from budgeted.manager.spending_report import harmless
from budgeted.money import to_usd
from budgeted.validation import TAG

Record: TypeAlias = Mapping[str, object]

Part: TypeAlias = Literal["report", "accounts", "uncertain"]

COLUMNS: Final[dict[Part, tuple[str, ...]]] = {
    "report": (
        "day",
        "account",
        "kind",
        "provider",
        "model",
        "calls",
        "spent_usd",
        "input_tokens",
        "output_tokens",
        "uncertain_usd",
    ),
    "accounts": ("account", "kind", "spent_usd", "team", "stopped", "limits"),
    "uncertain": ("id", "at", "users", "provider", "model", "cost_usd", "held_usd", "reason"),
}
"""What each line of a part has, in the order of a table's columns."""

KINDS: Final = ("", account_names.KEY, TAG)
"""What the names of accounts begin with, by kind; those of users with anything."""


@click.command()
@click.option("--what", type=click.Choice([*COLUMNS, "all"]), default="all", show_default=True, help="What of it.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--since", help="Of the report, the first day, such as 2026-11-01.")
@click.option("--until", help="The last day; it is part of the export.")
@on_books
def export(
    what: Part | Literal["all"],
    form: Literal["jsonl", "csv"],
    since: str | None,
    until: str | None,
    ledger: str | None,
    project: str,
    timezone: str,
) -> None:
    """Print what a project knows: of each day, account and model what was spent; accounts; uncertain charges.

    Each line of JSON says in "what" which part it is of. A call is in the lines of every account that it was charged
    to: those of kind "global" have each call once. CSV is one table: name it with --what.
    """
    if form == "csv" and what == "all":
        raise click.UsageError(f"CSV is one table: write --what {', or --what '.join(COLUMNS)}")
    with books(ledger, project, timezone) as found:
        days_between(since, until, found.payer.timezone)  # looked at before anything is printed
        lines: dict[Part, Iterator[Record]] = {
            "report": _report(found, since, until),
            "accounts": _accounts(found),
            "uncertain": _uncertain(found),
        }
        for part, records in lines.items():
            if what in (part, "all"):
                _print(part, records, form)


def _report(found: Books, since: str | None, until: str | None) -> Iterator[Record]:
    first, last = days_between(since, until, found.payer.timezone)
    for row in found.ledger.rollups(0 if first is None else first.toordinal() - EPOCH):
        name = account_names.called(row.account)
        # Accounts that the ledger keeps for itself are no part of what anybody has spent.
        if name is None or row.account[0] not in "gutb" or (last is not None and row.day + EPOCH > last.toordinal()):
            continue
        yield {
            "day": dt.date.fromordinal(row.day + EPOCH).isoformat(),
            "account": name,
            "kind": account_kind(row.account),
            "provider": row.provider,
            "model": row.model,
            "calls": row.calls,
            "spent_usd": to_usd(row.usd),
            "input_tokens": row.input_tokens,
            "output_tokens": row.output_tokens,
            "uncertain_usd": to_usd(row.uncertain),
        }


def _accounts(found: Books) -> Iterator[Record]:
    whole = found.info(None)
    for one in itertools.chain([whole] if whole is not None else [], *(_pages(found, kind) for kind in KINDS)):
        yield {
            "account": one.name,
            "kind": one.kind,
            "spent_usd": one.spent,
            "team": one.team,
            "stopped": one.stopped,
            "limits": one.balances,
        }


def _pages(found: Books, prefix: str) -> Iterator[AccountInfo]:
    after: str | None = None
    while page := found.accounts(prefix, after, PAGE):
        yield from page
        after = page[-1].name


def _uncertain(found: Books) -> Iterator[Record]:
    for one in found.uncertain():
        yield {
            "id": one.id,
            "at": one.at,
            "users": one.users,
            "provider": one.provider,
            "model": one.model,
            "cost_usd": one.cost,
            "held_usd": one.held,
            "reason": one.reason,
        }


def _print(part: Part, records: Iterator[Record], form: str) -> None:
    if form == "jsonl":
        for record in records:
            click.echo(msgspec.json.encode({"what": part, **record}))
        return
    click.echo(csv_line(COLUMNS[part]), nl=False)
    for record in records:
        click.echo(csv_line([_cell(value) for value in record.values()]), nl=False)


def _cell(value: object) -> str:
    """A value as text that no spreadsheet computes; of limits, how they would be written."""
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    if isinstance(value, tuple):
        return harmless(" + ".join(one.text if isinstance(one, Balance) else str(one) for one in value))
    return "" if value is None else harmless(str(value))
