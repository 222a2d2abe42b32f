"""Which accounts a project knows, for commands that look at one: a misspelt name has a balance of nothing, too."""

from __future__ import annotations

import difflib
import itertools

import click

from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.interface import all_accounts
from budgeted.manager import account_names
from budgeted.manager.administrative_manager import Books

MOST_COMPARED = 10_000
"""Names that a misspelt one is compared with."""


def must_be_known(books: Books, name: str) -> None:
    """Refuse a name that nobody has been called by.

    Args:
        books: the project's.
        name: a user's, ``"key:KEY"`` or ``"tag:NAME=VALUE"``.

    Raises:
        ClickException: nobody is called so; the text has the nearest name.
    """
    ledger = books.ledger
    if ledger.read(account_names.find(name, ledger.read)) is not None:
        return
    accounts = (account_names.called(one.id) for one in all_accounts(ledger) if one.id != GLOBAL)
    names = list(itertools.islice((one for one in accounts if one is not None), MOST_COMPARED))
    near = difflib.get_close_matches(name, names, 1) or [one for one in names if one.lower() == name.lower()]
    hint = f"did you mean {near[0]!r}?" if near else "`budgeted accounts` lists those who are"
    msg = f"nobody called {name!r} is known in project {books.project_name!r}; {hint}"
    raise click.ClickException(msg)


def nothing_recorded(books: Books) -> bool:
    """Whether nobody has spent anything yet, nor has been given a limit."""
    known = [one for one in itertools.islice(all_accounts(books.ledger), 2) if one.id != GLOBAL]
    whole = books.ledger.read(GLOBAL)
    return not known and (whole is None or not (whole.slots or whole.calls or whole.usd or whole.held))
