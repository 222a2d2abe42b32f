"""Charts as SVG, drawn by pygal: one that stands for itself, in light and dark, without script or anything outside."""

from __future__ import annotations

import functools
import re
import sys
import xml.etree.ElementTree as ET
from typing import Any, Final

from budgeted import colours
from budgeted.money import NANO, short_usd, to_usd
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

_TEXT: Final = ("#3d4852", "#c3ccd4")
_LINE: Final = ("#d5dbe0", "#3a444d")

_RULES: Final = (
    "text{font:12px system-ui,sans-serif}.legend text{font-size:13px}.no_data{font-size:18px;text-anchor:middle}"
    ".x text{text-anchor:middle}.y text{text-anchor:end}.x .line{display:none}.line,.background{fill:none}"
)

_LONGEST_NAME: Final = 20
"""Characters of a name that a legend has room for."""

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML may hold: a model may be called anything."""

_NUMBER: Final = re.compile(r"\d+\.\d+")

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
    pygal = _library()
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
        chart.add(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", line.name), [to_usd(amount) for amount in line.amounts])
    chart.add_xml_filter(lambda root: _finished(root, spend))
    drawn: bytes = chart.render()
    return drawn


@functools.cache
def _library() -> Any:
    """pygal, which has no types, without what it does to the imports of the whole process."""
    import pygal  # type: ignore[import-untyped]
    import pygal.style  # type: ignore[import-untyped]

    # Its finder of maps, which are no part of it any more, has Python warn of every import that finds nothing.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal


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


def _finished(root: ET.Element, spend: SpendOverTime) -> ET.Element:
    """A drawn chart without what is for scripts, in the page's colours, and about half as large."""
    for parent in list(root.iter()):
        for child in list(parent):
            tag: object = child.tag
            if tag in ("script", "desc", "title") or not isinstance(tag, str) or _is_nothing(child):
                parent.remove(child)
            elif child.get("class") == "bar":
                _take_out(parent, child)
    for node in root.iter():
        for name in ("x", "y", "width", "height", "d"):
            if (value := node.get(name)) is not None:
                node.set(name, _NUMBER.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), value))
    title = root.makeelement("title", {})
    title.text = f"Spent per {spend.period}, by {_NO_XML.sub('', spend.by)}"
    root.insert(0, title)
    for style in root.iter("style"):
        style.text = _stylesheet(spend)
    return root


def _is_nothing(node: ET.Element) -> bool:
    """Whether it is no more than room for a tooltip, or a bar of no height."""
    if "overlay" in (node.get("class") or ""):
        return not any(text.text for text in node.iter("text"))
    return node.get("class") == "bar" and all(float(rect.get("height", 1)) == 0 for rect in node.iter("rect"))


def _take_out(parent: ET.Element, group: ET.Element) -> None:
    """Have a group's only rectangle stand where the group does."""
    for rect in group.findall("rect"):
        parent.insert(list(parent).index(group), rect)
        for name in ("class", "rx", "ry"):
            rect.attrib.pop(name, None)
    parent.remove(group)


def _stylesheet(spend: SpendOverTime) -> str:
    light, dark = (_rules(spend, ground) for ground in (0, 1))
    return f"{_RULES}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _rules(spend: SpendOverTime, ground: int) -> str:
    """The colours on light (0) or dark (1) ground."""
    each = (*COLOURS, OTHERS, REST)
    series = "".join(f".color-{i}{{fill:{each[spend.colour(line)][ground]}}}" for i, line in enumerate(spend.series))
    return f"text{{fill:{_TEXT[ground]}}}.line{{stroke:{_LINE[ground]}}}{series}"
