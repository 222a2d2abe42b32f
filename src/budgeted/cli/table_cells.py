"""What stands in a table's cells: for people, rounded and with colours; for programs, exact and bare."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from rich.text import Text

from budgeted.html_tables import amount
from budgeted.manager.spending_report import harmless
from budgeted.money import NANO
from budgeted.units import short_amount


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of something that limits are counted in.

    Attributes:
        value: USD, or the unit itself; None for none.
        unit: one of :data:`budgeted.units.Unit`.
        exact: whether people get it in full: it is to be copied, or a price.
    """

    value: float | None
    unit: str = "usd"
    exact: bool = False

    def text(self, *, exact: bool = False) -> str:
        """For people: rounded to what a glance reads, unless they want all of it."""
        if self.value is None or exact or self.exact:
            return amount(self.value, self.unit)
        return short_amount(round(self.value * NANO) if self.unit == "usd" else round(self.value), self.unit)


Cell: TypeAlias = Amount | Text | dt.datetime | str | int | None
"""What is coloured is :class:`rich.text.Text`: see :func:`marked`."""


def marked(text: str, style: str) -> Text:
    """Text with a colour or the like, without what a terminal would act on."""
    return Text(spelt_out(text), style if text else "")


def for_people(cell: Cell, none: str = "-", *, exact: bool = False) -> Text:
    """A cell of a table.

    Args:
        cell: what stands in it.
        none: what stands for None.
        exact: whether amounts are written in full.
    """
    if isinstance(cell, Text):
        return cell
    if cell is None:
        return Text(none)
    return Text(spelt_out(_written(cell, exact=exact)))


def for_programs(cell: Cell) -> str:
    """A cell of CSV: amounts are bare numbers, and what a spreadsheet would compute has an apostrophe before it."""
    if cell is None:
        return ""
    if isinstance(cell, Amount):
        return "" if cell.value is None else f"{Decimal(repr(cell.value)):f}"
    if isinstance(cell, dt.datetime):
        return cell.isoformat()
    if isinstance(cell, int):
        return str(cell)
    return harmless(cell.plain if isinstance(cell, Text) else cell)


def is_number(cell: Cell) -> bool:
    """Whether a cell may stand among numbers, to the right of its column."""
    return cell is None or cell == "" or isinstance(cell, Amount | int)


def spelt_out(text: str) -> str:
    """Text without what a terminal would act on: that is written as Python would."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _written(cell: Amount | dt.datetime | str | int, *, exact: bool) -> str:
    if isinstance(cell, Amount):
        return cell.text(exact=exact)
    if isinstance(cell, dt.datetime):
        return cell.isoformat(" ", "minutes")
    return f"{cell:,}" if isinstance(cell, int) else cell
