"""watsonx and Replicate: plain counts of tokens, by names of their own."""

from __future__ import annotations

from typing import Final

from budgeted.pricing.usage import Usage
from budgeted.wire.sdk_object_fields import Fields
from budgeted.wire.usage_report_formats.unread_numbers import Known, count, names, unread

KNOWN: Final[Known] = {
    "": names(
        "input_token_count generated_token_count output_token_count total_token_count seed "
        "predict_time total_time time_to_first_token tokens_per_second"
    )
}
"""What is read here, and how long it took, which is billed of other models, whose answers have no tokens."""


def token_counts(fields: Fields, tier: str | None) -> Usage | None:
    """Read a result of https://cloud.ibm.com/apidocs/watsonx-ai, or metrics of https://replicate.com/docs."""
    if fields.get("input_token_count") is None:
        return None
    return Usage(
        count(fields, "input_token_count"),
        count(fields, "generated_token_count") or count(fields, "output_token_count"),
        service_tier=tier,
        unread=unread(fields, KNOWN),
    )
