"""``budgeted top``: how a project stands, as it changes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Final

import click
from rich.console import Console, ConsoleDimensions
from rich.live import Live

from budgeted.cli.ledger_options import books, must_exist, on_books
from budgeted.cli.long_work import INTERRUPTED
from budgeted.cli.show_status import status
from budgeted.cli.terminal import console_for
from budgeted.cli.top_news import News
from budgeted.cli.top_screen import TopScreen
from budgeted.cli.top_state import TopState
from budgeted.system import current as system

LOOK_SECONDS: Final = 0.2
"""How long a key is waited for before it is looked whether there are news, or the screen has another size."""

_ENDING: Final[list[int]] = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_SUSPENDING: Final[int | None] = getattr(signal, "SIGTSTP", None)


@click.command()
@on_books
def top(ledger: str | None, project: str, timezone: str) -> None:
    """Show what is left of all limits, and who uses them, as it changes. Press ? for the keys, q to quit.

    A bar is what is spent, then what is held for calls in flight, then what is left; of each user, of the limit of
    which most is used. Below are calls that wait, that are in flight and that were refused last. A ledger that does not
    answer is asked again and again. What is no terminal gets what `budgeted status` prints.
    """
    console = console_for()
    if not (console.is_terminal and sys.stdin.isatty()) or console.is_dumb_terminal:
        click.get_current_context().invoke(status, ledger=ledger, project=project, timezone=timezone)
        return
    must_exist(ledger, project)
    with News(lambda: books(ledger, project, timezone)) as news, _ended_by_signals(), _nothing_logged():
        try:
            _Top(console, news).run()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


class _Top:
    """The screen and the keys, until somebody has seen enough."""

    def __init__(self, console: Console, news: News) -> None:
        self._console, self._news, self._state = console, news, TopState()
        self._suspended = False

    def run(self) -> None:
        while not self._state.over:
            with self._noticing_suspension(), system.keys_at_once(sys.stdin.fileno()), self._live() as live:
                self._show(live)
            if self._suspended:
                # As the shell expects it, and with the terminal as it was.
                self._suspended = False
                signal.raise_signal(_SUSPENDING or signal.SIGTERM)

    def _live(self) -> Live:
        return Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def _show(self, live: Live) -> None:
        drawn: tuple[object, ...] = ()
        while not (self._state.over or self._suspended):
            # Asked of the terminal: what variables say of it is no longer true once it has another size.
            with contextlib.suppress(OSError):
                self._console.size = ConsoleDimensions(*os.get_terminal_size(sys.stdout.fileno()))
            size, news = self._console.size, self._news
            now = news.count, size, dataclasses.replace(self._state)
            if now != drawn:
                live.update(TopScreen(news.status, news.activity, news.problem, self._state, size.height), refresh=True)
                drawn = news.count, size, dataclasses.replace(self._state)
            try:
                self._state.press(system.pressed(sys.stdin.fileno(), LOOK_SECONDS))
            except EOFError:  # the terminal has gone
                self._state.over = True
            news.wanted = self._state.text

    @contextlib.contextmanager
    def _noticing_suspension(self) -> Iterator[None]:
        """Have Ctrl-Z end what draws, which would leave the shell with a terminal that shows no key."""
        if _SUSPENDING is None:
            yield
            return
        before = signal.signal(_SUSPENDING, self._suspend)
        try:
            yield
        finally:
            signal.signal(_SUSPENDING, before)

    def _suspend(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the system's
        self._suspended = True


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have what ends this process leave the terminal as it was."""
    before = {number: signal.signal(number, _exit) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _nothing_logged() -> Iterator[None]:
    """Keep what is logged off the screen, which says itself what is wrong."""
    logger, nothing = logging.getLogger("budgeted"), logging.NullHandler()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(nothing)
    try:
        yield
    finally:
        logger.removeHandler(nothing)
        logger.propagate = propagated


def _exit(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the system's
    sys.exit(128 + number)
