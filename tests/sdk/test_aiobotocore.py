"""What is sent to Amazon Bedrock through aiobotocore is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
import gc
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiobotocore.config
import aiobotocore.eventstream
import botocore.exceptions
import pytest
from aiobotocore.session import get_session
from ways import each_way

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

SECRET = {"aws_secret_access_key": "any"}
NOVA = "amazon.nova-pro-v1:0"
CLAUDE = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
ASK: dict[str, Any] = {"modelId": NOVA, "messages": [{"role": "user", "content": [{"text": "Say something nice."}]}]}
BODY = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "Hello there"}],
    }
)


def ask(provider: SimulatedProvider, way: Callable[[Any], Awaitable[Any]], **config: Any) -> Any:
    """Call a client that does not retry."""

    async def main() -> Any:
        async with get_session().create_client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=provider.url,
            aws_access_key_id="any",
            config=aiobotocore.config.AioConfig(**{"retries": {"total_max_attempts": 1}, **config}),
            **SECRET,
        ) as client:
            return await way(client)

    return asyncio.run(main())


async def _converse(client: Any) -> None:
    assert (await client.converse(**ASK))["output"]["message"]["content"]


async def _converse_stream(client: Any) -> None:
    stream = (await client.converse_stream(**ASK))["stream"]
    assert type(stream) is aiobotocore.eventstream.AioEventStream
    events = [event async for event in stream]
    assert "metadata" in events[-1]


async def _invoke(client: Any) -> None:
    answer = await client.invoke_model(modelId=CLAUDE, body=BODY)
    async with answer["body"] as body:
        assert json.loads(await body.read())["content"]


async def _invoke_in_chunks(client: Any) -> None:
    answer = await client.invoke_model(modelId=CLAUDE, body=BODY)
    assert b"".join([chunk async for chunk in answer["body"].iter_chunks(10)])


async def _invoke_stream(client: Any) -> None:
    answer = await client.invoke_model_with_response_stream(modelId=CLAUDE, body=BODY)
    events = [event async for event in answer["body"]]
    assert json.loads(events[-1]["chunk"]["bytes"])["type"] == "message_stop"


@pytest.mark.parametrize(
    "reply", [{}, {"input_tokens": 9000, "cache_write_tokens": 3000, "cached_tokens": 2500}], ids=str
)
@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[..., Any], reply: dict[str, Any], payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block() as block:
        ask(provider, way)
    payer.agrees()
    assert block.calls == 1


@pytest.mark.parametrize("ending", ["break", "close", "dropped", "never_read", "cancel"])
def test_a_stream_that_is_left_or_broken_is_an_estimate(
    ending: str, payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(**({"drop_after": 2} if ending == "dropped" else {"gate_after": 2}))

    async def read(stream: Any) -> None:
        async for event in stream:
            if "contentBlockDelta" in event and ending in ("break", "close"):
                break

    async def way(client: Any) -> None:
        stream = (await client.converse_stream(**ASK))["stream"]
        if ending == "cancel":
            task = asyncio.ensure_future(read(stream))
            await asyncio.to_thread(provider.wait_parked)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif ending == "dropped":
            with pytest.raises(Exception):  # noqa: B017, PT011 - aiohttp's
                await read(stream)
        elif ending != "never_read":
            await read(stream)
        stream.close()

    with payer.block() as block:
        ask(provider, way)
        gc.collect()
        assert block.held == 0
    provider.release()
    payer.guessed()


def test_a_request_without_a_cap_gets_one_where_money_is_short(
    paying: Callable[..., Paying], provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.02")
    config = {"temperature": 0.5}
    with payer.block() as block:
        ask(provider, lambda client: client.converse(**ASK, inferenceConfig=config))
    assert config == {"temperature": 0.5}
    assert 0 < provider.requests[0].body["inferenceConfig"]["maxTokens"] < 10_000
    assert block.clamped == 1
    payer.agrees()


def test_a_call_that_does_not_fit_is_refused_before_it_is_sent(
    paying: Callable[..., Paying], provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.001")
    with payer.block(), pytest.raises(budgeted.BudgetExceededError, match="nova-pro"):
        ask(provider, lambda client: client.converse(**ASK, inferenceConfig={"maxTokens": 5000}))
    assert provider.requests == []


@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_the_provider_refuses_costs_nothing(status: int, payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(status=status)
    with payer.block(), pytest.raises(botocore.exceptions.ClientError):
        ask(provider, _converse)
    payer.agrees(calls=0)


def test_a_call_that_times_out_is_uncertain_and_so_is_each_that_the_sdk_repeats(
    payer: Paying, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(hang=True))
    with payer.block():
        ask(provider, _converse, read_timeout=0.3, retries={"total_max_attempts": 2})
    provider.release()
    assert payer.charges() == 2
    payer.guessed()


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_connection_that_is_lost_after_sending_is_uncertain_whatever_the_sdk_calls_it(
    attempts: int, payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(drop=True)
    with payer.block(), pytest.raises(botocore.exceptions.EndpointConnectionError, match="Could not connect"):
        ask(provider, _converse, retries={"total_max_attempts": attempts})
    assert len(provider.bill) == attempts
    payer.guessed(calls=attempts)


def test_a_call_to_nowhere_costs_nothing(payer: Paying) -> None:
    nowhere: Any = SimpleNamespace(url="http://127.0.0.1:9")
    with payer.block(), pytest.raises(botocore.exceptions.EndpointConnectionError):
        ask(nowhere, _converse)
    payer.agrees(calls=0)
