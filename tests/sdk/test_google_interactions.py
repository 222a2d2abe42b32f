"""Google's interactions and decisions are charged as they are billed; live sessions are refused."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from google import genai
from google.genai import types
from ways import each_way

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning", "ignore:.*experimental")

MODEL = "gemini-3.5-flash"
ASK: dict[str, Any] = {"model": MODEL, "input": "Say something nice about budgets."}


def made(provider: SimulatedProvider, **more: Any) -> genai.Client:
    return genai.Client(api_key="any", http_options={"base_url": provider.google_url, **more})


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[genai.Client]:
    with made(provider) as one:
        yield one


def _whole(client: genai.Client) -> None:
    assert client.interactions.create(**ASK).status == "completed"


def _stream(client: genai.Client) -> None:
    events = list(client.interactions.create(**ASK, stream=True))
    assert events[-1].event_type == "interaction.completed"


def _raw(client: genai.Client) -> None:
    assert client.interactions.with_raw_response.create(**ASK)


def _several_turns(client: genai.Client) -> None:
    turn = {"type": "user_input", "content": [{"type": "text", "text": "Hello"}]}
    assert client.interactions.create(model=MODEL, input=[turn]).id


def _decision(client: genai.Client) -> None:
    question = {"type": "choice", "instructions": "Which?", "criteria": {"a": "the first", "b": "the other"}}
    client.decisions.create(model=MODEL, input="Hello", questions={"one": question})


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[[genai.Client], None], payer: Paying, client: genai.Client
) -> None:
    payer.pays_once(way, client)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [{"input_tokens": 5000, "cached_tokens": 3000}, {"reasoning_tokens": 300, "output_tokens": 500}, {"gzip": True}],
    ids=str,
)
def test_what_the_answer_says_is_what_is_charged(
    reply: dict[str, Any], stream: bool, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block():
        list(client.interactions.create(**ASK, stream=stream))
    payer.agrees()


@pytest.mark.parametrize("stream", [False, True])
def test_a_coroutines_interaction_is_one_exact_charge(stream: bool, payer: Paying, provider: SimulatedProvider) -> None:
    async def ask() -> None:
        async with made(provider).aio as client:
            with payer.block():
                answer = await client.interactions.create(**ASK, stream=stream)
                if stream:
                    assert [event async for event in answer]

    asyncio.run(ask())
    payer.agrees()


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_is_written_into_the_configuration(
    stream: bool, paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.20")
    provider.reply(output_tokens=100_000)
    config: Any = {"temperature": 0.5}
    with payer.block() as block:
        list(client.interactions.create(**ASK, generation_config=config, stream=stream))
    assert block.clamped == 1
    assert config == {"temperature": 0.5}
    assert 256 <= provider.requests[0].body["generation_config"]["max_output_tokens"] < 60_000
    payer.agrees()


def test_searches_are_held_and_charged(payer: Paying, client: genai.Client, provider: SimulatedProvider) -> None:
    provider.reply(searches=3)
    ask = {**ASK, "tools": [{"type": "google_search"}], "generation_config": {"max_output_tokens": 100}}
    with payer.block(cap="1.60"), pytest.raises(budgeted.BudgetExceededError):  # a window at 1.50, and ten searches
        client.interactions.create(**ask)
    assert provider.requests == []
    with payer.block(cap="1.65"):
        client.interactions.create(**ask)
    payer.agrees()
    assert provider.bill[0].usage.searches == 3


@pytest.mark.parametrize("leave", ["break", "close", "never_read"])
def test_a_stream_that_is_left_is_charged_an_estimate(
    leave: str, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=2, output_tokens=40)
    with payer.block() as block:
        stream = client.interactions.create(**ASK, stream=True)
        if leave == "break":
            for event in stream:
                if event.event_type == "step.delta":
                    break
        elif leave == "close":
            stream.close()
        del stream
        gc.collect()
        assert block.held == 0
    payer.guessed()
    provider.release()


def test_what_the_sdk_repeats_is_one_call(payer: Paying, provider: SimulatedProvider) -> None:
    provider.queue(Reply(status=500))
    retries = types.HttpRetryOptions(attempts=2, initial_delay=0.01, max_delay=0.01)
    with made(provider, retry_options=retries) as client, payer.block() as block:
        client.interactions.create(**ASK)
    assert len(provider.requests) == 2
    assert block.calls == 1
    payer.agrees()


def test_a_timeout_is_uncertain(payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(hang=True)
    retries = types.HttpRetryOptions(attempts=1)
    with (
        made(provider, timeout=300, retry_options=retries) as client,
        payer.block(),
        pytest.raises(Exception, match="timed out"),
    ):
        client.interactions.create(**ASK)
    provider.release()
    payer.guessed()


@pytest.mark.parametrize("status", [400, 500])
def test_what_is_refused_costs_nothing(status: int, payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(status=status)
    with (
        made(provider, retry_options=types.HttpRetryOptions(attempts=1)) as client,
        payer.block() as block,
        pytest.raises(Exception, match=str(status)),
    ):
        client.interactions.create(**ASK)
    assert block.held == 0
    payer.agrees(calls=0)


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        ({**ASK, "background": True}, "in the background"),
        ({"agent": "deep-research-pro", "input": "Hello"}, "an agent"),
    ],
    ids=["background", "agent"],
)
def test_what_goes_on_out_of_sight_is_refused(
    ask: dict[str, Any], what: str, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match=what):
        client.interactions.create(**ask)
    assert provider.requests == []


def test_live_sessions_are_refused(payer: Paying, provider: SimulatedProvider) -> None:
    async def talk() -> None:
        async with made(provider).aio as client:
            with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="WebSocket"):
                async with client.live.connect(model="gemini-3.8-live"):
                    pass
            with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="WebSocket"):
                async with client.live.music.connect(model="lyria"):
                    pass

    asyncio.run(talk())
    assert provider.requests == []
