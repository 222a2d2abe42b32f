"""What a case of malice must not bring about."""

from __future__ import annotations


class HarmError(AssertionError):
    """It did."""


def require(holds: bool, text: str) -> None:
    """Raise unless something holds.

    Args:
        holds: whether it does.
        text: what it is, and what was found instead.
    """
    if not holds:
        raise HarmError(text)
