"""IBM watsonx.ai: chat, generated text, embeddings and reranking (https://cloud.ibm.com/apidocs/watsonx-ai)."""

from __future__ import annotations

from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import count, is_structured, mapping, times

_OPERATIONS = {
    "/text/chat": "chat",
    "/text/chat_stream": "chat",
    "/text/generation": "text_completion",
    "/text/generation_stream": "text_completion",
    "/text/embeddings": "embeddings",
    "/text/rerank": "rerank",
}


class Watsonx(Format):
    """What a foundation model is asked; one that is deployed for its owner alone is billed by the hour."""

    model_name = "model_id"

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        operation = next((operation for path, operation in _OPERATIONS.items() if http.path.endswith(path)), None)
        if operation is None:
            return None
        body = http.body
        request = Request(
            provider=http.provider or "watsonx",
            operation=operation,
            model=str(body.get("model_id") or ""),
            body=body,
            base_url=http.base_url,
            exact_bytes=False,
        )
        if operation == "chat":
            request.cap = count(body.get("max_completion_tokens")) or count(body.get("max_tokens"))
            request.n = times(body.get("n"))
            request.structured = is_structured(body.get("response_format"))
        elif operation == "text_completion":
            request.cap = count(mapping(body.get("parameters")).get("max_new_tokens"))
        else:
            request.output, request.cappable = False, False
        return request

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:
        """Where a body has its output cap."""
        if request.operation != "chat":
            return "parameters", "max_new_tokens"
        return ("max_completion_tokens" if "max_completion_tokens" in http.body else "max_tokens",)
