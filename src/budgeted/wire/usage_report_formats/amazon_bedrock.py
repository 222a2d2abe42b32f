"""Amazon Bedrock's Converse, where cached input is counted apart, and the units of its guardrails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from budgeted.pricing.usage import Usage
from budgeted.wire.sdk_object_fields import Fields, fields_of
from budgeted.wire.usage_report_formats.unread_numbers import Known, count, names, unread

KNOWN: Final[Known] = {
    "": names(
        "inputTokens outputTokens totalTokens cacheReadInputTokens cacheWriteInputTokens cacheDetails",
        "cacheReadInputTokenCount cacheWriteInputTokenCount",
    ),
    "cacheDetails": names("ttl inputTokens"),
}
"""What is read here, and sums and repetitions."""

_GUARDED: Final = names(
    "topicPolicyUnits contentPolicyUnits contentPolicyImageUnits sensitiveInformationPolicyUnits",
    "contextualGroundingPolicyUnits automatedReasoningPolicyUnits",
)
"""Those of words and of regular expressions are free (https://aws.amazon.com/bedrock/pricing/)."""

_MOST_ASSESSED: Final = 200

_HEADER: Final = "x-amzn-bedrock-{}-token-count"
_HEADERS: Final = {
    "inputTokens": "input",
    "outputTokens": "output",
    "cacheReadInputTokens": "cache-read-input",
    "cacheWriteInputTokens": "cache-write-input",
}


def counts_in_headers(headers: Mapping[str, str]) -> dict[str, int]:
    """What the headers of an invocation's answer say that it is billed for, as Converse would say it; {} for nothing.

    Args:
        headers: by names in lower case, or in any.
    """
    found = {name: str(headers.get(_HEADER.format(kind), "")) for name, kind in _HEADERS.items()}
    return {name: int(text) for name, text in found.items() if text.isascii() and text.isdigit()}


def converse_usage(fields: Fields, tier: str | None) -> Usage:
    """Read a report of https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html."""
    read, written = count(fields, "cacheReadInputTokens"), count(fields, "cacheWriteInputTokens")
    for_an_hour = 0
    for each in fields.get("cacheDetails") or ():
        part = fields_of(each)
        if part.get("ttl") == "1h":
            for_an_hour += count(part, "inputTokens")
    return Usage(
        count(fields, "inputTokens") + read + written,
        count(fields, "outputTokens"),
        read,
        written,
        for_an_hour,
        service_tier=tier,
        unread=unread(fields, KNOWN),
    )


def guardrail_units(fields: Fields) -> int:
    """The units that guardrails have read for an answer, as its trace tells, where one was asked for."""
    trace = fields_of(fields.get("trace") or fields.get("amazon-bedrock-trace"))
    found, pending = 0, [fields_of(trace.get("guardrail"))]
    for _ in range(_MOST_ASSESSED):  # of the input one, and of the output one for each guardrail, in lists
        if not pending:
            break
        each = pending.pop()
        usage = fields_of(fields_of(each.get("invocationMetrics")).get("usage"))
        found += sum(count(usage, unit) for unit in _GUARDED)
        if not usage:
            for value in each.values():
                parts = value if isinstance(value, (list, tuple)) else (value,)
                pending += [fields_of(part) for part in parts if isinstance(part, (dict, list))]
    return found
