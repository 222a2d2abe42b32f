"""Amounts as a small HTML table with bars, for notebooks: readable on light and dark ground, and all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from budgeted import colours
from budgeted.money import NANO
from budgeted.units import amount_text

MOST_ROWS = 50
"""Rows that are shown of a table: a notebook keeps all that it shows."""

# Only what is neither black nor white: the page's own colours are kept for the text.
_REST = "rgba(128, 128, 128, .3)"
_CELL = "text-align: {}; padding: 2px 10px; white-space: pre-wrap"


class Bar(NamedTuple):
    """How much of something is spent and held.

    Args:
        spent, held: in any unit.
        whole: what the bar's whole length stands for, in the same; None for no bar.
        title: what its share is, as a tooltip says it.
    """

    spent: float
    held: float
    whole: float | None
    title: str = "spent"


Cell = str | Bar


def amount(value: float | None, unit: str = "usd") -> str:
    """An amount as text: ``$0.00042``, ``1,200 tokens``; ``-`` for none.

    Args:
        value: in USD, tokens or calls.
        unit: ``"usd"``, ``"tokens"``, ``"calls"`` or another one of a limit.
    """
    if value is None:
        return "-"
    return amount_text(round(value * NANO) if unit == "usd" else round(value), unit)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table.

    Args:
        caption: plain text.
        head: of each column.
        rows: a cell for each column: plain text, of which the first column's is aligned left; or a bar.

    Returns:
        HTML.
    """
    shown, left = list[str](), 0
    for row in rows:
        if len(shown) < MOST_ROWS:
            shown.append("<tr>" + "".join(_cell("td", cell, first=not i) for i, cell in enumerate(row)) + "</tr>")
        else:
            left += 1
    more = f'<tr><td colspan="{len(head)}">... and {left:,} more</td></tr>' if left else ""
    titles = "".join(_cell("th", title, first=not i) for i, title in enumerate(head))
    return (
        '<table style="border-collapse: collapse">'
        f'<caption style="text-align: left; color: inherit">{_escaped(caption)}</caption>'
        f"<thead><tr>{titles}</tr></thead><tbody>{''.join(shown)}{more}</tbody></table>"
    )


def _cell(tag: str, cell: Cell, *, first: bool) -> str:
    style = _CELL.format("left" if first or isinstance(cell, Bar) else "right")
    return f'<{tag} style="{style}">{_drawn(cell) if isinstance(cell, Bar) else _escaped(cell)}</{tag}>'


def _drawn(bar: Bar) -> str:
    if bar.whole is None:
        return ""
    over = bar.spent > bar.whole
    spent = _percent(bar.spent, bar.whole)
    held = min(100.0 - spent, _percent(bar.held, bar.whole))
    parts = ((spent, colours.REFUSED if over else colours.SPENT), (held, colours.UNCERTAIN))
    pieces = "".join(
        f'<span style="width: {width:.4g}%; background: {colour}"></span>' for width, colour in parts if width
    )
    title = _escaped(f"{bar.spent / bar.whole:.0%} {bar.title}" if bar.whole else f"nothing to be {bar.title}")
    style = f"display: flex; width: 120px; height: 10px; background: {_REST}; border-radius: 3px; overflow: hidden"
    return f'<div role="img" aria-label="{title}" title="{title}" style="{style}">{pieces}</div>'


def _percent(part: float, whole: float) -> float:
    if part <= 0:
        return 0.0
    return min(100.0, 100 * part / whole) if whole else 100.0


def _escaped(text: str) -> str:
    import html  # only where something is shown

    return html.escape(text)
