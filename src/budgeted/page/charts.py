"""Charts as SVG, drawn by pygal: one that stands for itself, in light and dark, without script or anything outside."""

from __future__ import annotations

import functools
from typing import Final

from budgeted import colours
from budgeted.money import NANO, short_usd, to_usd
from budgeted.page import self_contained_svg
from budgeted.page.spend_over_time import SpendOverTime

COLOURS: Final = (
    (colours.SPENT, "#3fb8a9"),
    ("#3a6ea5", "#6b9fd6"),
    ("#8a63b8", "#b08fdb"),
    ("#6aa84f", "#8fcb76"),
    ("#4fb3d9", "#7accea"),
    ("#9c6b4e", "#c99a7d"),
    ("#b0609c", "#d98cc6"),
)
"""Of each named series on light and on dark ground: none is that of a refusal, or of what nobody has confirmed."""

OTHERS: Final = (colours.OTHER, "#9aa5ae")
"""Of what all others have spent."""

REST: Final = ("#b5bcc2", "#5d666e")
"""Of what is under no name."""

_LONGEST_NAME: Final = 20
"""Characters of a name that a legend has room for."""

_WIDTH, _HEIGHT, _SMALL_WIDTH, _SMALL_HEIGHT = 960, 340, 420, 320
_MARGIN, _ROW = 8, 20


def spend_chart(spend: SpendOverTime, *, small: bool = False) -> bytes:
    """Stacked bars of what was spent over time.

    Args:
        spend: what is drawn.
        small: whether it is for a phone: less wide, with fewer labels.

    Returns:
        A whole SVG file. It follows the reader's choice of light or dark.

    Example:
        >>> spend_chart(spend_by_days(books, "model", "day"))[:5]
        b'<?xml'
    """
    pygal = self_contained_svg.library()
    labels, columns = _labels(spend, sparse=small), 2 if small else 5
    chart = pygal.StackedBar(
        width=_SMALL_WIDTH if small else _WIDTH,
        height=_SMALL_HEIGHT if small else _HEIGHT,
        margin=_MARGIN,
        # pygal leaves room for the legend's full rows alone.
        margin_bottom=_MARGIN + (_ROW if len(spend.series) % columns else 0),
        spacing=8,
        js=(),
        style=pygal.style.Style(
            legend_font_size=13, label_font_size=12, major_label_font_size=12, no_data_font_size=18
        ),
        no_prefix=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=columns,
        truncate_legend=_LONGEST_NAME,
        truncate_label=-1,
        x_labels=labels,
        x_labels_major=[label for label in labels if label],
        show_minor_x_labels=False,
        value_formatter=lambda usd: short_usd(round(usd * NANO)),
        no_data_text="Nothing was spent",
        min_scale=3,
        max_scale=5,
    )
    for line in spend.series:
        chart.add(
            self_contained_svg.text(line.name, "\N{REPLACEMENT CHARACTER}"), [to_usd(amount) for amount in line.amounts]
        )
    title = f"Spent per {spend.period}, by {self_contained_svg.text(spend.by)}"
    style = self_contained_svg.stylesheet(functools.partial(_colours, spend))
    chart.add_xml_filter(lambda root: self_contained_svg.finished(root, title, style))
    drawn: bytes = chart.render()
    return drawn


def _labels(spend: SpendOverTime, *, sparse: bool) -> list[str]:
    """What stands below each bar: a time, a day or a month; nothing below most."""
    every = 2 if sparse else 1
    last = len(spend.starts) - 1
    labels = []
    for i, start in enumerate(spend.starts):
        day = f"{start.day} {start:%b}"
        if spend.period == "hour":
            labels.append((day if start.hour == 0 else f"{start:%H:%M}") if start.hour % (6 * every) == 0 else "")
        elif spend.period == "day":
            labels.append("" if (last - i) % (4 * every) else day)
        else:
            labels.append("" if (last - i) % every else f"{start:%b}" if start.month > every else f"{start:%b %Y}")
    return labels


def _colours(spend: SpendOverTime, ground: int) -> str:
    """Of its series, on light (0) or dark (1) ground."""
    each = (*COLOURS, OTHERS, REST)
    return "".join(f".color-{i}{{fill:{each[spend.colour(line)][ground]}}}" for i, line in enumerate(spend.series))
