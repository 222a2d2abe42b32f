"""The sums of a report, and what makes them add up to what the global account was charged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.spending_records import RollupRow

Figures: TypeAlias = list[int]
"""Nano-USD, calls, input tokens, output tokens, and nano-USD that nobody confirmed."""


class Heading(NamedTuple):
    """Which rows of the ledger a report sums up, and by what.

    Args:
        name: of a row that is part of it: what it is summed under; None for others.
        account: the one whose rows alone are looked at, where it is one.
        rest: what the row is called that has what no other has; "" where no such row is made.
        overlap: what the names begin with under which the ledger counts what is in several rows; "" where nothing is.
        hidden: whether a row is of an account of the same kind that nobody is told of.
        side_by_side: whether a call is in the rows of all that it was charged to, the global account's among them.
    """

    name: Callable[[RollupRow], str | None]
    account: str | None = GLOBAL
    rest: str = ""
    overlap: str = ""
    hidden: Callable[[RollupRow], bool] = lambda _: False
    side_by_side: bool = False


Cell: TypeAlias = tuple[int, str, str]
"""A day, a provider and a model: of these, the ledger has one row for each account."""


class Sums:
    """The sums of a report: its rows', and what makes them add up to the global account's.

    A call that two users pay for is in the rows of both. The ledger counts that once more, under a name of its own: so
    what users were charged in all, less that, is what some user has paid, and the rest nobody has.

    Args:
        heading: what is summed up.
        rows: of the ledger.

    Attributes:
        named: by the names that the heading gives.
        total: what the heading's account was charged; the global one, where it has none.
        rest: what of it is under no name, where a report has a row for that.
        shared: what of it is under more than one.
    """

    def __init__(self, heading: Heading, rows: Iterable[RollupRow]) -> None:
        self.named: dict[str, Figures] = {}
        self.total = _nothing()
        self.rest = _nothing()
        self.shared = _nothing()
        self._cells: dict[Cell, _Cell] = {}
        for row in rows:
            self._take(heading, row)
        if heading.rest:
            for cell in self._cells.values():
                _add(self.rest, cell.rest())
                _add(self.shared, cell.shared())
        elif heading.side_by_side:
            for figures in self.named.values():
                _add(self.shared, figures)
            _add(self.shared, [-figure for figure in self.total])

    def _take(self, heading: Heading, row: RollupRow) -> None:
        name = heading.name(row)
        whole = row.account == (heading.account or GLOBAL)
        over = bool(heading.overlap) and row.account.startswith(heading.overlap)
        if name is None and not (whole or over or heading.hidden(row)):
            return  # of others, such as a million users
        figures = [row.usd, row.calls, row.input_tokens, row.output_tokens, row.uncertain]
        if name is not None:
            _add(self.named.setdefault(name, _nothing()), figures)
        if whole:
            _add(self.total, figures)
        if heading.rest:
            cell = self._cells.setdefault((row.day, row.provider, row.model), _Cell())
            if whole:
                _add(cell.whole, figures)
            if name is not None:
                cell.take(figures)
            elif not whole:
                _add(cell.overlap if over else cell.hidden, figures)


class _Cell:
    """What was charged on one day for one model: in all, under names, and to whom nobody is told of."""

    def __init__(self) -> None:
        self.whole, self.named, self.overlap, self.hidden = _nothing(), _nothing(), _nothing(), _nothing()
        self._largest = _nothing()

    def take(self, figures: Figures) -> None:
        """Add what was charged under a name."""
        _add(self.named, figures)
        self._largest[:] = map(max, self._largest, figures)

    def shared(self) -> Figures:
        """What of it is under more than one name."""
        # The ledger's figure is of hidden accounts as well, and is missing where an older version has charged.
        counted = map(max, _nothing(), map(int.__sub__, self.overlap, self.hidden))
        at_most = map(int.__sub__, self.named, self._largest)
        at_least = map(int.__sub__, self.named, self.whole)
        return list(map(max, map(min, counted, at_most), at_least))

    def rest(self) -> Figures:
        """What of it is under none; never less than nothing."""
        return list(map(int.__add__, map(int.__sub__, self.whole, self.named), self.shared()))


def _nothing() -> Figures:
    return [0, 0, 0, 0, 0]


def _add(sums: Figures, figures: Iterable[int]) -> None:
    sums[:] = map(int.__add__, sums, figures)
