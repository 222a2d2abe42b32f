"""OpenAI's chat completions and those that speak like them: totals that include their subsets."""

from __future__ import annotations

from typing import Final

from budgeted.pricing.usage import Counts, Usage
from budgeted.wire.sdk_object_fields import Fields, fields_of
from budgeted.wire.usage_report_formats.unread_numbers import (
    MOST_TOKENS,
    Known,
    count,
    milliseconds,
    names,
    text,
    unread,
)

_PLAIN_NAMES: Final = names(
    "prompt_tokens completion_tokens total_tokens prompt_tokens_details completion_tokens_details"
)
_SPEEDS: Final = names(
    # Groq (https://console.groq.com/docs/api-reference)
    "queue_time prompt_time completion_time total_time",
    # SambaNova (https://docs.sambanova.ai/docs/en/api-reference/overview)
    "time_to_first_token time_to_first_token_ms total_latency start_time end_time is_last_response acceptance_rate",
    "total_tokens_per_sec completion_tokens_per_sec completion_tokens_after_first_per_sec",
    "completion_tokens_after_first_per_sec_first_ten completion_tokens_after_first_per_sec_graph",
    "model_execution_time time_to_first_token_graph",
)
"""How fast it went, which nobody bills."""

KNOWN: Final[Known] = {
    "": _PLAIN_NAMES
    | _SPEEDS
    | names(
        "service_tier speed inference_geo webSearches",
        "cached_tokens num_cached_tokens prompt_cache_hit_tokens prompt_cache_miss_tokens",
        "cache_read_input_tokens cache_creation_input_tokens cache_creation",
        "cost cost_details is_byok estimated_cost cost_in_usd_ticks",
        "reasoning_tokens citation_tokens num_search_queries num_sources_used",
        "prompt_audio_seconds connector_tokens connectors server_tool_use",
    ),
    "prompt_tokens_details": names(
        "cached_tokens cache_write_tokens cache_creation_tokens cache_creation_input_tokens",
        "cache_creation_token_details cache_creation",
        "audio_tokens image_tokens text_tokens web_search_requests",
    ),
    "prompt_tokens_details.cache_creation_token_details": names("ephemeral_5m_input_tokens ephemeral_1h_input_tokens"),
    "prompt_tokens_details.cache_creation": names("ephemeral_5m_input_tokens ephemeral_1h_input_tokens"),
    "cache_creation": names("ephemeral_5m_input_tokens ephemeral_1h_input_tokens"),
    "completion_tokens_details": names(
        "reasoning_tokens audio_tokens image_tokens text_tokens",
        "accepted_prediction_tokens rejected_prediction_tokens",
    ),
    "server_tool_use": names("web_search_requests web_fetch_requests tool_search_requests"),
    "connectors": names("web_search code_interpreter image_generation document_library"),
}
"""What is read here, and sums, repetitions and parts that are billed as what they are parts of."""

_CONNECTORS: Final = (("code_interpreter", "code_session"), ("image_generation", "image"))
"""Mistral's, as it names them and as a fee (https://docs.mistral.ai/agents/connectors)."""


def chat_usage(fields: Fields, tier: str | None, model: str) -> Counts | None:
    """Read a report that has ``prompt_tokens``."""
    if fields.get("completion_tokens") is None:
        prompt = fields["prompt_tokens"]
        if prompt is None:
            return total_usage(fields, tier)
        if fields.get("total_tokens") not in (None, prompt):
            return None
        fields = {**fields, "completion_tokens": 0}  # embeddings, whose input is all there is
    return plain_usage(fields, tier, model) or _usage(fields, tier, model.rpartition("/")[2])


def plain_usage(fields: Fields, tier: str | None, model: str) -> Counts | None:
    """Read a report like most: nothing but the totals, what was cached and thought, and zeros; None if it says more."""
    prompt, completion = fields.get("prompt_tokens"), fields.get("completion_tokens")
    # All is checked here, and so without the checks of Usage.
    if (
        prompt.__class__ is int
        and completion.__class__ is int
        and _PLAIN_NAMES.issuperset(fields)
        and prompt >= 0
        and completion >= 0
        and (total := prompt + completion) <= MOST_TOKENS
        and fields.get("total_tokens") in (total, None)
        and "-search-" not in model
    ):
        ins, outs = fields.get("prompt_tokens_details"), fields.get("completion_tokens_details")
        if ins is None and outs is None:
            return Counts(prompt, completion, service_tier=tier)
        cached = only(fields_of(ins), "cached_tokens", IN_THE_INPUT)
        thought = only(fields_of(outs), "reasoning_tokens", IN_THE_OUTPUT)
        if 0 <= cached <= prompt and 0 <= thought <= completion:
            return Counts(prompt, completion, cached, reasoning_tokens=thought, service_tier=tier)
    return None


IN_THE_INPUT: Final = names("text_tokens")
IN_THE_OUTPUT: Final = names("text_tokens accepted_prediction_tokens rejected_prediction_tokens")
"""Parts that are billed as what they are parts of."""


def only(details: Fields, name: str, harmless: frozenset[str]) -> int:
    """A count of a report's details if nothing else in them matters; -1 if something does, or it is no count."""
    found = 0
    if not any(details.values()):  # most often: nothing was cached, and nothing thought
        return found
    for each, value in details.items():
        if not value:
            continue
        if value.__class__ is not int:
            return -1
        if each == name:
            found = value
        elif each not in harmless:
            return -1
    return found


def _usage(fields: Fields, tier: str | None, model: str) -> Usage | None:
    if fields["prompt_tokens"] is None:
        return None
    ins = fields_of(fields.get("prompt_tokens_details"))
    outs = fields_of(fields.get("completion_tokens_details"))
    sent, output = _totals(fields, model)
    reasoning = min(count(outs, "reasoning_tokens"), output)
    written, for_an_hour = _written(fields, ins)
    tools, connectors = fields_of(fields.get("server_tool_use")), fields_of(fields.get("connectors"))
    searches = (
        count(tools, "web_search_requests")
        or count(ins, "web_search_requests")
        or count(connectors, "web_search")
        or count(fields, "webSearches")
    )
    fees = {fee: count(connectors, name) for name, fee in _CONNECTORS}
    fees["live_search"] = count(fields, "num_sources_used")
    strangers = unread(fields, KNOWN)
    if "deep-research" in model and "sonar" in model:  # Perplexity's: these are in none of the totals
        thought = count(fields, "reasoning_tokens")
        output, reasoning = output + thought, reasoning + thought
        fees["citation_tokens"] = count(fields, "citation_tokens")
        searches = searches or count(fields, "num_search_queries")
    elif not model.startswith("sonar"):  # its others bill none of them
        strangers += tuple(_apart(fields, reasoning))
    if "-search-preview" in model or "-search-api" in model:
        searches = searches or 1  # one for each answer: https://developers.openai.com/api/docs/pricing
    return Usage(
        sent,
        output,
        count(ins, "cached_tokens") or count(fields, "prompt_cache_hit_tokens") or count(fields, "cached_tokens"),
        written,
        for_an_hour,
        reasoning,
        input_audio_tokens=count(ins, "audio_tokens"),
        output_audio_tokens=count(outs, "audio_tokens"),
        input_image_tokens=count(ins, "image_tokens"),
        output_image_tokens=count(outs, "image_tokens"),
        web_searches=searches,
        service_tier=text(fields, "search_context_size") if model.startswith("sonar") else served(fields, tier),
        audio_ms=milliseconds(fields, "prompt_audio_seconds"),
        fees=tuple((name, units) for name, units in fees.items() if units),
        region=text(fields, "inference_geo") or "",
        unread=strangers,
    )


def total_usage(fields: Fields, tier: str | None) -> Usage | None:
    """Read a report that has a total alone: what embeddings and rerankings have read, as Voyage tells it.

    https://docs.voyageai.com/reference/embeddings-api
    """
    if fields.get("total_tokens") is None or fields.get("completion_tokens"):
        return None  # how much of it was written decides what it costs
    known = {**KNOWN, "": KNOWN[""] | _OF_THE_TOTAL}
    return Usage(count(fields, "total_tokens"), service_tier=served(fields, tier), unread=unread(fields, known))


_OF_THE_TOTAL: Final = names("text_tokens image_pixels video_pixels image_tokens video_tokens")
"""Of what Voyage's total is made: so many pixels are a token."""


def served(fields: Fields, tier: str | None) -> str | None:
    """The service tier that a report tells of, or that the answer names beside it. Anthropic calls one a speed."""
    speed = text(fields, "speed")
    if speed is not None and speed != "standard":
        return speed
    return text(fields, "service_tier") or tier or speed


def _totals(fields: Fields, model: str) -> tuple[int, int]:
    """Input and output, with what some leave out of both of them, not out of their sum."""
    sent, output = count(fields, "prompt_tokens"), count(fields, "completion_tokens")
    total = fields.get("total_tokens")
    more = total - sent - output if total.__class__ is int and total <= 2 * MOST_TOKENS else 0
    brought = count(fields, "connector_tokens")
    if more > 0 and (model.startswith("grok") or "num_sources_used" in fields or "cost_in_usd_ticks" in fields):
        output += more  # xAI: what was spent thinking
    elif more > 0 and model.startswith("gemini"):
        # Google's endpoint leaves thoughts out, and gives no details. LiteLLM gives them, and leaves out of the input
        # what tools brought.
        if fields.get("completion_tokens_details") is None:
            output += more
        else:
            brought = more
    return sent + brought, output


def _written(fields: Fields, ins: Fields) -> tuple[int, int]:
    """Tokens written to a cache, and those that are kept for an hour: in LiteLLM's, OpenRouter's and Qwen's names."""
    written = (
        count(ins, "cache_write_tokens")
        or count(ins, "cache_creation_tokens")
        or count(ins, "cache_creation_input_tokens")
        or count(fields, "cache_creation_input_tokens")
    )
    split = fields_of(
        ins.get("cache_creation_token_details") or ins.get("cache_creation") or fields.get("cache_creation")
    )
    return written, count(split, "ephemeral_1h_input_tokens")


def _apart(fields: Fields, reasoning: int) -> list[str]:
    """Which of the counts that only some bill apart from the totals are told, and repeat nothing."""
    found = [name for name in ("citation_tokens", "num_search_queries") if count(fields, name)]
    if count(fields, "reasoning_tokens") > reasoning:
        found.append("reasoning_tokens")
    return found
