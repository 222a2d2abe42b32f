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
from budgeted.providers import metered_method
from budgeted.providers.metered_method import End, run
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import note_lost
from budgeted.providers.unmeterable_requests import refuse_unseen
from budgeted.wire import response_usage, usage_report_formats
from budgeted.wire.exception_classification import came_through
from budgeted.wire.request_formats.amazon_bedrock import (
    CONVERSE_CAP,
    invocation_cap,
    read_converse,
    read_invoke,
    read_rerank,
    tier_of,
    with_guardrail,
)
from budgeted.wire.request_formats.http_request import with_cap
from budgeted.wire.response_usage import Answer
from budgeted.wire.usage_report_formats.amazon_bedrock import counts_in_headers

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

_PREPARING = frozenset({"_emit_api_params", "_resolve_endpoint_ruleset", "_convert_to_request_dict", "create_request"})
"""Methods that an exception passes through only before anything is sent."""


class Sent(metered_method.Sent):
    """One operation, as boto3 was asked for it."""

    def __init__(self, client: Any, operation: str, params: Mapping[str, Any]) -> None:
        self.params = dict(params)
        self.converse = operation in _CONVERSE
        self.ranks = operation == "Rerank"
        model = str(params.get("modelId") or "")
        self.body: Mapping[str, Any] = self.params
        if self.ranks:
            request = read_rerank(self.params)
        elif self.converse:
            request = read_converse(model, self.params)
        else:
            content: Any = self.params.get("body")
            if hasattr(content, "read"):
                self.params["body"] = content = content.read()
            self.body = _decoded(content)
            request = read_invoke(model, self.body, content)
            request.tier = tier_of(params.get("serviceTier"), params.get("performanceConfigLatency"))
            if self.params.get("guardrailIdentifier"):
                with_guardrail(request)
        request.base_url = str(client.meta.endpoint_url)
        super().__init__(request, (operation, self.params), {})

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The parameters with the model and cap that were granted."""
        if self.ranks:
            return self.args, {}
        model = call.request.model
        params = {**self.params, "modelId": model}
        if call.capped and self.converse:
            params = with_cap(params, CONVERSE_CAP, call.granted)
        elif call.capped:
            params["body"] = msgspec.json.encode(with_cap(self.body, invocation_cap(model), call.granted))
        return (self.args[0], params), {}

    def finish(self, call: Call, response: Any) -> End | None:
        """Settle at the usage in the answer or its headers; else once the body has been read."""
        if call.request.operation == "rerank":  # no answer says as how many searches it is billed
            return metered_method.units_end(call, None if call.request.known is None else call.request.units)
        if "usage" in response:
            answer = _answer(response["usage"], response.get("serviceTier"))
            return functools.partial(call.settle, response_usage.with_tools(answer, response))
        counts = counts_in_headers(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
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


def _answer(usage: Any, tier: Any) -> Answer:
    kind = tier.get("type") if isinstance(tier, Mapping) else None
    found = usage_report_formats.read_usage(usage or None)
    found = found if found is None or kind is None else msgspec.structs.replace(found, service_tier=kind)
    return Answer(found, report=usage)


def _decoded(content: Any) -> dict[str, Any]:
    """An invocation's body; empty if it is none that is understood, which the provider will refuse."""
    try:
        found = msgspec.json.decode(content)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
