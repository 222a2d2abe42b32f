"""What happens to a call that does not fit: its output capped, a wait, other models, a refusal or a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

import msgspec

from budgeted.validation import check_seconds, check_text, shown

ON_EXCEED = ("clamp", "raise", "warn", "ask")

Fallback: TypeAlias = "str | tuple[float, str]"
"""A model to try instead of refusing; with a share of a limit from which on it is asked at once."""

degrading: list[bool] = []
"""Whether any policy has a cheaper model for the end of a limit: while it is empty, nobody looks how much is spent."""


class Policy(msgspec.Struct, frozen=True):
    """What happens to a call that does not fit.

    Args:
        on_exceed: ``"clamp"``, ``"raise"``, ``"warn"`` or ``"ask"``.
        wait: seconds to wait while only calls in flight are in the way, or a tokenizer is being loaded.
        fallback: models to try after that, and those to ask for instead when a share of a limit is spent.
    """

    on_exceed: str = "clamp"
    wait: float = 30.0
    fallback: tuple[Fallback, ...] = ()

    @property
    def models(self) -> list[str]:
        """The models to try instead of refusing."""
        return [one if isinstance(one, str) else one[1] for one in self.fallback]

    def instead(self, spent: int, amount: int) -> tuple[Fraction, str] | None:
        """The model to ask for once so much of an amount is spent, and from which share on; None for the one named."""
        reached = [
            (Fraction(repr(share)), model)
            for share, model in (one for one in self.fallback if not isinstance(one, str))
            if spent >= Fraction(repr(share)) * amount
        ]
        return max(reached, default=None)


def make_policy(base: Policy, on_exceed: str | None, fallback: object, wait: float | None) -> Policy | None:
    """A block's own policy over its manager's, or None if the block says nothing.

    Raises:
        ValueError, TypeError: a value makes no sense; the text quotes it.
    """
    if on_exceed is None and fallback is None and wait is None:
        return None
    return Policy(
        base.on_exceed if on_exceed is None else check_on_exceed(on_exceed),
        base.wait if wait is None else check_seconds(wait, "wait"),
        base.fallback if fallback is None else check_fallback(fallback),
    )


def check_on_exceed(value: object) -> str:
    """One of the words for ``on_exceed``."""
    if value not in ON_EXCEED:
        msg = f"on_exceed={shown(value)} is not known; write one of {', '.join(map(repr, ON_EXCEED))}"
        raise ValueError(msg)
    return str(value)


def check_fallback(value: object) -> tuple[Fallback, ...]:
    """Models to fall back to: one name, or several, or a mapping of shares of a limit to names."""
    if isinstance(value, Mapping):
        pairs = sorted((_share(share), check_text(model, "fallback")) for share, model in value.items())
        if pairs:
            degrading[:] = [True]
        return tuple(pairs)
    if isinstance(value, Sequence) and value and all(isinstance(one, tuple) for one in value):  # checked before
        return check_fallback(dict(value))
    models = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else None
    if models is None or not all(isinstance(model, str) and model for model in models):
        msg = (
            f"fallback must be a model's name, a list of them, or the model for when a share of a limit is spent, such "
            f'as {{0.8: "gpt-5-mini"}}, got {shown(value)}'
        )
        raise TypeError(msg)
    return tuple(check_text(model, "fallback") for model in models)


def _share(value: object) -> float:
    """A share of a limit: a number, or text such as ``"0.8"`` or ``"80%"``."""
    try:
        if isinstance(value, str):
            number = value.removesuffix("%")
            share = float(number) / (100 if number != value else 1)
        else:
            share = check_seconds(value, "fallback")
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share <= 1:
        msg = f"fallback's shares of a limit are above 0 and at most 1, such as 0.8, got {shown(value)}"
        raise ValueError(msg)
    return share
