"""Refusals that were raised inside a block and swallowed there, as some frameworks do: the block can raise them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from budgeted.errors import BudgetError


class Block(Protocol):
    """A block, as far as it is told of refusals.

    Attributes:
        refusals: the first that was raised inside it since it last left; None where it does not want to know.
    """

    refusals: list[BudgetError] | None

    def note_refusal(self, error: BudgetError) -> None:
        """A call inside is refused."""


def note(blocks: Iterable[Block], error: BudgetError) -> None:
    """A call inside some blocks is not sent, for whatever reason: the error that says so is about to be raised."""
    for block in blocks:
        block.note_refusal(error)


def taken(block: Block) -> BudgetError | None:
    """The first refusal inside a block that is being left; the next time it is entered, it begins anew."""
    found = block.refusals
    first = found[0] if found else None
    if found:
        found.clear()
    return first
