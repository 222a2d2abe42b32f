"""Ollama's API: chat, generate and embed."""

from __future__ import annotations

from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import count, mapping

_OPERATIONS = {
    "/api/chat": "chat",
    "/api/generate": "text_completion",
    "/api/embed": "embeddings",
    "/api/embeddings": "embeddings",
}


class Ollama(Format):
    """What Ollama answers, free unless it is priced."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        operation = next((operation for path, operation in _OPERATIONS.items() if http.path.endswith(path)), None)
        if operation is None:
            return None
        body = http.body
        request = Request(
            provider="ollama",
            operation=operation,
            model=str(body.get("model") or ""),
            body=body,
            # -1 and -2 say that there is no cap.
            cap=count(mapping(body.get("options")).get("num_predict")),
            output=operation != "embeddings",
            structured=bool(body.get("format")),
            base_url=http.base_url,
            exact_bytes=False,
        )
        if body.get("context"):
            request.elsewhere = "an earlier conversation"
        return request

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - the formats are alike
        """Where a body has its output cap."""
        return "options", "num_predict"
