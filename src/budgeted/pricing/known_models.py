"""The names of all models whose price is known: for telling which one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from budgeted.pricing import bundled_price_list, price_registry

MOST_NEAR = 5


def nearest(model: str, provider: str | None = None) -> list[str]:
    """The names most like one that nobody knows, the nearest first.

    Args:
        model: that name.
        provider: whose models are meant; None for anybody's.

    Example:
        >>> nearest("gtp-5-mini")[0]
        'gpt-5-mini'
    """
    names = {name.lower(): name for name in _names(provider)}
    bare = model.lower().rpartition("/")[2]
    found = difflib.get_close_matches(model.lower(), names, MOST_NEAR) or difflib.get_close_matches(
        bare, names, MOST_NEAR
    )
    return [names[name] for name in found]


def beginning(text: str) -> list[str]:
    """The names that begin with a text, in order.

    Example:
        >>> "gpt-5-mini" in beginning("gpt-5")
        True
    """
    return sorted({name for name in _names(None) if name.startswith(text)})


def _names(provider: str | None) -> Iterator[str]:
    for one in price_registry.registered():
        if not one.is_pattern:
            yield one.model
    yield from bundled_price_list.models(provider)
