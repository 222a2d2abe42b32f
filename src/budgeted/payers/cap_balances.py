"""What is left of a block's cap, as people read it."""

from __future__ import annotations

from dataclasses import dataclass

from budgeted.html_tables import Bar, Cell, amount, table
from budgeted.money import to_usd
from budgeted.payers.cap_slots import CapSlot
from budgeted.payers.cap_text import PLAIN


@dataclass(frozen=True, slots=True)
class CapBalance:
    """One limit of a block's cap, now. Amounts are USD for a limit in USD, else tokens or calls.

    Attributes:
        limit: the limit's amount.
        spent: charged to it; of a cap with a key, by others as well, as far as this process has heard of it.
        held: set aside for calls in flight.
        remaining: what is left, never negative.
        unit: ``"usd"``, ``"tokens"``, ``"calls"``, ``"input tokens"``, ``"output tokens"`` or ``"tool calls"``.
        text: the limit as it would be written, such as ``"20 calls"``.

    Example:
        >>> with budget(cap="$0.50 + 20 calls") as block:
        ...     client.chat.completions.create(...)
        ...     block.balances[1].remaining
        19
    """

    limit: float
    spent: float
    held: float
    remaining: float
    unit: str
    text: str

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        figures = (amount(figure, self.unit) for figure in (self.spent, self.held, self.remaining))
        row: tuple[Cell, ...] = (self.text, Bar(self.spent, self.held, self.limit), *figures)
        return table("Balance", ("limit", "", "spent", "held", "left"), [row])


def balance_of(slot: CapSlot) -> CapBalance:
    """The balance of one limit of a cap."""
    limit = slot.counted or PLAIN.with_amount(slot.amount)
    counts = (slot.amount, max(0, slot.spent + slot.elsewhere), slot.on_hold, slot.left)
    most, spent, held, left = map(to_usd, counts) if limit.unit == "usd" else counts
    return CapBalance(most, spent, held, left, limit.unit, str(limit))
