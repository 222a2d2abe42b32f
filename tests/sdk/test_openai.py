"""Whatever way the OpenAI SDK is called, one call is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pydantic
import pytest
from paying import MESSAGES
from ways import each_way

import budgeted

if TYPE_CHECKING:
    from collections.abc import Callable

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.sdk

MODEL = "gpt-5-mini"
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class City(pydantic.BaseModel):
    name: str
    people: int


def _create(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(**ASK).choices[0].message.content


def _create_without_a_list(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model=MODEL, messages=(m for m in MESSAGES)).usage


def _several_answers(client: openai.OpenAI) -> None:
    assert len(client.chat.completions.create(**ASK, n=3).choices) == 3


def _tools(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ASK, tools=[WEATHER], tool_choice="required")
    assert answer.choices[0].message.tool_calls


def _parse(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(**ASK, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)


def _stream(client: openai.OpenAI) -> None:
    assert len(list(client.chat.completions.create(**ASK, stream=True))) > 2


def _stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**ASK) as stream:
        assert [event.type for event in stream][-1] == "content.done"
        assert stream.get_final_completion().choices[0].message.content


def _stream_helper_parse(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**ASK, response_format=City) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, City)


def _raw(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["x-request-id"]
    assert raw.parse().choices


def _raw_parse(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.parse(**ASK, response_format=City)
    assert isinstance(raw.parse().choices[0].message.parsed, City)


def _raw_not_parsed(client: openai.OpenAI) -> None:
    assert b"chat.completion" in client.chat.completions.with_raw_response.create(**ASK).content


def _raw_stream(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert len(list(raw.parse())) > 2


def _streaming_response(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert response.parse().choices


def _streaming_response_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        assert len(list(response.parse())) > 2


def _streaming_response_lines(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        assert [line for line in response.iter_lines() if line][-1] == "data: [DONE]"


def _responses(client: openai.OpenAI) -> None:
    assert client.responses.create(model=MODEL, input="Hello there").output_text


def _responses_parse(client: openai.OpenAI) -> None:
    assert isinstance(client.responses.parse(model=MODEL, input="Hello", text_format=City).output_parsed, City)


def _responses_stream(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model=MODEL, input="Hello there", stream=True))
    assert events[-1].type == "response.completed"


def _responses_stream_helper(client: openai.OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="Hello there") as stream:
        stream.until_done()
        assert stream.get_final_response().output_text


def _responses_raw(client: openai.OpenAI) -> None:
    assert client.responses.with_raw_response.create(model=MODEL, input="Hello").parse().output_text


def _completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon a time", max_tokens=20)
    assert answer.choices[0].text


def _completions_of_several_prompts(client: openai.OpenAI) -> None:
    client.completions.create(model="gpt-3.5-turbo-instruct", prompt=["Once", "Twice"], n=2, max_tokens=20)


def _completions_stream(client: openai.OpenAI) -> None:
    options = {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon a time", "max_tokens": 20}
    assert all(chunk.choices for chunk in client.completions.create(**options, stream=True))


def _embeddings(client: openai.OpenAI) -> None:
    assert client.embeddings.create(model="text-embedding-3-small", input=["Hello", "there"]).data


def _extra_body_cap(client: openai.OpenAI) -> None:
    client.chat.completions.create(**ASK, extra_body={"max_completion_tokens": 5})


def _with_options(client: openai.OpenAI) -> None:
    client.with_options(timeout=5, max_retries=1).chat.completions.create(**ASK)


def _copied_client(client: openai.OpenAI) -> None:
    client.copy(default_headers={"x-team": "search"}).chat.completions.create(**ASK)


def _bare_post(client: openai.OpenAI) -> None:
    client.post("/chat/completions", cast_to=object, body=dict(ASK))


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(way: Callable[..., None], payer: Paying, chat: openai.OpenAI) -> None:
    payer.pays_once(way, chat)


async def _create_async(client: openai.AsyncOpenAI) -> None:
    assert (await client.chat.completions.create(**ASK)).choices


async def _parse_async(client: openai.AsyncOpenAI) -> None:
    parsed = await client.chat.completions.parse(**ASK, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)


async def _stream_async(client: openai.AsyncOpenAI) -> None:
    assert len([chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]) > 2


async def _stream_helper_async(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(**ASK) as stream:
        assert [event.type async for event in stream][-1] == "content.done"


async def _raw_async(client: openai.AsyncOpenAI) -> None:
    assert (await client.chat.completions.with_raw_response.create(**ASK)).parse().choices


async def _raw_stream_async(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert len([chunk async for chunk in raw.parse()]) > 2


async def _streaming_response_async(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        assert [line async for line in response.iter_lines() if line][-1] == "data: [DONE]"


async def _streaming_response_parse_async(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert (await response.parse()).choices


async def _responses_async(client: openai.AsyncOpenAI) -> None:
    assert (await client.responses.create(model=MODEL, input="Hello there")).output_text


async def _responses_stream_async(client: openai.AsyncOpenAI) -> None:
    events = [event async for event in await client.responses.create(model=MODEL, input="Hello", stream=True)]
    assert events[-1].type == "response.completed"


async def _responses_stream_helper_async(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model=MODEL, input="Hello there") as stream:
        assert (await stream.get_final_response()).output_text


async def _completions_async(client: openai.AsyncOpenAI) -> None:
    await client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", max_tokens=20)


async def _embeddings_async(client: openai.AsyncOpenAI) -> None:
    assert (await client.embeddings.create(model="text-embedding-3-small", input="Hello")).data


@each_way(globals(), suffix="_async")
def test_every_asynchronous_way_of_calling_is_one_exact_charge(
    way: Callable[..., Any], payer: Paying, async_chat: openai.AsyncOpenAI
) -> None:
    payer.awaits_once(way, async_chat)


@pytest.mark.parametrize("stream", [False, True])
def test_azure_clients_are_metered(stream: bool, payer: Paying, provider: SimulatedProvider) -> None:
    client = openai.AzureOpenAI(azure_endpoint=provider.url, api_version="2024-10-21", api_key="any", max_retries=0)
    with client, payer.block() as block:
        answer = client.chat.completions.create(**ASK, stream=stream)
        list(answer)
    assert "/openai/deployments/gpt-5-mini/chat/completions" in provider.requests[0].path
    payer.agrees()
    assert block.calls == 1


def test_an_azure_client_with_a_deployment_of_its_own_is_metered(payer: Paying, provider: SimulatedProvider) -> None:
    client = openai.AzureOpenAI(
        azure_endpoint=provider.url, azure_deployment="gpt-5-mini", api_version="2024-10-21", api_key="any"
    )
    with client, payer.block():
        client.chat.completions.create(**ASK)
    payer.agrees()


def test_a_client_made_before_the_hooks_is_metered(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    budgeted.uninstrument()
    captured = chat.chat.completions.with_raw_response.create
    chat.chat.completions.create(**ASK)
    provider.reset()
    payer = paying()
    captured(**ASK)
    chat.chat.completions.create(**ASK)
    payer.agrees(calls=2)


@pytest.mark.parametrize("method", ["count", "list"])
def test_what_is_not_billed_is_left_alone(method: str, payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block() as block:
        chat.models.list()
    assert block.calls == 0
    assert payer.charges() == 0


@pytest.mark.parametrize(
    "reply",
    [
        {"cached_tokens": 1000, "input_tokens": 1200},
        {"reasoning_tokens": 30, "output_tokens": 50},
        {"model": "gpt-5-mini-2025-08-07"},
        {"model": "gpt-4o"},
        {"service_tier": "priority"},
        {"service_tier": "flex"},
        {"input_tokens": 999_999, "output_tokens": 127_000},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_the_answer_says_is_what_is_charged(
    reply: dict[str, Any], stream: bool, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block():
        list(chat.chat.completions.create(**ASK, stream=stream))
        events = chat.responses.create(model=MODEL, input="Hello", stream=stream)
        list(events)
    payer.agrees(calls=2)


def test_a_parser_that_refuses_the_answer_does_not_hide_its_cost(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(text='{"name": "Rome"}')
    with payer.block(), pytest.raises(pydantic.ValidationError):
        chat.chat.completions.parse(**ASK, response_format=City)
    with payer.block(), pytest.raises(openai.LengthFinishReasonError):
        chat.chat.completions.parse(**ASK, response_format=City, max_completion_tokens=2)
    payer.agrees(calls=2)


def test_a_parser_that_refuses_the_answer_does_not_hide_its_cost_in_coroutines(
    payer: Paying, async_chat: openai.AsyncOpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(text='{"name": "Rome"}')

    async def main() -> None:
        async with async_chat, payer.block():
            with pytest.raises(pydantic.ValidationError):
                await async_chat.chat.completions.parse(**ASK, response_format=City)
            with pytest.raises(pydantic.ValidationError):
                await async_chat.responses.parse(model=MODEL, input="Hello", text_format=City)

    asyncio.run(main())
    payer.agrees(calls=2)


def test_a_call_is_charged_to_every_block_around_it_once(payer: Paying, chat: openai.OpenAI) -> None:
    payer.manager.set_limits("alice", "$5/day")
    payer.manager.set_limits("team", "$9")
    with payer.block("team"), payer.block("alice"), payer.block("alice") as inner:
        chat.chat.completions.create(**ASK)
    payer.agrees()
    assert payer.manager.balance("alice").spent == payer.manager.balance("team").spent == inner.spent > 0


def test_a_call_outside_every_block_is_charged_to_the_global_account(payer: Paying, chat: openai.OpenAI) -> None:
    chat.chat.completions.create(**ASK)
    payer.agrees()
    assert payer.manager.get_users() == []
