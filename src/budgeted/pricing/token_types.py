"""The types of tokens that may cost more than text, and which of them a request may use as far as its words tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Types of tokens that may cost more than plain text, as bits: a call may use several.
CACHE_WRITE: Final = 1
CACHE_WRITE_1H: Final = 2
AUDIO: Final = 4
IMAGE: Final = 8
AUDIO_OUT: Final = 16
IMAGE_OUT: Final = 32
EVERY_KIND: Final = 63
_IN: Final = {"audio": AUDIO, "image": IMAGE, "video": IMAGE}
_OUT: Final = {"audio": AUDIO_OUT, "image": IMAGE_OUT, "video": IMAGE_OUT}


def kinds_of(model: str, body: Mapping[str, object]) -> int:
    """Which dearer tokens a call may use, as :meth:`budgeted.pricing.model_price.Price.bound` takes them.

    Args:
        model: the model asked for.
        body: what it is asked, by the names that OpenAI, Anthropic or Google have for it.
    """
    return kinds_out(model, body.get("modalities")) | kinds_in(body)


def draws(model: str) -> bool:
    """Whether a model answers with pictures unless it is told not to."""
    return "image" in model or "banana" in model


def kinds_out(model: str, modalities: object) -> int:
    """Which dearer tokens an answer may have.

    Args:
        model: the model asked for.
        modalities: those that the request names; anything but a list for none.
    """
    if not isinstance(modalities, (list, tuple)):
        modalities = ("image",) if draws(model) else ()
    found = 0
    for modality in modalities:
        found |= _OUT.get(str(modality).lower(), 0)
    return found


def kinds_in(prompt: object) -> int:
    """Which dearer tokens a prompt may have: those of sound and pictures in it, and those that are written to a cache.

    Args:
        prompt: a request or a part of one, as its provider has it.
    """
    found = 0
    pending: list[object] = [prompt]
    while pending:
        item = pending.pop()
        if item.__class__ is str:
            continue
        if isinstance(item, Mapping):
            found |= _kinds_of_part(item)
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return found


def _kinds_of_part(part: Mapping[str, object]) -> int:
    """What one part of a request says: its type or its MIME type, and whether it is to be kept in a cache."""
    cached = part.get("cache_control")
    if cached is None:
        cached = part.get("cachePoint")  # Amazon's
    if cached is None:
        found = 0
    else:
        keep = cached.get("ttl") if isinstance(cached, Mapping) else None
        found = CACHE_WRITE_1H if keep == "1h" else CACHE_WRITE
    for name in ("type", "mime_type", "mimeType", "format"):
        kind = part.get(name)
        if isinstance(kind, str):
            found |= _IN.get(kind.removeprefix("input_").partition("/")[0].partition("_")[0], 0)
    return found
