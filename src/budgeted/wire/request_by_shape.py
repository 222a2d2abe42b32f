"""Which API a request is for by what it looks like alone: a body in a file has no address."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from budgeted.pricing import price_registry
from budgeted.validation import shown
from budgeted.wire.api_endpoints import endpoint
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import items, mapping

SHAPES: Final = (
    "messages, input or prompt (OpenAI and those who speak like it), messages and max_tokens (Anthropic), contents "
    "(Gemini), or modelId (Bedrock)"
)

_CONVERSE: Final = ("inferenceConfig", "toolConfig", "additionalModelRequestFields", "guardrailConfig")


def read(body: Mapping[str, Any], model: str | None = None, provider: str | None = None) -> Request:
    """A request's body as a call to meter.

    Args:
        body: its JSON, as the API takes it; Gemini's and Bedrock's as their SDKs do, with the model in it.
        model: the model, where the body does not name it, as it stands in the path; else what it is to be instead.
        provider: whose API it is for, as genai-prices names it; None if what it looks like tells.

    Raises:
        ValueError: it is no request that is known, or names no model; the text says what is missing.

    Example:
        >>> read({"model": "gpt-5-mini", "input": "Hello", "max_output_tokens": 100}).cap
        100
    """
    inner = body.get("params" if "params" in body else "body")
    if isinstance(inner, Mapping) and ("url" in body or "custom_id" in body):  # a line of a batch
        body = inner
    named = model or body.get("model") or body.get("modelId")
    if not isinstance(named, str) or not named:
        msg = "the request names no model" if named is None else f"the model must be a name, got {shown(named)}"
        raise ValueError(f"{msg}; name it with model=")
    http = _addressed(body, named, provider)
    if http is not None and (found := endpoint("", http.path)) is not None:
        for read_by in found.formats:
            request = read_by.read(http)
            if request is not None:
                return request
    known = ", ".join(sorted(body)[:8]) or "nothing"
    raise ValueError(f"this is no request that is known: it has {known}, and one would have {SHAPES}")


def _addressed(body: Mapping[str, Any], model: str, provider: str | None) -> HTTPRequest | None:
    """The request where it would be sent; None if it looks like none."""
    if "contents" in body or "content" in body:
        return _to_google(body, model, provider or "google")
    if "modelId" in body or any(name in body for name in _CONVERSE) or "anthropic_version" in body:
        return _to_bedrock(body, model, provider or "aws")
    named = {**body, "model": model}
    if "messages" in body:
        return _of_messages(named, model, provider)
    if "input" in body:
        path = "audio/speech" if "voice" in body else "embeddings" if _embeds(model) else "responses"
        return HTTPRequest(f"/v1/{path}", named, provider or "")
    if "prompt" in body:
        drawn = "size" in body or any(word in model.lower() for word in ("image", "dall-e"))
        return HTTPRequest(f"/v1/{'images/generations' if drawn else 'completions'}", named, provider or "")
    return None


def _of_messages(body: Mapping[str, Any], model: str, provider: str | None) -> HTTPRequest:
    if provider == "aws" or (provider is None and _is_converse(body["messages"])):
        return _to_bedrock(body, model, "aws")
    if provider == "anthropic" or (provider is None and _is_anthropics(model)):
        return HTTPRequest("/v1/messages", body, "anthropic")
    path = "messages" if "system" in body else "chat/completions"
    return HTTPRequest(f"/v1/{path}", body, provider or "")


def _is_anthropics(model: str) -> bool:
    price = price_registry.find(model)
    return model.startswith("claude") or (price is not None and price.provider == "anthropic")


def _embeds(model: str) -> bool:
    """Whether a model answers with no tokens, as far as its name or its price tells."""
    price = price_registry.find(model)
    return "embed" in model.lower() or (price is not None and not price.free and not price.bound(0, time.time())[1])


def _is_converse(messages: object) -> bool:
    """Whether the parts of messages tell by their key what they are, as Bedrock's do, and not by their type."""
    contents = [mapping(one).get("content") for one in items(messages)]
    parts = [part for content in contents for part in items(content) if isinstance(part, Mapping)]
    return bool(parts) and not any("type" in part for part in parts)


def _to_google(body: Mapping[str, Any], model: str, provider: str) -> HTTPRequest:
    if "config" in body and "generationConfig" not in body:  # as the SDK takes it
        body = {**body, "generationConfig": body["config"]}
    method = "generateContent" if "contents" in body else "embedContent"
    rest = {name: value for name, value in body.items() if name != "model"}
    return HTTPRequest(f"/v1beta/models/{quote(model.removeprefix('models/'), safe='')}:{method}", rest, provider)


def _to_bedrock(body: Mapping[str, Any], model: str, provider: str) -> HTTPRequest:
    rest = {name: value for name, value in body.items() if name not in ("model", "modelId")}
    inner = body.get("body")
    if isinstance(inner, str):  # as the SDK's invoke_model takes it
        try:
            inner = msgspec.json.decode(inner)
        except (msgspec.DecodeError, RecursionError):
            inner = None
    if isinstance(inner, Mapping):
        rest = dict(mapping(inner))
    converse = "messages" in rest and "anthropic_version" not in rest
    return HTTPRequest(f"/model/{quote(model, safe='')}/{'converse' if converse else 'invoke'}", rest, provider)
