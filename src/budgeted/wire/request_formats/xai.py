"""xAI's own API, which is spoken over gRPC (https://docs.x.ai/docs/grpc-reference); its other one is like OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from budgeted.wire.normalized_request import ANY, Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.request_formats.billed_tools import MOST_SOURCES, fees_of, most_searches
from budgeted.wire.request_formats.http_request import Body, Format, HTTPRequest, unseen_at
from budgeted.wire.request_formats.parameter_coercion import count, items, mapping, text, times
from budgeted.wire.usage_report_formats.xai import served_by_xai

_OPERATIONS: Final = {
    "/xai_api.Chat/GetCompletion": "chat",
    "/xai_api.Chat/GetCompletionChunk": "chat",
    "/xai_api.Chat/CompactContext": "chat",
    "/xai_api.Sample/SampleText": "text_completion",
    "/xai_api.Sample/SampleTextStreaming": "text_completion",
    "/xai_api.Embedder/Embed": "embeddings",
    "/xai_api.Image/GenerateImage": "image_generation",
}

_UNSEEN: Final = {
    "/xai_api.Chat/StartDeferredCompletion": "a deferred completion",
    "/xai_api.BatchMgmt/AddBatchRequests": "a batch that the provider runs",
    "/xai_api.BatchMgmt/CreateBatch": "a batch that the provider runs",
    "/xai_api.Video/GenerateVideo": "a video",
    "/xai_api.Video/ExtendVideo": "a video",
    "/xai_api.Documents/Search": "a search",
}
"""What is billed, and not by the answer to the request that starts it."""

_MOST_AGENTS: Final = 16
"""https://docs.x.ai/docs/guides/multi-agent"""


class XAI(Format):
    """Chat, completed text, embeddings and pictures, by the names of the messages' fields."""

    @staticmethod
    def knows(method: str) -> bool:
        """Whether what is asked by a method is read here.

        Args:
            method: its full name.
        """
        return method in _OPERATIONS or method in _UNSEEN

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        operation = _OPERATIONS.get(http.path)
        if operation is None:
            return unseen_at(http, _UNSEEN)
        body = http.body
        request = Request(
            provider=http.provider,
            operation=operation,
            model=str(body.get("model") or ""),
            body={**body, **{name: _typed(body[name]) for name in ("messages", "input") if name in body}},
            n=times(body.get("n")),
            tier=served_by_xai(text(body.get("service_tier"))),
            base_url=http.base_url,
            exact_bytes=False,
            elsewhere=referenced(body),
            kinds=ANY,
        )
        if http.path.endswith("/CompactContext"):
            request.cappable = False
        elif operation in ("chat", "text_completion"):
            request.cap = count(body.get("max_tokens"))
            request.n *= max(1, len(items(body.get("prompt"))))
            _read_chat(request, body)
        else:
            request.output, request.cappable = False, False
        if operation == "image_generation":
            request.units, request.n = request.n, 1
            request.body = {"prompt": body.get("prompt")}
        return request


def _read_chat(request: Request, body: Body) -> None:
    format_type = text(mapping(body.get("response_format")).get("format_type")) or ""
    request.structured = "JSON" in format_type
    tools = [kind for tool in items(body.get("tools")) for kind in mapping(tool)]
    for kind in tools:
        if kind == "image_generation":
            request.unseen = "a picture that a tool draws"
        if kind != "function":
            request.elsewhere = f"what the server-side tool {kind} brings"
        if kind in ("web_search", "x_search"):
            request.searches += most_searches(request.model)
    request.fees = fees_of([{"type": "file_search" if kind == "attachment_search" else kind} for kind in tools], None)
    live = body.get("search_parameters")
    if live is not None and mapping(live).get("mode") != "OFF_SEARCH_MODE":
        request.elsewhere = "a live search"
        most = count(mapping(live).get("max_search_results")) or MOST_SOURCES
        request.fees = (*request.fees, ("live_search", most))
    if body.get("agent_count") is not None or "multi-agent" in request.model:
        request.elsewhere = "what its agents tell each other"
        told = str(body.get("agent_count")).rpartition("_")[2]
        request.n *= int(told) if told.isdecimal() else _MOST_AGENTS


def _typed(messages: Any) -> list[Any]:
    """Messages whose pictures and files are named by type, as others name them, and without their bytes."""
    return [
        {**message, "content": [_part(part) for part in items(message.get("content"))]}
        if "content" in mapping(message)
        else _part(message)
        for message in items(messages)
    ]


def _part(part: Any) -> Any:
    if isinstance(part, Mapping):
        picture = mapping(part.get("image_url"))
        if picture:
            return {"type": "file" if picture.get("file_id") else "image_url"}
        if "file" in part:
            return {"type": "file"}
    return part
