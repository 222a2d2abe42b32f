"""What commands that take long show while they work, and what they say when they are interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from budgeted.ledger.told_steps import Tell

INTERRUPTED: Final = 130
"""The exit code of what Ctrl-C has ended, as shells have it."""

TOLD_AFTER: Final = 1000
"""Drawing takes longer than most of what is counted: so many are told at a time."""


class Interrupted(click.ClickException):
    """Ctrl-C came; the text says what state things are in, and what to do."""

    exit_code = INTERRUPTED

    def show(self, file: object = None) -> None:  # noqa: ARG002 - it is told where errors are
        """Say it."""
        click.echo(f"Interrupted: {self.message}", err=True)


class LongWork:
    """The steps of a command's work; a bar on standard error shows how far it is, if that is a terminal.

    Args:
        progress: draws the bar; None for none.

    Attributes:
        changing: whether a step that changes something has begun.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.changing = False

    @contextlib.contextmanager
    def step(self, what: str, total: int | None = None, *, changes: bool = False) -> Iterator[Tell]:
        """A step of the work: see :class:`~budgeted.ledger.told_steps.Step`."""
        self.changing = self.changing or changes
        progress = self._progress
        if progress is None:
            yield lambda _: None
            return
        task = progress.add_task(what, total=total or None)
        done = shown = 0

        def tell(more: int) -> None:
            nonlocal done, shown
            done += more
            if done - shown >= TOLD_AFTER:
                shown = done
                progress.update(task, completed=done)

        try:
            yield tell
        finally:
            progress.remove_task(task)


@contextlib.contextmanager
def long_work(untouched: str, begun: str | Callable[[], str] = "", *, quiet: bool = False) -> Iterator[LongWork]:
    """Around work that takes long: shows its steps, and ends the command in order where Ctrl-C comes.

    Args:
        untouched: what is said of an interruption before anything was changed.
        begun: what is said of a later one, or what tells it; the same if it is not given.
        quiet: True to draw nothing.

    Raises:
        Interrupted: Ctrl-C came.

    Example:
        >>> with long_work("nothing was changed") as work, work.step("reading", 1_000_000) as tell:
        ...     tell(500)
    """
    with contextlib.nullcontext() if quiet else _bar() as progress:
        work = LongWork(progress)
        try:
            yield work
        except KeyboardInterrupt:
            said = begun() if callable(begun) else begun
            raise Interrupted(said if work.changing and said else untouched) from None


@contextlib.contextmanager
def _bar() -> Iterator[Progress | None]:
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(30), _Pace())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


class _Pace(ProgressColumn):
    """How far a step is, how fast it goes and what time is left; until that can be told, how long it has taken."""

    def render(self, task: Task) -> Text:
        """The text behind a step's bar."""
        if not task.completed:
            return Text(_clock(task.elapsed or 0), no_wrap=True)
        text = f"{task.completed:,.0f}" if task.total is None else f"{task.percentage:.0f}%"
        if task.speed:
            text += f"  {task.speed:,.0f}/s"
        if task.time_remaining is not None:
            text += f"  {_clock(task.time_remaining)} left"
        return Text(text, no_wrap=True)


def _clock(seconds: float) -> str:
    """Seconds as a clock has them, with hours only where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
