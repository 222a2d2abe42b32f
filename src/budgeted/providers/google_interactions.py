"""The interactions of Google's Gen AI SDK, and its decisions: a client of its own inside it, made by Speakeasy.

Where an answer goes on in further requests, each of them is billed, and a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgeted.metering.call import Call
from budgeted.pricing.token_types import kinds_in, kinds_out
from budgeted.providers.billed_tools import MOST_SEARCHES
from budgeted.providers.parameter_coercion import count, items, mapping, text
from budgeted.providers.speakeasy_generated_sdks import Dialect, decoded, hooks
from budgeted.providers.unmeterable_requests import refuse_unseen
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced

_DECISIONS = "/decisions"
_PATHS = ("/interactions", _DECISIONS)


class _Interactions(Dialect):
    def read(self, path: str, http: Any) -> tuple[Request, dict[str, Any]] | None:
        """The request as a call to meter, and its JSON; None if it is not billed."""
        if path.endswith(("/triggers", "/executions")):
            refuse_unseen("what a trigger starts")
        body = decoded(http) if path.endswith(_PATHS) else None
        if body is None:
            return None
        if body.get("background") or body.get("agent"):
            refuse_unseen("an interaction in the background" if body.get("background") else "an agent")
            return None
        request = Request(
            provider="google",
            model=str(body.get("model") or "").removeprefix("models/"),
            body=body,
            tier=text(body.get("service_tier")),
            base_url=str(http.url.copy_with(raw_path=b"/")),
            exact_bytes=False,
            cappable=not path.endswith(_DECISIONS),
        )
        _read_interaction(request, body)
        return request, body

    def alter(self, path: str, body: dict[str, Any], call: Call) -> dict[str, Any]:  # noqa: ARG002 - as in every dialect
        """A copy of the JSON with the model and cap that were granted."""
        altered = {**body, "model": call.request.model} if call.request.model != body.get("model") else {**body}
        if call.capped:
            config = {**mapping(body.get("generation_config")), "max_output_tokens": call.granted}
            altered["generation_config"] = config
        return altered


def _read_interaction(request: Request, body: Mapping[str, Any]) -> None:
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


HOOKS = hooks(
    "google.genai._gaos",
    _Interactions(),
    asynchronous="AsyncBaseSDK",
    retries=("retry_with_backoff", "retry_with_attempt_count_backoff"),
)
