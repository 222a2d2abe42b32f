"""Whatever way Amazon Bedrock is called, one call is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
import gc
import io
import json
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
import botocore.config
import botocore.eventstream
import botocore.exceptions
import botocore.response
import pytest
from urllib3.exceptions import ProtocolError
from ways import consumer_raises, each_way

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

SECRET = {"aws_secret_access_key": "any"}
SECRET_OF_ANTHROPIC: dict[str, Any] = {"aws_secret_key": "any"}
NOVA = "amazon.nova-pro-v1:0"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
CLAUDE_ANYWHERE = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
MESSAGES = [{"role": "user", "content": [{"text": "Say something nice about budgets."}]}]
ASK: dict[str, Any] = {"modelId": NOVA, "messages": MESSAGES}
TOOLS = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]}


def aws_client(provider: SimulatedProvider, service: str = "bedrock-runtime", **config: Any) -> Any:
    """A client of boto3 that does not retry, unless the configuration says so."""
    config = {"retries": {"total_max_attempts": 1}, **config}
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=provider.url,
        aws_access_key_id="any",
        config=botocore.config.Config(**config),
        **SECRET,
    )


@pytest.fixture
def bedrock(provider: SimulatedProvider) -> Iterator[Any]:
    client = aws_client(provider)
    yield client
    client.close()


def claude_body(**more: Any) -> str:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 500, **more}
    return json.dumps(body | {"messages": [{"role": "user", "content": "Hello there"}]})


def _converse(client: Any) -> None:
    assert client.converse(**ASK)["output"]["message"]["content"]


def _converse_with_a_cap(client: Any) -> None:
    answer = client.converse(**ASK, inferenceConfig={"maxTokens": 7})
    assert answer["usage"]["outputTokens"] == 7


def _converse_with_tools(client: Any) -> None:
    answer = client.converse(**ASK, toolConfig={**TOOLS, "toolChoice": {"any": {}}})
    assert answer["output"]["message"]["content"][0]["toolUse"]["name"] == "weather"


def _converse_stream(client: Any) -> None:
    stream = client.converse_stream(**ASK)["stream"]
    assert type(stream) is botocore.eventstream.EventStream
    events = list(stream)
    assert "messageStart" in events[0]
    assert "metadata" in events[-1]


def _converse_stream_closed_after_reading(client: Any) -> None:
    stream = client.converse_stream(**ASK, toolConfig={**TOOLS, "toolChoice": {"any": {}}})["stream"]
    assert list(stream)
    stream.close()


def _invoke(client: Any) -> None:
    answer = client.invoke_model(modelId=CLAUDE, body=claude_body())
    assert type(answer["body"]) is botocore.response.StreamingBody
    assert json.loads(answer["body"].read())["content"]


def _invoke_without_reading(client: Any) -> None:
    client.invoke_model(modelId=CLAUDE_ANYWHERE, body=claude_body().encode())


def _invoke_with_a_file(client: Any) -> None:
    client.invoke_model(modelId=CLAUDE, body=io.BytesIO(claude_body().encode()))


def _invoke_llama(client: Any) -> None:
    body = json.dumps({"prompt": "Once upon a time", "max_gen_len": 20})
    assert json.loads(client.invoke_model(modelId=LLAMA, body=body)["body"].read())["generation"]


def _invoke_embedding(client: Any) -> None:
    client.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "Hello there"}))


def _invoke_stream(client: Any) -> None:
    events = list(client.invoke_model_with_response_stream(modelId=CLAUDE_ANYWHERE, body=claude_body())["body"])
    assert json.loads(events[-1]["chunk"]["bytes"])["type"] == "message_stop"


def _invoke_stream_of_llama(client: Any) -> None:
    body = json.dumps({"prompt": "Once upon a time"})
    assert list(client.invoke_model_with_response_stream(modelId=LLAMA, body=body)["body"])


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(way: Callable[..., None], payer: Paying, bedrock: Any) -> None:
    payer.pays_once(way, bedrock)


@pytest.mark.parametrize("kind", ["converse", "converse_stream", "invoke", "invoke_stream"])
@pytest.mark.parametrize(
    "reply",
    [
        {"input_tokens": 5000, "cached_tokens": 3000},
        {"input_tokens": 5000, "cache_write_tokens": 3000},
        {"input_tokens": 9000, "cache_write_tokens": 3000, "cache_write_1h_tokens": 1000, "cached_tokens": 2500},
        {"output_tokens": 500},
    ],
    ids=str,
)
def test_what_the_answer_says_is_what_is_charged(
    reply: dict[str, Any], kind: str, payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block():
        if kind == "converse":
            bedrock.converse(**ASK | {"modelId": CLAUDE})
        elif kind == "converse_stream":
            list(bedrock.converse_stream(**ASK | {"modelId": CLAUDE})["stream"])
        elif kind == "invoke":
            bedrock.invoke_model(modelId=CLAUDE, body=claude_body())["body"].read()
        else:
            list(bedrock.invoke_model_with_response_stream(modelId=CLAUDE, body=claude_body())["body"])
    payer.agrees()


def test_an_answer_whose_headers_do_not_say_its_usage_is_settled_when_its_body_has_been_read(
    payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    provider.reply(input_tokens=5000, cache_write_tokens=3000, cache_write_1h_tokens=3000)
    with payer.block() as block:
        body = bedrock.invoke_model(modelId=CLAUDE, body=claude_body())["body"]
        assert block.held > 0
        assert b"".join(body.iter_chunks(10))
        assert block.held == 0
    payer.agrees()


# boto3 leaves the socket of an abandoned stream to the garbage collector, with or without us.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["converse", "invoke"])
@pytest.mark.parametrize("ending", ["break", "close", "dropped", "error", "deleted", "never_read", "exception"])
def test_a_stream_that_is_left_or_broken_is_an_estimate(
    ending: str, kind: str, payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    how = {"dropped": {"drop_after": 2}, "error": {"error_after": 2, "billed": True}}
    provider.reply(**how.get(ending, {"gate_after": 2}))
    with payer.block():
        if kind == "converse":
            stream = bedrock.converse_stream(**ASK)["stream"]
        else:
            stream = bedrock.invoke_model_with_response_stream(modelId=CLAUDE, body=claude_body())["body"]
        if ending in ("dropped", "error"):
            broken = botocore.exceptions.EventStreamError if ending == "error" else ProtocolError
            with pytest.raises(broken):
                list(stream)
        elif ending == "exception":
            consumer_raises(stream)
        elif ending != "never_read":
            for event in stream:
                if "contentBlockDelta" in event or "chunk" in event:
                    break
        if ending == "close":
            stream.close()
            assert payer.manager.balance().held == 0
        del stream
    gc.collect()
    provider.release()
    payer.guessed()


def test_a_request_without_a_cap_gets_one_where_money_is_short(
    paying: Callable[..., Paying], bedrock: Any, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.02")
    with payer.block() as block:
        bedrock.converse(**ASK, inferenceConfig={"temperature": 0.5})
        bedrock.invoke_model(modelId=LLAMA, body=json.dumps({"prompt": "Once"}))
    first, second = (request.body for request in provider.requests)
    assert 0 < first["inferenceConfig"]["maxTokens"] < 10_000
    assert first["inferenceConfig"]["temperature"] == 0.5
    assert 0 < second.get("max_gen_len", 4096) <= 4096
    assert block.clamped >= 1
    payer.agrees(calls=2)


def test_a_call_that_does_not_fit_is_refused_before_it_is_sent(
    paying: Callable[..., Paying], bedrock: Any, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.001")
    with payer.block(), pytest.raises(budgeted.BudgetExceededError, match="nova-pro"):
        bedrock.converse(**ASK, inferenceConfig={"maxTokens": 5000})
    with payer.block(), pytest.raises(budgeted.BudgetExceededError):
        bedrock.invoke_model(modelId=CLAUDE, body=claude_body())
    assert provider.requests == []


def test_a_fallback_is_asked_by_its_own_id(paying: Callable[..., Paying], bedrock: Any, provider: Any) -> None:
    payer = paying(max_budget="0.01", fallback=(LLAMA,), wait=0)
    with payer.block():
        bedrock.converse(**ASK, inferenceConfig={"maxTokens": 4000})
    assert "llama3-3" in provider.requests[0].path
    payer.agrees()


def test_an_unknown_model_is_refused(payer: Paying, bedrock: Any, provider: SimulatedProvider) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="register_price"):
        bedrock.converse(**ASK | {"modelId": "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"})
    assert provider.requests == []


@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_the_provider_refuses_costs_nothing(
    status: int, payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    provider.reply(status=status)
    with payer.block(), pytest.raises(botocore.exceptions.ClientError):
        bedrock.converse(**ASK)
    payer.agrees(calls=0)


def test_what_boto3_itself_refuses_costs_nothing(payer: Paying, bedrock: Any) -> None:
    with payer.block():
        with pytest.raises(botocore.exceptions.ParamValidationError):
            bedrock.converse(modelId=NOVA, messages=7)
        with pytest.raises(botocore.exceptions.ParamValidationError):
            bedrock.invoke_model(modelId=NOVA, body=7)
    payer.agrees(calls=0)


@pytest.mark.parametrize("body", ["", "[]", "no json", '{"messages": 7}', '{"inferenceConfig": 3, "prompt": null}'])
def test_a_body_that_makes_no_sense_is_left_for_the_provider_to_refuse(
    body: str, payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(botocore.exceptions.ClientError):
        bedrock.invoke_model(modelId=LLAMA, body=body)
    payer.agrees(calls=0)


def test_a_call_that_times_out_is_uncertain_and_so_is_each_that_boto3_repeats(
    payer: Paying, provider: SimulatedProvider
) -> None:
    client = aws_client(provider, read_timeout=0.2, retries={"total_max_attempts": 2})
    provider.queue(Reply(hang=True))
    with payer.block():
        assert client.converse(**ASK)["usage"]
    provider.release()
    assert payer.charges() == 2
    assert len(payer.manager.uncertain()) == 1


def test_what_boto3_repeats_for_a_status_is_not_charged_for_an_error_that_its_caller_handles(
    payer: Paying, provider: SimulatedProvider
) -> None:
    client = aws_client(provider, retries={"total_max_attempts": 2})
    provider.queue(Reply(status=503))
    with payer.block():
        try:
            raise TimeoutError
        except TimeoutError:
            assert client.converse(**ASK)["usage"]
    payer.agrees(calls=1)


def test_pictures_are_bounded_by_their_number_and_documents_by_the_window(
    payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    picture = {"image": {"format": "png", "source": {"bytes": bytes(3_000_000)}}}
    document = {"document": {"format": "pdf", "name": "a", "source": {"bytes": bytes(3_000_000)}}}
    for part, most in ((picture, 0.1), (document, 0.3)):
        provider.queue(Reply(output_tokens=5))
        with payer.block(cap=most):
            bedrock.converse(
                modelId=NOVA,
                messages=[{"role": "user", "content": [part, {"text": "What is it?"}]}],
                inferenceConfig={"maxTokens": 10},
            )
    payer.agrees(calls=2)


def test_what_is_billed_out_of_sight_is_refused_inside_a_budget(
    payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="an asynchronous invocation"):
        bedrock.start_async_invoke(
            modelId="amazon.nova-reel-v1:0",
            modelInput={},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://any"}},
        )
    assert provider.requests == []


OTHER_SERVICES: list[tuple[str, str, dict[str, Any]]] = [
    ("bedrock", "create_evaluation_job", {}),
    ("bedrock", "create_model_customization_job", {}),
    ("bedrock", "create_provisioned_model_throughput", {}),
    ("bedrock-agent", "start_ingestion_job", {"knowledgeBaseId": "a", "dataSourceId": "b"}),
    ("bedrock-agent-runtime", "start_flow_execution", {}),
    ("bedrock-agent-runtime", "retrieve", {"knowledgeBaseId": "a", "retrievalQuery": {"text": "budgets"}}),
    ("bedrock-agent-runtime", "optimize_prompt", {}),
    ("bedrock-agentcore", "invoke_agent_runtime", {"agentRuntimeArn": "a", "payload": b"{}"}),
    ("bedrock-data-automation-runtime", "invoke_data_automation_async", {}),
]


@pytest.mark.parametrize(("service", "method", "params"), OTHER_SERVICES, ids=str)
def test_what_other_services_of_bedrock_bill_out_of_sight_is_refused(
    service: str, method: str, params: dict[str, Any], payer: Paying, provider: SimulatedProvider
) -> None:
    client = aws_client(provider, service)
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match=r"budgeted\.hold\(cost=USD\)"):
        getattr(client, method)(**params)
    assert provider.requests == []
    client.close()


def test_other_services_of_aws_are_left_alone(payer: Paying, provider: SimulatedProvider) -> None:
    client = aws_client(provider, "s3")
    with payer.block() as block, pytest.raises(Exception, match="404"):
        client.head_bucket(Bucket="any")
    assert block.calls == 0


# -- Anthropic's own client for Bedrock reads the same event streams


class House(anthropic.AnthropicBedrock):
    """A client of an application's own."""


@pytest.fixture(params=[anthropic.AnthropicBedrock, House])
def claude_on_bedrock(
    provider: SimulatedProvider, request: pytest.FixtureRequest
) -> Iterator[anthropic.AnthropicBedrock]:
    with request.param(
        base_url=provider.url, aws_region="us-east-1", aws_access_key="any", max_retries=0, **SECRET_OF_ANTHROPIC
    ) as client:
        yield client


@pytest.mark.parametrize("model", [CLAUDE, CLAUDE_ANYWHERE])
@pytest.mark.parametrize("how", ["whole", "stream", "helper"])
def test_anthropics_client_for_bedrock_is_one_exact_charge(
    how: str, model: str, payer: Paying, claude_on_bedrock: anthropic.AnthropicBedrock
) -> None:
    ask: dict[str, Any] = {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": "Hello"}]}
    with payer.block() as block:
        if how == "helper":
            with claude_on_bedrock.messages.stream(**ask) as stream:
                assert stream.get_final_text()
        else:
            assert list(claude_on_bedrock.messages.create(**ask, stream=how == "stream"))
    payer.agrees()
    assert block.calls == 1


def test_anthropics_asynchronous_client_for_bedrock_is_one_exact_charge(
    payer: Paying, provider: SimulatedProvider
) -> None:
    async def main() -> None:
        client = anthropic.AsyncAnthropicBedrock(
            base_url=provider.url, aws_region="us-east-1", aws_access_key="any", max_retries=0, **SECRET_OF_ANTHROPIC
        )
        async with client, payer.block():
            stream = await client.messages.create(
                model=CLAUDE, max_tokens=200, messages=[{"role": "user", "content": "Hello"}], stream=True
            )
            assert [event.type async for event in stream][-1] == "message_stop"

    asyncio.run(main())
    payer.agrees()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_frames_that_come_in_pieces_are_read_all_the_same(
    size: int, payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    provider.reply(write_size=size)
    with payer.block():
        assert list(bedrock.converse_stream(**ASK)["stream"])
    payer.agrees()


# -- reranking, by the search


def reranking(documents: list[str]) -> dict[str, Any]:
    arn = "arn:aws:bedrock:us-east-1::foundation-model/amazon.rerank-v1:0"
    return {
        "queries": [{"type": "TEXT", "textQuery": {"text": "budgets"}}],
        "sources": [
            {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": document}}}
            for document in documents
        ],
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": arn}},
        },
    }


@pytest.fixture
def agent_runtime(provider: SimulatedProvider) -> Iterator[Any]:
    budgeted.register_price("amazon.rerank-v1:0", input=0, output=0, per_call="0.001", provider="aws")
    client = aws_client(provider, "bedrock-agent-runtime")
    yield client
    client.close()


def test_reranking_of_short_documents_is_charged_by_their_number(
    payer: Paying, agent_runtime: Any, provider: SimulatedProvider
) -> None:
    provider.reply(units=2)
    with payer.block(cap="0.001"), pytest.raises(budgeted.BudgetExceededError):
        agent_runtime.rerank(**reranking(["short"] * 150))
    assert provider.requests == []
    with payer.block(cap="0.002") as block:
        assert agent_runtime.rerank(**reranking(["short"] * 150))["results"]
    payer.agrees()
    assert block.calls == 1


def test_reranking_of_documents_that_may_be_cut_is_charged_as_held_and_listed(
    payer: Paying, agent_runtime: Any
) -> None:
    with payer.block():
        agent_runtime.rerank(**reranking(["long" * 1_000] * 100))
    (charge,) = payer.guessed()
    assert charge.cost >= 0.009


def test_reranking_by_invocation_is_charged_by_the_search(
    payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    body = json.dumps({"query": "budgets", "documents": ["a nice one"], "api_version": 2})
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="rerank-v9"):
        bedrock.invoke_model(modelId="cohere.rerank-v9:0", body=body)
    assert provider.requests == []


def test_several_answers_are_held_as_so_many(payer: Paying, bedrock: Any, provider: SimulatedProvider) -> None:
    budgeted.register_price("ai21.jamba-of-a-tenth", input=0, output=1_000, provider="aws")
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100, "n": 8})
    with payer.block(cap="0.70", wait=0), pytest.raises(budgeted.BudgetExceededError):
        bedrock.invoke_model(modelId="ai21.jamba-of-a-tenth", body=body)
    assert provider.requests == []


@pytest.mark.parametrize("how", ["converse", "invoke"])
def test_what_claude_is_only_referred_to_is_held_at_the_context_window(
    how: str, payer: Paying, bedrock: Any, provider: SimulatedProvider
) -> None:
    reference = {"container": "container_1"}
    with payer.block(cap="0.19"), pytest.raises(budgeted.BudgetExceededError):
        if how == "converse":
            most = {"inferenceConfig": {"maxTokens": 100}}
            bedrock.converse(modelId=CLAUDE, messages=MESSAGES, additionalModelRequestFields=reference, **most)
        else:
            bedrock.invoke_model(modelId=CLAUDE, body=claude_body(**reference))
    assert provider.requests == []


def test_a_guardrail_of_which_the_answer_tells_nothing_is_charged_as_held_and_listed(
    payer: Paying, bedrock: Any
) -> None:
    guarded = {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}
    with payer.block():
        bedrock.converse(**ASK, **guarded)
    (charge,) = payer.guessed()
    assert "guardrail" in charge.reason
    assert charge.cost == charge.held


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_what_is_optimised_for_latency_has_rates_of_its_own_and_so_is_charged_as_uncertain(
    payer: Paying, bedrock: Any, streamed: bool
) -> None:
    ask = {**ASK, "performanceConfig": {"latency": "optimized"}, "inferenceConfig": {"maxTokens": 500}}
    with payer.block() as block:
        if streamed:
            list(bedrock.converse_stream(**ask)["stream"])
        else:
            bedrock.converse(**ask)
    payer.guessed()
    assert block.spent * 1e9 > payer.provider.billed_nano() > 0


def test_a_standard_latency_is_charged_as_it_is_billed(payer: Paying, bedrock: Any) -> None:
    with payer.block():
        bedrock.converse(**ASK, performanceConfig={"latency": "standard"})
    payer.agrees()
