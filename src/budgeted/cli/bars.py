"""How much of a limit is spent, held and left, as a bar of characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.text import Text

from budgeted import colours
from budgeted.manager.balances import Balance
from budgeted.manager.project_status import used_share

WIDTH: Final = 20

SPENT, HELD, NEARLY, REFUSED, LEFT = (f"budgeted.{one}" for one in ("spent", "held", "nearly", "refused", "left"))
"""Names of styles, which the consoles of :mod:`budgeted.cli.terminal` know: what they look like depends on those."""


class Marks(NamedTuple):
    """The characters of a bar: each kind of part has its own, so that a bar can be read without colours."""

    spent: str
    held: str
    left: str


BLOCKS: Final = Marks("\N{FULL BLOCK}", "\N{MEDIUM SHADE}", "\N{MIDDLE DOT}")
PLAIN: Final = Marks("#", "=", ".")


_STYLES: Final = {colours.SPENT: SPENT, colours.UNCERTAIN: NEARLY, colours.REFUSED: REFUSED}


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
    used = _STYLES[colours.of_share(used_share(balance) or 0.0)]
    styles = (used, HELD if used == SPENT else used, LEFT)
    return of_parts([*zip((balance.spent, balance.held, balance.remaining or 0.0), marks, styles, strict=True)], width)


def of_parts(parts: Sequence[tuple[float, str, str]], width: int = WIDTH) -> Text:
    """A bar of parts, each of which takes at least one character if there is any of it.

    Args:
        parts: how much of each there is, with its character and its style.
        width: how many characters they take together.
    """
    text = Text(no_wrap=True)
    for (_, mark, style), length in zip(parts, _lengths([part for part, _, _ in parts], width), strict=True):
        text.append(mark * length, style)
    return text


def bar_and_share(balance: Balance, marks: Marks = BLOCKS, width: int = WIDTH) -> Text:
    """The bar of a limit, and behind it how much of it is spent or held: 100% only where nothing is left.

    It takes the arguments of :func:`bar`.
    """
    if balance.limit is None:
        return Text()
    share = used_share(balance) or 0.0
    told = "<1%" if 0 < share < 0.01 else f"{int(share * 100):,}%"
    if balance.remaining and share >= 0.995:
        told = "99%"
    return bar(balance, marks, width).append(f" {told:>4}")


def _lengths(parts: Sequence[float], width: int) -> list[int]:
    """The lengths of a bar's parts, which are as long as it together."""
    whole = sum(parts)
    if whole <= 0:
        return [width, *[0] * (len(parts) - 1)]
    least = [1 if part > 0 else 0 for part in parts]
    lengths = [max(few, round(width * part / whole)) for few, part in zip(least, parts, strict=True)]
    lengths[lengths.index(max(lengths))] += width - sum(lengths)
    return lengths
