"""What the tests of prices share: a price that must be known, and amounts in USD."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from budgeted.pricing import price_registry

if TYPE_CHECKING:
    from budgeted.pricing.model_price import Price


def found(model: str, provider: str | None = None, base_url: str | None = None) -> Price:
    """The price of a model, which must be known."""
    price = price_registry.find(model, provider, base_url)
    assert price is not None
    return price


def usd(nano: int) -> Decimal:
    """USD of nano-USD."""
    return Decimal(nano) / 10**9
