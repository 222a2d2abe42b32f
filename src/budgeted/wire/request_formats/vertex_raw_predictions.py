"""What makers' own APIs are asked on Vertex AI, by a path that names the model: Anthropic's messages, and Mistral's."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import msgspec

from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.anthropic_messages import Messages
from budgeted.wire.request_formats.http_request import Format, HTTPRequest
from budgeted.wire.request_formats.mistral import Mistral

_PLACE = re.compile(r"(?P<before>.*/publishers/(?P<maker>[^/]+)/models/)(?P<model>[^/:]+)(?P<after>:\w+)")
_READ_BY: dict[str, tuple[Format, str]] = {
    "anthropic": (Messages(), "/messages"),
    "mistralai": (Mistral(), "/chat/completions"),
}
"""By the maker: what reads the body, and the path that it has at the maker's own address."""


class RawPredictions(Format):
    """A body that goes to a model as it is."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        place = _PLACE.fullmatch(http.path)
        if place is None or place["maker"] not in _READ_BY:
            return None
        read_by, path = _READ_BY[place["maker"]]
        body = {**http.body, "model": unquote(place["model"])}
        return read_by.read(msgspec.structs.replace(http, path=path, body=body))

    def with_model(self, http: HTTPRequest, model: str) -> HTTPRequest:
        """The same for another model, which its path names."""
        name = quote(model, safe="@")
        path = _PLACE.sub(lambda at: f"{at['before']}{name}{at['after']}", http.path)
        return msgspec.structs.replace(http, path=path)
