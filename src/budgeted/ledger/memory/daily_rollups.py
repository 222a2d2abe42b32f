"""The report's rows: what each account was charged per day, provider and model."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from budgeted.ledger.memory.compact_store import CompactStore
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


MOST_IN_USE = 1_000
"""Accounts of a day whose rows are kept as objects: those that were charged last."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[RollupRow]).decode


class Reports:
    """Rows by day and account. The caller holds the ledger's lock."""

    __slots__ = ("_in_use", "days")

    def __init__(self, rows: Iterable[RollupRow] = ()) -> None:
        self.days: dict[int, CompactStore[list[RollupRow]]] = {}
        self._in_use: collections.deque[tuple[int, str]] = collections.deque()
        for row in rows:
            self.put(row)

    def row(self, day: int, account: str, provider: str, model: str) -> RollupRow:
        """The one row of these, made if it is not there; it stays in use until :meth:`rest`."""
        store = self.days.get(day)
        if store is None:
            store = self._day(day)
        rows = store.live.get(account)
        if rows is None:
            rows = store.use(account)
            if rows is None:
                rows = store[account] = []
            self._in_use.append((day, account))
        for row in rows:
            if row.model == model and row.provider == provider:
                return row
        row = RollupRow(day, account, provider, model)
        rows.append(row)
        return row

    def _day(self, day: int) -> CompactStore[list[RollupRow]]:
        return self.days.setdefault(day, CompactStore(_encode_rows, _decode_rows))

    def rest(self) -> None:
        """Pack the rows that were not charged lately."""
        while len(self._in_use) > MOST_IN_USE:
            day, account = self._in_use[0]
            store = self.days.get(day)
            if store is not None:
                store.rest(account)
            self._in_use.popleft()

    def put(self, row: RollupRow) -> None:
        """Have this row, instead of the one of the same day, account, provider and model."""
        mine = self.row(row.day, row.account, row.provider, row.model)
        for name in RollupRow.__struct_fields__:
            setattr(mine, name, getattr(row, name))
        self.rest()

    def load(self, day: int, account: str, data: bytes) -> None:
        """Have rows of one account as :meth:`blobs` gives them."""
        store = self._day(day)
        store.load(account, data if account not in store else b"%b,%b" % (store.packed(account), data))

    def since(self, day: int) -> Iterator[RollupRow]:
        """All rows from a day on, by day."""
        for number in sorted(self.days):
            if number >= day:
                store = self.days[number]
                for account in store.names():
                    yield from store[account]

    def of(self, account: str, since: int) -> Iterator[RollupRow]:
        """One account's rows from a day on."""
        for number, store in self.days.items():
            if number >= since:
                yield from store.find(account) or ()

    def accounts(self, day: int) -> list[str]:
        """The accounts that have rows of a day."""
        store = self.days.get(day)
        return [] if store is None else store.names()

    def on(self, day: int, accounts: Iterable[str]) -> list[RollupRow]:
        """Copies of some accounts' rows of a day, in no order."""
        store = self.days.get(day)
        if store is None:
            return []
        resting, in_use = store.read(accounts)
        rows = _decode(b"[%b]" % b",".join(resting))  # all at once, which takes a fraction of the time
        rows += [msgspec.structs.replace(row) for some in in_use for row in some]
        return rows

    def prune(self) -> bool:
        """Drop rows older than the retention, counted from the newest. Returns whether there were any."""
        oldest = max(self.days, default=0) - RETENTION_DAYS
        stale = [day for day in self.days if day < oldest]
        for day in stale:
            del self.days[day]
        return bool(stale)

    def stores(self) -> list[CompactStore[list[RollupRow]]]:
        """What the rows of each day are kept in, by day."""
        return [self.days[day] for day in sorted(self.days)]

    def is_frozen(self) -> bool:
        """Whether any of them is."""
        return any(store.is_frozen for store in self.days.values())

    def freeze(self) -> None:
        """Freeze them all: see :class:`CompactStore`."""
        self._in_use.clear()
        for store in self.days.values():
            store.freeze()


def _encode_rows(rows: list[RollupRow]) -> bytes:
    return _encode(rows)[1:-1]


def _decode_rows(_: str, data: bytes) -> list[RollupRow]:
    return _decode(b"[%b]" % data)
