"""What is left of everything, at a glance: the global account's limits, who spends today, and what needs a look."""

from __future__ import annotations

import datetime as dt
from typing import Final

from budgeted.ledger.accounts import GLOBAL, account_name
from budgeted.ledger.limit_conversion import EPOCH
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import AccountInfo
from budgeted.page.asking import Asked, Shown

MOST_USERS: Final = 8
"""Users that are shown: those who have spent most today."""


def show(asked: Asked) -> Shown:
    """The overview."""
    books = asked.books
    today = books.report("account", since=_today(books))
    data = {
        "everything": books.info(None),
        "balances": books.balances(None),
        "users": _spenders(books),
        "spent_today": today.total.spent,
        "calls_today": today.total.calls,
        "uncertain": len(books.uncertain()),
    }
    return Shown("overview.html", "Overview", data)


def _today(books: Books) -> dt.date:
    return dt.datetime.fromtimestamp(books.payer.clock(), books.payer.timezone).date()


def _spenders(books: Books) -> list[AccountInfo]:
    """The users who have spent most today, with what they have left."""
    spent: dict[str, int] = {}
    for row in books.ledger.rollups(_today(books).toordinal() - EPOCH):
        if row.account.startswith("u:") and row.account != GLOBAL:
            spent[row.account] = spent.get(row.account, 0) + row.usd
    first = sorted(spent, key=lambda account: (-spent[account], account))[:MOST_USERS]
    found = [books.info(account_name(account)) for account in first]
    return [one for one in found if one is not None]
