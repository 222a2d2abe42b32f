"""Google's contents, for the Gemini API and for Vertex AI: generated content, embeddings and Imagen's pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from budgeted.pricing import token_types
from budgeted.pricing.token_types import draws, kinds_in, kinds_out
from budgeted.wire.normalized_request import Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.request_formats import vertex_tier
from budgeted.wire.request_formats.billed_tools import GOOGLES_MAPS, GOOGLES_SEARCHES, MOST_SEARCHES
from budgeted.wire.request_formats.http_request import Body, Format, HTTPRequest, unseen_at
from budgeted.wire.request_formats.parameter_coercion import count, items, mapping, text, times

_METHODS = {
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "predict": "embeddings",
}
_PLACE = re.compile(r"(?P<before>.*/(?:models|tunedModels|endpoints)/)(?P<model>[^/:?]+):(?P<method>\w+)(?P<after>.*)")
PICTURES = "image_generation"
"""The operation of what is billed by the picture."""

_UNSEEN_METHODS = {
    "predictLongRunning": "a video",
    "batchGenerateContent": "a batch that the provider runs",
    "asyncBatchEmbedContent": "a batch that the provider runs",
}
"""By the method: what is billed, and not by the answer to the request that starts it."""

_UNSEEN = {
    **{f":{method}": what for method, what in _UNSEEN_METHODS.items()},
    "/batchPredictionJobs": "a job that the provider runs",
    "/tuningJobs": "a job that the provider runs",
    "/tunedModels": "a job that the provider runs",
    "/cachedContents": "what is kept in a cache",
    "/auth_tokens": "what is said in a live session",
    ":uploadToFileSearchStore": "an index of files",
    ":importFile": "an index of files",
}
"""The same, by the end of the path."""

_CAPITAL = re.compile("[A-Z]")
MOST_PICTURES = 4
"""Pictures that Imagen makes at once (https://ai.google.dev/gemini-api/docs/imagen)."""

MOST_PICTURE_TOKENS = 2_520
"""The most output tokens of one picture, of the models that draw (https://ai.google.dev/gemini-api/docs/pricing)."""


class Gemini(Format):
    """Contents, embeddings and pictures, of models whose names are in the path."""

    told_by = (vertex_tier.HEADER,)

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        place = _PLACE.fullmatch(http.path)
        if place is None or place["method"] not in _METHODS:
            return unseen_at(http, _UNSEEN)
        body = http.body
        if _in_both_spellings(body):
            return None  # nobody knows which of the two counts
        request = Request(
            provider=http.provider or "google",
            operation=_METHODS[place["method"]],
            model=place["model"],
            body=body,
            tier=text(_field(body, "serviceTier")),
            base_url=http.base_url or place["before"],
            exact_bytes=False,
        )
        if request.operation == "chat":
            _read_content(request, body)
        else:
            request.output = False
        if place["method"] == "predict" and not _embeds(body):
            request.operation, request.body = PICTURES, {}
            request.units = times(_field(mapping(body.get("parameters")), "sampleCount"), MOST_PICTURES)
        return request

    def told(self, request: Request, headers: Mapping[str, str]) -> None:
        """Note the tier that a header asks for."""
        vertex_tier.note(request, headers)

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - the formats are alike
        """Where a body has its output cap."""
        return "generation_config" if "generation_config" in http.body else "generationConfig", "maxOutputTokens"

    def with_model(self, http: HTTPRequest, model: str) -> HTTPRequest:
        """The same for another model, which its path names."""
        path = _PLACE.sub(lambda at: f"{at['before']}{model}:{at['method']}{at['after']}", http.path)
        return msgspec.structs.replace(http, path=path)


def _read_content(request: Request, body: Body) -> None:
    config = mapping(_field(body, "generationConfig"))
    request.cap = count(_field(config, "maxOutputTokens"))
    request.n = times(_field(config, "candidateCount"))
    request.thinking = count(_field(mapping(_field(config, "thinkingConfig")), "thinkingBudget")) or 0
    request.structured = (
        _field(config, "responseMimeType") not in (None, "text/plain")
        or _field(config, "responseSchema") is not None
        or _field(config, "responseJsonSchema") is not None
    )
    request.kinds = kinds_out(request.model, _field(config, "responseModalities") or None)
    if draws(request.model) and request.kinds & token_types.IMAGE_OUT:
        request.thinking += MOST_PICTURE_TOKENS  # a cap is to leave room for it, as it does for thoughts
    request.kinds |= kinds_in(body.get("contents"))
    request.elsewhere = _elsewhere(body)
    tools = [mapping(tool) for tool in items(body.get("tools"))]
    if any(_field(tool, name) is not None for tool in tools for name in GOOGLES_SEARCHES):
        request.searches = MOST_SEARCHES
    if any(_field(tool, GOOGLES_MAPS) is not None for tool in tools):
        request.fees = (("maps", 1),)  # the prompt is billed, however often it looks


def _field(fields: Body, name: str) -> Any:
    """A field of a request: the API takes its names in both spellings, and the SDK writes both."""
    found = fields.get(name)
    return found if found is not None else fields.get(_CAPITAL.sub(_small, name))


def _in_both_spellings(fields: Body) -> bool:
    """Whether something that decides what a request costs is there twice, in this spelling and in that."""
    config = mapping(_field(fields, "generationConfig"))
    places = (fields, config, mapping(_field(config, "thinkingConfig")), mapping(fields.get("parameters")))
    return any(_CAPITAL.sub(_small, name) in place for place in places for name in place if _CAPITAL.search(name))


def _small(sign: re.Match[str]) -> str:
    return f"_{sign[0].lower()}"


def _elsewhere(body: Body) -> str:
    """What the request refers to without holding it."""
    for tool in items(body.get("tools")):
        for name in mapping(tool):
            if name not in ("functionDeclarations", "function_declarations"):
                return f"what the server-side tool {name} brings"
    return referenced(body)


def _embeds(body: Body) -> bool:
    """Whether a prediction on Vertex AI is one of embeddings: pictures and films have a prompt instead."""
    instances = items(body.get("instances"))
    return bool(instances) and all("content" in mapping(instance) for instance in instances)


def pictures(answer: object) -> int | None:
    """How many pictures an answer brings; None if it does not say.

    Args:
        answer: its JSON, as text or taken apart.
    """
    try:
        found: Any = msgspec.json.decode(answer) if isinstance(answer, (str, bytes)) else answer
        return len(found["predictions"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
