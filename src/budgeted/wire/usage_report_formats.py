"""What providers report that a call used, each in its own shape, as one kind of counts.

OpenAI's chat and responses, Anthropic's messages, Google's Gemini and interactions, Amazon's Converse, Cohere, Ollama,
and those that speak like them. A report that makes no sense (negative, text, parts larger than the whole) is no report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from budgeted.pricing.model_price import gemini_bills_answers
from budgeted.pricing.usage import COUNTS, Counts, Usage
from budgeted.wire.sdk_object_fields import EMPTY, Fields, fields_of

_READ = (Counts, Usage)
MOST_TOKENS = 100_000_000
"""More than this in one call is nonsense: no model has such a context."""


def read_usage(usage: object, tier: str | None = None) -> Counts | None:
    """A provider's usage report as its counts, or None if there is none or it makes no sense.

    Args:
        usage: the report: an SDK's object, a mapping, or counts that were read before.
        tier: the service tier that the response names beside it.
    """
    if usage is None:
        return None
    if usage.__class__ in _READ:
        return usage
    fields = fields_of(usage)
    try:
        if "prompt_tokens" in fields:
            return _chat_usage(fields, tier)
        if "input_tokens" in fields:
            return _messages_usage(fields, tier)
        for name, reader in _OTHERS:
            if name in fields:
                return reader(fields)
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError):
        pass
    return None


def report_in(fields: Fields) -> object:
    """A response's usage report, by whatever name its provider gives it; None if it has none."""
    for name in ("usage", "usageMetadata", "usage_metadata"):
        found = fields.get(name)
        if found is not None:
            return found
    for name, inner in (("x_groq", "usage"), ("meta", "billed_units"), ("delta", "usage")):
        found = fields_of(fields.get(name))
        if found.get(inner) is not None:
            return found if inner == "billed_units" else found[inner]
    if fields.get("predictions"):
        return {"promptTokenCount": _vertex_tokens(fields["predictions"])}
    return fields if fields.get("prompt_eval_count") is not None else None  # Ollama's, among what else it says


def _chat_usage(fields: Fields, tier: str | None) -> Counts | None:
    """OpenAI's chat completions and their imitators: totals that include their subsets."""
    prompt = fields["prompt_tokens"]
    completion = fields.get("completion_tokens")
    if completion is None:
        completion = 0  # embeddings
    total = fields.get("total_tokens")
    # xAI leaves reasoning out of completion_tokens, not out of the total.
    if total.__class__ is int and total - prompt > completion:
        completion = total - prompt
    if prompt < 0 or completion < 0 or prompt > MOST_TOKENS or completion > MOST_TOKENS:
        return None
    more_in = fields.get("prompt_tokens_details")
    more_out = fields.get("completion_tokens_details")
    if more_in is more_out is None:
        cached = fields.get("prompt_cache_hit_tokens")
        if not cached and prompt.__class__ is completion.__class__ is int:
            # Most answers: checked above, and so without the checks of Usage.
            return Counts(prompt, completion, service_tier=tier)
        return Usage(prompt, completion, cached or 0, service_tier=tier)
    ins = fields_of(more_in) if more_in is not None else EMPTY
    outs = fields_of(more_out) if more_out is not None else EMPTY
    written, for_an_hour = ins.get("cache_write_tokens") or 0, 0
    if "cache_creation_tokens" in ins:  # LiteLLM's names for what Anthropic and Bedrock report
        written = written or ins["cache_creation_tokens"] or 0
        tier = "fast" if fields.get("speed") == "fast" else tier
        for_an_hour = fields_of(ins.get("cache_creation_token_details")).get("ephemeral_1h_input_tokens") or 0
    return Usage(
        prompt,
        completion,
        ins.get("cached_tokens") or 0,
        written,
        for_an_hour,
        min(outs.get("reasoning_tokens") or 0, completion),
        ins.get("audio_tokens") or 0,
        0,
        outs.get("audio_tokens") or 0,
        ins.get("image_tokens") or 0,
        outs.get("image_tokens") or 0,
        fields_of(fields.get("server_tool_use")).get("web_search_requests") or ins.get("web_search_requests") or 0,
        tier,
    )


def _messages_usage(fields: Fields, tier: str | None) -> Counts | None:
    """Anthropic's messages, where cached input is counted apart, and OpenAI's responses, where it is included."""
    sent = fields["input_tokens"]
    output = fields.get("output_tokens") or 0
    if not 0 <= output <= MOST_TOKENS:
        return None
    if "cache_read_input_tokens" in fields or "cache_creation_input_tokens" in fields:
        read = fields.get("cache_read_input_tokens") or 0
        written = fields.get("cache_creation_input_tokens") or 0
        split = fields_of(fields.get("cache_creation"))
        tools = fields_of(fields.get("server_tool_use"))
        speed = fields.get("speed")
        sent = (sent or 0) + read + written
        if not 0 <= sent <= MOST_TOKENS:
            return None
        used = Usage(
            sent,
            output,
            read,
            written,
            split.get("ephemeral_1h_input_tokens") or 0,
            web_searches=tools.get("web_search_requests") or 0,
            service_tier="fast" if speed == "fast" else fields.get("service_tier") or tier,
        )
        iterations = fields.get("iterations")
        return used if not iterations else _with_compactions(used, iterations)
    if not 0 <= sent <= MOST_TOKENS:
        return None
    ins = fields_of(fields.get("input_tokens_details") or fields.get("input_token_details"))
    outs = fields_of(fields.get("output_tokens_details"))
    return Usage(
        sent,
        output,
        ins.get("cached_tokens") or 0,
        ins.get("cache_write_tokens") or 0,
        reasoning_tokens=min(outs.get("reasoning_tokens") or 0, output),
        input_audio_tokens=ins.get("audio_tokens") or 0,
        output_audio_tokens=outs.get("audio_tokens") or 0,
        input_image_tokens=ins.get("image_tokens") or 0,
        output_image_tokens=outs.get("image_tokens") or 0,
        web_searches=fields.get("webSearches") or 0,  # noted by who reads a stream: they come apart from its usage
        service_tier=tier,
    )


def _with_compactions(used: Usage, iterations: Iterable[object]) -> Usage:
    """What Anthropic bills with the compactions of the context, which are in none of the totals.

    https://platform.claude.com/docs/en/build-with-claude/compaction
    """
    for each in iterations:
        iteration = fields_of(each)
        more = _messages_usage(iteration, None) if iteration.get("type") == "compaction" else None
        if more is not None:
            counts = {name: getattr(used, name) + getattr(more, name) for name in COUNTS}
            used = Usage(**counts, service_tier=used.service_tier)
    return used


def with_searches(usage: Counts, fields: Fields) -> Counts:
    """What an answer of OpenAI's responses used, with the searches that it tells of."""
    made = usage.web_searches or searches(fields)
    return msgspec.structs.replace(usage, web_searches=made) if made else usage


def searches(fields: Fields) -> int:
    """How many searches an answer of OpenAI's responses counts as billed, or its items tell of.

    Pages that were opened are not billed.
    """
    told = fields.get("tool_usage")
    billed = None if told is None else fields_of(fields_of(told).get("web_search")).get("num_requests")
    if billed.__class__ is int and 0 <= billed <= MOST_TOKENS:
        return billed
    output = fields["output"]
    found = 0
    for item in output if output.__class__ is list else ():
        inner = fields_of(item)
        if inner.get("type") == "web_search_call":
            found += fields_of(inner.get("action")).get("type", "search") == "search"
    return found


_QUERIES = (("webSearchQueries", "web_search_queries"), ("imageSearchQueries", "image_search_queries"))


def gemini_searches(fields: Fields) -> int:
    """The searches that grounded an answer and are billed. Places on a map are grounded by one, however many."""
    asked = 0
    for candidate in fields.get("candidates") or ():
        inner = fields_of(candidate)
        grounding = fields_of(inner.get("groundingMetadata", inner.get("grounding_metadata")))
        found = 0
        for name, snake in _QUERIES:
            queries = grounding.get(name, grounding.get(snake))
            found += len(queries) if isinstance(queries, list) else 0
        chunks = grounding.get("groundingChunks", grounding.get("grounding_chunks")) or () if not found else ()
        asked += found or any(fields_of(chunk).get("maps") is not None for chunk in chunks)
    model = str(fields.get("modelVersion", fields.get("model_version"))).rpartition("/")[2]
    return min(asked, 1) if gemini_bills_answers(model) else asked


def _gemini_usage(fields: Fields) -> Usage | None:
    """Google's Gemini: thoughts and what tools brought are counted apart from the rest, cached input is not.

    https://ai.google.dev/api/generate-content#UsageMetadata
    """
    if fields.get("promptTokenCount", fields.get("prompt_token_count")) is None:
        return None

    def count(name: str, snake: str) -> int:
        found: int = fields.get(name) or fields.get(snake) or 0
        if found < 0:
            raise ValueError(name)
        return found

    sent = count("promptTokenCount", "prompt_token_count") + count(
        "toolUsePromptTokenCount", "tool_use_prompt_token_count"
    )
    thoughts = count("thoughtsTokenCount", "thoughts_token_count")
    made = count("candidatesTokenCount", "candidates_token_count") + thoughts
    # Some models leave a part of the output out of its count, not out of the total.
    output = max(made, count("totalTokenCount", "total_token_count") - sent)
    if sent > MOST_TOKENS or output > MOST_TOKENS:
        return None
    ins = _by_modality(fields, "promptTokensDetails", "prompt_tokens_details")
    cached = _by_modality(fields, "cacheTokensDetails", "cache_tokens_details")
    outs = _by_modality(fields, "candidatesTokensDetails", "candidates_tokens_details")
    return Usage(
        sent,
        output,
        count("cachedContentTokenCount", "cached_content_token_count"),
        reasoning_tokens=thoughts,
        input_audio_tokens=ins.get("AUDIO", 0),
        cached_audio_tokens=min(cached.get("AUDIO", 0), ins.get("AUDIO", 0)),
        output_audio_tokens=outs.get("AUDIO", 0),
        input_image_tokens=ins.get("IMAGE", 0) + ins.get("VIDEO", 0),
        output_image_tokens=outs.get("IMAGE", 0) + outs.get("VIDEO", 0),
        web_searches=fields.get("webSearches") or 0,  # noted by who reads a stream: they come apart from its usage
    )


def _interaction_usage(fields: Fields) -> Usage | None:
    """Google's interactions: what Gemini says, by other names.

    https://ai.google.dev/api/interactions-api
    """
    sent = (fields["total_input_tokens"] or 0) + (fields.get("total_tool_use_tokens") or 0)
    thoughts = fields.get("total_thought_tokens") or 0
    made = (fields.get("total_output_tokens") or 0) + thoughts
    output = max(made, (fields.get("total_tokens") or 0) - sent)
    if not 0 <= sent <= MOST_TOKENS or not 0 <= output <= MOST_TOKENS:
        return None
    ins = _by_modality(fields, "input_tokens_by_modality", "")
    outs = _by_modality(fields, "output_tokens_by_modality", "")
    grounded = [fields_of(each) for each in fields.get("grounding_tool_count") or ()]
    return Usage(
        sent,
        output,
        fields.get("total_cached_tokens") or 0,
        reasoning_tokens=thoughts,
        input_audio_tokens=ins.get("AUDIO", 0),
        output_audio_tokens=outs.get("AUDIO", 0),
        input_image_tokens=ins.get("IMAGE", 0) + ins.get("VIDEO", 0),
        output_image_tokens=outs.get("IMAGE", 0) + outs.get("VIDEO", 0),
        web_searches=sum(each.get("count") or 0 for each in grounded if each.get("type") != "retrieval"),
    )


def _vertex_tokens(predictions: Iterable[object]) -> int | None:
    """The tokens that embeddings on Vertex AI have read: each says its own."""
    counts = [fields_of(fields_of(fields_of(each).get("embeddings")).get("statistics")) for each in predictions]
    return sum(each["token_count"] for each in counts) if all("token_count" in each for each in counts) else None


def _by_modality(fields: Fields, name: str, snake: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in fields.get(name) or fields.get(snake) or ():
        part = fields_of(item)
        modality = part.get("modality")
        kind = str(getattr(modality, "value", modality)).upper()
        tokens = part.get("tokenCount") or part.get("token_count") or part.get("tokens") or 0
        found[kind] = found.get(kind, 0) + tokens
    return found


def _cohere_usage(fields: Fields) -> Usage | None:
    """Cohere: what is billed, in floats, which is not what its tokenizer counted.

    https://docs.cohere.com/reference/chat
    """
    billed = fields_of(fields["billed_units"])
    if billed.get("input_tokens") is None and billed.get("output_tokens") is None:
        return None
    sent = math.ceil(billed.get("input_tokens") or 0) + math.ceil(billed.get("image_tokens") or 0)
    output = math.ceil(billed.get("output_tokens") or 0)
    if not 0 <= sent <= MOST_TOKENS or not 0 <= output <= MOST_TOKENS:
        return None
    return Usage(sent, output)


def _ollama_usage(fields: Fields) -> Usage | None:
    """Ollama: https://docs.ollama.com/api/usage."""
    sent, output = fields["prompt_eval_count"], fields.get("eval_count") or 0
    if not 0 <= sent <= MOST_TOKENS or not 0 <= output <= MOST_TOKENS:
        return None
    return Usage(sent, output)


def _converse_usage(fields: Fields) -> Usage | None:
    """Amazon Bedrock's, where cached input is counted apart.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
    """
    read = fields.get("cacheReadInputTokens") or 0
    written = fields.get("cacheWriteInputTokens") or 0
    sent = fields["inputTokens"] + read + written
    output = fields.get("outputTokens") or 0
    if not 0 <= sent <= MOST_TOKENS or not 0 <= output <= MOST_TOKENS:
        return None
    for_an_hour = sum(one["inputTokens"] for one in fields.get("cacheDetails") or () if one.get("ttl") == "1h")
    return Usage(sent, output, read, written, for_an_hour)


_OTHERS = (
    ("inputTokens", _converse_usage),
    ("promptTokenCount", _gemini_usage),
    ("prompt_token_count", _gemini_usage),
    ("total_input_tokens", _interaction_usage),
    ("billed_units", _cohere_usage),
    ("prompt_eval_count", _ollama_usage),
)
"""Shapes of other providers, by a field that only they have."""
