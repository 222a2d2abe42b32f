"""Whose prices apply to a request, and whose name is reported, by the address that it is sent to."""

from __future__ import annotations

import functools
from typing import Final

_HOSTS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "openrouter.ai": "openrouter",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.together.": "together",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.cohere.": "cohere",
    "api.cerebras.ai": "cerebras",
    "api.writer.com": "writer",
    "api.voyageai.com": "voyageai",
    "ai.mongodb.com": "voyageai",
    "api.replicate.com": "replicate",
    "elevenlabs.io": "elevenlabs",
    "ml.cloud.ibm.com": "watsonx",
    "dashscope": "dashscope",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zhipuai",
    "api.moonshot.": "moonshotai",
    "api.minimax": "minimax",
    "api.novita.ai": "novita",
    "router.huggingface.co/cerebras": "huggingface_cerebras",
    "router.huggingface.co/fireworks-ai": "huggingface_fireworks-ai",
    "router.huggingface.co/groq": "huggingface_groq",
    "router.huggingface.co/hyperbolic": "huggingface_hyperbolic",
    "router.huggingface.co/nebius": "huggingface_nebius",
    "router.huggingface.co/novita": "huggingface_novita",
    "router.huggingface.co/nscale": "huggingface_nscale",
    "router.huggingface.co/ovhcloud": "huggingface_ovhcloud",
    "router.huggingface.co/publicai": "huggingface_publicai",
    "router.huggingface.co/sambanova": "huggingface_sambanova",
    "router.huggingface.co/together": "huggingface_together",
    "router.huggingface.co": "huggingface",
    "api-inference.huggingface.co": "huggingface",
    "inference.baseten.co": "baseten",
    "api.ai21.com": "ai21",
    "api.deepinfra.com": "deepinfra",
    "api.sambanova.ai": "sambanova",
    "api.hyperbolic.xyz": "hyperbolic",
    "api.studio.nebius": "nebius",
    "api.jina.ai": "jina",
    "integrate.api.nvidia.com": "nvidia",
    "models.inference.ai.azure.com": "github",
    "models.github.ai": "github",
    "ark.cn-beijing.volces.com": "volcengine",
    ".azure.com": "azure",
    ".azure-api.net": "azure",
    ".amazonaws.com": "aws",
    "localhost:11434": "ollama",
    "127.0.0.1:11434": "ollama",
    "ollama.com": "ollama",
}
"""By a part of the address; longer and rarer ones first where they overlap."""


named: Final[set[str]] = set()
"""Hosts that some manager of this process has said to serve models: of any other, nobody need ask who pays."""


# Remembered, as every call asks for it.
@functools.lru_cache(maxsize=1024)
def provider_at(address: str) -> str:
    """Whose address this is, as genai-prices names it; "" if nobody's that is known.

    Args:
        address: a URL, or its beginning.
    """
    return next((name for host, name in _HOSTS.items() if host in address), "")
