"""Ollama: https://docs.ollama.com/api/usage."""

from __future__ import annotations

from typing import Final

from budgeted.pricing.usage import Usage
from budgeted.wire.sdk_object_fields import Fields
from budgeted.wire.usage_report_formats.unread_numbers import Known, count, names, unread

KNOWN: Final[Known] = {
    "": names(
        "prompt_eval_count eval_count total_duration load_duration prompt_eval_duration eval_duration",
        "model remote_model remote_host created_at done done_reason message response thinking context logprobs",
        "embedding embeddings image completed total",
    )
}
"""What is read here, and all the rest of an answer: its counts are among what else it says."""


def ollama_usage(fields: Fields, tier: str | None) -> Usage:
    """Read an answer that has one of the counts. Of a prompt that was cached, there is none.

    https://github.com/ollama/ollama/issues/2068
    """
    if fields.get("prompt_eval_count") is None:
        return Usage(0, count(fields, "eval_count"), service_tier=tier, unread=("prompt_eval_count",))
    return Usage(
        count(fields, "prompt_eval_count"),
        count(fields, "eval_count"),
        service_tier=tier,
        unread=unread(fields, KNOWN),
    )
