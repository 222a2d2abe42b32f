"""Perplexity's API, which speaks like OpenAI's, and searches (https://docs.perplexity.ai/docs/getting-started/pricing)."""

from __future__ import annotations

from budgeted.pricing.usage import Usage
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import HTTPRequest
from budgeted.wire.request_formats.openai import OpenAI

SEARCH = "search"
"""The model of a search: `register_price("search", per_call=..., provider="perplexity")` says what one costs."""


class Perplexity(OpenAI):
    """Completions, and searches without an answer."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        if not http.path.endswith("/search"):
            return super().read(http)
        return Request(
            http.provider,
            SEARCH,
            {},
            base_url=http.base_url,
            operation="search",
            output=False,
            cappable=False,
            known=Usage(),
        )
