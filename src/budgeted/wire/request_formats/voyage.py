"""Voyage's API: embeddings and reranking, both billed by the tokens that are read (https://docs.voyageai.com)."""

from __future__ import annotations

import re

from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import items

_PATHS = {
    "/multimodalembeddings": "embeddings",
    "/contextualizedembeddings": "embeddings",
    "/embeddings": "embeddings",
    "/rerank": "rerank",
}

_RERANKER = re.compile(r"rerank-(?:\d|lite)|voyage-")


class Voyage(Format):
    """What is embedded or ranked."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        operation = next((operation for path, operation in _PATHS.items() if http.path.endswith(path)), None)
        if operation is None:
            return None
        body = http.body
        model = str(body.get("model") or "")
        if operation == "rerank" and not http.provider and _RERANKER.match(model) is None:
            return None  # others rank at a path of that name
        request = Request(
            provider=http.provider,
            operation=operation,
            model=model,
            body=body,
            base_url=http.base_url,
            output=False,
            cappable=False,
            exact_bytes=False,
        )
        if operation == "rerank":  # the query is read once more with each document
            documents = items(body.get("documents"))
            request.body = {"input": documents, "queries": [body.get("query")] * max(1, len(documents))}
        return request
