"""Replicate's predictions: of models that are billed by tokens or by the run, if the answer is waited for.

https://replicate.com/docs/reference/http. Most other models are billed by the second that a machine runs, which no
request bounds: their price is what ``register_price`` says, ``per_call``.
"""

from __future__ import annotations

import re

from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import count, mapping

_PLACE = re.compile(r".*/(?:models/(?P<model>[^/]+/[^/]+)|deployments/(?P<deployment>[^/]+/[^/]+)|v1)/predictions")
_CAPS = ("max_completion_tokens", "max_output_tokens", "max_new_tokens", "max_tokens")


class Replicate(Format):
    """One prediction."""

    model_name = ""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        place = _PLACE.fullmatch(http.path)
        if place is None:
            return Request(http.provider, "", {}, unseen="training") if http.path.endswith("/trainings") else None
        given = mapping(http.body.get("input"))
        model = place["model"] or place["deployment"] or str(http.body.get("version") or "").partition(":")[0]
        return Request(
            provider=http.provider or "replicate",
            model=model,
            body=given,
            cap=next((found for name in _CAPS if (found := count(given.get(name))) is not None), None),
            cappable=any(name in given for name in _CAPS),
            base_url=http.base_url,
            exact_bytes=False,
        )

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - the formats are alike
        """Where a body has its output cap: where it is given, else none is written."""
        given = mapping(http.body.get("input"))
        return "input", next(name for name in _CAPS if name in given)
