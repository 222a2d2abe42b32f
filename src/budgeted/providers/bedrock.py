"""Amazon Bedrock through boto3: Converse and InvokeModel, whole and streamed.

Every operation of every client goes through one method, with its retries inside. Streams are watched at the HTTP
response below them, so that the caller's `EventStream` and `StreamingBody` are the SDK's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from budgeted.metering import http_streams
from budgeted.metering.call import Call
from budgeted.pricing.token_types import kinds_in
from budgeted.pricing.usage import Usage
from budgeted.providers import billed_tools, metered_method
from budgeted.providers.anthropic import elsewhere
from budgeted.providers.billed_tools import searches_to_rank
from budgeted.providers.metered_method import End, run
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.parameter_coercion import count, items, mapping
from budgeted.providers.sdk_retries import note_lost
from budgeted.providers.unmeterable_requests import refuse_unseen
from budgeted.wire import response_usage, usage_report_formats
from budgeted.wire.exception_classification import came_through
from budgeted.wire.normalized_request import Request
from budgeted.wire.response_usage import Answer

_CONVERSE = frozenset({"Converse", "ConverseStream"})
_OPERATIONS = {
    **dict.fromkeys((*_CONVERSE, "InvokeModel", "InvokeModelWithResponseStream"), "bedrock-runtime"),
    "Rerank": "bedrock-agent-runtime",
}
"""What is metered, and the service that it is an operation of."""

_UNSEEN = {
    "StartAsyncInvoke": "an asynchronous invocation",
    "InvokeModelWithBidirectionalStream": "what is said in a live session",
    "CreateModelInvocationJob": "a batch that the provider runs",
    "CreateModelCustomizationJob": "fine-tuning",
    "CreateEvaluationJob": "an evaluation",
    "CreateAdvancedPromptOptimizationJob": "the optimizing of a prompt",
    "OptimizePrompt": "the optimizing of a prompt",
    "CreateProvisionedModelThroughput": "provisioned throughput",
    "InvokeAgent": "an agent",
    "InvokeInlineAgent": "an agent",
    "InvokeAgentRuntime": "an agent",
    "InvokeHarness": "an agent",
    "InvokeFlow": "a flow",
    "StartFlowExecution": "a flow",
    "RetrieveAndGenerate": "an answer from a knowledge base",
    "RetrieveAndGenerateStream": "an answer from a knowledge base",
    "AgenticRetrieveStream": "an answer from a knowledge base",
    "Retrieve": "an answer from a knowledge base",
    "GenerateQuery": "an answer from a knowledge base",
    "StartIngestionJob": "what a knowledge base takes in",
    "IngestKnowledgeBaseDocuments": "what a knowledge base takes in",
    "InvokeDataAutomation": "reading a document",
    "InvokeDataAutomationAsync": "reading a document",
}
"""By the operation: what is billed, and not by the answer to it."""

_HEADER = "x-amzn-bedrock-{}-token-count"
_HEADERS = {
    "inputTokens": "input",
    "outputTokens": "output",
    "cacheReadInputTokens": "cache-read-input",
    "cacheWriteInputTokens": "cache-write-input",
}
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
_PREPARING = frozenset({"_emit_api_params", "_resolve_endpoint_ruleset", "_convert_to_request_dict", "create_request"})
"""Methods that an exception passes through only before anything is sent."""


class Sent(metered_method.Sent):
    """One operation, as boto3 was asked for it."""

    def __init__(self, client: Any, operation: str, params: Mapping[str, Any]) -> None:
        self.params = dict(params)
        self.converse = operation in _CONVERSE
        self.ranks = operation == "Rerank"
        if self.ranks:
            self.body = self.params
            request = _read_rerank(self.params)
        elif self.converse:
            self.body = self.params
            request = _read_converse(self.params)
        else:
            content: Any = self.params.get("body")
            if hasattr(content, "read"):
                self.params["body"] = content = content.read()
            self.body = _decoded(content)
            model = str(params.get("modelId") or "")
            if "rerank" in model:
                documents = items(self.body.get("documents"))
                request = _ranking(model, str(self.body.get("query")), documents)
            else:
                request = _read_invoke(model, self.body, content)
        request.base_url = str(client.meta.endpoint_url)
        if self.params.get("guardrailConfig") or self.params.get("guardrailIdentifier"):
            request.fees = (("guardrail", _guarded(request)),)
        super().__init__(request, (operation, self.params), {})

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The parameters with the model and cap that were granted."""
        if self.ranks:
            return self.args, {}
        params = {**self.params, "modelId": call.request.model}
        if call.capped:
            if self.converse:
                params["inferenceConfig"] = {**(params.get("inferenceConfig") or {}), "maxTokens": call.granted}
            else:
                params["body"] = msgspec.json.encode(_with_cap(self.body, call.request.model, call.granted))
        return (self.args[0], params), {}

    def finish(self, call: Call, response: Any) -> End | None:
        """Settle at the usage in the answer or its headers; else once the body has been read."""
        if call.request.operation == "rerank":  # no answer says as how many searches it is billed
            return metered_method.units_end(call, None if call.request.known is None else call.request.units)
        if "usage" in response:
            answer = _answer(response["usage"], response.get("serviceTier"))
            return functools.partial(call.settle, response_usage.with_tools(answer, response))
        counts = _counts(response)
        stream = response.get("stream") or response.get("body")
        if counts and not counts.get("cacheWriteInputTokens"):
            return functools.partial(call.settle, _answer(counts, None))
        # How long a cache is kept, which decides its price, stands in the body alone.
        return None if self.watch(call, stream) else functools.partial(call.settle, _answer(counts, None))

    def watch(self, call: Call, stream: Any) -> bool:
        """Settle the call when its body has been read; False if it cannot be watched."""
        raw = getattr(stream, "_raw_stream", None)
        if raw is not None:
            http_streams.watch(raw, call)
        return raw is not None

    def outcome(self, call: Call, error: BaseException) -> End:
        """How a call ends that raised."""
        return functools.partial(call.fail, error, sent=not came_through(error, _PREPARING))


def _guarded(request: Request) -> int:
    """The most units that a guardrail may bill: of each of its policies, one for a thousand characters."""
    try:
        sent = len(msgspec.json.encode(request.body, enc_hook=str))
    except (TypeError, ValueError, RecursionError):
        sent = MOST_GUARDED
    return POLICIES * (2 + (sent + LETTERS_PER_TOKEN * (request.cap or MOST_GUARDED)) // 1000)


def _answer(usage: Any, tier: Any) -> Answer:
    kind = tier.get("type") if isinstance(tier, Mapping) else None
    found = usage_report_formats.read_usage(usage or None)
    found = found if found is None or kind is None else msgspec.structs.replace(found, service_tier=kind)
    return Answer(found, report=usage)


def _counts(response: Mapping[str, Any]) -> dict[str, int]:
    """What the headers of an invocation say that it is billed for."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = {name: str(headers.get(_HEADER.format(kind), "")) for name, kind in _HEADERS.items()}
    return {name: int(text) for name, text in found.items() if text.isascii() and text.isdigit()}


def _read_converse(params: Mapping[str, Any]) -> Request:
    config = mapping(params.get("inferenceConfig"))
    extra = mapping(params.get("additionalModelRequestFields"))
    thinking = mapping(extra.get("thinking") or extra.get("reasoning_config")).get("budget_tokens")
    model = str(params.get("modelId") or "")
    return Request(
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
        tier=mapping(params.get("serviceTier")).get("type"),
        kinds=kinds_in([params.get(name) for name in ("messages", "system", "toolConfig")]),
        exact_bytes=False,
        elsewhere="a stored prompt" if ":prompt/" in model else elsewhere(extra),
        renamed=True,
    )


def _read_rerank(params: Mapping[str, Any]) -> Request:
    ranking = mapping(mapping(params.get("rerankingConfiguration")).get("bedrockRerankingConfiguration"))
    model = str(mapping(ranking.get("modelConfiguration")).get("modelArn") or "")
    query = "".join(str(mapping(each).get("textQuery")) for each in items(params.get("queries")))
    return _ranking(model.rpartition("foundation-model/")[2], query, params.get("sources"))


def _ranking(model: str, query: str, documents: Any) -> Request:
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


def _read_invoke(model: str, body: Mapping[str, Any], content: Any) -> Request:
    path, cap = next(((path, found) for path in _CAPS if (found := _at(body, path)) is not None), ((), None))
    thinking = mapping(body.get("thinking")).get("budget_tokens")
    embeds = "embed" in model
    return Request(
        provider="aws",
        operation="embeddings" if embeds else "chat",
        model=model,
        body=_content(body) if body else {"body": _text(content)},
        cap=count(cap),
        n=count(body.get("n")) or count(body.get("num_generations")) or 1,
        cappable=count(cap) is not None if path else _cap_of(model) is not None,
        thinking=count(thinking) or 0,
        output=not embeds,
        structured=any(body.get(name) is not None for name in ("output_format", "output_config", "response_format")),
        kinds=kinds_in(body),
        exact_bytes=False,
        elsewhere=elsewhere(body),
        renamed=True,
    )


def _decoded(content: Any) -> dict[str, Any]:
    """An invocation's body; empty if it is none that is understood, which the provider will refuse."""
    try:
        found = msgspec.json.decode(content)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _cap_of(model: str) -> tuple[str, ...] | None:
    return next((path for part, path in _CAP_OF if part in model), None)


def _with_cap(body: Mapping[str, Any], model: str, cap: int) -> Mapping[str, Any]:
    path = _cap_of(model) or ("max_tokens",)
    if len(path) == 1:
        return {**body, path[0]: cap}
    return {**body, path[0]: {**mapping(body.get(path[0])), path[1]: cap}}


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


def _text(content: Any) -> str:
    return content if isinstance(content, str) else bytes(content or b"").decode("latin-1")


def read(kind: type[Sent], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    """An operation of a client's as a call to meter; None if it is another service's, or not billed by tokens.

    Args:
        kind: what it is made into.
        client: of botocore or aiobotocore.
        args: what its method was called with.
        kwargs: and by name.

    Raises:
        UnpricedModelError: it starts what is billed out of sight.
    """
    operation = args[0] if args else kwargs.get("operation_name")
    params = args[1] if len(args) > 1 else kwargs.get("api_params")
    if (operation not in _OPERATIONS and operation not in _UNSEEN) or not isinstance(params, Mapping):
        return None
    service = client.meta.service_model.service_name
    if operation in _UNSEEN and service.startswith("bedrock"):
        refuse_unseen(_UNSEEN[operation])
    return kind(client, operation, params) if operation in _OPERATIONS and service == _OPERATIONS[operation] else None


def caught(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> BaseException | None:
    """The error that botocore and aiobotocore ask about, whether to repeat a request."""
    error: BaseException | None = args[4] if len(args) > 4 else kwargs.get("caught_exception")
    return error


def _needs_retry(wrapped: Callable[..., Any], endpoint: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The SDK is about to repeat a request: one that timed out after it was sent may have been billed."""
    again = wrapped(*args, **kwargs)
    if again:
        note_lost(caught(args, kwargs))
    return again


HOOKS = (
    Hook("botocore.client", "BaseClient._make_api_call", functools.partial(run, functools.partial(read, Sent))),
    Hook("botocore.endpoint", "Endpoint._needs_retry", _needs_retry),
)
