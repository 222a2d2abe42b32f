"""Which dearer tokens a call may use, as far as its own words tell, whoever is asked in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from budgeted import prices

_IN: Final = {"audio": prices.AUDIO, "image": prices.IMAGE, "video": prices.IMAGE}
_OUT: Final = {"audio": prices.AUDIO_OUT, "image": prices.IMAGE_OUT}
_DRAWS: Final = ("image", "banana")
"""Parts of the names of models that answer with pictures unless they are told not to."""


def kinds_of(model: str, body: Mapping[str, Any]) -> int:
    """Which dearer tokens a call may use, as :meth:`budgeted.prices.Price.bound` takes them.

    Args:
        model: the model asked for.
        body: what it is asked, by the names that OpenAI, Anthropic or Google have for it.
    """
    wanted = body.get("modalities")
    if not isinstance(wanted, (list, tuple)):
        wanted = ("image",) if any(part in model for part in _DRAWS) else ()
    found = 0
    for modality in wanted:
        found |= _OUT.get(str(modality).lower(), 0)
    pending: list[Any] = [body]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            found |= _kinds_in(item)
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return found


def _kinds_in(part: Mapping[str, Any]) -> int:
    """What one part of a request says: its type or its MIME type, and whether it is to be kept in a cache."""
    cached = part.get("cache_control")
    if cached is None:
        found = 0
    else:
        keep = cached.get("ttl") if isinstance(cached, Mapping) else None
        found = prices.CACHE_WRITE_1H if keep == "1h" else prices.CACHE_WRITE
    for name in ("type", "mime_type", "mimeType", "format"):
        kind = part.get(name)
        if isinstance(kind, str):
            found |= _IN.get(kind.removeprefix("input_").partition("/")[0].partition("_")[0], 0)
    return found
