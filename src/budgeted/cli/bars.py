"""How much of a limit is spent, held and left, as a bar of characters."""

from __future__ import annotations

from typing import Final, NamedTuple

from rich.text import Text

from budgeted import colours
from budgeted.manager.balances import Balance

WIDTH: Final = 20

_REST: Final = "bright_black"


class Marks(NamedTuple):
    """The characters of a bar: each kind of part has its own, so that a bar can be read without colours."""

    spent: str
    held: str
    left: str


BLOCKS: Final = Marks("\N{FULL BLOCK}", "\N{MEDIUM SHADE}", "\N{MIDDLE DOT}")
PLAIN: Final = Marks("#", "=", ".")


def marks_for(encoding: str) -> Marks:
    """The characters that a stream can write.

    Args:
        encoding: of the stream.
    """
    try:
        "".join(BLOCKS).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def bar(balance: Balance, marks: Marks = BLOCKS, width: int = WIDTH) -> Text:
    """The bar of a limit; nothing for an account without one.

    What is spent or held takes at least one character, and so does what is left: a full bar means that nothing is.

    Args:
        balance: of the limit.
        marks: its characters.
        width: how many of them.

    Example:
        >>> bar(manager.balance("alice"), PLAIN, 10).plain
        '###==.....'
    """
    if balance.limit is None:
        return Text()
    parts = _lengths((balance.spent, balance.held, balance.remaining or 0.0), width)
    share = 1.0 if not balance.remaining else (balance.spent + balance.held) / balance.limit
    used = colours.of_share(share)
    text = Text(no_wrap=True)
    for mark, length, style in zip(marks, parts, (used, used, _REST), strict=True):
        text.append(mark * length, style)
    return text


def _lengths(parts: tuple[float, float, float], width: int) -> list[int]:
    """The lengths of a bar's parts, which are as long as it together."""
    whole = sum(parts)
    if whole <= 0:
        return [width, 0, 0]
    least = [1 if part > 0 else 0 for part in parts]
    lengths = [max(few, round(width * part / whole)) for few, part in zip(least, parts, strict=True)]
    lengths[lengths.index(max(lengths))] += width - sum(lengths)
    return lengths
