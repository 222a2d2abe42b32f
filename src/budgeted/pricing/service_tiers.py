"""The names of service tiers: which of them mean the standard one, and which there are at all."""

from __future__ import annotations

from typing import Final

STANDARD: Final = frozenset(
    {
        # https://developers.openai.com/api/docs/api-reference/chat/object
        "default",
        "auto",
        # https://platform.claude.com/docs/en/api/service-tiers
        "standard",
        "standard_only",
        # https://console.groq.com/docs/service-tiers
        "on_demand",
        # https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse#TrafficType
        "traffic_type_unspecified",
        "unspecified",
        "",
    }
)
"""What providers call the tier whose rates a price has without further words."""

APART: Final = frozenset(
    {
        # https://developers.openai.com/api/docs/pricing
        "priority",
        "flex",
        "fast",
        "batch",
        "scale",
        # https://console.groq.com/docs/service-tiers
        "performance",
        # https://docs.aws.amazon.com/bedrock/latest/userguide/service-tiers-inference.html
        "reserved",
        # https://docs.aws.amazon.com/bedrock/latest/userguide/latency-optimized-inference.html
        "optimized",
        # https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse#TrafficType
        "provisioned_throughput",
        # https://docs.perplexity.ai/docs/getting-started/pricing: by the size of a search's context
        "low",
        "medium",
        "high",
        # https://mistral.ai/pricing: pages that are read with annotations
        "annotated",
    }
)
"""Tiers that some provider has beside the standard one."""


def is_one(name: str) -> bool:
    """Whether some provider has a tier of this name.

    Example:
        >>> is_one("Flex"), is_one("nope")
        (True, False)
    """
    return tier_of(name) in STANDARD | APART


def tier_of(name: str) -> str:
    """Return the name that a tier has here, of the one that a provider gives it.

    Example:
        >>> tier_of("SERVICE_TIER_FLEX"), tier_of("ON_DEMAND_PRIORITY"), tier_of("Priority")
        ('flex', 'priority', 'priority')
    """
    short = name.strip().lower().removeprefix("service_tier_")
    return short if short == "on_demand" else short.removeprefix("on_demand_")
