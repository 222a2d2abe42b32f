"""The providers that a gateway knows by their names: their addresses, and how they take keys."""

from __future__ import annotations

from typing import Final, NamedTuple


class Known(NamedTuple):
    """A provider that has paths of its own, or is known by its name.

    Args:
        url: its address, as its SDK takes it for a base URL; "" where each customer has another.
        provider: as genai-prices names it.
        scheme: how its key is sent: the name of a header, or ``bearer``; ``aws`` for a signature.
        keys: the variables that may hold its key, the first that is set.
    """

    url: str
    provider: str
    scheme: str
    keys: tuple[str, ...]


BEARER: Final = "bearer"
AWS: Final = "aws"

_OF_OPENAI: Final = "openai"

KNOWN: Final[dict[str, Known]] = {
    "openai": Known("https://api.openai.com/v1", _OF_OPENAI, BEARER, ("OPENAI_API_KEY",)),
    "anthropic": Known("https://api.anthropic.com", "anthropic", "x-api-key", ("ANTHROPIC_API_KEY",)),
    "gemini": Known(
        *("https://generativelanguage.googleapis.com", "google", "x-goog-api-key"), ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    ),
    "vertex": Known("https://aiplatform.googleapis.com", "google", "x-goog-api-key", ("VERTEX_API_KEY",)),
    "bedrock": Known("", "aws", AWS, ("AWS_BEARER_TOKEN_BEDROCK",)),
    "azure": Known("", "azure", "api-key", ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY")),
    "mistral": Known("https://api.mistral.ai", "mistral", BEARER, ("MISTRAL_API_KEY",)),
    "cohere": Known("https://api.cohere.com", "cohere", BEARER, ("CO_API_KEY", "COHERE_API_KEY")),
    "ollama": Known("http://127.0.0.1:11434", "ollama", BEARER, ("OLLAMA_API_KEY",)),
    "openrouter": Known("https://openrouter.ai/api/v1", "openrouter", BEARER, ("OPENROUTER_API_KEY",)),
    "groq": Known("https://api.groq.com/openai/v1", "groq", BEARER, ("GROQ_API_KEY",)),
    "deepseek": Known("https://api.deepseek.com", "deepseek", BEARER, ("DEEPSEEK_API_KEY",)),
    "xai": Known("https://api.x.ai/v1", "x-ai", BEARER, ("XAI_API_KEY",)),
    "together": Known("https://api.together.xyz/v1", "together", BEARER, ("TOGETHER_API_KEY",)),
    "fireworks": Known("https://api.fireworks.ai/inference/v1", "fireworks", BEARER, ("FIREWORKS_API_KEY",)),
    "perplexity": Known("https://api.perplexity.ai", "perplexity", BEARER, ("PERPLEXITY_API_KEY", "PPLX_API_KEY")),
    # Of Codex with a subscription, whose login it brings along.
    "chatgpt": Known("https://chatgpt.com/backend-api/codex", _OF_OPENAI, BEARER, ()),
}
"""By the names under which their paths may also begin: ``/openrouter/...``."""

SCHEMES: Final = {one.provider: one.scheme for one in KNOWN.values()}
"""How the key of a provider's is sent, whatever its upstream is called."""

KEYLESS: Final = ("ollama",)
"""Providers that ask nobody for a key: whoever reaches them may do with them what they like."""
