"""Input that a request does not hold and refers to: what a provider keeps for it, or brings by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PARAMETERS: Final = {
    "previous_response_id": "an earlier response",
    "previous_interaction_id": "an earlier interaction",
    "conversation": "a conversation that the provider keeps",
    "conversation_id": "a conversation that the provider keeps",
    "cached_content": "cached content",
    "cachedContent": "cached content",
    "container": "a container",
    "mcp_servers": "what MCP servers bring",
    "connectors": "what connectors bring",
    "data_sources": "what data sources bring",
    "dataSources": "what data sources bring",
    "vector_store_ids": "what vector stores bring",
    "web_search_options": "a web search",
    "preset": "a preset",
    "prompt_id": "a stored prompt",
    "compaction": "what compacts the conversation",
}
"""By the name of the parameter, whosever API it is: each of them means this, or nothing.

OpenAI: https://platform.openai.com/docs/api-reference/responses/create. Anthropic:
https://platform.claude.com/docs/en/api/messages/create. Google: https://ai.google.dev/api/generate-content. Cohere:
https://docs.cohere.com/v1/reference/chat. Azure:
https://learn.microsoft.com/en-us/azure/ai-foundry/openai/references/on-your-data. OpenRouter:
https://openrouter.ai/docs/guides/features/presets. LiteLLM: https://docs.litellm.ai/docs/proxy/prompt_management,
https://docs.litellm.ai/docs/completion/knowledgebase.
"""

_READ: Final = frozenset({*_PARAMETERS, "thread", "prompt", "context_management", "input", "extra_body"})


def referenced(body: Mapping[str, object]) -> str:
    """What a request refers to, in the words of an error; "" if all of its input is in it.

    Args:
        body: its payload, or the arguments of a function, by the names that a provider gives them.
    """
    if _READ.isdisjoint(body):
        return ""
    for name, what in _PARAMETERS.items():
        if body.get(name):
            return what
    prompt = body.get("prompt")
    if isinstance(prompt, Mapping) and prompt.get("id"):
        return "a stored prompt"
    if continues_thread(body):
        return "an earlier conversation"
    if _compacts(body.get("context_management")):
        return "what compacts the conversation"
    if _refers_to_reasoning(body.get("input")):
        return "the reasoning of an earlier response"
    more = body.get("extra_body")
    return referenced(more) if isinstance(more, Mapping) and more is not body else ""


def continues_thread(body: Mapping[str, object]) -> bool:
    """Whether a request goes on with a thread, which keeps its messages, its system prompt and its tools.

    https://platform.claude.com/docs/en/build-with-claude/message-threads
    """
    thread = body.get("thread")
    return bool(thread) and not (isinstance(thread, Mapping) and thread.get("type") == "create")


def _compacts(management: object) -> bool:
    """Whether the provider may sum up a conversation meanwhile, which is billed beside the answer."""
    edits = management.get("edits") if isinstance(management, Mapping) else management
    return isinstance(edits, (list, tuple)) and any(
        isinstance(edit, Mapping) and str(edit.get("type")).startswith("compact") for edit in edits
    )


def _refers_to_reasoning(items: object) -> bool:
    """Whether there is reasoning among the input that is told by its id alone, as OpenAI keeps it.

    https://platform.openai.com/docs/guides/reasoning#keeping-reasoning-items-in-context
    """
    return isinstance(items, (list, tuple)) and any(
        isinstance(item, Mapping)
        and item.get("type") == "reasoning"
        and not (item.get("encrypted_content") or item.get("content"))
        for item in items
    )
