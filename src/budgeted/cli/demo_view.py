"""How the race is shown while it runs: bars on a terminal, sentences elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from budgeted.money import NANO

Amounts = tuple[int, int]
"""What is spent and what is held, in nano-USD."""

_NAME: Final = 12


class View:
    """Shows one race after the other, and what of each limit is taken.

    Args:
        calls: how many calls a race has.
        limits: nano-USD, by who pays.
    """

    def __init__(self, calls: int, limits: Mapping[str, int]) -> None:
        self._calls = calls
        self._limits = limits
        console = Console(highlight=False)
        self._live = console.is_terminal and not console.is_dumb_terminal
        note = TextColumn("{task.fields[note]}")
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(28), note, console=console)
        self._race: TaskID | None = None
        self._accounts: dict[str, TaskID] = {}

    def shown(self) -> AbstractContextManager[object]:
        """While it is entered, the bars are on the screen."""
        return self._progress if self._live else nullcontext()

    def tell(self, text: str) -> None:
        """Say what was done."""
        if self._live:
            self._progress.console.print(text)
        else:
            click.echo(text)

    def begin(self, title: str) -> None:
        """Begin with a race."""
        self.tell(title)
        if self._live:
            for task in (self._race, *self._accounts.values()):
                if task is not None:
                    self._progress.remove_task(task)
            self._race = self._progress.add_task(f"{'calls':{_NAME}}", total=self._calls, note="")
            self._accounts = {
                payer: self._progress.add_task(f"{payer:{_NAME}}", total=limit, note="")
                for payer, limit in self._limits.items()
            }

    def update(self, made: int, refused: int, taken: Mapping[str, Amounts]) -> None:
        """Show how it goes.

        Args:
            made: calls that were made.
            refused: calls that were refused.
            taken: of the limits, by who pays.
        """
        if not self._live or self._race is None:
            return
        self._progress.update(self._race, completed=made + refused, note=f"{made} made, {refused} refused")
        for payer, task in self._accounts.items():
            spent, held = taken.get(payer, (0, 0))
            limit = self._limits[payer]
            note = f"${spent / NANO:.4f} spent, ${held / NANO:.4f} held, of ${limit / NANO:.4f}"
            if spent > limit:
                note += "  PASSED"
            self._progress.update(task, completed=min(spent + held, limit), note=note)
