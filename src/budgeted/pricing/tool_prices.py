"""What calls of tools cost: web searches, scrapers, and whatever else an application pays for by the call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from budgeted.money import nano_usd
from budgeted.pricing.price_arguments import Amount
from budgeted.validation import check_name

TOOL: Final = "tool"
"""The provider, as ledgers and reports know it, of calls of tools; the model is the tool's name."""

_registered: dict[str, int] = {}
"""Nano-USD per call, by the tools' names. Without a lock: each step on it is one of the interpreter's."""


def register_tool(name: str, *, per_call: Amount) -> None:
    """Tell what each call of a tool costs. Repeating it replaces the price.

    Args:
        name: the tool's, as ``hold(tool=...)`` and ``@budgeted(tool=...)`` name it.
        per_call: USD that one call costs; 0 for a tool that is only counted.

    Raises:
        TypeError: the name is no text, or the price no amount at all.
        ValueError: the name is empty or too long, or the price negative, not finite or absurd.

    Example:
        >>> register_tool("web_search", per_call=0.01)
    """
    _registered[check_name(name, "the name of a tool")] = nano_usd(per_call, "per_call")


def provider_of_model(name: object) -> str:
    """A model's provider as its caller names it, "" where that is no name: and no model's call is one of a tool."""
    return name if isinstance(name, str) and name != TOOL else ""


def find(name: str) -> int | None:
    """Nano-USD that one call of a tool costs, or None if nobody has told."""
    return _registered.get(name)


def registered() -> dict[str, int]:
    """What the application has registered so far: nano-USD per call, by the tools' names."""
    return dict(_registered)


def take_over(prices: Mapping[str, int]) -> None:
    """Register what is registered elsewhere, instead of what is here for the same tools."""
    _registered.update(prices)
