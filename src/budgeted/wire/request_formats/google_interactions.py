"""Google's interactions and decisions.

Where an answer goes on in further requests, each of them is billed, and a call.
"""

from __future__ import annotations

from budgeted.pricing.token_types import kinds_in, kinds_out
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.request_formats.billed_tools import MOST_SEARCHES
from budgeted.wire.request_formats.http_request import Body, Format, HTTPRequest, unseen_at
from budgeted.wire.request_formats.parameter_coercion import count, items, mapping, text

_DECISIONS = "/decisions"
_PATHS = ("/interactions", _DECISIONS)
_UNSEEN = {"/triggers": "what a trigger starts", "/executions": "what a trigger starts"}


class Interactions(Format):
    """One interaction, or one decision."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        if not http.path.endswith(_PATHS):
            return unseen_at(http, _UNSEEN)
        body = http.body
        request = Request(
            provider="google",
            model=str(body.get("model") or "").removeprefix("models/"),
            body=body,
            tier=text(body.get("service_tier")),
            base_url=http.base_url,
            exact_bytes=False,
            cappable=not http.path.endswith(_DECISIONS),
        )
        _read_interaction(request, body)
        return request

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - the formats are alike
        """Where a body has its output cap."""
        return "generation_config", "max_output_tokens"


def _read_interaction(request: Request, body: Body) -> None:
    if body.get("background") or body.get("agent"):
        request.unseen = "an interaction in the background" if body.get("background") else "an agent"
    request.cap = count(mapping(body.get("generation_config")).get("max_output_tokens"))
    wanted = body.get("response_format")
    request.structured = body.get("response_mime_type") not in (None, "text/plain") or any(
        mapping(each).get("type", "schema") != "text" for each in (items(wanted) or ([wanted] if wanted else ()))
    )
    modalities = body.get("response_modalities") or None
    request.kinds = kinds_out(request.model, modalities) | kinds_in(body.get("input"))
    request.elsewhere = "an environment" if body.get("environment") else referenced(body)
    for tool in items(body.get("tools")):
        kind = text(mapping(tool).get("type")) or "function"
        if kind != "function":
            request.elsewhere = f"what the server-side tool {kind} brings"
        if kind == "google_search":
            request.searches = MOST_SEARCHES
        elif kind == "google_maps":
            request.fees = (("maps", MOST_SEARCHES),)
