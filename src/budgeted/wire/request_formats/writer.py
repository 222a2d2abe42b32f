"""Writer's API, whose chat and completions have paths of their own (https://dev.writer.com/api-reference)."""

from __future__ import annotations

import msgspec

from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import HTTPRequest
from budgeted.wire.request_formats.openai import OpenAI


class Writer(OpenAI):
    """Chat in OpenAI's form, and completions; what its applications do is billed out of sight."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        if "/applications/" in http.path and not http.path.endswith("/graphs"):
            return Request(http.provider, "", {}, base_url=http.base_url, unseen="an application")
        if http.path.endswith(("/tools/web-search", "/translation", "/vision")) or "/tools/" in http.path:
            return Request(http.provider, "", {}, base_url=http.base_url, unseen="a tool of the provider's")
        request = super().read(_as_openai(http))
        if request is not None:
            request.exact_bytes = False
        return request

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - as its parent's
        """Where a body has its output cap."""
        return ("max_tokens",)

    def asking_usage(self, http: HTTPRequest, request: Request) -> tuple[HTTPRequest, bool]:
        """The same, asking for its stream to say what it used, and whether to hide from the caller what says it."""
        changed, hide = super().asking_usage(_as_openai(http), request)
        return http if changed.body is http.body else msgspec.structs.replace(http, body=changed.body), hide


def _as_openai(http: HTTPRequest) -> HTTPRequest:
    return msgspec.structs.replace(http, path="/chat/completions") if http.path.endswith("/chat") else http
