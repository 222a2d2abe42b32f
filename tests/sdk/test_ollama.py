"""Calls of a model at home are free, unless they are priced; either way they are counted, once each."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import pydantic
import pytest
from paying import MESSAGES, Paying
from ways import bare_name, broken_off, closed, consumer_raises, each_way

import budgeted
from budgeted.testing import Reply, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PRICED = "priced-llama"
ASK: dict[str, Any] = {"model": PRICED, "messages": MESSAGES}


class City(pydantic.BaseModel):
    name: str
    people: int


def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: where.
    """
    return f"sunny in {city}"


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    budgeted.register_price(PRICED, input="0.5", output=2, max_output_tokens=16_384, provider="ollama")
    with SimulatedProvider({PRICED: ("0.5", 2)}) as simulated:
        yield simulated


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[ollama.Client]:
    with ollama.Client(provider.ollama_url) as made:
        yield made


def _chat(client: ollama.Client) -> None:
    assert client.chat(**ASK).message.content


def _chat_stream(client: ollama.Client) -> None:
    parts = client.chat(**ASK, stream=True)
    assert inspect.isgenerator(parts)
    assert [part.done for part in parts][-1]


def _generate(client: ollama.Client) -> None:
    assert client.generate(PRICED, "Hello").response


def _generate_stream(client: ollama.Client) -> None:
    assert "".join(part.response for part in client.generate(PRICED, "Hello", stream=True))


def _structured(client: ollama.Client) -> None:
    answer = client.chat(**ASK, format=City.model_json_schema())
    assert City.model_validate_json(answer.message.content)


def _embed(client: ollama.Client) -> None:
    assert client.embed(PRICED, ["Hello", "there"]).embeddings


def _tools(client: ollama.Client) -> None:
    assert client.chat(**ASK, tools=[weather])


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[[Any], None], payer: Paying, client: ollama.Client
) -> None:
    payer.pays_once(way, client)


def test_functions_of_the_module_are_caught(
    payer: Paying, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What OLLAMA_HOST would have said when the SDK was imported.
    with payer.block(), httpx.Client(base_url=provider.ollama_url) as http:
        monkeypatch.setattr(ollama.chat.__self__, "_client", http)
        assert ollama.chat(**ASK).message.content
        assert list(ollama.generate(PRICED, "Hello", stream=True))
        assert ollama.embed(PRICED, "Hello").embeddings
    payer.agrees(calls=3)


async def _chat_async(client: ollama.AsyncClient) -> None:
    assert (await client.chat(**ASK)).message.content


async def _chat_stream_async(client: ollama.AsyncClient) -> None:
    parts = await client.chat(**ASK, stream=True)
    assert inspect.isasyncgen(parts)
    assert [part.done async for part in parts][-1]


async def _generate_stream_async(client: ollama.AsyncClient) -> None:
    assert [part.response async for part in await client.generate(PRICED, "Hello", stream=True)]


async def _embed_async(client: ollama.AsyncClient) -> None:
    assert (await client.embed(PRICED, "Hello")).embeddings


@each_way(globals(), suffix="_async")
def test_every_way_of_awaiting_is_one_exact_charge(
    way: Callable[..., Any], payer: Paying, provider: SimulatedProvider
) -> None:
    async def ask() -> None:
        client = ollama.AsyncClient(provider.ollama_url)
        with payer.block():
            await way(client)
        await client.close()

    asyncio.run(ask())
    payer.agrees()


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_without_a_price_is_free_whatever_is_left(
    stream: bool, paying: Callable[..., Paying], client: ollama.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.000001")
    with payer.block() as block:
        answer = client.chat(model="llama3.2", messages=MESSAGES, stream=stream)
        if stream:
            assert list(answer)
    assert block.calls == 1
    assert block.clamped == 0
    assert "options" not in provider.requests[0].body
    payer.agrees()
    assert payer.spent == 0


def test_a_free_model_still_counts_for_limits_in_tokens_and_calls(
    paying: Callable[..., Paying], client: ollama.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget=None)
    payer.manager.set_limits("alice", "20000 tokens/day", "2 calls/day")
    provider.reply(output_tokens=100_000)
    with payer.block() as block:
        client.chat(model="llama3.2", messages=MESSAGES, options={"temperature": 0.5})
        assert provider.requests[0].body["options"]["temperature"] == 0.5
        assert 256 <= provider.requests[0].body["options"]["num_predict"] < 20_000
        assert block.clamped == 1
        list(client.chat(model="llama3.2", messages=MESSAGES, stream=True, options={"num_predict": 5}))
        with pytest.raises(budgeted.BudgetExceededError):
            list(client.chat(model="llama3.2", messages=MESSAGES, stream=True, options={"num_predict": 5}))
    assert len(provider.requests) == 2
    payer.agrees(calls=2)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_is_written_into_the_options(
    stream: bool, paying: Callable[..., Paying], client: ollama.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.02")
    provider.reply(output_tokens=100_000)
    with payer.block() as block:
        answer = client.chat(**ASK, stream=stream)
        if stream:
            list(answer)
    assert block.clamped == 1
    assert 256 <= provider.requests[0].body["options"]["num_predict"] < 16_384
    payer.agrees()


# -- streams that are left


@pytest.mark.parametrize("leave", [broken_off, closed, consumer_raises], ids=bare_name)
def test_a_stream_that_is_left_is_charged_an_estimate(
    leave: Callable[[Any], None], payer: Paying, client: ollama.Client
) -> None:
    payer.guesses_when_left(leave, lambda: client.chat(**ASK, stream=True))


def test_a_stream_that_is_never_read_was_never_sent(payer: Paying, client: ollama.Client) -> None:
    payer.sends_nothing_unread(lambda: client.chat(**ASK, stream=True))


def test_a_stream_is_paid_for_by_whoever_asked_wherever_it_is_read(payer: Paying, client: ollama.Client) -> None:
    payer.charges_whoever_asked(lambda: client.chat(**ASK, stream=True))


@pytest.mark.parametrize("reply", [{"drop_after": 2}, {"error_after": 2}, {"malformed_after": 2}], ids=str)
def test_a_stream_that_breaks_is_charged_an_estimate(
    reply: dict[str, Any], payer: Paying, client: ollama.Client, provider: SimulatedProvider
) -> None:
    provider.reply(output_tokens=40, **reply)
    with payer.block() as block, pytest.raises((httpx.HTTPError, ollama.ResponseError, ValueError)):
        list(client.chat(**ASK, stream=True))
    assert block.held == 0
    payer.guessed()


@pytest.mark.parametrize("how", ["break", "cancel", "close", "loop ends"])
def test_an_asynchronous_stream_that_is_left_is_charged_an_estimate(
    how: str, payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=2, output_tokens=40)
    kept: list[Any] = []

    async def read(client: ollama.AsyncClient) -> None:
        stream = await client.chat(**ASK, stream=True)
        async for _ in stream:
            if how == "loop ends":
                kept.append(stream)
            if how == "close":
                await stream.aclose()
            if how != "cancel":
                break

    async def ask() -> None:
        client = ollama.AsyncClient(provider.ollama_url)
        await payer.reads_in_a_task(read(client), cancel=how == "cancel")
        await client.close()

    asyncio.run(ask())
    kept.clear()
    payer.guessed()
    provider.release()


# -- failures and nonsense


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 404, 500])
def test_what_is_refused_costs_nothing(
    status: int, stream: bool, payer: Paying, client: ollama.Client, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(status=status))
    with payer.block() as block, pytest.raises(ollama.ResponseError):
        answer = client.chat(**ASK, stream=stream)
        list(answer)
    assert block.held == 0
    assert payer.spent == 0
    assert payer.manager.uncertain() == []


def test_a_server_that_is_not_there_costs_nothing(payer: Paying) -> None:
    with payer.block(), ollama.Client("http://127.0.0.1:9") as client, pytest.raises(ConnectionError):
        client.chat(**ASK)
    assert payer.spent == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_timeout_is_uncertain(stream: bool, payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(hang=True)
    with payer.block(), ollama.Client(provider.ollama_url, timeout=0.3) as client, pytest.raises(httpx.ReadTimeout):
        list(client.chat(**ASK, stream=stream))
    payer.guessed()


NONSENSE: list[Any] = [
    None,
    {"eval_count": 7},
    {"prompt_eval_count": -5, "eval_count": 3},
    {"prompt_eval_count": 10**12, "eval_count": 3},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", NONSENSE, ids=str)
def test_an_answer_without_sensible_usage_is_charged_an_estimate_and_returned(
    usage: Any, stream: bool, payer: Paying, client: ollama.Client, provider: SimulatedProvider
) -> None:
    provider.reply(usage=usage, output_tokens=30)
    with payer.block():
        answer = client.chat(**ASK, stream=stream)
        assert list(answer)
    payer.guessed()
