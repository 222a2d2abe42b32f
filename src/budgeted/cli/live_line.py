"""A line below what a program prints, on a terminal, that tells what a run has spent until now, and what is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from budgeted.errors import BudgetError
from budgeted.ledger.accounts import UNITS, USD
from budgeted.manager.run_books import RunReport
from budgeted.money import format_usd
from budgeted.system import current as system

SECONDS: Final = 2.0

# Down one line and up again, so that there is one below even at the bottom; then below, and back to where it was.
_BELOW: Final = "\x1bD\x1bM\x1b7\x1bD\r\x1b[2K"
_BACK: Final = "\x1b8"


class LiveLine:
    """Tells of a run while it goes on, if standard error is a terminal which no program draws on as a whole.

    Args:
        report: tells what was spent.

    Example:
        >>> with LiveLine(lambda: paying.report(books)):
        ...     child.wait()
    """

    def __init__(self, report: Callable[[], RunReport]) -> None:
        self._report, self._shown = report, ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="budgeted-live-line", daemon=True)

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
            if self._shown:
                self._write("")

    def _tell(self) -> None:
        while not self._over.wait(SECONDS):
            with contextlib.suppress(BudgetError):  # the table says it at the end
                text = text_of(self._report())
                if text != self._shown and system.takes_lines(sys.stderr.fileno()):
                    self._write(text)

    def _write(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        with contextlib.suppress(OSError):  # the terminal has gone
            sys.stderr.write(f"{_BELOW}{text[:width]}{_BACK}")
            sys.stderr.flush()
        self._shown = text


def text_of(report: RunReport) -> str:
    """What a run has spent, and what is left for it: of the limit in USD that has the least left.

    Args:
        report: of the run; "" until it has called something.
    """
    if not report.whole.calls and not report.held:
        return ""
    left = [one.remaining for _, one in report.left if one.unit == UNITS[USD] and one.remaining is not None]
    spent = f"budgeted: {format_usd(report.whole.usd)} spent"
    return f"{spent}, {format_usd(min(round(one * 1e9) for one in left))} left" if left else spent
