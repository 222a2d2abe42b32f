"""What limits are counted in, and how many of it as people write them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from budgeted.money import format_usd, short_usd

Unit: TypeAlias = Literal["usd", "tokens", "calls", "input tokens", "output tokens", "tool calls"]
"""USD are counted in nano-USD; "tokens" are input and output together, "calls" those of models."""


def amount_text(amount: int, unit: str) -> str:
    """An amount as people write it.

    Args:
        amount: in nano-USD, or in the unit itself.
        unit: one of :data:`Unit`.

    Example:
        >>> amount_text(500_000_000, "usd"), amount_text(20_000, "input tokens"), amount_text(1, "calls")
        ('$0.50', '20,000 input tokens', '1 call')
    """
    if unit == "usd":
        return format_usd(amount)
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"


def short_amount(amount: int, unit: str) -> str:
    """An amount as a glance reads it: USD rounded to what matters, anything else as it is.

    Args:
        amount: in nano-USD, or in the unit itself.
        unit: one of :data:`Unit`.

    Example:
        >>> short_amount(6_040_616_750, "usd"), short_amount(1, "calls")
        ('$6.04', '1 call')
    """
    return short_usd(amount) if unit == "usd" else amount_text(amount, unit)
