"""Taking over LiteLLM's budgets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from budgeted.cli.ledger_options import books, on_books
from budgeted.cli.long_work import long_work
from budgeted.cli.table_cells import Amount
from budgeted.cli.table_output import Output, show
from budgeted.html_tables import amount
from budgeted.ledger.litellm_hosted.user_dict import Record
from budgeted.ledger.litellm_hosted.user_dict import read as read_records
from budgeted.money import to_usd

BATCH: Final = 500
"""Users that are taken over at a time."""


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace what users that are here already have spent.")
@on_books
def take_over(file: Path, ledger: str | None, project: str, timezone: str, *, overwrite: bool) -> None:
    """Take over LiteLLM's budgets from its FILE user_cost.json.

    Budgets, their periods, what was spent of them, and on which models. Limits of everybody are not used up by it.
    """
    begun = f"a part of {file} is taken over; write the same again, and the rest is"
    with long_work("nothing was taken over; start again", begun) as work:
        with work.step("reading"):
            records = _read(file)
            wanted = read_records(records)
        with work.step("opening"):
            found = books(ledger, project, timezone, create=True)
        with found:
            with work.step("looking at what is there"):
                _refuse_spent(found.user_dict, wanted, overwrite=overwrite)
            with work.step("taking over", len(records), changes=True) as tell:
                for some in _batches(records):
                    found.take_over(some, past=True)
                    tell(len(some))
            with work.step("reading again"):
                now = found.user_dict
    rows = [
        (user, Amount(now[user].get("total_budget")), now[user].get("duration"), Amount(now[user]["current_cost"]))
        for user in records
    ]
    show(now, ("user", "budget", "days", "spent"), rows, Output(), nothing=f"{file} has no users")


def _refuse_spent(before: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, Record], *, overwrite: bool) -> None:
    """Refuse users that have spent something else here, unless that is to be replaced.

    Raises:
        ClickException: there is one.
    """
    for user, record in wanted.items():
        there = before.get(user)
        if there is not None and there["current_cost"] not in (0, to_usd(record.spent)) and not overwrite:
            spent = amount(there["current_cost"])
            raise click.ClickException(f"{user!r} is here already and has spent {spent}; --overwrite replaces that")


def _batches(records: dict[str, object]) -> Iterator[dict[str, object]]:
    """A few at a time, so that it can be seen how far they are."""
    items = iter(records.items())
    while some := dict(itertools.islice(items, BATCH)):
        yield some


def _read(file: Path) -> dict[str, object]:
    """The file's content, or what is wrong with it."""
    text = file.read_bytes()
    if not text.strip():
        msg = f"{file} is empty: LiteLLM leaves it so when it is killed while saving. Restore it from a backup"
        raise click.ClickException(msg)
    try:
        found = json.loads(text, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        msg = f"{file} is no UTF-8 text (byte {error.start})"
        raise click.ClickException(msg) from None
    except ValueError as error:
        msg = f"{file} is broken: {error}. LiteLLM leaves it torn when two processes save at once; restore a backup"
        raise click.ClickException(msg) from None
    if not isinstance(found, dict):
        msg = f"{file} is no file of LiteLLM's budgets: those are a JSON object by user"
        raise click.ClickException(msg)
    return found


def _refuse(word: str) -> NoReturn:
    msg = f"it has {word} for a number"
    raise ValueError(msg)
