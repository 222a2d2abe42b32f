"""Which packages make paid calls, as far as anybody here knows, and what meters each: one table."""

from __future__ import annotations

from typing import Final

import msgspec

MET_AT_TRANSPORT: Final[frozenset[str]] = frozenset()
"""The HTTP clients at whose transport calls are met that no hook sees, by the names that rows of the table have."""


class PaidPackage(msgspec.Struct, frozen=True):
    """A package that makes paid calls.

    Args:
        distribution: what pip calls it.
        module: what it is imported as.
        hooked: the module that every one of its calls goes through and that a hook is on; "" if none is.
        clients: the HTTP clients that it speaks by, any of which one installation may use; none if it speaks otherwise,
            such as by gRPC or through a program that it starts.
        before: the module that meters those of its versions that have no ``hooked``; "" if none does.
    """

    distribution: str
    module: str
    hooked: str = ""
    clients: tuple[str, ...] = ()
    before: str = ""

    @property
    def met_at_transport(self) -> bool:
        """Whether its calls are met below it, whichever of its HTTP clients it uses."""
        return bool(self.clients) and MET_AT_TRANSPORT.issuperset(self.clients)


_HTTPX = ("httpx",)
_REQUESTS = ("requests",)
_REQUESTS_AIOHTTP = ("requests", "aiohttp")

PAID_PACKAGES: Final = (
    PaidPackage("aiobotocore", "aiobotocore", "aiobotocore.client"),
    PaidPackage("anthropic", "anthropic", "anthropic._base_client"),
    PaidPackage("botocore", "botocore", "botocore.client"),
    PaidPackage("claude-agent-sdk", "claude_agent_sdk", "claude_agent_sdk._internal.client"),
    PaidPackage("cohere", "cohere", "cohere.core.http_client"),
    PaidPackage("dspy", "dspy", "dspy.clients.execution", before="litellm"),
    PaidPackage("google-genai", "google.genai", "google.genai._api_client"),
    PaidPackage("groq", "groq", "groq._base_client"),
    PaidPackage("litellm", "litellm", "litellm.main"),
    PaidPackage("mistralai", "mistralai", "mistralai.client.basesdk"),
    PaidPackage("ollama", "ollama", "ollama._client"),
    PaidPackage("openai", "openai", "openai._base_client"),
    PaidPackage("ai21", "ai21", clients=_HTTPX),
    PaidPackage("aleph-alpha-client", "aleph_alpha_client", clients=_REQUESTS_AIOHTTP),
    PaidPackage("assemblyai", "assemblyai", clients=_HTTPX),
    PaidPackage("azure-ai-inference", "azure.ai.inference", clients=_REQUESTS_AIOHTTP),
    PaidPackage("cartesia", "cartesia", clients=_HTTPX),
    PaidPackage("cerebras-cloud-sdk", "cerebras.cloud.sdk", clients=_HTTPX),
    PaidPackage("claude-code-sdk", "claude_code_sdk"),
    PaidPackage("dashscope", "dashscope", clients=_REQUESTS_AIOHTTP),
    PaidPackage("deepgram-sdk", "deepgram", clients=_HTTPX),
    PaidPackage("elevenlabs", "elevenlabs", clients=_HTTPX),
    PaidPackage("exa-py", "exa_py", clients=("requests", "httpx")),
    PaidPackage("fal-client", "fal_client", clients=_HTTPX),
    PaidPackage("fireworks-ai", "fireworks", clients=("httpx", "aiohttp")),
    PaidPackage("github-copilot-sdk", "copilot"),
    PaidPackage("google-cloud-aiplatform", "google.cloud.aiplatform"),
    PaidPackage("google-generativeai", "google.generativeai"),
    PaidPackage("huggingface-hub", "huggingface_hub", clients=("httpx", "requests", "aiohttp")),
    PaidPackage("ibm-watsonx-ai", "ibm_watsonx_ai", clients=("httpx", "requests")),
    PaidPackage("llama-api-client", "llama_api_client", clients=_HTTPX),
    PaidPackage("lumaai", "lumaai", clients=_HTTPX),
    PaidPackage("mixedbread", "mixedbread", clients=_HTTPX),
    PaidPackage("nomic", "nomic", clients=_REQUESTS),
    PaidPackage("openai-codex-sdk", "openai_codex_sdk"),
    PaidPackage("openrouter", "openrouter", clients=_HTTPX),
    PaidPackage("perplexityai", "perplexity", clients=_HTTPX),
    PaidPackage("portkey-ai", "portkey_ai", clients=_HTTPX),
    PaidPackage("predibase", "predibase", clients=("requests", "httpx", "aiohttp")),
    PaidPackage("qianfan", "qianfan", clients=_REQUESTS_AIOHTTP),
    PaidPackage("reka-api", "reka", clients=_HTTPX),
    PaidPackage("replicate", "replicate", clients=_HTTPX),
    PaidPackage("runwayml", "runwayml", clients=_HTTPX),
    PaidPackage("sambanova", "sambanova", clients=_HTTPX),
    PaidPackage("stability-sdk", "stability_sdk"),
    PaidPackage("tavily-python", "tavily", clients=("requests", "httpx")),
    PaidPackage("together", "together", clients=_HTTPX),
    PaidPackage("voyageai", "voyageai", clients=_REQUESTS_AIOHTTP),
    PaidPackage("writer-sdk", "writerai", clients=_HTTPX),
    PaidPackage("xai-sdk", "xai_sdk"),
    PaidPackage("zai-sdk", "zai", clients=_HTTPX),
    PaidPackage("zhipuai", "zhipuai", clients=_HTTPX),
)
"""Every package that is known to be paid for by its use, those with a hook first."""
