"""Hugging Face's own inference, by the task: billed by the second of a machine, which no answer tells.

https://huggingface.co/docs/inference-providers/pricing; what its router leads to others is read as OpenAI's.
"""

from __future__ import annotations

import re

from budgeted.pricing.usage import Usage
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest

PLACE = re.compile(r".*/hf-inference/models/(?P<model>.+?)(?:/pipeline/(?P<task>[a-z-]+))?")


class HuggingFace(Format):
    """One task of one model. Its price is what ``register_price`` says, ``per_call``, and its charge uncertain."""

    model_name = ""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        place = PLACE.fullmatch(http.path)
        if place is None:
            return None
        return Request(
            http.provider or "huggingface",
            place["model"],
            http.body,
            base_url=http.base_url,
            operation=place["task"] or "chat",
            output=False,
            cappable=False,
            exact_bytes=False,
            likely=Usage(),
        )
