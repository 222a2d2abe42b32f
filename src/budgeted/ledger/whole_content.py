"""Everything that a ledger knows, as it was at one instant: what is copied, moved and verified."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from budgeted.ledger.accounts import Account, account_name
from budgeted.ledger.cost_routing import Leg
from budgeted.ledger.spending_records import Charge, RollupRow, Used


class OpenHold(msgspec.Struct, frozen=True, gc=False):
    """A call in flight: what it holds, and where it is charged.

    Args:
        id: of the hold.
        at: when it began, in unix seconds.
        usd: nano-USD that are held.
        tokens: that are held.
        guess: what it is charged if nobody says what it cost; None for nothing.
        day: under which it is reported, in days since 1970-01-01.
        provider: as genai-prices names it.
        model: that was asked for.
        legs: the accounts that pay, with their limits.
        parts: what it holds of each unit.
    """

    id: str
    at: int
    usd: int
    tokens: int
    guess: Used | None
    day: int
    provider: str
    model: str
    legs: tuple[Leg, ...]
    parts: tuple[int, ...] = ()


class Content(msgspec.Struct):
    """All of a ledger, each in an order of its own.

    Args:
        accounts: with their limits.
        rows: of the report.
        charges: that are uncertain.
        holds: of calls in flight.
    """

    accounts: list[Account]
    rows: list[RollupRow]
    charges: list[Charge]
    holds: list[OpenHold]

    @property
    def size(self) -> int:
        """How many of them are copied: all but what is in flight."""
        return len(self.accounts) + len(self.rows) + len(self.charges)

    def sort(self) -> None:
        """Put everything in its order, which is the same for every ledger."""
        self.accounts.sort(key=lambda account: account.id)
        self.rows.sort(key=lambda row: (row.day, row.account, row.provider, row.model))
        self.charges.sort(key=lambda charge: charge.id)
        self.holds.sort(key=lambda hold: hold.id)

    def comparable(self) -> Iterator[tuple[str, object]]:
        """What must be equal in two ledgers without calls in flight, each with what it is called."""
        for one in self.accounts:
            figures = (
                one.explicit,
                one.slots,
                one.usd,
                one.tokens,
                one.calls,
                one.held,
                one.models or {},
                one.belongs_to,
                one.stopped,
            )
            yield f"the account {account_name(one.id)!r}", (one.id, figures)
        for row in self.rows:
            yield f"the report's row of {account_name(row.account)!r} and {row.model!r}", row
        for charge in self.charges:
            yield f"the uncertain charge {charge.id!r}", charge
