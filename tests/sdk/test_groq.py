"""Whatever way the Groq SDK is called, one call is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import groq
import pytest
from paying import MESSAGES
from ways import each_way

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider


ASK: dict[str, Any] = {"model": "llama-3.3-70b-versatile", "messages": MESSAGES}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[groq.Groq]:
    with groq.Groq(base_url=provider.groq_url, api_key="any", max_retries=0) as made:
        yield made


def _create(client: groq.Groq) -> None:
    assert client.chat.completions.create(**ASK).choices[0].message.content


def _stream(client: groq.Groq) -> None:
    chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert chunks[-1].x_groq.usage.completion_tokens
    assert all(chunk.choices for chunk in chunks)


def _stream_in_a_block(client: groq.Groq) -> None:
    with client.chat.completions.create(**ASK, stream=True) as stream:
        assert len(list(stream)) > 2


def _raw(client: groq.Groq) -> None:
    assert client.chat.completions.with_raw_response.create(**ASK).parse().choices


def _raw_stream(client: groq.Groq) -> None:
    assert list(client.chat.completions.with_raw_response.create(**ASK, stream=True).parse())


def _streaming_response(client: groq.Groq) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert response.parse().choices


def _structured(client: groq.Groq) -> None:
    assert client.chat.completions.create(**ASK, response_format={"type": "json_object"}).choices


def _tools(client: groq.Groq) -> None:
    answer = client.chat.completions.create(**ASK, tools=[TOOL], tool_choice="required")
    assert answer.choices[0].message.tool_calls


def _several(client: groq.Groq) -> None:
    assert len(client.chat.completions.create(**ASK, n=3).choices) == 3


def _extra_body(client: groq.Groq) -> None:
    client.chat.completions.create(**ASK, extra_body={"max_completion_tokens": 7})


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[[groq.Groq], None], payer: Paying, client: groq.Groq
) -> None:
    payer.pays_once(way, client)


@pytest.mark.parametrize("stream", [False, True])
def test_a_coroutine_pays_the_same(stream: bool, payer: Paying, provider: SimulatedProvider) -> None:
    async def ask() -> None:
        async with groq.AsyncGroq(base_url=provider.groq_url, api_key="any") as client:
            answer = await client.chat.completions.create(**ASK, stream=stream)
            if stream:
                assert [chunk async for chunk in answer]

    with payer.block():
        asyncio.run(ask())
    payer.agrees()


def test_embeddings_have_no_output(payer: Paying, client: groq.Groq, provider: SimulatedProvider) -> None:
    budgeted.register_price("nomic-embed-text-v1_5", input="2", output=0, provider="groq")
    with payer.block():
        assert client.embeddings.create(model="nomic-embed-text-v1_5", input="Hello").data
    payer.agrees()


def test_reasoning_and_cached_tokens_are_charged_as_billed(
    payer: Paying, client: groq.Groq, provider: SimulatedProvider
) -> None:
    provider.reply(input_tokens=900, cached_tokens=500, reasoning_tokens=300, output_tokens=400)
    with payer.block():
        list(client.chat.completions.create(**{**ASK, "model": "openai/gpt-oss-20b"}, stream=True))
    payer.agrees()


def test_a_cap_is_written_where_it_has_to_be(
    paying: Callable[..., Paying], client: groq.Groq, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.01")
    provider.reply(output_tokens=100_000)
    with payer.block() as block:
        client.chat.completions.create(**{**ASK, "model": "openai/gpt-oss-20b"})
    assert block.clamped == 1
    assert 256 <= provider.requests[0].body["max_completion_tokens"] < 65_536
    payer.agrees()


def test_a_stream_that_is_left_is_an_estimate(payer: Paying, client: groq.Groq, provider: SimulatedProvider) -> None:
    provider.reply(gate_after=2, output_tokens=40)
    with payer.block():
        for _ in client.chat.completions.create(**ASK, stream=True):
            break
        gc.collect()
    payer.guessed()
    provider.release()


def test_what_is_refused_costs_nothing(payer: Paying, client: groq.Groq, provider: SimulatedProvider) -> None:
    provider.queue(Reply(status=429))
    with payer.block() as block, pytest.raises(groq.RateLimitError):
        client.chat.completions.create(**ASK)
    assert payer.spent == 0
    assert block.held == 0


def test_an_attempt_that_timed_out_is_a_charge_of_its_own(payer: Paying, provider: SimulatedProvider) -> None:
    provider.queue(Reply(hang=True))
    with payer.block(), groq.Groq(base_url=provider.groq_url, api_key="any", max_retries=1, timeout=0.3) as client:
        assert client.chat.completions.create(**ASK).choices
    assert len(payer.manager.uncertain()) == 1
    assert payer.charges() == 2


def test_compound_systems_have_no_bound_and_are_refused(payer: Paying, client: groq.Groq) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError):
        client.chat.completions.create(**{**ASK, "model": "groq/compound"})
