"""The Anthropic SDK, with its Bedrock and Vertex clients."""

from __future__ import annotations

from budgeted.providers.generator_context_propagation import for_caller
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.stainless_generated_sdks import SDK, attempt_hooks, hooks
from budgeted.wire.request_formats.anthropic_messages import Messages

_CLOUDS = {"Bedrock": "aws", "Vertex": "google"}


def _provider(lineage: str, address: str) -> str:
    return next((provider for cloud, provider in _CLOUDS.items() if cloud in lineage), "anthropic")


_SDK = SDK(Messages(), _provider)
_FALLBACKS = "BetaRefusalFallbackMiddleware._spliced_frames"
"""What reads a stream, and asks another model once the first has refused."""

HOOKS = (
    *hooks("anthropic", _SDK),
    *attempt_hooks("anthropic", _SDK),
    *(
        Hook("anthropic.lib.middleware._fallbacks", name, for_caller, watched=False)
        for name in (_FALLBACKS, f"{_FALLBACKS}_async")
    ),
)
