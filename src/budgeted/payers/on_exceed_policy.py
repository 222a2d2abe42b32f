"""What happens to a call that does not fit: its output capped, a wait, other models, a refusal or a warning."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from budgeted.validation import check_seconds, check_text, shown

ON_EXCEED = ("clamp", "raise", "warn")


class Policy(msgspec.Struct, frozen=True):
    """What happens to a call that does not fit.

    Args:
        on_exceed: ``"clamp"``, ``"raise"`` or ``"warn"``.
        wait: seconds to wait while only calls in flight are in the way, or a tokenizer is being loaded.
        fallback: models to try after that.
    """

    on_exceed: str = "clamp"
    wait: float = 30.0
    fallback: tuple[str, ...] = ()


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


def check_fallback(value: object) -> tuple[str, ...]:
    """Models to fall back to: one name, or several."""
    models = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else None
    if models is None or not all(isinstance(model, str) and model for model in models):
        msg = f"fallback must be a model's name or a list of them, got {shown(value)}"
        raise TypeError(msg)
    return tuple(check_text(model, "fallback") for model in models)
