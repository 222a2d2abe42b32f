"""All that a project's books have, for other programs: as lines of JSON, or as a table in CSV."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, TypeAlias

import click
import msgspec

from budgeted.cli.ledger_options import books, on_books
from budgeted.cli.long_work import long_work
from budgeted.cli.table_output import csv_line
from budgeted.ledger.accounts import account_kind
from budgeted.ledger.interface import PAGE
from budgeted.ledger.journal.segment_files import write_new
from budgeted.ledger.limit_conversion import EPOCH
from budgeted.ledger.told_steps import Tell
from budgeted.manager import account_names
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import AccountInfo, Balance
from budgeted.manager.report_days import days_between
from budgeted.manager.spending_report import harmless
from budgeted.money import to_usd
from budgeted.system import current as system
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
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file for it, for its owner alone to read, which is there when it is whole.",
)
@on_books
def export(
    what: Part | Literal["all"],
    form: Literal["jsonl", "csv"],
    since: str | None,
    until: str | None,
    output: Path | None,
    *,
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
    untouched = "nothing was printed" if output is None else f"{output} is as it was; start again"
    begun = "what was printed is not whole, and may end within a line; start again, or write --output FILE"
    seen = output is None and sys.stdout.isatty()  # how far it is
    with long_work(untouched, untouched if output is not None else begun, quiet=seen) as work:
        with work.step("opening"):
            found = books(ledger, project, timezone)
        with found:
            days_between(since, until, found.payer.timezone)  # looked at before anything is printed
            with work.step("exporting", changes=True) as tell:
                _write(_lines(found, what, form, since, until, tell), output)


def _lines(
    found: Books, what: Part | Literal["all"], form: str, since: str | None, until: str | None, tell: Tell
) -> Iterator[bytes]:
    """What is asked for, line by line."""
    parts: dict[Part, Iterator[Record]] = {
        "report": _report(found, since, until),
        "accounts": _accounts(found),
        "uncertain": _uncertain(found),
    }
    for part, records in parts.items():
        if what not in (part, "all"):
            continue
        if form == "csv":
            yield csv_line(COLUMNS[part]).encode()
        for record in records:
            if form == "csv":
                yield csv_line([_cell(value) for value in record.values()]).encode()
            else:
                yield msgspec.json.encode({"what": part, **record}) + b"\n"
            tell(1)


def _write(lines: Iterator[bytes], output: Path | None) -> None:
    """Print lines, or make a file of them, in place of one that is there, when all are written.

    Raises:
        ClickException: the file cannot be written.
    """
    if output is None:
        for line in lines:
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return
    whole = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        write_new(whole, lines)
        try:
            system.replace(whole, output)
        except BaseException:
            whole.unlink()
            raise
    except OSError as error:
        msg = f"{output} cannot be written: {error.strerror}"
        raise click.ClickException(msg) from error


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


def _cell(value: object) -> str:
    """A value as text that no spreadsheet computes; of limits, how they would be written."""
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    if isinstance(value, tuple):
        return harmless(" + ".join(one.text if isinstance(one, Balance) else str(one) for one in value))
    return "" if value is None else harmless(str(value))
