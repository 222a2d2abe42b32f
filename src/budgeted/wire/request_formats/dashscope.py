"""Alibaba's DashScope, in its own format: generated text and embeddings.

https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope; in OpenAI's format it is read as OpenAI's.
"""

from __future__ import annotations

from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest, unseen_at
from budgeted.wire.request_formats.parameter_coercion import count, is_structured, mapping, times

_GENERATION = ("/text-generation/generation", "/multimodal-generation/generation")
_READING = {
    "/text-embedding/text-embedding": "embeddings",
    "/multimodal-embedding/multimodal-embedding": "embeddings",
    "/text-rerank/text-rerank": "rerank",
}
_UNSEEN = {
    "/image-synthesis": "a picture that the provider makes later",
    "/video-synthesis": "a video",
    "/audio/asr/transcription": "a transcript",
    "/completion": "an application",
}


class DashScope(Format):
    """What is generated or embedded."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        body = http.body
        reads = next((operation for path, operation in _READING.items() if http.path.endswith(path)), None)
        if reads is None and not http.path.endswith(_GENERATION):
            return unseen_at(http, _UNSEEN)
        given, parameters = mapping(body.get("input")), mapping(body.get("parameters"))
        request = Request(
            provider=http.provider or "dashscope",
            operation=reads or "chat",
            model=str(body.get("model") or ""),
            body={**given, "tools": parameters.get("tools")},
            base_url=http.base_url,
            exact_bytes=False,
        )
        if reads is not None:
            request.output, request.cappable = False, False
            return request
        request.cap = count(parameters.get("max_tokens"))
        request.n = times(parameters.get("n"))
        request.structured = is_structured(parameters.get("response_format"))
        request.thinking = count(parameters.get("thinking_budget")) or 0
        if parameters.get("enable_search"):
            request.elsewhere = "a web search"
        return request

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - the formats are alike
        """Where a body has its output cap."""
        return "parameters", "max_tokens"
