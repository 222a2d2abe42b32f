"""The report's rows: what each account was charged per day, provider and model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from budgeted.ledger.spending_records import RollupRow

RETENTION_DAYS = 400
"""How long rows are kept."""

LONGEST = 400
"""Characters of a provider's or model's name in a database: its index takes no more than a few kilobytes."""


def shortened(name: str) -> str:
    """A name that fits an index; a long one keeps its beginning. One that was shortened stays as it is."""
    if len(name) <= LONGEST:
        return name
    # The hash keeps names apart that begin alike.
    mark = "... " + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
    return name[: LONGEST - len(mark)] + mark


class Reports:
    """Rows by day and account."""

    __slots__ = ("days",)

    def __init__(self, rows: Iterable[RollupRow] = ()) -> None:
        self.days: dict[int, dict[str, list[RollupRow]]] = {}
        for row in rows:
            self.days.setdefault(row.day, {}).setdefault(row.account, []).append(row)

    def row(self, day: int, account: str, provider: str, model: str) -> RollupRow:
        """The one row of these, made if it is not there."""
        rows = self.days.setdefault(day, {}).setdefault(account, [])
        for row in rows:
            if row.model == model and row.provider == provider:
                return row
        row = RollupRow(day, account, provider, model)
        rows.append(row)
        return row

    def put(self, row: RollupRow) -> None:
        """Have this row, instead of the one of the same day, account, provider and model."""
        mine = self.row(row.day, row.account, row.provider, row.model)
        for name in RollupRow.__struct_fields__:
            setattr(mine, name, getattr(row, name))

    def since(self, day: int) -> Iterator[RollupRow]:
        """All rows from a day on, by day."""
        for number in sorted(self.days):
            if number >= day:
                for rows in self.days[number].values():
                    yield from rows

    def of(self, account: str, since: int) -> Iterator[RollupRow]:
        """One account's rows from a day on."""
        for number, accounts in self.days.items():
            if number >= since:
                yield from accounts.get(account, ())

    def prune(self) -> bool:
        """Drop rows older than the retention, counted from the newest. Returns whether there were any."""
        oldest = max(self.days, default=0) - RETENTION_DAYS
        stale = [day for day in self.days if day < oldest]
        for day in stale:
            del self.days[day]
        return bool(stale)
