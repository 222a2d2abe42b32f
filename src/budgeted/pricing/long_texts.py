"""The long texts of a request, told from the rest by their places, without a look at what they say.

So a prompt takes as long to measure as it has parts, however long these are.
"""

from __future__ import annotations

from typing import Final

from budgeted.pricing.media_parts import media_kind

LONG: Final = 1_000
"""Characters beyond which a text is measured by itself: shorter ones are written down with the rest in less time."""

MOST_LOOKED_AT: Final = 64
"""Messages that are looked at to see whether any is long: of more than these, some here and some there.

One that is missed is written down with the rest: that takes longer, and bounds it as well.
"""

_PLACES = ("content", "text", "parts", "output")
"""Where messages and their parts have what a model reads as it is, or further parts that do.

What stands elsewhere may be shown to it as JSON, as arguments of tools are, in which the end of a line has two bytes.
"""

_MOST_LEVELS: Final = 6
"""How deep parts are looked for in parts: a tool's answer is three levels below its messages."""


def all_short(value: object) -> bool:
    """Whether there is nothing in a value of a request's body, as far as was looked, that :class:`LongTexts` finds."""
    if isinstance(value, str):
        return len(value) <= LONG
    if not isinstance(value, list):
        return not isinstance(value, dict)
    some = value if len(value) <= MOST_LOOKED_AT else value[:: 1 + len(value) // MOST_LOOKED_AT]
    return _are_short(some, _MOST_LEVELS)


def _are_short(items: list[object], levels: int) -> bool:
    # Every call comes by, and nearly always there is nothing to find: no call for each of its messages.
    for item in items:
        if not isinstance(item, dict):
            return False
        text = item.get("content") or item.get("text") or item.get("parts") or item.get("output")
        if isinstance(text, str):
            if len(text) > LONG:
                return False
        elif isinstance(text, list):
            if not (levels and _are_short(text, levels - 1)):
                return False
        elif text or media_kind(item):
            return False
    return True


class LongTexts:
    """Collects the long texts of a value of a request's body.

    Args:
        value: the value.

    Attributes:
        rest: a copy with an empty text in the place of each long one; the value itself, if it has none.
        texts: the long ones.
        media: the kinds of pictures, sound or files that were seen among its parts.
    """

    __slots__ = ("media", "rest", "texts")

    def __init__(self, value: object) -> None:
        self.texts: list[str] = []
        self.media: set[str] = set()
        self.rest = self._without(value, _MOST_LEVELS)

    def _without(self, value: object, levels: int) -> object:
        if isinstance(value, str):
            if len(value) <= LONG:
                return value
            self.texts.append(value)
            return ""
        if isinstance(value, dict):
            return self._without_in(value, levels)
        if not isinstance(value, list) or not levels:
            return value
        return [self._without(item, levels - 1) for item in value]

    def _without_in(self, item: dict[str, object], levels: int) -> dict[str, object]:
        if kind := media_kind(item):
            self.media.add(kind)
            return item
        for name in _PLACES:
            inner = item.get(name)
            if inner is not None and (rest := self._without(inner, levels)) is not inner:
                item = {**item, name: rest}
        return item
