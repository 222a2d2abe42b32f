"""What a request may be billed for beside its tokens: searches of the web and of documents, maps, containers."""

from __future__ import annotations

from typing import Any

import msgspec

from budgeted.wire.request_formats.parameter_coercion import count, items, mapping

RANKED_AT_ONCE = 100
RANKED_TOKENS = 500
MOST_SEARCHES = 10
"""Searches held for a request that lets the provider search and does not say how often."""

MOST_SEARCHES_OF_RESEARCH = 100
"""The same for models that do research on their own."""

GOOGLES_SEARCHES = ("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch")
"""Google's tools that search the web, which is billed beside the tokens."""

GOOGLES_MAPS = "googleMaps"
"""Google's tool that looks at maps, which has a fee of its own."""

MOST_SOURCES = 20
"""Sources of a live search if the request does not say how many (https://docs.x.ai/docs/guides/live-search)."""

FEES_OF_TOOLS = {
    "file_search": "file_search",
    "collections_search": "file_search",
    "code_interpreter": "code_session",
    "code_execution": "code_session",
}
"""What is billed for a tool of the responses API, or of Anthropic's, beside the tokens: by the start of its type."""


def fees_of(tools: Any, calls: int | None) -> tuple[tuple[str, int], ...]:
    """What a request's tools may be billed for, each, beside tokens and searches of the web.

    Args:
        tools: as the request has them.
        calls: the most calls of tools that the request allows; None if it does not say.
    """
    found: dict[str, int] = {}
    for tool in items(tools):
        kind = str(mapping(tool).get("type"))
        fee = next((fee for start, fee in FEES_OF_TOOLS.items() if kind.startswith(start)), "")
        if fee:  # what runs code is billed by the container, of which a request has one
            found[fee] = 1 if fee == "code_session" else calls or MOST_SEARCHES
    return tuple(found.items())


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
