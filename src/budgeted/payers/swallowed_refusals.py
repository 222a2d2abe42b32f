"""Refusals that were raised inside a block and swallowed there, as some frameworks do: the block can raise them."""

from __future__ import annotations

from collections.abc import Iterable

from budgeted.errors import BudgetError
from budgeted.payers.block_figures import BlockFigures


def note(blocks: Iterable[BlockFigures], error: BudgetError) -> None:
    """A call inside some blocks is not sent, for whatever reason: the error that says so is about to be raised."""
    for block in blocks:
        block.note_refusal(error)


def taken(block: BlockFigures) -> BudgetError | None:
    """The first refusal inside a block that is being left; the next time it is entered, it begins anew."""
    found = block.refusals
    first = found[0] if found else None
    if found:
        found.clear()
    return first
