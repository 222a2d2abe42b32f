"""What LiteLLM's proxy passes through as it is: where it goes, and what it may cost."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from budgeted.integrations.litellm_proxy.routed_requests import posted
from budgeted.money import nano_usd
from budgeted.wire import provider_hosts
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.parameter_coercion import mapping, text

CALL_TYPE: Final = "pass_through_endpoint"

_ENDPOINTS: Final = "litellm.proxy.pass_through_endpoints.pass_through_endpoints"

_APIS: Final = {
    "anthropic": "api.anthropic.com",
    "azure": "azure.openai.azure.com",
    "azure_ai": "azure.openai.azure.com",
    "bedrock": "bedrock-runtime.us-east-1.amazonaws.com",
    "cohere": "api.cohere.com",
    "gemini": "generativelanguage.googleapis.com",
    "mistral": "api.mistral.ai",
    "openai": "api.openai.com",
    "openai_passthrough": "api.openai.com",
    "openrouter": "openrouter.ai",
    "vertex-ai": "aiplatform.googleapis.com",
    "vertex_ai": "aiplatform.googleapis.com",
}
"""Whose API is at the paths that begin so."""

_HOSTS: Final = frozenset(
    {
        "api.assemblyai.com",
        "api.cursor.com",
        "api.deepgram.com",
        "api.eu.assemblyai.com",
        "api.typesafe.ai",
    }
)
"""Where LiteLLM passes things through that no hook of the transport knows."""

_ADDRESS: Final = re.compile(r"[A-Z0-9_]+_(?:API_BASE|API_URL|BASE_URL)")
"""Variables in which LiteLLM is told where a provider's API is."""

_PORTS: Final = {"https": 443, "http": 80}


def paid_hosts(route: str) -> frozenset[str]:
    """The hosts to which something may be passed through: all that is posted there counts as paid for.

    Args:
        route: the path that was asked for.
    """
    found = {_host(value) for name, value in os.environ.items() if _ADDRESS.fullmatch(name)}
    found |= {_host(text(params.get("target")) or "") for params in _registered(route)}
    hosts = _HOSTS | found - {""}
    provider_hosts.named.update(hosts)  # of others, the hooks do not ask who pays
    return hosts


def request(route: str, data: Mapping[str, Any]) -> Request | None:
    """What is passed through, as far as its path and body tell: its hold is taken over where it is sent.

    Args:
        route: the path that was asked for.
        data: the body, with what LiteLLM keeps beside it.

    Returns:
        The request; None for what is not paid for, or not known.
    """
    begins, _, rest = route.lstrip("/").partition("/")
    return posted(f"/{rest}", data, host=_APIS[begins]) if begins in _APIS else posted(route, data)


def price_per_request(route: str) -> int | None:
    """What the proxy's config says that each request to a path costs (``cost_per_request``), in nano-USD.

    Args:
        route: the path that was asked for.

    Returns:
        The highest where there are several; None where nothing is said.

    Raises:
        ValueError: it is no amount.
    """
    stated = [params.get("cost_per_request") for params in _registered(route)]
    costs = [nano_usd(cost, "cost_per_request") for cost in stated if cost is not None]
    return max(costs, default=None)


def _registered(route: str) -> Iterator[Mapping[str, Any]]:
    """The parameters of the proxy's own pass-through endpoints at a path."""
    # All of it has to match: another provider's path may end, or go on, as one with a price of its own.
    asked = route.removeprefix(os.environ.get("SERVER_ROOT_PATH", "").rstrip("/"))
    found: Any = getattr(sys.modules.get(_ENDPOINTS), "_registered_pass_through_routes", None)
    for one in list(mapping(found).values()):
        path = text(mapping(one).get("path")) or ""
        below = mapping(one).get("type") == "subpath"
        if asked == path or (below and asked.startswith(f"{path.rstrip('/')}/")):
            yield mapping(mapping(one).get("passthrough_params"))


def _host(address: str) -> str:
    """The host of a URL, with its port unless that is the usual one; "" for what is no URL."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if ":" in host:
        host = f"[{host}]"
    return host if not host or port is None or port == _PORTS.get(parts.scheme) else f"{host}:{port}"
