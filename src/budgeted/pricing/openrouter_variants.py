"""OpenRouter's variants of a model, which are suffixes of its name.

https://openrouter.ai/docs/guides/routing/model-variants
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from budgeted.pricing.price_entry import Entry
from budgeted.pricing.rate_schedule import Schedule
from budgeted.pricing.token_rates import rates_of

PER_RESULT: Final = 4_000_000_000
"""Pico-USD that OpenRouter bills for each result of a search of its own.

https://openrouter.ai/docs/guides/features/plugins/web-search
"""

RESULTS: Final = 5
"""How many results a search brings, unless the request says how many; same page."""

_SAME_PRICE: Final = frozenset({"nitro", "floor", "exacto", "thinking", "extended"})
"""Ways to choose among a model's providers, and settings of it: not listed apart, they cost what it costs."""


def variants_of(entry: Entry | None, names: Sequence[str], find: Callable[[str], Entry | None]) -> Entry | None:
    """Return the entry of a model by a name that may end in variants.

    A free one is free, one that searches (`online`) is billed for its results with each call, and the others cost what
    the model costs without them, where the list has no entry of their own.

    Args:
        entry: what the list has under the whole name.
        names: that name, in the spellings under which the list may have it.
        find: how an entry is found by one name.
    """
    if entry is not None:
        return entry
    for name in names:
        rest, colon, variant = name.rpartition(":")
        if not colon:
            continue
        variant = variant.lower()
        if variant == "free":
            return Entry("openrouter", name, None, Schedule.always(rates_of({})), {})
        if variant == "online":
            found = variants_of(find(rest), [rest], find)
            return (
                None
                if found is None
                else found.map(lambda rates: rates.with_given({"per_call": rates.per_call + RESULTS * PER_RESULT}))
            )
        if variant in _SAME_PRICE:
            found = variants_of(find(rest), [rest], find)
            if found is not None:
                return found
    return None
