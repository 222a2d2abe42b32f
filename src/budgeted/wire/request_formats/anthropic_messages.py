"""Anthropic's messages, whose streams always say their usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgeted.wire.normalized_request import ANY, Request
from budgeted.wire.referenced_input import continues_thread, referenced
from budgeted.wire.request_formats.billed_tools import MOST_SEARCHES, fees_of, searches
from budgeted.wire.request_formats.http_request import Format, HTTPRequest, unseen_at
from budgeted.wire.request_formats.parameter_coercion import count, items, mapping, text

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


class Messages(Format):
    """Messages, at Anthropic's own address or a cloud's."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        if not http.path.endswith("/messages"):
            return unseen_at(http, _UNSEEN)
        body = http.body
        cap = count(body.get("max_tokens"))
        request = Request(
            provider=http.provider,
            model=str(body.get("model") or ""),
            body=body,
            cap=cap,
            # One that makes no sense is left for the provider to refuse.
            cappable=cap is not None or "max_tokens" not in body,
            base_url=http.base_url,
            kinds=ANY,
            exact_bytes=False,
            elsewhere=referenced(body),
            renamed=http.provider not in ("anthropic", ""),
        )
        if not _READ_RARELY.isdisjoint(body):
            _read_options(request, body)
        return request


_READ_RARELY = frozenset("thinking output_format output_config speed thread tools inference_geo fallbacks".split())


def _read_options(request: Request, body: Mapping[str, Any]) -> None:
    """Read what the plainest messages do not ask for: no name of it is in their body."""
    request.thinking = count(mapping(body.get("thinking")).get("budget_tokens")) or 0
    request.structured = body.get("output_format") is not None or body.get("output_config") is not None
    request.tier = "fast" if body.get("speed") == "fast" else None
    request.elsewhere = elsewhere(body)
    request.unseen = advice(body)
    # A thread keeps its tools, among which may be one that searches.
    request.searches = MOST_SEARCHES if continues_thread(body) else sum(map(searches, items(body.get("tools"))))
    request.fees = fees_of(body.get("tools"), None)
    request.region = text(body.get("inference_geo")) or ""
    others = [mapping(other).get("model") for other in items(body.get("fallbacks"))]
    request.others = tuple(name for name in others if isinstance(name, str))


def elsewhere(body: Mapping[str, Any]) -> str:
    """What a request refers to without holding it, in the words of an error; "" if it holds all.

    Args:
        body: its JSON.
    """
    for tool in items(body.get("tools")):
        kind = mapping(tool).get("type")
        if isinstance(kind, str) and kind.startswith(("web_search", "web_fetch", "code_execution", "tool_search")):
            return f"what the server-side tool {kind} brings"
    return referenced(body)


def advice(body: Mapping[str, Any]) -> str:
    """That a request may be answered at the price of another model, in the words of an error; "" if it may not.

    Args:
        body: its JSON.
    """
    kinds = [mapping(tool).get("type") for tool in items(body.get("tools"))]
    return "what an advisor answers" if any(str(kind).startswith("advisor") for kind in kinds) else ""
