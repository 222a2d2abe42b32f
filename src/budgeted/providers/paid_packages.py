"""Which packages make paid calls, as far as anybody here knows, and what meters each: one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class PaidPackage(msgspec.Struct, frozen=True):
    """A package that makes paid calls.

    Args:
        distribution: what pip calls it.
        module: what it is imported as.
        hooked: the module that every one of its calls goes through and that a hook is on; "" if none is.
        clients: the HTTP clients, or grpc, that it speaks by, of which one installation may use any, and at whose
            transport its calls are recognised, also in versions without ``hooked``; none if it speaks otherwise, or by
            an API that nobody recognises.
        before: the module that meters those of its versions that have no ``hooked``; "" if none does.
    """

    distribution: str
    module: str
    hooked: str = ""
    clients: tuple[str, ...] = ()
    before: str = ""


SENT_BY: Final[Mapping[str, str]] = {"requests": "urllib3"}
"""The packages that HTTP clients send by, where that is another one."""

_HTTPX = ("httpx",)
_REQUESTS_AIOHTTP = ("requests", "aiohttp")
_GRPC_REQUESTS = ("grpc", "requests")

PAID_PACKAGES: Final = (
    PaidPackage("ai21", "ai21", clients=_HTTPX),
    PaidPackage("aiobotocore", "aiobotocore", "aiobotocore.client"),
    PaidPackage("aleph-alpha-client", "aleph_alpha_client"),
    PaidPackage("anthropic", "anthropic", "anthropic._base_client"),
    PaidPackage("assemblyai", "assemblyai"),
    PaidPackage("azure-ai-inference", "azure.ai.inference", clients=_REQUESTS_AIOHTTP),
    PaidPackage("botocore", "botocore", "botocore.client"),
    PaidPackage("cartesia", "cartesia"),
    PaidPackage("cerebras-cloud-sdk", "cerebras.cloud.sdk", "cerebras.cloud.sdk._base_client", clients=_HTTPX),
    PaidPackage("claude-agent-sdk", "claude_agent_sdk", "claude_agent_sdk._internal.client"),
    PaidPackage("claude-code-sdk", "claude_code_sdk"),
    PaidPackage("cohere", "cohere", "cohere.core.http_client"),
    PaidPackage("dashscope", "dashscope", clients=_REQUESTS_AIOHTTP),
    PaidPackage("deepgram-sdk", "deepgram"),
    PaidPackage("dspy", "dspy", "dspy.clients.execution", before="litellm"),
    PaidPackage("elevenlabs", "elevenlabs", clients=_HTTPX),
    PaidPackage("exa-py", "exa_py"),
    PaidPackage("fal-client", "fal_client"),
    PaidPackage("fireworks-ai", "fireworks", "fireworks._base_client", clients=("httpx", "aiohttp")),
    PaidPackage("github-copilot-sdk", "copilot"),
    PaidPackage("google-cloud-aiplatform", "google.cloud.aiplatform", clients=_GRPC_REQUESTS),
    PaidPackage("google-genai", "google.genai", "google.genai._api_client"),
    PaidPackage("google-generativeai", "google.generativeai", clients=_GRPC_REQUESTS),
    PaidPackage("groq", "groq", "groq._base_client"),
    PaidPackage("huggingface-hub", "huggingface_hub", clients=("httpx", "requests", "aiohttp")),
    PaidPackage("ibm-watsonx-ai", "ibm_watsonx_ai", clients=("httpx", "requests")),
    PaidPackage("litellm", "litellm", "litellm.main"),
    PaidPackage("llama-api-client", "llama_api_client", clients=_HTTPX),
    PaidPackage("lumaai", "lumaai"),
    PaidPackage("mistralai", "mistralai", "mistralai.client.basesdk"),
    PaidPackage("mixedbread", "mixedbread"),
    PaidPackage("nomic", "nomic"),
    PaidPackage("ollama", "ollama", "ollama._client"),
    PaidPackage("openai", "openai", "openai._base_client"),
    PaidPackage("openai-codex-sdk", "openai_codex_sdk"),
    PaidPackage("openrouter", "openrouter", "openrouter.basesdk", clients=_HTTPX),
    PaidPackage("perplexityai", "perplexity", "perplexity._base_client", clients=_HTTPX),
    PaidPackage("portkey-ai", "portkey_ai", clients=_HTTPX),
    PaidPackage("predibase", "predibase"),
    PaidPackage("qianfan", "qianfan"),
    PaidPackage("reka-api", "reka"),
    PaidPackage("replicate", "replicate", clients=_HTTPX),
    PaidPackage("runwayml", "runwayml"),
    PaidPackage("sambanova", "sambanova", clients=_HTTPX),
    PaidPackage("stability-sdk", "stability_sdk"),
    PaidPackage("tavily-python", "tavily"),
    PaidPackage("together", "together", "together._base_client", clients=("httpx", *_REQUESTS_AIOHTTP)),
    PaidPackage("voyageai", "voyageai", clients=_REQUESTS_AIOHTTP),
    PaidPackage("writer-sdk", "writerai", "writerai._base_client", clients=_HTTPX),
    PaidPackage("xai-sdk", "xai_sdk", clients=("grpc",)),
    PaidPackage("zai-sdk", "zai", "zai.core._http_client", clients=_HTTPX),
    PaidPackage("zhipuai", "zhipuai", clients=_HTTPX),
)
"""Every package that is known to be paid for by its use."""
