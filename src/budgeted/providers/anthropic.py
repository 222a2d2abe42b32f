"""The Anthropic SDK, with its Bedrock and Vertex clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgeted.providers.billed_tools import MOST_SEARCHES, fees_of, searches
from budgeted.providers.generator_context_propagation import for_caller
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.parameter_coercion import count, items, mapping, text
from budgeted.providers.stainless_generated_sdks import Dialect, address, attempt_hooks, hooks, lineage
from budgeted.providers.unmeterable_requests import refuse_unseen, refuse_unseen_at
from budgeted.wire.normalized_request import ANY, Request
from budgeted.wire.referenced_input import continues_thread, referenced

_HOSTS = {"Bedrock": "aws", "Vertex": "google"}
_UNSEEN = {
    "/messages/batches": "a batch that the provider runs",
    "/sessions": "an agent",
    "/events": "an agent",
    "/deployments": "an agent",
    "/run": "an agent",
    "/unpause": "an agent",
    "/dreams": "an agent",
}
"""By the end of the path: what is billed, and not by the answer to the request that starts it."""


class Anthropic(Dialect):
    """Messages. Their streams always say their usage."""

    def read(self, client: Any, url: str, body: Mapping[str, Any]) -> Request | None:
        """The request as a call to meter, or None if it is not billed by tokens."""
        if not url.endswith("/messages"):
            refuse_unseen_at(url, _UNSEEN)
            return None
        kind = lineage(client)
        budget = mapping(body.get("thinking")).get("budget_tokens")
        request = Request(
            provider=next((provider for host, provider in _HOSTS.items() if host in kind), "anthropic"),
            model=str(body.get("model") or ""),
            body=body,
            cap=count(body.get("max_tokens")),
            # One that makes no sense is left for the provider to refuse.
            cappable="max_tokens" not in body or count(body["max_tokens"]) is not None,
            thinking=count(budget) or 0,
            structured=body.get("output_format") is not None or body.get("output_config") is not None,
            tier="fast" if body.get("speed") == "fast" else None,
            base_url=address(client),
            kinds=ANY,
            exact_bytes=False,
            renamed=any(host in kind for host in _HOSTS),
        )
        request.elsewhere = elsewhere(body)
        # A thread keeps its tools, among which may be one that searches.
        request.searches = MOST_SEARCHES if continues_thread(body) else sum(map(searches, items(body.get("tools"))))
        request.fees = fees_of(body.get("tools"), None)
        request.region = text(body.get("inference_geo")) or ""
        others = [mapping(other).get("model") for other in items(body.get("fallbacks"))]
        request.others = tuple(name for name in others if isinstance(name, str))
        return request

    def cap_name(self, url: str, request: Request) -> str:  # noqa: ARG002 - the dialects are alike
        """What a request's output cap is called."""
        return "max_tokens"


def elsewhere(body: Mapping[str, Any]) -> str:
    """What a request refers to without holding it.

    Raises:
        UnpricedModelError: it may be answered at the price of another model.
    """
    for tool in items(body.get("tools")):
        kind = mapping(tool).get("type")
        if isinstance(kind, str) and kind.startswith("advisor"):
            refuse_unseen("what an advisor answers")
        if isinstance(kind, str) and kind.startswith(("web_search", "web_fetch", "code_execution", "tool_search")):
            return f"what the server-side tool {kind} brings"
    return referenced(body)


_DIALECT = Anthropic()
_FALLBACKS = "BetaRefusalFallbackMiddleware._spliced_frames"
"""What reads a stream, and asks another model once the first has refused."""

HOOKS = (
    *hooks("anthropic", _DIALECT),
    *attempt_hooks("anthropic", _DIALECT),
    *(
        Hook("anthropic.lib.middleware._fallbacks", name, for_caller, watched=False)
        for name in (_FALLBACKS, f"{_FALLBACKS}_async")
    ),
)
