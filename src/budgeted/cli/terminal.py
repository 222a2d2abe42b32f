"""What commands write to: with the colours of amounts on a terminal, unless ``NO_COLOR`` is set, and without elsewhere.

``FORCE_COLOR`` has colours everywhere, and ``TERM=dumb`` nowhere.
"""

from __future__ import annotations

import sys
from typing import Final

import click
from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from budgeted import colours
from budgeted.cli.bars import HELD, LEFT, NEARLY, REFUSED, SPENT, Marks, marks_for
from budgeted.cli.table_cells import spelt_out

UNBOUNDED: Final = 10_000
"""The width of what is no terminal: what reads it knows no columns."""

INDENT: Final = 2
"""Blanks before what a long line goes on with."""

_FULL: Final = Theme(
    {
        SPENT: colours.SPENT,
        HELD: colours.SPENT,
        NEARLY: colours.UNCERTAIN,
        REFUSED: colours.REFUSED,
        LEFT: "bright_black",
    }
)
_SIXTEEN: Final = Theme({SPENT: "green", HELD: "green", NEARLY: "yellow", REFUSED: "red", LEFT: "bright_black"})
"""For terminals that would show an amber as a red."""


def console_for(*, err: bool = False) -> Console:
    """A console for standard output, that knows the styles of bars.

    Args:
        err: whether for standard error.
    """
    console = Console(highlight=False, soft_wrap=False, stderr=err)
    console.push_theme(_SIXTEEN if console.color_system in ("standard", "windows") else _FULL)
    if not console.is_terminal:
        console.width = UNBOUNDED
    return console


def tell(text: str | Text, style: str = "", *, err: bool = False) -> None:
    """Print a sentence, or a line that goes on indented where it is longer than the terminal.

    Args:
        text: of a string, characters are spelt out where a terminal would act on them.
        style: of a string, such as :data:`~budgeted.cli.bars.REFUSED`.
        err: whether on standard error.
    """
    console = console_for(err=err)
    with console.capture() as captured:
        if isinstance(text, Text):
            first, *others = text.wrap(console, max(1, console.width - INDENT), overflow="fold", no_wrap=False)
            console.print(first, *(Text(" " * INDENT).append_text(other) for other in others), sep="\n")
        else:
            console.print(Text(spelt_out(text), style), soft_wrap=True)
    click.echo(captured.get(), nl=False, err=err, color=console.is_terminal or None)


def marks(*, err: bool = False) -> Marks:
    """The characters of bars that the output can write."""
    stream = sys.stderr if err else sys.stdout
    return marks_for(stream.encoding or "ascii")


def bar_width(*, err: bool = False) -> int:
    """How long a bar may be beside other columns."""
    return 20 if console_for(err=err).width >= 100 else 10
