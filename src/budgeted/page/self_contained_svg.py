"""SVG that stands for itself: drawn by pygal, in light and dark, without script or anything from elsewhere."""

from __future__ import annotations

import functools
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any, Final

_TEXT: Final = ("#3d4852", "#c3ccd4")
_LINE: Final = ("#d5dbe0", "#3a444d")

_RULES: Final = (
    "text{font:12px system-ui,sans-serif}.legend text{font-size:13px}.no_data{font-size:18px;text-anchor:middle}"
    ".x text{text-anchor:middle}.y text{text-anchor:end}.x .line{display:none}.line,.background{fill:none}"
)

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML may hold: a model may be called anything."""

_NUMBER: Final = re.compile(r"\d+\.\d+")


@functools.cache
def library() -> Any:
    """pygal, which has no types, without what it does to the imports of the whole process."""
    import pygal  # type: ignore[import-untyped]
    import pygal.style  # type: ignore[import-untyped]

    # Its finder of maps, which are no part of it any more, has Python warn of every import that finds nothing.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal


def text(said: str, otherwise: str = "") -> str:
    """What a chart may say, with something else in the place of what no XML may hold."""
    return _NO_XML.sub(otherwise, said)


def stylesheet(rules: Callable[[int], str]) -> str:
    """The rules of a chart.

    Args:
        rules: those that it has of its own, on light (0) or dark (1) ground.

    Returns:
        A stylesheet that follows the reader's choice of light or dark.
    """
    light, dark = (f"text{{fill:{_TEXT[ground]}}}.line{{stroke:{_LINE[ground]}}}{rules(ground)}" for ground in (0, 1))
    return f"{_RULES}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def finished(root: ET.Element, title: str, style: str) -> ET.Element:
    """A drawn chart without what is for scripts, in its own colours, and about half as large.

    Args:
        root: as pygal draws it.
        title: what it shows, in words.
        style: its stylesheet.

    Returns:
        The same chart.
    """
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
    titled = root.makeelement("title", {})
    titled.text = title
    root.insert(0, titled)
    for node in root.iter("style"):
        node.text = style
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
