"""To what a program's settings have declared that an account belongs, kept in its ledger beside it.

It is kept as the limit of an account of the ledger's own that nobody pays with: its text names the team.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from budgeted.ledger.accounts import CALLS, LimitSpec, declarations_of
from budgeted.ledger.interface import Ledger
from budgeted.limits.periods import NEVER


def read(ledger: Ledger, account: str) -> str | None:
    """The account that was declared last to be what an account belongs to; None if none was."""
    found = ledger.read(_id(account))
    return unquote(found.slots[0].limit) if found is not None and found.slots else None


def write(ledger: Ledger, account: str, team: str) -> None:
    """Keep what is declared now, by the ledger's names."""
    ledger.set_limits(_id(account), [LimitSpec(quote(team, safe=""), CALLS, 0, 0, NEVER)], explicit=True)


def forget(ledger: Ledger, account: str) -> None:
    """Forget what was declared of an account that is forgotten itself: the same declaration is a new one then."""
    if ledger.read(_id(account)) is not None:
        ledger.delete(_id(account))


def _id(account: str) -> str:
    return f"{declarations_of(f'belonging of {account}')}0"
