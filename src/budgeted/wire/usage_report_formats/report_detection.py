"""Which shape a report has, and where in an answer it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from budgeted.pricing.usage import Counts, Usage
from budgeted.wire.sdk_object_fields import Fields, fields_of
from budgeted.wire.usage_report_formats.amazon_bedrock import converse_usage
from budgeted.wire.usage_report_formats.anthropic_messages import is_messages, messages_usage
from budgeted.wire.usage_report_formats.cohere import cohere_usage
from budgeted.wire.usage_report_formats.counts_by_other_names import token_counts
from budgeted.wire.usage_report_formats.google_gemini import gemini_usage, interaction_usage, vertex_tokens
from budgeted.wire.usage_report_formats.mistral_ocr import ocr_usage
from budgeted.wire.usage_report_formats.ollama import ollama_usage
from budgeted.wire.usage_report_formats.openai_chat_completions import chat_usage, total_usage
from budgeted.wire.usage_report_formats.openai_responses import duration_usage, responses_usage
from budgeted.wire.usage_report_formats.xai import xai_usage

_READ: Final = (Counts, Usage)


def read_usage(usage: object, tier: str | None = None, model: str = "") -> Counts | None:
    """A provider's usage report as its counts, or None if there is none or it makes no sense.

    Args:
        usage: the report: an SDK's object, a mapping, or counts that were read before.
        tier: the service tier that the response names beside it.
        model: the model that answered: some count in a way of their own.
    """
    if usage is None:
        return None
    if usage.__class__ in _READ:
        return usage
    return read_fields(fields_of(usage), tier, model)


def read_fields(fields: Fields, tier: str | None, model: str) -> Counts | None:
    """The same for a report's fields. A plain one is read as Counts, and any that says more as Usage."""
    try:
        if "prompt_tokens" in fields:
            if "cached_prompt_text_tokens" in fields:
                return xai_usage(fields, tier)
            return chat_usage(fields, tier, model)
        if "input_tokens" in fields:
            if fields.get("output_tokens", 0) is None:  # it was told, and not how many
                return None
            return messages_usage(fields, tier) if is_messages(fields) else responses_usage(fields, tier)
        for name, reader in _OTHERS:
            if name in fields:
                return reader(fields, tier)
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError):
        pass
    return None


_OTHERS: Final[tuple[tuple[str, Callable[[Fields, str | None], Counts | None]], ...]] = (
    ("inputTokens", converse_usage),
    ("promptTokenCount", gemini_usage),
    ("prompt_token_count", gemini_usage),
    ("total_input_tokens", interaction_usage),
    ("billed_units", cohere_usage),
    ("input_token_count", token_counts),
    ("prompt_eval_count", ollama_usage),
    ("pages_processed", ocr_usage),
    ("seconds", duration_usage),
    ("eval_count", ollama_usage),
    ("total_tokens", total_usage),
)
"""Shapes of other providers, by a field that only they have."""

_NAMES: Final = ("usage", "usageMetadata", "usage_metadata", "usage_info")


def report_in(fields: Fields) -> object:
    """A response's usage report, by whatever name its provider gives it; None if it has none."""
    for name in _NAMES:
        found = fields.get(name)
        if found is not None:
            return found
    for name, inner in (("x_groq", "usage"), ("meta", "billed_units"), ("delta", "usage")):
        found = fields_of(fields.get(name))
        if found.get(inner) is not None:
            return found if inner == "billed_units" else found[inner]
    choices = fields.get("choices")
    if choices and isinstance(choices, (list, tuple)):  # Moonshot's, in the last chunk of a stream
        found = fields_of(choices[0]).get("usage")
        if found is not None:
            return found
    counted = _counted(fields)
    if counted is not None:
        return counted
    if fields.get("predictions"):
        return {"promptTokenCount": vertex_tokens(fields["predictions"])}
    # Ollama's, among what else it says; of a prompt that was cached it gives no count.
    told = any(fields.get(name) is not None for name in ("prompt_eval_count", "eval_count"))
    return fields if told else None


def _counted(fields: Fields) -> object:
    """A report of watsonx, in its first result or beside them, or of Replicate; None if there is none."""
    if fields.get("input_token_count") is not None:
        return {"input_token_count": fields["input_token_count"]}
    results = fields.get("results")
    first = results[0] if results and isinstance(results, (list, tuple)) else fields.get("metrics")
    found = fields_of(first)
    return first if found.get("input_token_count") is not None else None
