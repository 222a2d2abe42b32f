"""How many searches a request may be billed for: of the web by a provider's tools, and of documents by reranking."""

from __future__ import annotations

from typing import Any

import msgspec

from budgeted.providers.parameter_coercion import count, items, mapping

RANKED_AT_ONCE = 100
RANKED_TOKENS = 500
MOST_SEARCHES = 10
"""Searches held for a request that lets the provider search and does not say how often."""

MOST_SEARCHES_OF_RESEARCH = 100
"""The same for models that do research on their own."""

GOOGLES_SEARCHES = ("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "googleMaps")
"""Google's tools whose use is billed beside the tokens."""


def searches_to_rank(query: str, documents: Any) -> int:
    """The most searches that a reranking is billed as.

    One ranks 100 documents, of which each 500 tokens are one, with the query among them:
    https://docs.cohere.com/docs/rerank-overview, https://aws.amazon.com/bedrock/pricing. A query that fills most of
    that leaves half of it.

    Args:
        query: what the documents are ranked by.
        documents: a list of them, as text or as JSON; anything else counts as none.
    """
    size = max(RANKED_TOKENS - len(query.encode("utf-8", "replace")), RANKED_TOKENS // 2)
    chunks = sum(max(1, -(-_size(document) // size)) for document in items(documents))
    return max(1, -(-chunks // RANKED_AT_ONCE))


def _size(document: Any) -> int:
    try:
        return len(msgspec.json.encode(document))
    except (TypeError, ValueError, RecursionError):
        return 0


def searches(tool: Any) -> int:
    """How many web searches a tool, as Anthropic has it, may make that are billed each."""
    kind = mapping(tool).get("type")
    if not isinstance(kind, str) or not kind.startswith("web_search"):
        return 0
    return count(tool.get("max_uses")) or MOST_SEARCHES


def most_searches(model: str) -> int:
    """The searches held for a model that searches as often as it likes."""
    return MOST_SEARCHES_OF_RESEARCH if "deep-research" in model else MOST_SEARCHES
