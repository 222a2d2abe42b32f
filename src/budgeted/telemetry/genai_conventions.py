"""OpenTelemetry's GenAI conventions: what they call things, and the metrics of theirs that a call is recorded in.

They are in development: https://github.com/open-telemetry/semantic-conventions-genai.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.trace import set_span_in_context

from budgeted.money import to_usd
from budgeted.pricing import price_registry
from budgeted.pricing.tool_prices import TOOL
from budgeted.telemetry import counters
from budgeted.telemetry.genai_histogram_queue import Operation

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

UNKNOWN = "unknown"

PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}
"""OpenTelemetry's names of providers (attribute ``gen_ai.provider.name`` of its GenAI conventions), by those of
genai-prices and LiteLLM. Others are spelt alike, or OpenTelemetry has none."""

INSTRUMENTATIONS = {
    "openai": ("openai", "openai_v2"),
    "anthropic": ("anthropic",),
    "google": ("google_genai", "google_generativeai", "vertexai"),
    "aws": ("bedrock", "botocore"),
    "azure": ("openai", "openai_v2"),
    "cohere": ("cohere",),
    "groq": ("groq",),
    "mistral": ("mistralai",),
    "together": ("together",),
}
"""Packages below ``opentelemetry.instrumentation`` that emit the conventions' metrics, by providers."""


class Conventions:
    """The client metrics of OpenTelemetry's GenAI conventions (``semconv=True``).

    They tell the same as other instrumentations of an SDK do. Where one of those is found at work, only the cost is
    recorded, of which they know nothing. The conventions, their names and buckets are in development:
    https://github.com/open-telemetry/semantic-conventions-genai. The one for cost is a proposal.

    Args:
        meter: where to record; the global one if none is given.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        from opentelemetry import metrics

        make = (meter or metrics.get_meter("budgeted", version())).create_histogram
        tokens = [4**power for power in range(14)]
        seconds = [2**power / 100 for power in range(14)]
        usd = [4**power / 1e6 for power in range(14)]
        self._tokens = make(
            "gen_ai.client.token.usage", "{token}", "Tokens of a call.", explicit_bucket_boundaries_advisory=tokens
        )
        self._seconds = make(
            "gen_ai.client.operation.duration",
            "s",
            "How long a call took.",
            explicit_bucket_boundaries_advisory=seconds,
        )
        self._usd = make(
            "gen_ai.client.operation.cost", "USD", "What a call cost.", explicit_bucket_boundaries_advisory=usd
        )

    def record(self, operation: Operation, *, only_cost: bool = False) -> None:
        """Record a call that has ended.

        Args:
            operation: the call.
            only_cost: leave out what others tell already.
        """
        attributes = _operation_attributes(operation)
        context = None if operation.span is None else set_span_in_context(operation.span)  # for exemplars
        if not only_cost:
            self._seconds.record(operation.seconds, attributes, context)
        if operation.used is None:
            return
        usd, *tokens = operation.used
        self._usd.record(to_usd(usd), attributes, context)
        for kind, count in zip(("input", "output"), tokens, strict=True):
            if count and not only_cost:  # of a picture, or a hold by its cost, nobody counts tokens
                self._tokens.record(count, {**attributes, "gen_ai.token.type": kind}, context)


def _operation_attributes(operation: Operation) -> dict[str, str | int]:
    attributes: dict[str, str | int] = dict(attributes_of(operation.key))
    if operation.model:
        attributes["gen_ai.response.model"] = operation.model
    if operation.error:
        attributes["error.type"] = operation.error
    try:
        address = urlsplit(operation.base_url)
        if address.hostname:
            attributes["server.address"] = address.hostname
            if address.port and address.port != 443:
                attributes["server.port"] = address.port
    except ValueError:  # no URL, and so no server's either
        pass
    return attributes


def version() -> str:
    """This package's, for whoever asks a meter's; empty where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version("budgeted")
    except metadata.PackageNotFoundError:
        return ""


def instrumented_by_others(provider: str) -> bool:
    """Whether another instrumentation of OpenTelemetry's is at work on a provider's SDK.

    Args:
        provider: as genai-prices names it.
    """
    for name in INSTRUMENTATIONS.get(provider, ()):
        module = sys.modules.get("opentelemetry.instrumentation." + name)
        for instrumentor in list(vars(module).values()) if module is not None else ():
            # As all of them do: one instance per class, which knows whether it is switched on.
            if isinstance(instrumentor, type) and instrumentor.__name__.endswith("Instrumentor"):
                instance = instrumentor.__dict__.get("_instance")
                if getattr(instance, "is_instrumented_by_opentelemetry", False):
                    return True
    return False


def attributes_of(key: counters.Key) -> dict[str, str]:
    """What a call was, in the conventions' names."""
    provider, operation, model, labels = key
    if provider == TOOL:
        return {"gen_ai.operation.name": operation, "gen_ai.tool.name": model, **dict(labels)}
    found = {
        "gen_ai.provider.name": _provider_name(provider, model),
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": model,
    }
    return {**{name: value for name, value in found.items() if value}, **dict(labels)}


# A series keeps the name that it began with, whatever price is registered later. There are as many as there are keys.
@functools.cache
def _provider_name(provider: str, model: str) -> str:
    """A provider as OpenTelemetry names it; found by the model where a call did not tell."""
    if not provider and model:
        price = price_registry.find(model)
        provider = price.provider if price is not None else ""
    return PROVIDERS.get(provider, provider) or UNKNOWN
