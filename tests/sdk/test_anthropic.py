"""Whatever way the Anthropic SDK is called, one call is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import pydantic
import pytest
from paying import MESSAGES
from ways import each_way

from budgeted import BudgetExceededError
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from paying import Paying

    from budgeted.testing import SimulatedProvider

# The model is on the way out, and its price well known.
pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")]

MODEL = "claude-sonnet-4-5"
ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 2000, "messages": MESSAGES}


class City(pydantic.BaseModel):
    name: str
    people: int


@anthropic.beta_tool
def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: where.
    """
    return f"sunny in {city}"


def _create(client: anthropic.Anthropic) -> None:
    assert client.messages.create(**ASK).content


def _an_iterator_as_messages(client: anthropic.Anthropic) -> None:
    client.messages.create(**{**ASK, "messages": (message for message in MESSAGES)})


def _iterators_inside_messages(client: anthropic.Anthropic) -> None:
    parts = iter([{"type": "text", "text": "Hello there, how are you?"}])
    client.messages.create(
        **{
            **ASK,
            "messages": [{"role": "user", "content": parts}],
            "system": iter([{"type": "text", "text": "Be brief."}]),
        }
    )


def _stream(client: anthropic.Anthropic) -> None:
    assert [event.type for event in client.messages.create(**ASK, stream=True)][-1] == "message_stop"


def _stream_helper(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens


def _stream_helper_until_done(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**ASK) as stream:
        stream.until_done()


def _parse(client: anthropic.Anthropic) -> None:
    assert isinstance(client.messages.parse(**ASK, output_format=City).parsed_output, City)


def _beta(client: anthropic.Anthropic) -> None:
    assert client.beta.messages.create(**ASK, betas=["context-1m-2025-08-07"]).content


def _beta_parse(client: anthropic.Anthropic) -> None:
    assert isinstance(client.beta.messages.parse(**ASK, output_format=City).parsed_output, City)


def _beta_stream(client: anthropic.Anthropic) -> None:
    with client.beta.messages.stream(**ASK) as stream:
        assert stream.get_final_text()


def _raw(client: anthropic.Anthropic) -> None:
    assert client.messages.with_raw_response.create(**ASK).parse().content


def _raw_stream(client: anthropic.Anthropic) -> None:
    assert list(client.messages.with_raw_response.create(**ASK, stream=True).parse())


def _streaming_response(client: anthropic.Anthropic) -> None:
    with client.messages.with_streaming_response.create(**ASK) as response:
        assert response.parse().content


def _streaming_response_stream(client: anthropic.Anthropic) -> None:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        assert list(response.parse())


def _streaming_response_lines(client: anthropic.Anthropic) -> None:
    with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        assert any("message_stop" in line for line in response.iter_lines())


def _thinking(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**ASK, thinking={"type": "enabled", "budget_tokens": 1024})
    assert answer.content[0].type == "thinking"


def _tools(client: anthropic.Anthropic) -> None:
    tools = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
    answer = client.messages.create(**ASK, tools=tools, tool_choice={"type": "any"})
    assert answer.content[-1].type == "tool_use"


def _with_options(client: anthropic.Anthropic) -> None:
    client.with_options(max_retries=1).messages.create(**ASK)


def _extra_body(client: anthropic.Anthropic) -> None:
    client.messages.create(**ASK, extra_body={"max_tokens": 7})


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[..., None], payer: Paying, claude: anthropic.Anthropic
) -> None:
    payer.pays_once(way, claude)


async def _create_async(client: anthropic.AsyncAnthropic) -> None:
    assert (await client.messages.create(**ASK)).content


async def _stream_async(client: anthropic.AsyncAnthropic) -> None:
    events = [event.type async for event in await client.messages.create(**ASK, stream=True)]
    assert events[-1] == "message_stop"


async def _stream_helper_async(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(**ASK) as stream:
        assert "".join([text async for text in stream.text_stream])


async def _parse_async(client: anthropic.AsyncAnthropic) -> None:
    assert isinstance((await client.messages.parse(**ASK, output_format=City)).parsed_output, City)


async def _beta_async(client: anthropic.AsyncAnthropic) -> None:
    assert (await client.beta.messages.create(**ASK)).content


async def _raw_async(client: anthropic.AsyncAnthropic) -> None:
    raw = await client.messages.with_raw_response.create(**ASK)
    message = raw.parse()
    assert (await message if asyncio.iscoroutine(message) else message).content


async def _streaming_response_async(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.with_streaming_response.create(**ASK, stream=True) as response:
        assert any(["message_stop" in line async for line in response.iter_lines()])


@each_way(globals(), suffix="_async")
def test_every_asynchronous_way_of_calling_is_one_exact_charge(
    way: Callable[..., Any], payer: Paying, async_claude: anthropic.AsyncAnthropic
) -> None:
    payer.awaits_once(way, async_claude)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "reply",
    [
        {"input_tokens": 5000, "cache_write_tokens": 3000},
        {"input_tokens": 5000, "cache_write_tokens": 3000, "cache_write_1h_tokens": 3000},
        {"input_tokens": 9000, "cache_write_tokens": 3000, "cache_write_1h_tokens": 1000, "cached_tokens": 2500},
        {"input_tokens": 250_000, "cached_tokens": 100_000},
        {"reasoning_tokens": 300, "output_tokens": 500},
        {"model": "claude-haiku-4-5"},
    ],
    ids=str,
)
def test_what_the_answer_says_is_what_is_charged(
    reply: dict[str, Any],
    stream: bool,
    payer: Paying,
    claude: anthropic.Anthropic,
    provider: SimulatedProvider,
) -> None:
    provider.reply(**reply)
    with payer.block():
        list(claude.messages.create(**ASK, stream=stream))
    payer.agrees()


def test_a_conversation_that_is_compacted_is_held_at_the_models_window(
    payer: Paying, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    compacted: dict[str, Any] = {"context_management": {"edits": [{"type": "compact_20260112"}]}}
    ask: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": MESSAGES}
    with payer.block(cap="0.19"), pytest.raises(BudgetExceededError):  # 200,000 tokens at $1 per million
        claude.beta.messages.create(**ask, **compacted)
    assert provider.requests == []
    with payer.block(cap="0.21"):
        claude.beta.messages.create(**ask, **compacted)
    payer.agrees()


@pytest.mark.parametrize(("ttl", "dearest"), [("5m", 3.75), ("1h", 6.0)])
def test_a_cache_that_is_asked_for_is_held_at_the_rate_of_writing_it(
    ttl: str, dearest: float, payer: Paying, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    text = {"type": "text", "text": "x" * 8000, "cache_control": {"type": "ephemeral", "ttl": ttl}}
    provider.reply(hang=True)
    with payer.block() as block, payer.manager.budget("bob"):
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(claude.messages.create, **{**ASK, "messages": [{"role": "user", "content": [text]}]})
            assert provider.wait_parked()
            assert block.held > (8000 * dearest + 2000 * 15) / 1e6
            provider.release()
            asked.result()
    payer.agrees()


def test_the_tool_runner_is_a_charge_for_each_of_its_calls(
    payer: Paying, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    from budgeted.testing import Reply

    provider.queue(Reply(tool="weather", text='{"city": "Rome"}'), Reply(text="It is sunny."))
    with payer.block() as block:
        message = claude.beta.messages.tool_runner(**ASK, tools=[weather]).until_done()
        assert message.content[0].text == "It is sunny."
    payer.agrees(calls=2)
    assert block.calls == 2


def test_counting_tokens_costs_nothing(payer: Paying, claude: anthropic.Anthropic) -> None:
    with payer.block() as block:
        assert claude.messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens
    assert block.calls == 0
    assert payer.charges() == 0


def test_a_cap_below_the_thinking_budget_is_never_written(
    paying: Callable[..., Paying], claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.50")
    with payer.block() as block:
        claude.messages.create(**ASK, thinking={"type": "enabled", "budget_tokens": 1500})
    assert provider.requests[0].body["max_tokens"] == 2000
    assert block.clamped == 0
    payer.agrees()


@pytest.mark.parametrize("cap", [-(10**9), 0, True])
def test_a_cap_that_makes_no_sense_holds_nothing_negative_and_is_sent_as_it_is(
    cap: Any, payer: Paying, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(status=400))
    with payer.block() as block, pytest.raises(anthropic.BadRequestError):
        claude.messages.create(**{**ASK, "max_tokens": cap})
    assert provider.requests[-1].body["max_tokens"] == cap
    assert payer.spent == 0
    assert block.spent == 0
