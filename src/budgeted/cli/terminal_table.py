"""How a table is laid out: amounts to the right, point below point, and never broken, however narrow it has to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from budgeted.cli.table_cells import Cell, for_people, is_number

GAP: Final = 2
"""Blanks between columns."""

LEAST: Final = 10
"""A column of text that is narrower than this cannot be read."""

MOST: Final = 0.4
"""The share of the width that text has to itself: what is longer is folded, before other columns have to go."""


class Column(NamedTuple):
    """A column of a table.

    Args:
        head: what it is called.
        key: what programs call it; "" for the head.
        worth: 0 for one that is always there; of others, those with the highest go first where there is no room.
        shown: ``"people"``: not in CSV; ``"terminal"``: nor where the table is no terminal's; ``"programs"``: in CSV
            alone; ``""``: everywhere.
        none: what people read where there is nothing.
        whole: whether what stands in it is never broken, as amounts never are.
    """

    head: str
    key: str = ""
    worth: int = 0
    shown: Literal["", "people", "terminal", "programs"] = ""
    none: str = "-"
    whole: bool = False


Row = Sequence[Cell]


class TerminalTable:
    """A table for people.

    Args:
        columns: its columns.
        rows: a cell for each of them.
        total: the row below them; None for none.
        exact: whether amounts are written in full.
        console: what it is for.
    """

    def __init__(
        self, columns: Sequence[Column], rows: Iterable[Row], total: Row | None, console: Console, *, exact: bool
    ) -> None:
        self._width = console.width
        self._has_total = total is not None
        shown = [at for at, one in enumerate(columns) if _is_shown(one, terminal=console.is_terminal)]
        self._columns = [columns[at] for at in shown]
        cells = [*rows, *([] if total is None else [total])]
        self._numbers = [all(is_number(row[at]) for row in cells) for at in shown]
        texts = [[for_people(row[at], columns[at].none, exact=exact) for row in cells] for at in shown]
        self._texts = [
            _aligned(one, column.head) if right else one
            for one, column, right in zip(texts, self._columns, self._numbers, strict=True)
        ]
        self._rows = [*zip(*self._texts, strict=True)]

    def rendered(self) -> RenderableType:
        """The table, with what it says of columns that have no room."""
        there = list(range(len(self._columns)))
        dropped = list[str]()
        while self._needed(there) > self._width and (droppable := [at for at in there if self._columns[at].worth]):
            first = max(droppable, key=lambda at: (self._columns[at].worth, at))
            there.remove(first)
            dropped.append(self._columns[first].head)
        if self._least(there) > self._width:
            return self._stacked()
        if not dropped:
            return self._table(there)
        note = Text(f"without {', '.join(dropped)}, as the terminal is narrow", style="dim italic")
        return Group(self._table(there), note)

    def _widest(self, at: int) -> int:
        return max(cell_len(self._columns[at].head), *(cell.cell_len for cell in self._texts[at]))

    def _needed(self, there: Sequence[int]) -> int:
        """The width with every cell on one line, but for text that is very long."""
        return sum(map(self._comfortable, there)) + GAP * (len(there) - 1)

    def _least(self, there: Sequence[int]) -> int:
        """The width with text folded, but no amount."""
        return sum(map(self._narrowest, there)) + GAP * (len(there) - 1)

    def _narrowest(self, at: int) -> int:
        widest = self._widest(at)
        return widest if self._numbers[at] or self._columns[at].whole else min(LEAST, widest)

    def _comfortable(self, at: int) -> int:
        return max(self._narrowest(at), min(self._widest(at), int(MOST * self._width)))

    def _table(self, there: Sequence[int]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, GAP // 2), header_style="dim", expand=False)
        for at in there:
            right = self._numbers[at]
            head = self._columns[at].head
            table.add_column(
                head.rjust(self._widest(at)) if right else head,
                overflow="fold",
                no_wrap=right or self._columns[at].whole,
                min_width=self._narrowest(at),
            )
        for number, row in enumerate(self._rows):
            last = self._has_total and number == len(self._rows) - 1
            table.add_row(*(row[at] for at in there), style="bold" if last else "")
        return table

    def _stacked(self) -> Group:
        """One cell below the other, for what has no room beside each other; what is empty is left out."""
        lines: list[RenderableType] = []
        for number, row in enumerate(self._rows):
            lines += [Text()] if number else []
            for at, cell in enumerate(row):
                told = cell.copy()
                told.rstrip()
                told = told[len(told.plain) - len(told.plain.lstrip()) :]
                if told.plain:
                    lines += self._headed(at, told)
        return Group(*lines)

    def _headed(self, at: int, cell: Text) -> list[RenderableType]:
        """A cell with its column's head before it, or above it."""
        indent = "  " if at else ""
        head = Text(f"{indent}{self._columns[at].head}: ", style="dim")
        parts = [Text.assemble(head, cell)] if head.cell_len + cell.cell_len <= self._width else [head, cell]
        parts[-1].no_wrap = self._numbers[at] or self._columns[at].whole
        parts[-1].overflow = "ignore" if parts[-1].no_wrap else "fold"
        return [*parts]


def _is_shown(column: Column, *, terminal: bool) -> bool:
    return column.shown != "programs" and (terminal or column.shown != "terminal")


def _aligned(column: list[Text], head: str) -> list[Text]:
    """Numbers to the right below their head, and the points of amounts below each other, where there are any.

    Blanks stand for digits that are not there. What lays the table out would take them away from the end of a cell that
    it aligns to the right itself.
    """
    behind = [_behind_point(cell.plain) for cell in column]
    most = max(behind, default=0)
    ends = [most - digits if "$" in cell.plain else 0 for cell, digits in zip(column, behind, strict=True)]
    width = max([cell_len(head), *(cell.cell_len + end for cell, end in zip(column, ends, strict=True))])
    return [
        Text(" " * (width - cell.cell_len - end)).append_text(cell).append(" " * end)
        for cell, end in zip(column, ends, strict=True)
    ]


def _behind_point(text: str) -> int:
    """Characters from the point on of an amount of USD; 0 for anything else."""
    return len(text) - text.index(".") if "$" in text and "." in text else 0
