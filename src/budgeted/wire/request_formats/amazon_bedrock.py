"""Amazon Bedrock's operations over HTTP: Converse and InvokeModel, whole and streamed, and reranking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from budgeted.pricing.token_types import kinds_in
from budgeted.pricing.usage import Usage
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats import billed_tools
from budgeted.wire.request_formats.anthropic_messages import advice, elsewhere
from budgeted.wire.request_formats.billed_tools import searches_to_rank
from budgeted.wire.request_formats.http_request import Body, Format, HTTPRequest, cannot_ask
from budgeted.wire.request_formats.parameter_coercion import count, items, mapping, times

_CAPS: tuple[tuple[str, ...], ...] = (
    ("max_tokens",),
    ("max_completion_tokens",),
    ("max_gen_len",),
    ("max_new_tokens",),
    ("maxTokens",),
    ("textGenerationConfig", "maxTokenCount"),
    ("inferenceConfig", "maxTokens"),
    ("inferenceConfig", "max_new_tokens"),
)
"""Where the bodies of models' own APIs have their output cap."""

CONVERSE_CAP = ("inferenceConfig", "maxTokens")
"""Where what Converse is asked has its output cap."""

_CAP_OF: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("amazon.nova", ("inferenceConfig", "maxTokens")),
    ("amazon.titan-text", ("textGenerationConfig", "maxTokenCount")),
    ("meta.", ("max_gen_len",)),
    *((maker, ("max_tokens",)) for maker in ("anthropic.", "cohere.", "mistral.", "ai21.jamba", "deepseek.", "qwen.")),
    ("openai.", ("max_completion_tokens",)),
)
"""By a part of the model's id, where its cap is written if there is none."""

POLICIES = 6
"""Kinds of policy that a guardrail may have and that are billed (https://aws.amazon.com/bedrock/pricing/)."""

LETTERS_PER_TOKEN = 8
MOST_GUARDED = 100_000
"""Estimates for what a guardrail reads of an answer, and of what cannot be measured: nobody states a bound."""

_MEDIA = ("image", "video", "audio", "document")
_PLACE = re.compile(r"(?P<before>.*/model/)(?P<model>[^/]+)/(?P<operation>converse|invoke)(?P<after>[a-z-]*)")


_GUARDRAIL = "x-amzn-bedrock-guardrailidentifier"
_TIER = "x-amzn-bedrock-service-tier"
_LATENCY = "x-amzn-bedrock-performanceconfig-latency"


class Bedrock(Format):
    """What a model on Bedrock is asked, by the path that names it; or a reranking."""

    told_by = (_GUARDRAIL, _TIER, _LATENCY)

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        place = _PLACE.fullmatch(http.path)
        if place is None:
            return read_rerank(http.body) if http.path.endswith("/rerank") else None
        model = unquote(place["model"])
        converse = place["operation"] == "converse"
        request = read_converse(model, http.body) if converse else read_invoke(model, http.body)
        request.base_url = http.base_url
        return request

    def told(self, request: Request, headers: Mapping[str, str]) -> None:
        """Note that an invocation is guarded, and its tier, which Converse has in its body."""
        if _TIER in headers or _LATENCY in headers:
            request.tier = tier_of(headers.get(_TIER), headers.get(_LATENCY))
        if headers.get(_GUARDRAIL):
            with_guardrail(request)

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:
        """Where a body has its output cap."""
        place = _PLACE.fullmatch(http.path)
        converse = place is not None and place["operation"] == "converse"
        return CONVERSE_CAP if converse else invocation_cap(request.model)

    def with_model(self, http: HTTPRequest, model: str) -> HTTPRequest:
        """The same for another model, which its path names."""
        if _PLACE.fullmatch(http.path) is None:
            raise cannot_ask(http, model, "a reranking names its model among what is asked")
        name = quote(model, safe="")
        path = _PLACE.sub(lambda at: f"{at['before']}{name}/{at['operation']}{at['after']}", http.path)
        return msgspec.structs.replace(http, path=path)


def tier_of(tier: str | None, latency: str | None) -> str | None:
    """The tier that serves a request: one that is optimised for latency has rates of its own.

    https://docs.aws.amazon.com/bedrock/latest/userguide/latency-optimized-inference.html

    Args:
        tier: the one that it names, or None.
        latency: what it wants of that: ``"optimized"``, ``"standard"``, or None.
    """
    return latency if latency not in (None, "standard") else tier


def read_converse(model: str, params: Body) -> Request:
    """Read what Converse is asked.

    Args:
        model: its id.
        params: the rest, by the names of the API.
    """
    config = mapping(params.get("inferenceConfig"))
    extra = mapping(params.get("additionalModelRequestFields"))
    thinking = mapping(extra.get("thinking") or extra.get("reasoning_config")).get("budget_tokens")
    request = Request(
        provider="aws",
        model=model,
        body={
            "messages": _content(params.get("messages")),
            "system": _content(params.get("system")),
            "tools": _content(params.get("toolConfig")),
            "extra": dict(extra),
        },
        cap=count(config.get("maxTokens")),
        cappable="maxTokens" not in config or count(config["maxTokens"]) is not None,
        thinking=count(thinking) or 0,
        structured=params.get("outputConfig") is not None,
        tier=tier_of(
            mapping(params.get("serviceTier")).get("type"), mapping(params.get("performanceConfig")).get("latency")
        ),
        kinds=kinds_in([params.get(name) for name in ("messages", "system", "toolConfig")]),
        exact_bytes=False,
        elsewhere="a stored prompt" if ":prompt/" in model else elsewhere(extra),
        unseen=advice(extra),
        renamed=True,
    )
    return with_guardrail(request) if params.get("guardrailConfig") else request


def read_rerank(params: Body) -> Request:
    """Read what Rerank is asked.

    Args:
        params: by the names of the API.
    """
    ranking = mapping(mapping(params.get("rerankingConfiguration")).get("bedrockRerankingConfiguration"))
    model = str(mapping(ranking.get("modelConfiguration")).get("modelArn") or "")
    query = "".join(str(mapping(each).get("textQuery")) for each in items(params.get("queries")))
    return _ranking(model.rpartition("foundation-model/")[2], query, params.get("sources"))


def _ranking(model: str, query: str, documents: object) -> Request:
    """A request that is billed by the search: it is known as how many where that many are the fewest, too."""
    most, fewest = (
        searches_to_rank(query, documents),
        max(1, -(-len(items(documents)) // billed_tools.RANKED_AT_ONCE)),
    )
    return Request(
        provider="aws",
        operation="rerank",
        model=model,
        body={},
        output=False,
        cappable=False,
        units=most,
        known=Usage() if most == fewest else None,
        renamed=True,
    )


def read_invoke(model: str, body: Body, content: bytes | str = b"") -> Request:
    """Read what InvokeModel is asked.

    Args:
        model: its id.
        body: the JSON that the model's own API takes.
        content: the same as it is sent, where it is no JSON.
    """
    if "rerank" in model:
        return _ranking(model, str(body.get("query")), items(body.get("documents")))
    path, cap = next(((path, found) for path in _CAPS if (found := _at(body, path)) is not None), ((), None))
    thinking = mapping(body.get("thinking")).get("budget_tokens")
    embeds = "embed" in model
    return Request(
        provider="aws",
        operation="embeddings" if embeds else "chat",
        model=model,
        body=_content(body) if body else {"body": _text(content)},
        cap=count(cap),
        n=max(times(body.get("n")), times(body.get("num_generations"))),
        cappable=count(cap) is not None if path else _cap_of(model) is not None,
        thinking=count(thinking) or 0,
        output=not embeds,
        structured=any(body.get(name) is not None for name in ("output_format", "output_config", "response_format")),
        kinds=kinds_in(body),
        exact_bytes=False,
        elsewhere=elsewhere(body),
        unseen=advice(body),
        renamed=True,
    )


def _cap_of(model: str) -> tuple[str, ...] | None:
    return next((path for part, path in _CAP_OF if part in model), None)


def invocation_cap(model: str) -> tuple[str, ...]:
    """Where the body of an invocation has its output cap, as :meth:`Format.cap_at` tells it.

    Args:
        model: its id.
    """
    return _cap_of(model) or ("max_tokens",)


def _at(body: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = body
    for name in path:
        found = mapping(found).get(name)
    return found


def _content(value: Any) -> Any:
    """A part of a request, with its media named by type, as others name them, and without their bytes."""
    if isinstance(value, Mapping):
        for name in _MEDIA:
            inner = value.get(name)
            source = inner.get("source") if isinstance(inner, Mapping) else None
            if isinstance(source, Mapping) and "text" not in source:
                return {"type": name}
        return {name: _content(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_content(inner) for inner in value]
    return value


def _text(content: bytes | str) -> str:
    return content if isinstance(content, str) else bytes(content or b"").decode("latin-1")


def with_guardrail(request: Request) -> Request:
    """A request with the most units that a guardrail may bill: of each of its policies, one per thousand characters.

    Args:
        request: as it was read.
    """
    try:
        sent = len(msgspec.json.encode(request.body, enc_hook=str))
    except (TypeError, ValueError, RecursionError):
        sent = MOST_GUARDED
    units = POLICIES * (2 + (sent + LETTERS_PER_TOKEN * (request.cap or MOST_GUARDED)) // 1000)
    request.fees = (("guardrail", units),)
    return request
