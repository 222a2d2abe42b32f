"""The SDKs of providers that speak like OpenAI, each a row: made by Stainless, by Speakeasy, or grown from the former.

The net at the HTTP clients would meter them as well; but they take its refusal for a lost connection, and try again.
"""

from __future__ import annotations

import functools
from typing import Final

from budgeted.providers import speakeasy_generated_sdks, stainless_generated_sdks
from budgeted.providers.metered_method import run
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import repeat
from budgeted.providers.stainless_generated_sdks import SDK, reader
from budgeted.wire.request_formats.http_request import Format
from budgeted.wire.request_formats.openai import OpenAI
from budgeted.wire.request_formats.perplexity import Perplexity
from budgeted.wire.request_formats.writer import Writer

_STAINLESS: Final[tuple[tuple[str, str, Format], ...]] = (
    ("cerebras.cloud.sdk", "cerebras", OpenAI()),
    ("fireworks", "fireworks", OpenAI()),
    ("perplexity", "perplexity", Perplexity()),
    ("together", "together", OpenAI()),
    ("writerai", "writer", Writer()),
)
"""What an SDK's modules are in, its provider as genai-prices names it, and how its requests are read."""

_ZAI: Final = "zai.core._http_client"


def _stainless(package: str, provider: str, read_by: Format) -> tuple[Hook, ...]:
    return stainless_generated_sdks.hooks(package, SDK(read_by, lambda *_: provider))


HOOKS = (
    *(hook for row in _STAINLESS for hook in _stainless(*row)),
    *speakeasy_generated_sdks.hooks("openrouter", speakeasy_generated_sdks.SDK(OpenAI(), "openrouter")),
    Hook(
        _ZAI,
        "HttpClient.request",
        functools.partial(run, reader(SDK(OpenAI(), lambda *_: "zai"))),
    ),
    Hook(_ZAI, "HttpClient._retry_request", repeat, watched=False),
)
