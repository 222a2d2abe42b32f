"""What providers do when a stream's reader leaves: some stop writing and billing, others go on and bill in full.

So OpenRouter lists them (https://openrouter.ai/docs/api-reference/streaming). By whom a request is served its address
tells, where it has one: what a gateway or a server of one's own does, nobody knows.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from budgeted.pricing.model_price import Price
from budgeted.wire.normalized_request import Request
from budgeted.wire.room_for_thinking import room_for_thinking, thinks

STOPS, GOES_ON, UNKNOWN = "stops", "goes on", "unknown"

TOKENS_PER_SECOND: Final = 1000
"""Output tokens that a provider that stops may write each second until it notices that its reader has left.

Generous: the fastest of them, Fireworks with gpt-oss-120b, was measured at 683 by Artificial Analysis
(https://alatirok.com/ai-inference-speed-2026/).
"""

BY_HOST: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            *("api.openai.com", "openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
            *("api.anthropic.com", "api.fireworks.ai", "api.deepinfra.com", "api.together.xyz", "api.together.ai"),
            *(
                "api.cohere.com",
                "api.cohere.ai",
                "api.hyperbolic.xyz",
                "api.novita.ai",
                "api.x.ai",
                "api.cloudflare.com",
            ),
            *("api.deepseek.com", "api.friendli.ai", "llm.chutes.ai"),
        ),
        STOPS,
    ),
    **dict.fromkeys(
        (
            *("amazonaws.com", "api.groq.com", "generativelanguage.googleapis.com", "aiplatform.googleapis.com"),
            *("api.mistral.ai", "api.perplexity.ai", "router.huggingface.co", "api-inference.huggingface.co"),
            *("api.replicate.com", "api.sambanova.ai", "api.ai21.com", "dashscope.aliyuncs.com"),
            *("dashscope-intl.aliyuncs.com", "api.studio.nebius.com", "api.tokenfactory.nebius.com", "api.minimax.io"),
        ),
        GOES_ON,
    ),
}
"""By the ends of hosts' names."""

BY_PROVIDER: Final[dict[str, str]] = {
    **dict.fromkeys("openai azure anthropic fireworks together cohere x-ai deepseek".split(), STOPS),
    **dict.fromkeys("aws groq google mistral perplexity".split(), GOES_ON),
}
"""As genai-prices names providers, for requests whose address is their SDK's own."""


def behaviour(request: Request, price: Price | None) -> str:
    """What is known of who serves a request: STOPS, GOES_ON or UNKNOWN."""
    if request.base_url:
        try:
            host = "." + (urlsplit(request.base_url).hostname or "")
        except ValueError:
            return UNKNOWN
        return next((found for end, found in BY_HOST.items() if host.endswith("." + end)), UNKNOWN)
    provider = request.provider or (price.provider if price is not None else "")
    return BY_PROVIDER.get(provider, UNKNOWN)


def most_output(request: Request, received: int, since_chunk: float, since_request: float) -> int:
    """The most output tokens that a provider that stops can have billed.

    Args:
        request: what was asked.
        received: tokens that arrived, estimated by their text: a token may be shorter than the average assumed.
        since_chunk: seconds since the last of them.
        since_request: seconds since the request, in which a model may have thought unseen.
    """
    unseen = since_request if thinks(request.model) or room_for_thinking(request) else since_chunk
    return -(-received * 4 // 3) + request.n * (1 + int(unseen * TOKENS_PER_SECOND))
