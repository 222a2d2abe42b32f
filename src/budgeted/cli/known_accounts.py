"""Which accounts a project knows, for commands that look at one: a misspelt name has a balance of nothing, too."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

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
    near = _nearest(name, filter(None, (account_names.called(one.id) for one in all_accounts(ledger))))
    hint = f"did you mean {near!r}?" if near is not None else "`budgeted accounts` lists those who are"
    msg = f"nobody called {name!r} is known in project {books.project_name!r}; {hint}"
    raise click.ClickException(msg)


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """The name most like one, in upper or lower case, with or without what tells its kind."""
    spelt: dict[str, str] = {}
    for one in itertools.islice(names, MOST_COMPARED):
        spelt.setdefault(one.lower(), one)
        spelt.setdefault(one.lower().removeprefix(account_names.KEY), one)
    found = difflib.get_close_matches(name.lower(), spelt, 1)
    return spelt[found[0]] if found else None


def nothing_recorded(books: Books) -> bool:
    """Whether nobody has spent anything yet, nor has been given a limit."""
    known = [one for one in itertools.islice(all_accounts(books.ledger), 2) if one.id != GLOBAL]
    whole = books.ledger.read(GLOBAL)
    return not known and (whole is None or not (whole.slots or whole.calls or whole.usd or whole.held))
