"""The simulated provider: the real SDKs read what it writes, and its bill is exact whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import math
import random
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

from budgeted.testing import PRICES, Billed, Counts, Provider, Rates, Reply, Request, SimulatedProvider, read_bill

pytestmark = pytest.mark.sdk

T = TypeVar("T")
GPT = "gpt-5-mini"
CLAUDE = "claude-haiku-4-5"
HELLO: Any = [{"role": "user", "content": "Hello there"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
UNLISTED = {
    *("ibm/granite-3-3-8b-instruct", "ibm/slate-125m-english-rtrvr-v2", "qwen-plus", "text-embedding-v4"),
    *("palmyra-x5", "meta/meta-llama-3-70b-instruct", "rerank-2.5", "voyage-multimodal-3.5", "eleven_multilingual_v2"),
}
"""What genai-prices has no price of."""
PUBLIC = sorted(
    set(PRICES)
    - UNLISTED
    - {"tts-1", "dall-e-3", "gpt-image-1", "gpt-4o-transcribe", "llama3.2"}
    - {model for model, rates in PRICES.items() if rates.per_unit or rates.per_picture}
)


class Answer(BaseModel):
    city: str
    degrees: list[int]
    note: str | None
    inner: dict[str, str] | None = None


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatedProvider]:
    """Return one provider for all examples of a property."""
    with SimulatedProvider() as provider:
        yield provider


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[OpenAI]:
    with OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def claude(provider: SimulatedProvider) -> Iterator[Anthropic]:
    with Anthropic(base_url=provider.anthropic_url, api_key="any", max_retries=0, timeout=20) as client:
        yield client


def simulate(**fields: Any) -> dict[str, str]:
    """Return the header that steers one call."""
    return {"x-simulate": json.dumps(fields)}


def ask(client: OpenAI, **simulated: Any) -> Any:
    return client.chat.completions.create(model=GPT, messages=HELLO, extra_headers=simulate(**simulated))


def ask_stream(client: OpenAI, *, usage: bool = True, **simulated: Any) -> Any:
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    return client.chat.completions.create(
        model=GPT, messages=HELLO, stream=True, extra_headers=simulate(**simulated), **options
    )


def only(provider: Provider) -> Billed:
    (billed,) = provider.bill
    return billed


def text_of(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


class TestPrices:
    @pytest.mark.parametrize("model", PUBLIC)
    def test_a_call_costs_what_the_public_price_list_says(self, model: str) -> None:
        """To the nano-dollar, rounded up once."""
        random_counts = random.Random(model)
        rates = PRICES[model]
        for _ in range(50):
            cached, written, hour = (random_counts.randrange(3000) for _ in range(3))
            counts = Counts(
                input_tokens=cached + written + hour + random_counts.randrange(random_counts.choice([5, 300_000])),
                output_tokens=random_counts.randrange(9000) if rates.output != "0" else 0,
                cached_input_tokens=cached,
                cache_write_tokens=(written + hour) * (rates.cache_write is not None),
                cache_write_1h_tokens=hour * (rates.cache_write is not None),
            )
            assert rates.nano_usd(counts) == public_price(model, counts)

    @pytest.mark.parametrize(("model", "tier"), [(model, tier) for model in PUBLIC for tier in PRICES[model].tiers])
    def test_service_tiers_cost_what_the_public_price_list_says(self, model: str, tier: str) -> None:
        counts = Counts(input_tokens=1_234_567, output_tokens=7_891, cached_input_tokens=12_347)
        assert PRICES[model].nano_usd(counts, tier) == public_price(model, counts, service_tier=tier)

    def test_a_cost_is_rounded_up_once(self) -> None:
        assert Rates("0.0001", 0).nano_usd(Counts(input_tokens=1)) == 1
        assert Rates("0.0001", "0.0001").nano_usd(Counts(input_tokens=5, output_tokens=5)) == 1
        assert Rates(0.1, 0.2).nano_usd(Counts(input_tokens=1, output_tokens=1)) == 300

    def test_own_prices_win_and_unknown_models_cost_the_default(self) -> None:
        prices: Any = {GPT: (1, 2), "house": ("1", "3", "0.5")}
        with SimulatedProvider(prices, default_price=(7, 9)) as provider:
            with OpenAI(base_url=provider.openai_url, api_key="any") as client:
                for model in (GPT, "house", "never-heard-of"):
                    client.chat.completions.create(
                        model=model,
                        messages=HELLO,
                        extra_headers=simulate(input_tokens=10, cached_tokens=4, output_tokens=1),
                    )
            assert [billed.nano_usd for billed in provider.bill] == [12_000, 11_000, 79_000]

    def test_a_dated_name_costs_what_its_model_costs(self, provider: SimulatedProvider, client: OpenAI) -> None:
        for model in ("gpt-4o", "gpt-4o-2024-11-20", "gpt-4o-latest"):
            client.chat.completions.create(model=model, messages=HELLO, extra_headers=simulate(output_tokens=9))
        assert len({billed.nano_usd for billed in provider.bill}) == 1

    def test_a_price_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not '1'"):
            SimulatedProvider({GPT: "1"})


PROVIDERS = [
    ("us.", "aws"),
    ("global.", "aws"),
    ("amazon.", "aws"),
    ("meta.", "aws"),
    ("claude", "anthropic"),
    ("gemini", "google"),
    ("llama-3.3", "groq"),
    ("openai/", "groq"),
    ("mistral", "mistral"),
    ("codestral", "mistral"),
    ("command", "cohere"),
    ("embed-", "cohere"),
    ("Qwen/", "together"),
    ("accounts/fireworks/", "fireworks"),
    ("zai-", "cerebras"),
    ("amazon/", "openrouter"),
    ("phi-", "azure"),
    ("glm-", "zai"),
    ("deepseek-ai/", "huggingface_together"),
    ("voyage-", "voyageai"),
]
"""Whose price list has the models that begin so; OpenAI's has the others."""


def public_price(model: str, counts: Counts, **context: str) -> int:
    """Return the nano-USD of a call by genai-prices."""
    usage = Usage(
        input_tokens=counts.input_tokens,
        output_tokens=counts.output_tokens,
        cache_read_tokens=counts.cached_input_tokens,
        cache_write_tokens=counts.cache_write_tokens,
        cache_write_1h_tokens=counts.cache_write_1h_tokens,
    )
    provider = next((name for start, name in PROVIDERS if model.startswith(start)), "openai")
    price = calc_price(usage, model, provider_id=provider, price_context=context or None)
    return math.ceil(price.total_price * 10**9)


class TestChat:
    def test_an_answer_tells_the_usage_that_is_billed(self, provider: SimulatedProvider, client: OpenAI) -> None:
        answer = ask(client, input_tokens=1000, output_tokens=500, cached_tokens=400, reasoning_tokens=200)
        billed = only(provider)
        assert answer.usage.prompt_tokens == billed.usage.input_tokens == 1000
        assert answer.usage.prompt_tokens_details.cached_tokens == billed.usage.cached_input_tokens == 400
        assert answer.usage.completion_tokens == billed.usage.output_tokens == 500
        assert answer.usage.completion_tokens_details.reasoning_tokens == billed.usage.reasoning_tokens == 200
        assert answer.usage.total_tokens == provider.billed_tokens() == 1500
        assert len(answer.choices[0].message.content.split()) == 300
        assert (answer.id, answer.model, "chat") == (billed.id, billed.model, billed.api)
        assert billed.nano_usd == provider.billed_nano() == provider.reported_nano() == 600 * 250 + 400 * 25 + 10**6
        assert provider.billed_usd() == Decimal("0.00116")
        assert billed.body["messages"] == HELLO
        assert billed.reported
        assert billed.delivered
        assert not provider.unreported()

    def test_the_same_request_gets_the_same_answer(self, client: OpenAI) -> None:
        first, second = (client.chat.completions.create(model=GPT, messages=HELLO) for _ in range(2))
        assert first.choices == second.choices
        assert first.usage == second.usage
        assert first.id != second.id

    def test_a_stream_brings_the_text_in_pieces_and_the_usage_if_asked(
        self, provider: SimulatedProvider, client: OpenAI
    ) -> None:
        chunks = list(ask_stream(client, text="What is said to be said.", pieces=5))
        assert text_of(chunks) == "What is said to be said."
        assert [chunk.choices == [] for chunk in chunks] == [False] * 7 + [True]
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage.completion_tokens == only(provider).usage.output_tokens == 6
        assert only(provider).reported

    def test_a_stream_that_was_not_asked_for_usage_reports_none(
        self, provider: SimulatedProvider, client: OpenAI
    ) -> None:
        stream = ask_stream(client, usage=False)
        stream.response.read()  # to its very end: the SDK hangs up before that, once it has seen [DONE]
        assert all(chunk.usage is None and chunk.choices for chunk in stream)
        assert provider.unreported() == [only(provider)]
        assert only(provider).delivered

    @pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
    def test_a_cap_cuts_the_answer(self, provider: SimulatedProvider, client: OpenAI, cap: str) -> None:
        capped: Any = {cap: 7}
        answer = client.chat.completions.create(
            model=GPT, messages=HELLO, extra_headers=simulate(output_tokens=500), **capped
        )
        assert answer.choices[0].finish_reason == "length"
        assert len((answer.choices[0].message.content or "").split()) == 7
        assert only(provider).usage.output_tokens == 7

    def test_without_a_cap_the_model_goes_to_its_maximum(self, provider: SimulatedProvider, client: OpenAI) -> None:
        assert ask(client, output_tokens=10**6).usage.completion_tokens == 128_000
        assert only(provider).nano_usd >= 256_000_000

    @pytest.mark.parametrize("stream", [False, True])
    def test_each_choice_is_billed(self, provider: SimulatedProvider, client: OpenAI, stream: bool) -> None:
        answer: Any = client.chat.completions.create(
            model=GPT, messages=HELLO, n=3, stream=stream, extra_headers=simulate(output_tokens=11)
        )
        choices = [choice for chunk in answer for choice in chunk.choices] if stream else answer.choices
        assert {choice.index for choice in choices} == {0, 1, 2}
        assert only(provider).usage.output_tokens == 33

    @pytest.mark.parametrize("tier", ["flex", "priority", "default", "auto"])
    def test_a_service_tier_is_billed_and_named(self, provider: SimulatedProvider, client: OpenAI, tier: Any) -> None:
        answer = client.chat.completions.create(
            model=GPT, messages=HELLO, service_tier=tier, extra_headers=simulate(input_tokens=0, output_tokens=1000)
        )
        assert answer.service_tier == ("default" if tier == "auto" else tier)
        assert only(provider).nano_usd == {"flex": 1_000_000, "priority": 3_600_000}.get(tier, 2_000_000)

    def test_a_forced_tool_is_called(self, client: OpenAI) -> None:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
        answer = client.chat.completions.create(model=GPT, messages=HELLO, tools=tools, tool_choice="required")
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert json.loads(call.function.arguments).keys() == {"city"}
        assert answer.choices[0].finish_reason == "tool_calls"

    def test_a_tool_call_can_be_streamed(self, client: OpenAI) -> None:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
        with client.chat.completions.stream(
            model=GPT, messages=HELLO, tools=tools, extra_headers=simulate(tool="weather")
        ) as stream:
            stream.until_done()
            final = stream.get_final_completion()
        (call,) = final.choices[0].message.tool_calls or []
        assert json.loads(call.function.arguments or "").keys() == {"city"}

    def test_structured_output_is_valid(self, client: OpenAI) -> None:
        answer = client.chat.completions.parse(model=GPT, messages=HELLO, response_format=Answer)
        assert isinstance(answer.choices[0].message.parsed, Answer)
        with client.chat.completions.stream(model=GPT, messages=HELLO, response_format=Answer) as stream:
            final = stream.get_final_completion()
        assert isinstance(final.choices[0].message.parsed, Answer)
        with pytest.raises(openai.LengthFinishReasonError):
            client.chat.completions.parse(model=GPT, messages=HELLO, response_format=Answer, max_completion_tokens=2)

    def test_raw_and_streaming_responses_work(self, provider: SimulatedProvider, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(model=GPT, messages=HELLO)
        assert raw.parse().id == provider.bill[0].id
        with client.chat.completions.with_streaming_response.create(model=GPT, messages=HELLO) as response:
            assert json.loads(response.read())["id"] == provider.bill[1].id

    def test_azure_names_its_deployment_in_the_path(self, provider: SimulatedProvider) -> None:
        with AzureOpenAI(azure_endpoint=provider.url, api_key="any", api_version="2024-10-21") as client:
            client.chat.completions.create(model=GPT, messages=HELLO)
        assert provider.requests[0].path.startswith(f"/openai/deployments/{GPT}/chat/completions?")
        assert only(provider).model == GPT


class TestOtherOpenAI:
    def test_responses(self, provider: SimulatedProvider, client: OpenAI) -> None:
        answer = client.responses.create(
            model=GPT, input="Hello", extra_headers=simulate(output_tokens=20, reasoning_tokens=5, cached_tokens=30)
        )
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (30, 20)
        assert (answer.status, answer.id, len(answer.output_text.split())) == ("completed", only(provider).id, 15)

    def test_responses_are_cut_by_their_cap(self, client: OpenAI) -> None:
        answer = client.responses.create(
            model=GPT, input=HELLO, max_output_tokens=16, extra_headers=simulate(output_tokens=17)
        )
        assert answer.incomplete_details is not None
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")

    @pytest.mark.parametrize(("cap", "last"), [(100, "response.completed"), (16, "response.incomplete")])
    def test_streamed_responses(self, provider: SimulatedProvider, client: OpenAI, cap: int, last: str) -> None:
        events: Any = list(
            client.responses.create(
                model=GPT,
                input="Hello",
                stream=True,
                max_output_tokens=cap,
                extra_headers=simulate(output_tokens=50, reasoning_tokens=6),
            )
        )
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created"
        assert events[-1].type == last
        assert events[-1].response.usage.output_tokens == only(provider).usage.output_tokens == min(cap, 50)
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(deltas) == events[-1].response.output_text

    def test_responses_helpers(self, client: OpenAI) -> None:
        parsed = client.responses.parse(model=GPT, input="Hello", text_format=Answer)
        assert isinstance(parsed.output_parsed, Answer)
        with client.responses.stream(model=GPT, input="Hello", text_format=Answer) as stream:
            assert isinstance(stream.get_final_response().output_parsed, Answer)
        tools: Any = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
        with client.responses.stream(model=GPT, input="Hello", tools=tools, tool_choice="required") as stream:
            item = stream.get_final_response().output[-1]
        assert item.type == "function_call"
        assert json.loads(item.arguments).keys() == {"city"}

    def test_completions(self, provider: SimulatedProvider, client: OpenAI) -> None:
        model = "gpt-3.5-turbo-instruct"
        answer = client.completions.create(model=model, prompt=["One", "Two"], n=2, extra_headers=simulate(text="x"))
        assert [choice.text for choice in answer.choices] == ["x"] * 4
        chunks = list(client.completions.create(model=model, prompt=[1, 2, 3], max_tokens=5, stream=True))
        assert chunks[-1].choices[0].finish_reason == "length"
        assert [billed.usage.output_tokens for billed in provider.bill] == [4, 5]
        assert provider.bill[1].usage.input_tokens == 3

    def test_embeddings(self, provider: SimulatedProvider, client: OpenAI) -> None:
        model = "text-embedding-3-small"
        answer = client.embeddings.create(model=model, input=["some text", "more"], dimensions=5)
        assert [len(each.embedding) for each in answer.data] == [5, 5]
        assert answer.usage.total_tokens == only(provider).usage.input_tokens == 4
        assert only(provider).nano_usd == 80
        assert len(client.embeddings.create(model=model, input="one", encoding_format="float").data[0].embedding) == 8

    def test_images_and_speech(self, provider: SimulatedProvider, client: OpenAI) -> None:
        image = client.images.generate(model="gpt-image-1", prompt="A budget", n=2)
        assert image.usage is not None
        assert image.usage.output_tokens == 2 * 272
        assert client.audio.speech.create(model="tts-1", voice="alloy", input="Hello").read() == bytes(5)
        assert provider.bill[1].nano_usd == 75_000
        assert not provider.bill[1].reported

    def test_the_list_of_models_is_free(self, provider: SimulatedProvider, client: OpenAI) -> None:
        assert GPT in [model.id for model in client.models.list()]
        assert provider.bill == []
        assert len(provider.requests) == 1

    def test_async_clients_work(self, provider: SimulatedProvider) -> None:
        async def calls() -> None:
            async with AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
                await client.chat.completions.create(model=GPT, messages=HELLO)
                assert (await collect(await client.chat.completions.create(model=GPT, messages=HELLO, stream=True)))[0]
                async with client.chat.completions.stream(model=GPT, messages=HELLO) as stream:
                    await stream.get_final_completion()
                await client.responses.create(model=GPT, input="Hello")
                async with client.responses.stream(model=GPT, input="Hello") as responses:
                    await responses.get_final_response()
                await client.chat.completions.with_raw_response.create(model=GPT, messages=HELLO)

        asyncio.run(calls())
        assert len(provider.bill) == 6


async def collect(stream: AsyncIterator[T]) -> list[T]:
    return [item async for item in stream]


class TestAnthropic:
    def test_an_answer_tells_the_usage_that_is_billed(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        """Cached input is not a part of Anthropic's `input_tokens`."""
        message = claude.messages.create(
            model=CLAUDE,
            max_tokens=100,
            messages=HELLO,
            extra_headers=simulate(
                input_tokens=1000, cached_tokens=600, cache_write_tokens=300, cache_write_1h_tokens=100, output_tokens=9
            ),
        )
        usage = message.usage
        assert usage.cache_creation is not None
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (100, 600, 300)
        assert usage.cache_creation.ephemeral_1h_input_tokens == 100
        assert (message.id, usage.output_tokens, message.stop_reason) == (only(provider).id, 9, "end_turn")
        assert only(provider).nano_usd == 100_000 + 600 * 100 + 200 * 1250 + 100 * 2000 + 9 * 5000

    def test_a_stream_tells_cumulative_usage(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        events = list(
            claude.messages.create(
                model=CLAUDE, max_tokens=50, messages=HELLO, stream=True, extra_headers=simulate(output_tokens=60)
            )
        )
        kinds = [event.type for event in events]
        assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
        assert events[-2].usage.output_tokens == only(provider).usage.output_tokens == 50  # type: ignore[union-attr]
        assert events[-2].delta.stop_reason == "max_tokens"  # type: ignore[union-attr]
        assert b"ping" not in [event.type for event in events]
        assert only(provider).reported

    def test_the_stream_helper_thinks_and_writes(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        with claude.messages.stream(
            model=CLAUDE, max_tokens=2000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
        ) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert [block.type for block in final.content] == ["thinking", "text"]
        assert final.usage.output_tokens == len(text.split()) + 8 == only(provider).usage.output_tokens

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_forced_tool_is_called(self, claude: Anthropic, stream: bool) -> None:
        tools: Any = [{"name": "weather", "input_schema": WEATHER}]
        asked: Any = {"model": CLAUDE, "max_tokens": 100, "messages": HELLO, "tools": tools}
        asked["tool_choice"] = {"type": "any"}
        if stream:
            with claude.messages.stream(**asked) as opened:
                message = opened.get_final_message()
        else:
            message = claude.messages.create(**asked)
        assert message.stop_reason == "tool_use"
        assert message.content[0].type == "tool_use"
        assert message.content[0].input == {"city": "some text"}

    def test_beta_raw_and_parsed_answers_work(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        claude.beta.messages.create(model=CLAUDE, max_tokens=10, messages=HELLO)
        raw = claude.messages.with_raw_response.create(model=CLAUDE, max_tokens=10, messages=HELLO)
        assert raw.parse().id == provider.bill[1].id
        parsed = claude.messages.parse(model=CLAUDE, max_tokens=1000, messages=HELLO, output_format=Answer)
        assert isinstance(parsed.parsed_output, Answer)

    def test_counting_tokens_is_free_and_right(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        counted = claude.messages.count_tokens(model=CLAUDE, messages=HELLO, system="Be brief")
        message = claude.messages.create(model=CLAUDE, max_tokens=10, messages=HELLO, system="Be brief")
        assert message.usage.input_tokens == counted.input_tokens == 11
        assert len(provider.bill) == 1

    def test_async_clients_work(self, provider: SimulatedProvider) -> None:
        async def calls() -> None:
            async with AsyncAnthropic(base_url=provider.anthropic_url, api_key="any", max_retries=0) as client:
                await client.messages.create(model=CLAUDE, max_tokens=10, messages=HELLO)
                stream = await client.messages.create(model=CLAUDE, max_tokens=10, messages=HELLO, stream=True)
                assert len(await collect(stream)) > 5
                async with client.messages.stream(model=CLAUDE, max_tokens=10, messages=HELLO) as helper:
                    await helper.get_final_message()

        asyncio.run(calls())
        assert len(provider.bill) == 3


class TestSteering:
    def test_a_header_wins_over_the_queue_and_the_queue_over_the_usual_reply(
        self, provider: SimulatedProvider, client: OpenAI
    ) -> None:
        provider.reply(text="usual")
        provider.queue(Reply(text="first"), Reply(text="second"))
        headers = [None, simulate(text="header"), None, None]
        answers = [
            client.chat.completions.create(model=GPT, messages=HELLO, extra_headers=header) for header in headers
        ]
        assert [each.choices[0].message.content for each in answers] == ["first", "header", "second", "usual"]

    def test_a_function_answers_by_the_request(self, provider: SimulatedProvider, client: OpenAI) -> None:
        def echo(request: Request) -> Reply:
            return Reply(text=request.body["messages"][0]["content"].upper())

        provider.reply(echo)
        answer = client.chat.completions.create(model=GPT, messages=HELLO)
        assert answer.choices[0].message.content == "HELLO THERE"
        provider.reply()
        assert client.chat.completions.create(model=GPT, messages=HELLO).choices[0].message.content != "HELLO THERE"

    def test_a_function_that_fails_is_an_error_of_the_provider(
        self, provider: SimulatedProvider, client: OpenAI
    ) -> None:
        provider.reply(lambda request: Reply(text=request.body["missing"]))
        with pytest.raises(openai.InternalServerError, match="KeyError"):
            client.chat.completions.create(model=GPT, messages=HELLO)

    def test_another_model_may_answer_and_is_billed(self, provider: SimulatedProvider, client: OpenAI) -> None:
        assert ask(client, model="gpt-4o", output_tokens=1, input_tokens=0).model == "gpt-4o"
        assert only(provider).nano_usd == 10_000

    def test_a_wrong_header_says_what_is_right(self, provider: SimulatedProvider, client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match=r"x-simulate takes JSON .*unknown field"):
            ask(client, output=5)
        assert provider.bill == []

    def test_reply_takes_a_reply_or_its_fields(self, provider: SimulatedProvider) -> None:
        with pytest.raises(TypeError, match="not both"):
            provider.reply(Reply(), text="x")
        with pytest.raises(TypeError, match="outputs"):
            provider.reply(outputs=3)

    def test_reset_forgets_everything(self, provider: SimulatedProvider, client: OpenAI) -> None:
        provider.reply(text="usual")
        provider.queue(Reply(), Reply())
        client.chat.completions.create(model=GPT, messages=HELLO)
        provider.reset()
        assert (provider.bill, provider.requests, provider.billed_nano()) == ([], [], 0)
        assert client.chat.completions.create(model=GPT, messages=HELLO).choices[0].message.content != "usual"

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            b"{}",
            b'{"model": "m"}',
            b'{"model": "m", "messages": 3}',
            b'{"model": "m", "messages": [], "n": 0}',
        ],
    )
    def test_a_request_that_makes_no_sense_is_refused(self, provider: SimulatedProvider, body: bytes) -> None:
        answer = post(provider, "/v1/chat/completions", body)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")
        assert (provider.bill, len(provider.requests)) == ([], 1)

    def test_an_unknown_path_is_refused(self, provider: SimulatedProvider) -> None:
        assert post(provider, "/v1/unheard/of", b"{}").startswith(b"HTTP/1.1 404 Not Found")


def post(provider: Provider, path: str, body: bytes) -> bytes:
    """Return all bytes that a plain socket gets for a request."""
    with socket.create_connection(("127.0.0.1", int(provider.url.rpartition(":")[2])), timeout=20) as sock:
        sock.sendall(
            b"POST %b HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body))
        )
        sock.sendall(body)
        return b"".join(iter(lambda: sock.recv(65536), b""))


class TestTrouble:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, openai.BadRequestError),
            (401, openai.AuthenticationError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_refusal_is_an_openai_error_and_free(
        self,
        provider: SimulatedProvider,
        client: OpenAI,
        status: int,
        kind: type[openai.APIStatusError],
        stream: bool,
    ) -> None:
        provider.reply(status=status, retry_after=1.5)
        with pytest.raises(kind) as caught:
            client.chat.completions.create(model=GPT, messages=HELLO, stream=stream)
        assert caught.value.response.headers["retry-after-ms"] == "1500"
        assert (provider.bill, len(provider.requests)) == ([], 1)

    @pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (529, "overloaded_error")])
    def test_a_refusal_is_an_anthropic_error(
        self, provider: SimulatedProvider, claude: Anthropic, status: int, kind: str
    ) -> None:
        provider.reply(status=status)
        with pytest.raises(anthropic.APIStatusError) as caught:
            claude.messages.create(model=CLAUDE, max_tokens=10, messages=HELLO)
        assert caught.value.status_code == status
        assert caught.value.body["error"]["type"] == kind  # type: ignore[index]
        assert provider.bill == []

    def test_an_sdk_retries_and_is_billed_once(self, provider: SimulatedProvider, client: OpenAI) -> None:
        provider.queue(Reply(status=429, retry_after=0.001), Reply(status=500, retry_after=0.001))
        client.with_options(max_retries=2).chat.completions.create(model=GPT, messages=HELLO)
        assert (len(provider.bill), len(provider.requests)) == (1, 3)

    @pytest.mark.parametrize(("fault", "bills"), [({"refuse": True}, 0), ({"drop": True}, 1), ({"drop_after": 0}, 1)])
    def test_a_broken_connection_is_billed_if_something_was_generated(
        self, provider: SimulatedProvider, client: OpenAI, fault: dict[str, Any], bills: int
    ) -> None:
        with pytest.raises(openai.APIConnectionError):
            ask(client, **fault)
        assert len(provider.unreported()) == len(provider.bill) == bills

    def test_billing_can_be_said_otherwise(self, provider: SimulatedProvider, client: OpenAI) -> None:
        with pytest.raises(openai.APIConnectionError):
            ask(client, drop=True, billed=False)
        assert provider.bill == []

    def test_a_hanging_call_is_billed_and_answered_after_release(
        self, provider: SimulatedProvider, client: OpenAI
    ) -> None:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, client, hang=True)
            assert provider.wait_parked()
            assert provider.unreported() == [only(provider)]
            provider.release()
            assert answer.result().id == only(provider).id
        assert only(provider).reported

    def test_a_timeout_leaves_a_call_billed_and_unreported(self, provider: SimulatedProvider, client: OpenAI) -> None:
        with pytest.raises(openai.APITimeoutError):
            ask(client.with_options(timeout=0.05), hang=True)
        assert provider.wait_idle()
        provider.release()
        assert provider.unreported() == [only(provider)]
        assert not only(provider).delivered

    def test_a_gate_holds_the_first_byte_back(self, provider: SimulatedProvider, client: OpenAI) -> None:
        gate = threading.Event()
        provider.queue(Reply(gate=gate))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.chat.completions.create, model=GPT, messages=HELLO)
            assert provider.wait_parked()
            assert not answer.done()
            gate.set()
            assert answer.result().id == only(provider).id
        assert provider.wait_idle()

    def test_who_waits_for_the_bill_has_it_with_what_was_sent_by_clients_that_left_at_once(
        self, provider: SimulatedProvider
    ) -> None:
        body = json.dumps({"model": GPT, "messages": HELLO}).encode()
        request = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        for sent in range(1, 30):
            with socket.create_connection(("127.0.0.1", int(provider.url.rpartition(":")[2]))) as client:
                client.sendall(request)
            assert provider.wait_idle()
            assert len(provider.bill) == sent

    def test_waiting_in_vain_ends(self, provider: SimulatedProvider) -> None:
        assert not provider.wait_parked(timeout=0.001)

    def test_an_abandoned_stream_is_billed_in_full_and_unreported(
        self, provider: SimulatedProvider, client: OpenAI
    ) -> None:
        with ask_stream(client, output_tokens=100, gate_after=2, pieces=10) as stream:
            assert len([next(stream) for _ in range(3)]) == 3
            assert provider.wait_parked()
        assert provider.wait_idle()
        assert (only(provider).usage.output_tokens, only(provider).reported) == (100, False)

    def test_a_stopped_stream_goes_on_after_release(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        with claude.messages.stream(
            model=CLAUDE, max_tokens=100, messages=HELLO, extra_headers=simulate(gate_after=99)
        ) as stream:
            pieces = stream.text_stream
            assert next(pieces)
            assert provider.wait_parked()
            assert not only(provider).reported
            provider.release()
            stream.until_done()
        assert only(provider).reported

    @pytest.mark.parametrize("after", [0, 3, 99])
    def test_a_stream_that_is_cut_is_billed_in_full(
        self, provider: SimulatedProvider, client: OpenAI, after: int
    ) -> None:
        received = []
        with pytest.raises(Exception, match=r"(?i)connection|closed|reset|read"):
            received.extend(ask_stream(client, output_tokens=40, drop_after=after, pieces=8))
        assert (only(provider).usage.output_tokens, only(provider).reported) == (40, False)

    @pytest.mark.parametrize("after", [0, 3, 8])
    def test_an_error_in_mid_stream_bills_what_came_before(
        self, provider: SimulatedProvider, client: OpenAI, after: int
    ) -> None:
        stream = ask_stream(client, output_tokens=40, error_after=after, pieces=8)
        received: list[Any] = []
        with pytest.raises(openai.APIError, match="error"):
            received.extend(stream)
        assert (only(provider).usage.output_tokens, only(provider).reported) == (5 * after, False)

    def test_an_error_in_mid_stream_is_an_anthropic_error(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        provider.reply(error_after=1, output_tokens=40, pieces=4)
        with (
            pytest.raises(anthropic.APIStatusError, match="Overloaded"),
            claude.messages.stream(model=CLAUDE, max_tokens=100, messages=HELLO) as stream,
        ):
            stream.until_done()
        assert only(provider).usage.output_tokens == 10

    def test_an_error_in_mid_stream_of_a_response(self, provider: SimulatedProvider, client: OpenAI) -> None:
        provider.reply(error_after=1)
        try:
            events = list(client.responses.create(model=GPT, input="Hello", stream=True))
        except openai.APIError:  # older versions raise it
            return
        assert events[-1].type == "error"

    @pytest.mark.parametrize("stream", [False, True])
    def test_broken_json_is_billed(self, provider: SimulatedProvider, client: OpenAI, stream: bool) -> None:
        with pytest.raises((json.JSONDecodeError, openai.APIError)):
            _ = list(ask_stream(client, malformed_after=2)) if stream else ask(client, malformed_after=0)
        assert provider.unreported() == [only(provider)]

    @pytest.mark.parametrize(
        "usage",
        [None, {}, "some text", {"prompt_tokens": -5, "completion_tokens": None, "total_tokens": "many"}, {"x": 2**63}],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_usage_that_makes_no_sense_leaves_the_bill_true(
        self,
        provider: SimulatedProvider,
        client: OpenAI,
        usage: Any,
        stream: bool,
    ) -> None:
        provider.reply(text="fine", usage=usage)
        answer: Any = client.chat.completions.create(
            model=GPT, messages=HELLO, stream=stream, stream_options={"include_usage": True} if stream else None
        )
        assert (text_of(answer) if stream else answer.choices[0].message.content) == "fine"
        assert provider.unreported() == [only(provider)]
        assert only(provider).usage.output_tokens == 1


class TestEncodings:
    @pytest.mark.parametrize(
        "encoding",
        [
            {"gzip": True},
            {"write_size": 1},
            {"write_size": 3, "crlf": True},
            {"crlf": True},
            {"split_usage": True},
            {"gzip": True, "write_size": 2, "crlf": True},
            {"done": False},
        ],
        ids=str,
    )
    def test_whatever_the_bytes_look_like_the_sdks_read_the_same(
        self, provider: SimulatedProvider, client: OpenAI, claude: Anthropic, encoding: dict[str, Any]
    ) -> None:
        provider.reply(text="Grüße, 世界 🙂", **encoding)
        chunks = list(ask_stream_as_usual(client))
        assert text_of(chunks) == "Grüße, 世界 🙂"
        assert chunks[-1].usage.total_tokens == provider.billed_tokens()
        answer = client.chat.completions.create(model=GPT, messages=HELLO)
        assert answer.choices[0].message.content == "Grüße, 世界 🙂"
        with claude.messages.stream(model=CLAUDE, max_tokens=100, messages=HELLO) as stream:
            assert "".join(stream.text_stream) == "Grüße, 世界 🙂"
        assert provider.wait_idle()
        assert not provider.unreported()

    def test_a_client_may_send_its_body_in_chunks(self, provider: SimulatedProvider) -> None:
        """And ask first whether it may, and send two requests at once."""
        body = json.dumps({"model": GPT, "messages": HELLO}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n"
        chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
        with socket.create_connection(("127.0.0.1", port_of(provider)), timeout=20) as sock:
            sock.sendall(head + b"\r\n" + chunks + head + b"connection: close\r\n\r\n" + chunks)
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answer.count(b"HTTP/1.1 100 Continue") == answer.count(b"HTTP/1.1 200 OK") == len(provider.bill) == 2

    @pytest.mark.parametrize("request_line", [b"nonsense", b"POST / HTTP/1.1\r\ncontent-length: x"])
    def test_what_is_not_http_is_refused(self, provider: SimulatedProvider, request_line: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port_of(provider)), timeout=20) as sock:
            sock.sendall(request_line + b"\r\n\r\n")
            assert b"".join(iter(lambda: sock.recv(65536), b"")).startswith(b"HTTP/1.1 400")


def ask_stream_as_usual(client: OpenAI) -> Any:
    return client.chat.completions.create(
        model=GPT, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )


def port_of(provider: Provider) -> int:
    return int(provider.url.rpartition(":")[2])


class TestTokens:
    @given(text=st.text(min_size=1), others=st.lists(st.text(), max_size=3))
    def test_a_prompt_never_has_more_tokens_than_bytes(
        self, shared: SimulatedProvider, text: str, others: list[str]
    ) -> None:
        """Plus three per message and three for the answer's start: what OpenAI adds."""
        messages = [{"role": "user", "content": each} for each in (text, *others)]
        size = sum(len(each.encode()) for each in (text, *others))
        shared.reset()
        post(shared, "/v1/chat/completions", json.dumps({"model": GPT, "messages": messages}).encode())
        tokens = only(shared).usage.input_tokens
        assert size / 4 <= tokens <= size + 3 * len(messages) + 3

    def test_text_tools_and_images_are_counted(self, provider: SimulatedProvider, claude: Anthropic) -> None:
        image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x" * 9000}}
        tools: Any = [{"name": "weather", "input_schema": WEATHER}]

        def count(content: Any, **more: Any) -> int:
            asked: Any = [{"role": "user", "content": content}]
            return claude.messages.count_tokens(model=CLAUDE, messages=asked, **more).input_tokens

        text = count("12345678")
        assert text == count([{"type": "text", "text": "12345678"}]) == 2 + 6
        assert count([{"type": "text", "text": "12345678"}, image]) == text + 85
        assert text + 20 < count("12345678", tools=tools) < text + 50
        assert provider.bill == []


class TestManyAtOnce:
    def test_fifty_threads_are_billed_exactly(self, provider: SimulatedProvider, client: OpenAI) -> None:
        def calls(number: int) -> int:
            return sum(ask(client, output_tokens=1 + (number * step) % 40).usage.total_tokens for step in range(4))

        with ThreadPoolExecutor(50) as pool:
            told = sum(pool.map(calls, range(50)))
        assert provider.billed_tokens() == told
        assert len(provider.bill) == 200
        assert provider.billed_nano() == provider.reported_nano()

    @pytest.mark.slow
    def test_five_hundred_tasks_are_billed_exactly(self, provider: SimulatedProvider) -> None:
        async def call(client: AsyncOpenAI, number: int) -> int:
            header = simulate(output_tokens=1 + number % 40, latency=0.001 * (number % 7))
            chunks = await collect(
                await client.chat.completions.create(
                    model=GPT,
                    messages=HELLO,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_headers=header,
                )
            )
            assert chunks[-1].usage is not None
            return chunks[-1].usage.total_tokens

        async def calls() -> int:
            async with AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
                return sum(await asyncio.gather(*(call(client, number) for number in range(500))))

        assert asyncio.run(calls()) == provider.billed_tokens()
        assert len(provider.bill) == 500
        assert not provider.unreported()

    def test_closing_breaks_what_hangs(self) -> None:
        with ThreadPoolExecutor(1) as pool, SimulatedProvider() as provider:
            provider.reply(hang=True)
            answer = pool.submit(post, provider, "/v1/messages", json.dumps(MESSAGE).encode())
            assert provider.wait_parked()
            provider.close()
            assert answer.exception() is not None
            provider.close()

    def test_a_port_that_is_taken_is_an_error(self, provider: SimulatedProvider) -> None:
        with pytest.raises(OSError, match="in use"):
            SimulatedProvider(port=port_of(provider))

    def test_a_provider_that_is_closed_while_clients_come_in_leaves_no_socket_open(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ports = [str(closed_while_clients_come_in()) for _ in range(5)]
            gc.collect()
        told = [str(one.message) for one in caught]
        assert [text for text in told if any(port in text for port in ports)] == []


def closed_while_clients_come_in() -> int:
    """The port of a provider that was closed when it had clients of whom it had not heard yet."""
    with contextlib.ExitStack() as stack:
        provider = SimulatedProvider()
        port = int(provider.url.rpartition(":")[2])
        for _ in range(12):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        provider.close()
    return port


MESSAGE = {"model": CLAUDE, "max_tokens": 50, "messages": HELLO}


class TestOwnProcess:
    def test_a_provider_in_its_own_process_has_the_same_interface(self, tmp_path: Path) -> None:
        file = tmp_path / "bill.jsonl"
        prices: Any = {GPT: (1, "2.5"), "house": Rates("1", "3", cache_write="7")}
        with SimulatedProvider.spawn(prices, bill=file) as provider:
            with OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
                provider.reply(output_tokens=4, input_tokens=10)
                provider.queue(Reply(text="queued"), Reply(status=429))
                assert client.chat.completions.create(model=GPT, messages=HELLO).choices[0].message.content == "queued"
                with pytest.raises(openai.RateLimitError):
                    client.chat.completions.create(model=GPT, messages=HELLO)
                assert client.chat.completions.create(model=GPT, messages=HELLO).usage.completion_tokens == 4  # type: ignore[union-attr]
            assert provider.bill[1].nano_usd == 20_000
            assert [billed.id for billed in read_bill(file)] == [billed.id for billed in provider.bill]
            assert not provider.unreported()
            assert len(provider.requests) == 3
            provider.reset()
            assert (provider.bill, len(read_bill(file))) == ([], 2)

    def test_a_killed_client_is_billed(self, tmp_path: Path) -> None:
        file = tmp_path / "bill.jsonl"
        with SimulatedProvider.spawn(bill=file) as provider:
            provider.reply(hang=True)
            code = f"""if True:
                import http.client
                connection = http.client.HTTPConnection("127.0.0.1:{port_of(provider)}")
                connection.request("POST", "/v1/messages", {json.dumps(MESSAGE)!r})
                connection.getresponse()"""
            with subprocess.Popen([sys.executable, "-c", code]) as killed:
                assert provider.wait_parked()
                killed.kill()
            assert provider.wait_idle()
            assert [billed.id for billed in provider.unreported()] == [billed.id for billed in read_bill(file)]
            assert provider.billed_nano() == read_bill(file)[0].nano_usd > 0

    def test_a_parked_call_is_released_from_here(self) -> None:
        with ThreadPoolExecutor(1) as pool, SimulatedProvider.spawn() as provider:
            provider.reply(hang=True)
            answer = pool.submit(post, provider, "/v1/messages", json.dumps(MESSAGE).encode())
            assert provider.wait_parked()
            provider.release()
            assert answer.result().startswith(b"HTTP/1.1 200 OK")

    def test_what_cannot_cross_is_refused(self) -> None:
        with SimulatedProvider.spawn() as provider:
            with pytest.raises(TypeError, match="not a function"):
                provider.reply(lambda _: None)
            with pytest.raises(TypeError, match="hang=True"):
                provider.queue(Reply(gate=threading.Event()))
            assert post(provider, "/__unheard", b"").startswith(b"HTTP/1.1 404")
            assert post(provider, "/__reply", b'{"usual": 5}').startswith(b"HTTP/1.1 400")

    def test_a_provider_that_cannot_start_says_so(self, provider: SimulatedProvider) -> None:
        with pytest.raises(RuntimeError, match="did not start"):
            SimulatedProvider.spawn(port=port_of(provider))


def test_it_needs_no_sdk() -> None:
    """Nor any part of the package that it is there to test."""
    code = (
        "import sys, budgeted.testing; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'openai', 'anthropic', 'httpx', 'httpx2'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
