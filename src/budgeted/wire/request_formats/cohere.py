"""Cohere's API, of its second version and the first: chat, embeddings and reranking."""

from __future__ import annotations

import math

from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.request_formats.billed_tools import searches_to_rank
from budgeted.wire.request_formats.http_request import Body, Format, HTTPRequest, unseen_at
from budgeted.wire.request_formats.parameter_coercion import count, is_structured, items, mapping, text, times
from budgeted.wire.sdk_object_fields import fields_of, json_of
from budgeted.wire.usage_report_formats import MOST_TOKENS

_OPERATIONS = {
    "v2/chat": "chat",
    "v1/chat": "chat",
    "v1/generate": "text_completion",
    "v1/summarize": "text_completion",
    "v2/embed": "embeddings",
    "v1/embed": "embeddings",
    "v2/rerank": "rerank",
    "v1/rerank": "rerank",
    "v1/classify": "classify",
}
_UNITS = {"rerank": "search_units", "classify": "classifications"}
"""By the operation: what is billed by number, as an answer calls it."""

_UNSEEN = {
    "v1/embed-jobs": "a batch that the provider runs",
    "v2/batches": "a batch that the provider runs",
    "v1/finetuning/finetuned-models": "fine-tuning",
    "v2/audio/transcriptions": "a transcript",
    "v2/parse": "reading a document",
}


class Cohere(Format):
    """What Cohere answers."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        path = next((path for path in _OPERATIONS if http.path.endswith(path)), None)
        if path is None:
            return unseen_at(http, _UNSEEN)
        body = http.body
        request = Request(
            provider=http.provider,
            operation=_OPERATIONS[path],
            model=str(body.get("model") or ""),
            body=body,
            base_url=http.base_url,
            exact_bytes=False,
        )
        if request.operation == "embeddings":
            request.output = False
        elif request.operation == "rerank":
            request.output = False
            request.units = searches_to_rank(text(body.get("query")) or "", body.get("documents"))
        elif request.operation == "classify":
            request.output = False
            request.units = len(items(body.get("inputs"))) or 1
        else:
            request.n = times(body.get("num_generations"))
            request.cappable = path != "v1/summarize"
            request.cap = count(body.get("max_tokens"))
            request.thinking = count(mapping(body.get("thinking")).get("token_budget")) or 0
            request.structured = is_structured(body.get("response_format"))
            request.elsewhere = referenced(body)
        return request


def is_by_number(request: Request) -> bool:
    """Whether a request is billed by number: of searches, or of what is classified.

    Args:
        request: as it was read.
    """
    return request.operation in _UNITS


def units(body: Body | bytes, request: Request) -> int | None:
    """How many units an answer says that it is billed for; None if it does not say.

    Args:
        body: its JSON, taken apart or not.
        request: what was asked.
    """
    meta = fields_of(json_of(body) if isinstance(body, bytes) else body).get("meta")
    found = mapping(mapping(meta).get("billed_units")).get(_UNITS[request.operation])
    return math.ceil(found) if isinstance(found, (int, float)) and 0 <= found <= MOST_TOKENS else None
