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
"""Columns of a terminal from which on there is room for all figures, and for those that matter most."""

_COLUMNS: Final = {"account": 0, "limit": MIDDLE, "used": 0, "spent": MIDDLE, "held": MIDDLE, "left": 0, "ends": WIDE}
"""Columns of the table, and how wide the terminal has to be for each."""

_DROPPED: Final = ("held", "ends", "limit", "spent", "used")
"""Which go, one after the other, where figures are so long that a name has no room."""

_FIGURES: Final = ("spent", "held", "left", "ends")
_GAP: Final = 2
_NAME, _LONGEST_LIMIT = 14, 24
"""Characters of a name that have room however narrow it is, and of a limit at most."""


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
        lines = console.render_lines(Group(*self._head(options.max_width)), inside, pad=False)
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

    def _head(self, width: int) -> Iterator[Text]:
        """What there is to say of all together."""
        if self.status is not None:
            yield from _together(self.status, width)
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


def _together(status: ProjectStatus, width: int) -> Iterator[Text]:
    """What holds for all of it; what does not fit into a line stands in the next."""
    told = [
        f"{spelt_out(status.project)} at {status.at:%H:%M:%S}",
        f"today {_short(status.spent_today)} in {_several(status.calls_today, 'call')}",
        f"in flight {status.calls_in_flight:,}, {_short(status.held)} held",
    ]
    parts = [Text(one, "bold") for one in told]
    if status.uncertain_charges:
        charges = _several(status.uncertain_charges, "charge")
        parts.append(Text(f"uncertain {charges}, {_short(status.uncertain)}", f"bold {NEARLY}"))
    line = parts[0]
    for part in parts[1:]:
        if line.cell_len + 2 + part.cell_len <= width:
            line = Text("  ").join([line, part])
        else:
            yield line
            line = part
    yield line


def _table(status: ProjectStatus, accounts: Sequence[AccountInfo], width: int, encoding: str) -> Table:
    """Limits of all together, then of users that of which most is used."""
    drawn = 20 if width >= WIDE else 12 if width >= MIDDLE else 10
    marks = marks_for(encoding)
    rows = [_cells(*row, bar(row[1], marks, drawn), status.at) for row in _rows(status, accounts)]
    columns = _fitting(width, rows)
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in _FIGURES else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if name == "account" else None,
            max_width=_LONGEST_LIMIT if name == "limit" else None,
        )
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _cells(user: str, balance: Balance, stopped: bool, drawn: Text, now: dt.datetime) -> dict[str, Text]:
    """A line of the table, by its columns."""
    return {
        "account": Text(spelt_out(user)),
        "limit": Text(spelt_out(balance.text or "none")),
        "used": drawn,
        "spent": Text(_short(balance.spent, balance.unit)),
        "held": Text(_short(balance.held, balance.unit)),
        "left": Text("stopped", REFUSED) if stopped else Text(_short(balance.remaining, balance.unit)),
        "ends": _ends(balance, now),
    }


def _fitting(width: int, rows: Sequence[dict[str, Text]]) -> list[str]:
    """The columns that there is room for beside names."""
    kept = [name for name, least in _COLUMNS.items() if width >= least]
    widths = {name: max([len(name), *(row[name].cell_len for row in rows)]) for name in kept}
    if "limit" in kept:
        widths["limit"] = min(_LONGEST_LIMIT, widths["limit"])
    widths["account"] = min(widths["account"], _NAME)
    for name in _DROPPED:
        if sum(widths[one] + _GAP for one in kept) - _GAP <= width:
            break
        if name in kept:
            kept.remove(name)
    return kept


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
