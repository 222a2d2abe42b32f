"""xAI's own API over gRPC: thoughts are counted apart, and tools of its own by each time that they were used."""

from __future__ import annotations

from collections import Counter
from typing import Final

from budgeted.pricing.usage import Usage
from budgeted.wire.sdk_object_fields import Fields
from budgeted.wire.usage_report_formats.unread_numbers import Known, count, names, unread

KNOWN: Final[Known] = {
    "": names(
        "prompt_tokens completion_tokens reasoning_tokens total_tokens prompt_text_tokens prompt_image_tokens",
        "cached_prompt_text_tokens num_sources_used server_side_tools_used cost_in_usd_ticks",
    )
}

_FEES: Final = {
    "CODE_EXECUTION": "code_session",
    "COLLECTIONS_SEARCH": "file_search",
    "ATTACHMENT_SEARCH": "file_search",
}
_FREE: Final = ("VIEW_IMAGE", "VIEW_X_VIDEO", "MCP", "INVALID")
"""Billed by the tokens that they bring (https://docs.x.ai/docs/models#tools-pricing)."""


_TIERS: Final = {
    "SERVICE_TIER_UNSPECIFIED": None,
    "SERVICE_TIER_DEFAULT": None,
    "SERVICE_TIER_PRIORITY": "priority",
}


def served_by_xai(told: str | None) -> str | None:
    """A service tier as prices know it; None for the usual one.

    Args:
        told: as xAI names it.
    """
    return _TIERS.get(told or "", told)


def xai_usage(fields: Fields, tier: str | None) -> Usage | None:
    """Read a SamplingUsage, with all of its fields (https://docs.x.ai/docs/grpc-reference)."""
    sent, thoughts = count(fields, "prompt_tokens"), count(fields, "reasoning_tokens")
    output = count(fields, "completion_tokens") + thoughts
    total = count(fields, "total_tokens")
    # Some models count their thoughts among what they wrote: the total tells, if it is told.
    output = max(count(fields, "completion_tokens"), total - sent) if total else output
    used = Counter(str(tool).removeprefix("SERVER_SIDE_TOOL_") for tool in fields.get("server_side_tools_used") or ())
    searches = used.pop("WEB_SEARCH", 0) + used.pop("X_SEARCH", 0)
    fees = Counter({"live_search": count(fields, "num_sources_used")})
    for tool, fee in _FEES.items():
        fees[fee] += used.pop(tool, 0)
    return Usage(
        sent,
        output,
        min(count(fields, "cached_prompt_text_tokens"), sent),
        reasoning_tokens=min(thoughts, output),
        input_image_tokens=min(count(fields, "prompt_image_tokens"), sent),
        web_searches=searches,
        service_tier=served_by_xai(tier),
        fees=tuple((name, units) for name, units in fees.items() if units),
        unread=(
            *unread(fields, KNOWN),
            *(f"server_side_tools_used.{tool}"[:80] for tool in used if tool not in _FREE),
        ),
    )
