"""What ``budgeted top`` draws: one screen of how a project stands, of whatever size."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from budgeted.cli.bars import NEARLY, REFUSED, bar, marks_for
from budgeted.cli.table_cells import Amount, spelt_out
from budgeted.cli.top_events import event_lines
from budgeted.cli.top_state import HELP, ORDERS, TopState
from budgeted.manager.activity import Activity
from budgeted.manager.balances import AccountInfo, Balance
from budgeted.manager.project_status import ProjectStatus, tightest

EVERYBODY: Final = "(everybody)"

WIDE, MIDDLE = 100, 64
"""Columns from which on there is room for all figures, and for those that matter most."""


class TopScreen:
    """One screen, as rich draws it.

    Args:
        status: how the project stands; None if that is not known yet.
        activity: what goes on in it; None as above.
        problem: why there is nothing newer; "" if there is.
        state: what is shown of it.
        height: of the screen, in lines.
    """

    def __init__(
        self, status: ProjectStatus | None, activity: Activity | None, problem: str, state: TopState, height: int
    ) -> None:
        self.status, self.activity, self.problem, self.state, self.height = status, activity, problem, state, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many lines as there is room for, the last about keys."""
        inside = options.update(height=None)
        lines = console.render_lines(Group(*self._head()), inside, pad=False)
        events = self._events((self.height - len(lines)) // 3)
        body, below = self._body(console.encoding, options.max_width, self.height - 1 - len(lines) - len(events))
        lines += console.render_lines(body, inside, pad=False)
        lines = (lines + [[]] * self.height)[: max(0, self.height - 1 - len(events))]
        lines += console.render_lines(Group(*events, below), inside, pad=False)
        for number, line in enumerate(lines, 1):
            yield from line
            if number < len(lines):
                yield Segment.line()

    def _events(self, room: int) -> list[Text]:
        if self.activity is None or self.status is None or self.state.helping:
            return []
        return event_lines(self.activity, self.status.at, room)

    def _head(self) -> Iterator[Text]:
        """What there is to say of all together."""
        if self.status is not None:
            yield _together(self.status)
            if self.status.stopped:
                told = f"all calls are stopped: {self.status.stopped}; `budgeted resume` lets them go on"
                yield Text(spelt_out(told), REFUSED)
        if self.problem:
            shown = "" if self.status is None else f"; below is what was known at {self.status.at:%H:%M:%S}"
            yield Text(f"the ledger is away{shown}: {spelt_out(self.problem)}", REFUSED)
        elif self.status is None:
            yield Text("asking the ledger")

    def _body(self, encoding: str, width: int, room: int) -> tuple[Group, Text]:
        """The table of limits, or the keys, and what stands below."""
        if self.state.helping or self.status is None:
            keys = [Text(f"  {keys:<8} {what}") for keys, what in HELP] if self.state.helping else []
            return Group(*keys), self._foot(0, 0)
        page = room - 1 - len(self.status.balances)
        seen, count = self.state.seen(self.status.accounts, page)
        return Group(_table(self.status, seen, width, encoding)), self._foot(len(seen), count)

    def _foot(self, seen: int, count: int) -> Text:
        if self.state.typing:
            return Text(f"/{spelt_out(self.state.text)}_", "bold", no_wrap=True, overflow="ellipsis")
        if self.status is None or self.state.helping:
            return Text("? keys  q quit", "dim")
        parts = [f"users {self.state.first + 1:,}-{self.state.first + seen:,} of {count:,}" if seen else "no users"]
        parts.append(f"by {ORDERS[self.state.order][0]}")
        if self.state.text:
            parts.append(f"with {spelt_out(self.state.text)!r}")
        if not self.status.complete:
            parts.append("of those busy today; / finds others")
        return Text("  ".join([*parts, "? keys", "q quit"]), "dim", no_wrap=True, overflow="ellipsis")


def _together(status: ProjectStatus) -> Text:
    told = [
        f"{spelt_out(status.project)} at {status.at:%H:%M:%S}",
        f"today {_short(status.spent_today)} in {_several(status.calls_today, 'call')}",
        f"in flight {status.calls_in_flight:,}, {_short(status.held)} held",
    ]
    text = Text("  ".join(told), "bold")
    if status.uncertain_charges:
        charges = _several(status.uncertain_charges, "charge")
        text.append(f"  uncertain {charges}, {_short(status.uncertain)}", NEARLY)
    return text


def _table(status: ProjectStatus, accounts: Sequence[AccountInfo], width: int, encoding: str) -> Table:
    """Limits of all together, then of users that of which most is used."""
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    table.add_column("account", no_wrap=True, ratio=1, min_width=8, overflow="ellipsis")
    if width >= MIDDLE:
        table.add_column("limit", no_wrap=True, max_width=24, overflow="ellipsis")
    table.add_column("spent and held", no_wrap=True)
    for name in ("spent", "held") if width >= MIDDLE else ():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("left", justify="right", no_wrap=True)
    if width >= WIDE:
        table.add_column("ends", justify="right", no_wrap=True)
    marks = marks_for(encoding)
    drawn = 20 if width >= WIDE else 12 if width >= MIDDLE else 10
    for name, balance, stopped in _rows(status, accounts):
        figures = [_short(figure, balance.unit) for figure in (balance.spent, balance.held)]
        left = Text("stopped", REFUSED) if stopped else Text(_short(balance.remaining, balance.unit))
        cells: list[Text | str] = [Text(spelt_out(name))]
        cells += [Text(spelt_out(balance.text or "none"))] if width >= MIDDLE else []
        cells += [bar(balance, marks, drawn), *(figures if width >= MIDDLE else ()), left]
        cells += [_ends(balance, status.at)] if width >= WIDE else []
        table.add_row(*cells)
    return table


def _rows(status: ProjectStatus, accounts: Sequence[AccountInfo]) -> Iterator[tuple[str, Balance, bool]]:
    for number, balance in enumerate(status.balances):
        yield "" if number else EVERYBODY, balance, bool(status.stopped)
    for one in accounts:
        yield one.name, tightest(one.balances) or Balance(None, one.spent, 0.0, None), bool(one.stopped)


def _ends(balance: Balance, now: dt.datetime) -> Text:
    """When a limit is used up if spending goes on as it does, else when it begins anew."""
    if balance.exhausted_at is not None:
        return Text(f"used up {_when(balance.exhausted_at, now)}", NEARLY)
    return Text("" if balance.resets_at is None else f"resets {_when(balance.resets_at, now)}")


def _when(at: dt.datetime, now: dt.datetime) -> str:
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%Y-%m-%d}"


def _short(figure: float | None, unit: str = "usd") -> str:
    return Amount(figure, unit).text()


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
