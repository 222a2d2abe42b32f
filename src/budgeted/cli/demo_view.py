"""How the race is shown while it runs: bars on a terminal, sentences elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from budgeted.cli.bars import BLOCKS, HELD, LEFT, NEARLY, REFUSED, SPENT, of_parts
from budgeted.cli.terminal import console_for, marks
from budgeted.money import short_usd

_WIDTH: Final = 28
_MOST_PASSED: Final = 12
"""Characters that a bar at most goes on behind its limit."""


class Taken(NamedTuple):
    """What of a limit is taken, in nano-USD: what is spent, what of it nobody has confirmed, and what is held."""

    spent: int
    uncertain: int = 0
    held: int = 0


class View:
    """Shows one race after the other, and what of each limit is taken.

    Args:
        calls: how many calls a race has.
        limits: nano-USD, by who pays.
    """

    def __init__(self, calls: int, limits: Mapping[str, int]) -> None:
        self._calls, self._limits = calls, limits
        self._made = self._refused = 0
        self._taken: dict[str, Taken] = {}
        self._console = console_for()
        self._marks = marks()
        self._estimated = "\N{DARK SHADE}" if self._marks == BLOCKS else "%"
        self._racing = False
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(get_renderable=self._drawn, console=self._console, refresh_per_second=10)

    def shown(self) -> AbstractContextManager[object]:
        """While it is entered, the bars are on the screen; those of the last race stay there."""
        return nullcontext() if self._live is None else self._live

    def tell(self, text: str, style: str = "") -> None:
        """Say what was done."""
        if self._live is None:
            click.echo(text)
        else:
            self._console.print(Text(text, style))

    def killed(self, text: str) -> None:
        """Say that a process was killed."""
        self.tell(text, REFUSED)

    def begin(self, title: str) -> None:
        """Begin with a race; what became of the one before stays."""
        if self._live is not None and self._racing:
            self._console.print(self._bars())
        self._made = self._refused = 0
        self._taken, self._racing = {}, True
        self.tell(title, "bold")

    def update(self, made: int, refused: int, taken: Mapping[str, Taken]) -> None:
        """Show how it goes.

        Args:
            made: calls that were made.
            refused: calls that were refused.
            taken: of the limits, by who pays.
        """
        self._made, self._refused, self._taken = made, refused, dict(taken)

    def _drawn(self) -> Group:
        return Group(self._bars(), self._legend()) if self._racing else Group()

    def _bars(self) -> Table:
        table = Table.grid(padding=(0, 2))
        parts = [
            (self._made, self._marks.spent, SPENT),
            (self._refused, self._marks.held, REFUSED),
            (self._calls - self._made - self._refused, self._marks.left, LEFT),
        ]
        table.add_row("calls", of_parts(parts, _WIDTH), f"{self._made} made, {self._refused} refused")
        for payer, limit in self._limits.items():
            taken = self._taken.get(payer, Taken(0))
            table.add_row(payer, self._bar(taken, limit), self._note(taken, limit))
        return table

    def _bar(self, taken: Taken, limit: int) -> Text:
        """What is taken of a limit; what passes it goes on behind its end."""
        within = min(taken.spent, limit)
        settled = max(0, within - taken.uncertain)
        parts = [
            (settled, self._marks.spent, SPENT),
            (within - settled, self._estimated, NEARLY),
            (taken.held, self._marks.held, HELD),
            (max(0, limit - within - taken.held), self._marks.left, LEFT),
        ]
        passed = -(-_WIDTH * (taken.spent - within) // limit)
        return of_parts(parts, _WIDTH).append(self._marks.spent * min(passed, _MOST_PASSED), REFUSED)

    def _note(self, taken: Taken, limit: int) -> Text:
        note = Text(f"{short_usd(taken.spent)} spent, {short_usd(taken.held)} held, of {short_usd(limit)}")
        if taken.spent > limit:
            note.append(f"  passed by {short_usd(taken.spent - limit)}", REFUSED)
        return note

    def _legend(self) -> Text:
        """What the colours mean."""
        spent, held, left = self._marks
        kinds = (
            (spent, SPENT, "settled"),
            (self._estimated, NEARLY, "charged as an estimate"),
            (held, HELD, "held"),
            (held, REFUSED, "refused"),
            (left, LEFT, "left"),
        )
        text = Text()
        for mark, style, name in kinds:
            text.append(mark, style).append(f" {name}  ", "dim")
        return text
