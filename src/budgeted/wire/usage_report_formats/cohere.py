"""Cohere: what is billed, in floats, which is not what its tokenizer counted."""

from __future__ import annotations

from typing import Final

from budgeted.pricing.usage import Usage
from budgeted.wire.sdk_object_fields import Fields, fields_of
from budgeted.wire.usage_report_formats.unread_numbers import Known, count, names, unread

KNOWN: Final[Known] = {
    "": names("billed_units tokens cached_tokens api_version warnings"),
    "billed_units": names("input_tokens output_tokens image_tokens text_tokens images pages"),
}
"""What is read here, and what its tokenizer counted, which is not billed."""


def cohere_usage(fields: Fields, tier: str | None) -> Usage | None:
    """Read a report of https://docs.cohere.com/reference/chat or of embeddings; None for other units alone."""
    billed = fields_of(fields["billed_units"])
    pictures, drawn = count(billed, "images", whole=False), count(billed, "image_tokens", whole=False)
    pages = count(billed, "pages", whole=False)
    told = any(billed.get(name) is not None for name in ("input_tokens", "output_tokens", "image_tokens"))
    if not told and not pictures and not pages:
        return None
    fees = (("page", pages), ("image", 0 if drawn else pictures))  # the newer ones bill a picture's tokens
    return Usage(
        count(billed, "input_tokens", whole=False) + drawn,
        count(billed, "output_tokens", whole=False),
        input_image_tokens=drawn,
        service_tier=tier,
        fees=tuple((name, units) for name, units in fees if units),
        unread=unread(fields, KNOWN),
    )
