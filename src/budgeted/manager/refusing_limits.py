"""The limits that would have refused calls, in words."""

from __future__ import annotations

from collections.abc import Iterable

from budgeted.ledger.accounts import account_kind, refusing_limit
from budgeted.ledger.interface import Ledger
from budgeted.ledger.limit_conversion import limit_of
from budgeted.manager.account_names import called, told_apart


def names(ledger: Ledger, accounts: Iterable[str]) -> dict[str, str]:
    """What each limit is called: ``"alice: $1/day"``, with the amount that it has now.

    Args:
        ledger: which knows the limits.
        accounts: those that count what a limit would have refused.
    """
    found = {}
    for one in accounts:
        account, limit = refusing_limit(one)
        who = called(account) or account
        found[one] = f"{who}: {_text(ledger, account, limit)}", account_kind(account)
    return told_apart(found)


def _text(ledger: Ledger, account: str, limit: str) -> str:
    """A limit as it would be written; by its id, which leaves the amount out, where the account has it no more."""
    found = ledger.read(account)
    for slot in found.slots if found is not None else ():
        if slot.limit == limit:
            return str(limit_of(slot))
    return limit
