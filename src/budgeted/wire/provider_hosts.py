"""Whose prices apply to a request, and whose name is reported, by the address that it is sent to."""

from __future__ import annotations

import functools
from typing import Final

_HOSTS: Final = {
    "api.openai.com": "openai",
    "openrouter.ai": "openrouter",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.together.": "together",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    ".azure.com": "azure",
    ".azure-api.net": "azure",
    ".amazonaws.com": "aws",
    "localhost:11434": "ollama",
    "127.0.0.1:11434": "ollama",
}
"""By a part of the address; longer and rarer ones first where they overlap."""


# Remembered, as every call asks for it.
@functools.lru_cache(maxsize=1024)
def provider_at(address: str) -> str:
    """Whose address this is, as genai-prices names it; "" if nobody's that is known.

    Args:
        address: a URL, or its beginning.
    """
    return next((name for host, name in _HOSTS.items() if host in address), "")
