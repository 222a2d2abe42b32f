"""What a route was charged in all, until that is added to its accounts and to the report's rows.

Many calls take the same route, and few look at these: adding it up once for many calls costs each of them less.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.spending_records import RollupRow

T = TypeVar("T")


class RouteSums(msgspec.Struct, eq=False, gc=False):
    """What a route was charged since that was last added to its accounts and the report's rows.

    ``names`` are those that rows of the report have; see :func:`~budgeted.ledger.accounts.overlaps`.
    ``listed`` says whether the state has it in its list of those to be added: once, however many calls were charged.
    """

    day: int
    provider: str
    model: str
    names: tuple[str, ...]
    accounts: tuple[Account, ...]
    calls: int = 0
    usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncertain: int = 0
    listed: bool = False

    def add_to(self, accounts: tuple[Account, ...], rows: tuple[RollupRow, ...]) -> None:
        """Add it to accounts and to the report's rows, and begin anew."""
        usd, calls, model = self.usd, self.calls, self.model
        tokens = self.input_tokens + self.output_tokens
        account: Account | None = None
        row: RollupRow | None = None
        try:
            for account in accounts:
                total = account.usd + usd
                account.usd = total if total > 0 else 0
                total = account.tokens + tokens
                account.tokens = total if total > 0 else 0
                account.calls += calls
                slots = account.slots
                since = slots[0].start if slots else 0
                if account.models is None or account.models_since != since:
                    account.models = {}
                    account.models_since = since
                models = account.models
                total = models[model] + usd if model in models else usd
                models[model] = total if total > 0 else 0
            for row in rows:
                row.calls += calls
                row.usd += usd
                row.input_tokens += self.input_tokens
                row.output_tokens += self.output_tokens
                row.uncertain += self.uncertain
            self.calls = self.usd = self.input_tokens = self.output_tokens = self.uncertain = 0
        except BaseException:  # a signal's handler raised: see State._book
            self.add_to(items_behind(accounts, account), items_behind(rows, row))
            raise


def items_behind(items: tuple[T, ...], last: T | None) -> tuple[T, ...]:
    """What comes behind an item; everything if that is None."""
    for i, item in enumerate(items):
        if item is last:
            return items[i + 1 :]
    return items
