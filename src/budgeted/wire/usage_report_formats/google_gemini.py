"""Google's Gemini and its interactions: thoughts and what tools brought are counted apart, cached input is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from budgeted.pricing.model_price import gemini_bills_answers
from budgeted.pricing.usage import Usage
from budgeted.wire.sdk_object_fields import Fields, fields_of
from budgeted.wire.usage_report_formats.unread_numbers import Known, count, names, text, unread

_PART: Final = names("modality tokenCount token_count tokens")
_MODALITIES: Final = names("TEXT IMAGE AUDIO VIDEO DOCUMENT MODALITY_UNSPECIFIED NONE")
_LISTS: Final = names(
    "promptTokensDetails prompt_tokens_details promptTokenDetails prompt_token_details",
    "cacheTokensDetails cache_tokens_details candidatesTokensDetails candidates_tokens_details",
    "responseTokensDetails response_tokens_details toolUsePromptTokensDetails tool_use_prompt_tokens_details",
)
KNOWN: Final[Known] = {
    "": _LISTS
    | names(
        "promptTokenCount prompt_token_count toolUsePromptTokenCount tool_use_prompt_token_count",
        "candidatesTokenCount candidates_token_count responseTokenCount response_token_count",
        "thoughtsTokenCount thoughts_token_count totalTokenCount total_token_count",
        "cachedContentTokenCount cached_content_token_count",
        "trafficType traffic_type serviceTier service_tier webSearches",
    ),
    **dict.fromkeys(_LISTS, _PART),
}
"""What is read here, and sums and parts that are billed as what they are parts of."""

_INTERACTION_LISTS: Final = names(
    "input_tokens_by_modality output_tokens_by_modality cached_tokens_by_modality tool_use_tokens_by_modality"
)
KNOWN_OF_INTERACTIONS: Final[Known] = {
    "": _INTERACTION_LISTS
    | names(
        "total_input_tokens total_output_tokens total_tool_use_tokens total_thought_tokens total_reasoning_tokens",
        "total_cached_tokens total_tokens initial_input_tokens grounding_tool_count service_tier traffic_type",
    ),
    **dict.fromkeys(_INTERACTION_LISTS, _PART),
    "grounding_tool_count": names("type count"),
}

_UNSPECIFIED: Final = ("TRAFFIC_TYPE_UNSPECIFIED", "SERVICE_TIER_UNSPECIFIED", "UNSPECIFIED")
"""https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse#TrafficType"""

_FREE_GROUNDING: Final = ("retrieval",)


def served_by_google(fields: Fields, tier: str | None) -> str | None:
    """The tier that a report tells of, as Google names it; prices know it by that name."""
    for name in ("trafficType", "traffic_type", "serviceTier", "service_tier"):
        told = text(fields, name)
        if told is not None:
            return None if told.upper() in _UNSPECIFIED else told
    return tier


def gemini_usage(fields: Fields, tier: str | None) -> Usage | None:
    """Read a report of https://ai.google.dev/api/generate-content#UsageMetadata."""
    if fields.get("promptTokenCount", fields.get("prompt_token_count")) is None:
        return None

    def either(name: str, snake: str) -> int:
        return count(fields, name) or count(fields, snake)

    sent = either("promptTokenCount", "prompt_token_count") + either(
        "toolUsePromptTokenCount", "tool_use_prompt_token_count"
    )
    thoughts = either("thoughtsTokenCount", "thoughts_token_count")
    made = either("candidatesTokenCount", "candidates_token_count")
    made = (made or either("responseTokenCount", "response_token_count")) + thoughts
    # Some models leave a part of the output out of its count, not out of the total.
    output = max(made, either("totalTokenCount", "total_token_count") - sent)
    strangers = list(unread(fields, KNOWN))
    ins = _by_modality(fields, strangers, "promptTokensDetails", "prompt_tokens_details")
    ins = ins or _by_modality(fields, strangers, "promptTokenDetails", "prompt_token_details")
    cached = _by_modality(fields, strangers, "cacheTokensDetails", "cache_tokens_details")
    outs = _by_modality(fields, strangers, "candidatesTokensDetails", "candidates_tokens_details")
    outs = outs or _by_modality(fields, strangers, "responseTokensDetails", "response_tokens_details")
    usage = Usage(
        sent,
        output,
        either("cachedContentTokenCount", "cached_content_token_count"),
        reasoning_tokens=thoughts,
        web_searches=count(fields, "webSearches"),  # noted by who reads a stream: they come apart from its usage
        service_tier=served_by_google(fields, tier),
        unread=tuple(strangers),
    )
    return _with_media(usage, ins, cached, outs)


def interaction_usage(fields: Fields, tier: str | None) -> Usage | None:
    """Read what Gemini says by other names: https://ai.google.dev/api/interactions-api."""
    sent = count(fields, "total_input_tokens") + count(fields, "total_tool_use_tokens")
    thoughts = count(fields, "total_thought_tokens") or count(fields, "total_reasoning_tokens")
    output = max(count(fields, "total_output_tokens") + thoughts, count(fields, "total_tokens") - sent)
    strangers = list(unread(fields, KNOWN_OF_INTERACTIONS))
    ins = _by_modality(fields, strangers, "input_tokens_by_modality", "")
    outs = _by_modality(fields, strangers, "output_tokens_by_modality", "")
    cached = _by_modality(fields, strangers, "cached_tokens_by_modality", "")
    grounded = {"google_search": 0, "google_maps": 0}
    for each in fields.get("grounding_tool_count") or ():
        part = fields_of(each)
        kind = text(part, "type") or "google_search"
        if kind in grounded:
            grounded[kind] += count(part, "count")
        elif kind not in _FREE_GROUNDING and count(part, "count"):
            strangers.append(f"grounding_tool_count.{kind}")
    usage = Usage(
        sent,
        output,
        count(fields, "total_cached_tokens"),
        reasoning_tokens=thoughts,
        web_searches=grounded["google_search"],
        service_tier=served_by_google(fields, tier),
        fees=(("maps", grounded["google_maps"]),) if grounded["google_maps"] else (),
        unread=tuple(strangers),
    )
    return _with_media(usage, ins, cached, outs)


def _with_media(usage: Usage, ins: Mapping[str, int], cached: Mapping[str, int], outs: Mapping[str, int]) -> Usage:
    """A usage with what of its input, its cached input and its output was sound and pictures, by modality."""
    return msgspec.structs.replace(
        usage,
        input_audio_tokens=ins.get("AUDIO", 0),
        cached_audio_tokens=min(cached.get("AUDIO", 0), ins.get("AUDIO", 0)),
        output_audio_tokens=outs.get("AUDIO", 0),
        input_image_tokens=ins.get("IMAGE", 0) + ins.get("VIDEO", 0),
        output_image_tokens=outs.get("IMAGE", 0) + outs.get("VIDEO", 0),
    )


def vertex_tokens(predictions: Iterable[object]) -> int | None:
    """The tokens that embeddings on Vertex AI have read: each says its own."""
    counts = [fields_of(fields_of(fields_of(each).get("embeddings")).get("statistics")) for each in predictions]
    return sum(each["token_count"] for each in counts) if all("token_count" in each for each in counts) else None


def _by_modality(fields: Fields, strangers: list[str], name: str, snake: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in fields.get(name) or fields.get(snake) or ():
        part = fields_of(item)
        modality = part.get("modality")
        kind = str(getattr(modality, "value", modality)).upper()
        tokens = count(part, "tokenCount") or count(part, "token_count") or count(part, "tokens")
        found[kind] = found.get(kind, 0) + tokens
        if kind not in _MODALITIES and tokens:
            strangers.append(f"{name}.{kind[:20]}")
    return found


class Grounding:
    """What grounded an answer and is billed: searches by what they asked, and places on a map."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self.maps = 0

    def add(self, fields: Fields) -> None:
        """Note an answer, or a part of a streamed one. The same query is billed once, and an empty one is not."""
        candidates = fields.get("candidates")
        for candidate in candidates if isinstance(candidates, (list, tuple)) else ():
            inner = fields_of(candidate)
            grounding = fields_of(inner.get("groundingMetadata", inner.get("grounding_metadata")))
            for name, snake in _QUERIES:
                queries = grounding.get(name, grounding.get(snake))
                for query in queries if isinstance(queries, (list, tuple)) else ():
                    if isinstance(query, str) and query.strip():
                        self._asked.add(query.strip())
            chunks = grounding.get("groundingChunks", grounding.get("grounding_chunks"))
            for chunk in chunks if isinstance(chunks, (list, tuple)) else ():
                if fields_of(chunk).get("maps") is not None:
                    self.maps = 1  # by one, however many places

    def searches(self, model: str) -> int:
        """The searches that are billed: up to the second generation one for an answer, since then each query."""
        asked = len(self._asked)
        return min(asked, 1) if gemini_bills_answers(model.rpartition("/")[2]) else asked


_QUERIES: Final = (("webSearchQueries", "web_search_queries"), ("imageSearchQueries", "image_search_queries"))
