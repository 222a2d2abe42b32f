"""Whatever way the Mistral SDK is called, one call is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import httpx2
import pydantic
import pytest
from mistralai.azure.client import MistralAzure
from mistralai.client import Mistral, errors
from mistralai.client.utils import BackoffStrategy, RetryConfig
from mistralai.gcp.client import MistralGCP
from paying import MESSAGES
from ways import bare_name, break_or_close, broken_off, consumer_raises, each_way, left_in_a_block

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider


MODEL = "mistral-large-latest"
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


class City(pydantic.BaseModel):
    name: str
    people: int


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[Mistral]:
    with Mistral(api_key="any", server_url=provider.mistral_url) as made:
        yield made


def _complete(client: Mistral) -> None:
    assert client.chat.complete(**ASK).choices[0].message.content


def _stream(client: Mistral) -> None:
    assert list(client.chat.stream(**ASK))[-1].data.usage.completion_tokens


def _stream_in_a_block(client: Mistral) -> None:
    with client.chat.stream(**ASK) as stream:
        assert len(list(stream)) > 2


def _parse(client: Mistral) -> None:
    assert isinstance(client.chat.parse(City, **ASK).choices[0].message.parsed, City)


def _parse_stream(client: Mistral) -> None:
    assert list(client.chat.parse_stream(City, **ASK))


def _tools(client: Mistral) -> None:
    assert client.chat.complete(**ASK, tools=[TOOL], tool_choice="required").choices


def _several(client: Mistral) -> None:
    assert len(client.chat.complete(**ASK, n=3).choices) == 3


def _safe_prompt(client: Mistral) -> None:
    client.chat.complete(**ASK, safe_prompt=True)


def _fim(client: Mistral) -> None:
    assert client.fim.complete(model="codestral-latest", prompt="def f(", suffix="return 1").choices


def _fim_stream(client: Mistral) -> None:
    assert list(client.fim.stream(model="codestral-latest", prompt="def f("))


def _responses(client: Mistral) -> None:
    assert client.responses.create(model=MODEL, input="Hello").output


def _responses_stream(client: Mistral) -> None:
    assert list(client.responses.create(model=MODEL, input="Hello", stream=True))


def _conversation(client: Mistral) -> None:
    assert client.beta.conversations.start(model=MODEL, inputs="Hello").outputs[0].content


def _conversation_stream(client: Mistral) -> None:
    assert list(client.beta.conversations.start_stream(model=MODEL, inputs="Hello"))[-1].data.usage.completion_tokens


def _embeddings(client: Mistral) -> None:
    assert client.embeddings.create(model="mistral-embed", inputs=["Hello"]).data


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[[Mistral], None], payer: Paying, client: Mistral
) -> None:
    payer.pays_once(way, client)


async def _complete_async(client: Mistral) -> None:
    assert (await client.chat.complete_async(**ASK)).choices


async def _stream_async(client: Mistral) -> None:
    assert [event async for event in await client.chat.stream_async(**ASK)]


async def _parse_async(client: Mistral) -> None:
    assert (await client.chat.parse_async(City, **ASK)).choices


async def _fim_async(client: Mistral) -> None:
    assert (await client.fim.complete_async(model="codestral-latest", prompt="def f(")).choices


async def _conversation_async(client: Mistral) -> None:
    assert (await client.beta.conversations.start_async(model=MODEL, inputs="Hello")).outputs


async def _conversation_stream_async(client: Mistral) -> None:
    stream = await client.beta.conversations.start_stream_async(model=MODEL, inputs="Hello")
    assert [event async for event in stream]


async def _embeddings_async(client: Mistral) -> None:
    assert (await client.embeddings.create_async(model="mistral-embed", inputs=["Hello"])).data


@each_way(globals(), suffix="_async")
def test_every_way_of_awaiting_is_one_exact_charge(
    way: Callable[..., Any], payer: Paying, provider: SimulatedProvider
) -> None:
    payer.awaits_once(way, Mistral(api_key="any", server_url=provider.mistral_url))


@pytest.mark.parametrize(
    "reply", [{"pieces": 1}, {"write_size": 3}, {"gzip": True}, {"crlf": True}, {"done": False}], ids=str
)
def test_however_it_comes_over_the_wire_it_is_settled_exactly(
    reply: dict[str, Any], payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block():
        list(client.chat.stream(**ASK))
    payer.agrees()


@pytest.mark.parametrize("stream", [False, True])
def test_an_agent_is_charged_by_a_price_of_its_own(stream: bool, payer: Paying, provider: SimulatedProvider) -> None:
    with Mistral(api_key="any", server_url=provider.mistral_url) as client, payer.block():
        with pytest.raises(budgeted.UnpricedModelError, match="ag:writer"):
            client.agents.complete(agent_id="ag:writer", messages=MESSAGES)
        budgeted.register_price("ag:writer", input=2, output=8, provider="mistral")
        with pytest.raises(budgeted.UnpricedModelError, match="an agent"):
            client.agents.complete(agent_id="ag:writer", messages=MESSAGES)
    assert provider.requests == []


# -- the cap


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_is_written_where_it_has_to_be(
    stream: bool, paying: Callable[..., Paying], client: Mistral, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05")
    provider.reply(output_tokens=100_000)
    with payer.block() as block:
        if stream:
            list(client.chat.stream(**ASK))
        else:
            client.chat.complete(**ASK)
    assert block.clamped == 1
    assert 256 <= provider.requests[0].body["max_tokens"] < 100_000
    assert provider.requests[0].headers["authorization"] == "Bearer any"
    payer.agrees()


def test_structured_output_is_never_clamped(
    paying: Callable[..., Paying], client: Mistral, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05")
    with payer.block(), pytest.raises(budgeted.BudgetExceededError):
        client.chat.complete(**ASK, response_format={"type": "json_object"})
    assert provider.requests == []


def test_a_fallback_is_asked_in_place_of_the_model(
    paying: Callable[..., Paying], client: Mistral, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05", fallback=["codestral-latest"])
    with payer.block():
        client.chat.complete(**ASK, max_tokens=10_000)
    assert provider.requests[0].body["model"] == "codestral-latest"
    payer.agrees()


def test_a_document_that_is_only_named_is_held_at_the_context_window(
    payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    part = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="files or media"):
        client.chat.complete(model=MODEL, messages=[{"role": "user", "content": [part]}])
    assert provider.requests == []


# -- streams that are left


def _closed(stream: Any) -> None:
    next(stream)
    stream.response.close()


def _never_read(stream: Any) -> None:
    del stream


LEFT = [broken_off, _closed, left_in_a_block, _never_read, consumer_raises]


@pytest.mark.parametrize("leave", LEFT, ids=bare_name)
def test_a_stream_that_is_left_is_charged_an_estimate(
    leave: Callable[[Any], None], payer: Paying, client: Mistral
) -> None:
    payer.guesses_when_left(leave, lambda: client.chat.stream(**ASK))


@pytest.mark.parametrize("reply", [{"drop_after": 2}, {"error_after": 2}, {"malformed_after": 2}], ids=str)
def test_a_stream_that_breaks_is_charged_an_estimate(
    reply: dict[str, Any], payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    provider.reply(output_tokens=40, **reply)
    stream = None
    with payer.block() as block, pytest.raises((httpx2.HTTPError, errors.MistralError, ValueError)):
        stream = client.chat.stream(**ASK)
        list(stream)
    del stream
    gc.collect()
    assert block.held == 0
    payer.guessed()


@pytest.mark.parametrize("how", ["break", "cancel", "close"])
def test_an_asynchronous_stream_that_is_left_is_charged_an_estimate(
    how: str, payer: Paying, provider: SimulatedProvider
) -> None:
    async def read(client: Mistral) -> None:
        stream = await client.chat.stream_async(**ASK)
        await break_or_close(stream, how, stream.response.aclose)

    client = Mistral(api_key="any", server_url=provider.mistral_url)
    payer.guesses_when_a_task_leaves(read, client, cancel=how == "cancel")


# -- failures and nonsense


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_is_refused_costs_nothing(
    status: int, stream: bool, payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(status=status))
    with payer.block() as block, pytest.raises(errors.MistralError):
        client.chat.stream(**ASK) if stream else client.chat.complete(**ASK)
    assert block.held == 0
    assert payer.spent == 0
    assert payer.manager.uncertain() == []


RETRIES = RetryConfig("backoff", BackoffStrategy(1, 10, 1.0, 10_000, jitter_ms=0), retry_connection_errors=True)


def test_what_the_sdk_repeats_is_one_call(payer: Paying, client: Mistral, provider: SimulatedProvider) -> None:
    provider.queue(Reply(status=500))
    with payer.block() as block:
        assert client.chat.complete(**ASK, retries=RETRIES).choices
    assert len(provider.requests) == 2
    assert block.calls == 1
    payer.agrees()


def test_an_attempt_that_timed_out_and_is_repeated_is_a_charge_of_its_own(
    payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(hang=True), Reply(status=500), Reply(hang=True))
    with payer.block() as block:
        assert client.chat.complete(**ASK, retries=RETRIES, timeout_ms=300).choices
    provider.release()
    assert len(provider.requests) == 4
    assert payer.charges() == 3
    assert block.calls == 1
    assert all("sent it again" in charge.reason for charge in payer.guessed(calls=2))


def test_a_coroutines_attempt_that_timed_out_is_a_charge_of_its_own(payer: Paying, provider: SimulatedProvider) -> None:
    provider.queue(Reply(hang=True))

    async def ask() -> None:
        async with Mistral(api_key="any", server_url=provider.mistral_url) as client:
            with payer.block():
                assert [e async for e in await client.chat.stream_async(**ASK, retries=RETRIES, timeout_ms=300)]

    asyncio.run(ask())
    provider.release()
    assert payer.charges() == 2
    payer.guessed()


def test_a_timeout_is_uncertain(payer: Paying, client: Mistral, provider: SimulatedProvider) -> None:
    provider.reply(hang=True)
    with payer.block(), pytest.raises(httpx2.ReadTimeout):
        client.chat.complete(**ASK, timeout_ms=300)
    payer.guessed()


NONSENSE: list[Any] = [
    None,
    {"prompt_tokens": -5, "completion_tokens": 3, "total_tokens": -2},
    {"prompt_tokens": 10**12, "completion_tokens": 3, "total_tokens": 10**12},
    {"prompt_tokens": "many", "completion_tokens": 3, "total_tokens": 3},
]


@pytest.mark.parametrize("usage", NONSENSE, ids=str)
def test_an_answer_without_sensible_usage_is_charged_an_estimate(
    usage: Any, payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    provider.reply(usage=usage, output_tokens=30)
    with payer.block():
        try:
            assert client.chat.complete(**ASK).choices
        except errors.ResponseValidationError:  # what the SDK makes of text for a number, and of no usage at all
            assert usage is None or usage["prompt_tokens"] == "many"
    payer.guessed()


def test_listing_models_is_let_through(payer: Paying, client: Mistral) -> None:
    with payer.block() as block, pytest.raises((errors.MistralError, pydantic.ValidationError)):
        client.models.retrieve(model_id=MODEL)
    assert block.calls == 0


def awaited(client: Any, answer: Any) -> Any:
    """The answer to an asynchronous call, after which the client is closed."""

    async def ask() -> Any:
        async with client:
            return await answer

    return asyncio.run(ask())


# -- conversations


def test_later_turns_of_a_conversation_are_held_at_the_context_window_of_its_model(
    payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    model = "codestral-latest"
    asked = client.beta.conversations
    provider.reply(input_tokens=1_000)
    with payer.block():
        first = asked.start(model=model, inputs="Hello")
        assert asked.append(conversation_id=first.conversation_id, inputs="Go on").outputs
        assert list(asked.append_stream(conversation_id=first.conversation_id, inputs="Go on"))
        with payer.block(cap="0.07"), pytest.raises(budgeted.BudgetExceededError):
            asked.append(conversation_id=first.conversation_id, inputs="Go on")
    payer.agrees(calls=3)
    assert list(payer.manager.report("model")) == [model]


def test_a_turn_of_a_conversation_that_nobody_knows_is_refused(
    payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    ask = {"conversation_id": "conv_elsewhere-codestral-latest", "inputs": "Go on"}
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="begun elsewhere"):
        client.beta.conversations.append(**ask)
    assert provider.requests == []
    with payer.block(), payer.manager.hold(cost=0.01) as held:
        assert client.beta.conversations.append(**ask).outputs
        held.settle(cost=0.01)
    assert payer.spent == 10_000_000
    assert payer.charges() == 1


def test_a_conversations_cap_is_written_into_its_arguments(
    paying: Callable[..., Paying], client: Mistral, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05")
    provider.reply(output_tokens=100_000)
    arguments = {"temperature": 0.5}
    with payer.block() as block:
        client.beta.conversations.start(model=MODEL, inputs="Hello", completion_args=arguments)
    assert block.clamped == 1
    assert arguments == {"temperature": 0.5}
    assert provider.requests[0].body["completion_args"]["temperature"] == 0.5
    assert 256 <= provider.requests[0].body["completion_args"]["max_tokens"] < 100_000
    payer.agrees()


def test_a_conversation_with_an_agent_is_refused(payer: Paying, client: Mistral, provider: SimulatedProvider) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="ag:talker"):
        client.beta.conversations.start(agent_id="ag:talker", inputs="Hello")
    assert provider.requests == []


# -- documents, by the page

OCR: dict[str, Any] = {"model": "mistral-ocr-latest"}
DOCUMENT = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
PICTURE = {"type": "image_url", "image_url": "https://example.com/a.png"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


@pytest.mark.parametrize("more", [{}, {"document_annotation_format": SCHEMA}], ids=["plain", "annotated"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_pages_are_charged_by_their_number(
    asynchronous: bool, more: dict[str, Any], payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    provider.reply(units=7)
    with payer.block():
        if asynchronous:
            assert awaited(client, client.ocr.process_async(**OCR, document=DOCUMENT, **more)).pages
        else:
            assert client.ocr.process(**OCR, document=DOCUMENT, **more).pages
    payer.agrees()
    assert payer.spent == 7 * (5_000_000 if more else 4_000_000)


@pytest.mark.parametrize(
    ("document", "pages", "most"),
    [
        (PICTURE, None, 1),
        (DOCUMENT, [0, 3, 4], 3),
        (DOCUMENT, "0-4,7", 6),
        (DOCUMENT, "last", 1_000),
        (DOCUMENT, None, 1_000),
    ],
    ids=str,
)
def test_as_many_pages_are_held_as_may_be_read(
    document: dict[str, str], pages: Any, most: int, payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    ask = {**OCR, "document": document} | ({} if pages is None else {"pages": pages})
    with payer.block(cap=0.004 * most - 0.001), pytest.raises(budgeted.BudgetExceededError):
        client.ocr.process(**ask)
    assert provider.requests == []
    with payer.block(cap=0.004 * most):
        client.ocr.process(**ask)
    payer.agrees()


def test_pages_that_are_not_told_are_charged_as_held_and_listed(
    payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    provider.reply(usage={"pages_processed": -1})
    with payer.block():
        client.ocr.process(**OCR, document=DOCUMENT, pages=[0, 1])
    (charge,) = payer.guessed()
    assert charge.cost == pytest.approx(0.008)


# -- clouds


@pytest.fixture
def azure(provider: SimulatedProvider) -> Iterator[MistralAzure]:
    with MistralAzure(api_key="any", server_url=f"{provider.url}/mistral-azure") as made:
        yield made


@pytest.fixture
def vertex(provider: SimulatedProvider) -> Iterator[MistralGCP]:
    with MistralGCP(project_id="p", access_token="any", server_url=provider.url) as made:  # noqa: S106 - it takes any
        yield made


@pytest.mark.parametrize("cloud", ["azure", "vertex"])
def test_the_clients_of_clouds_are_charged_once(cloud: str, payer: Paying, request: Any) -> None:
    client = request.getfixturevalue(cloud)
    with payer.block() as block:
        assert client.chat.complete(**ASK).choices
        assert list(client.chat.stream(**ASK))
        assert awaited(client, client.chat.complete_async(**ASK)).choices
    payer.agrees(calls=3)
    assert block.calls == 3


@pytest.mark.parametrize("cloud", ["azure", "vertex"])
def test_the_clients_of_clouds_are_clamped(
    cloud: str, paying: Callable[..., Paying], provider: SimulatedProvider, request: Any
) -> None:
    payer = paying(max_budget="0.05", fallback=["codestral-latest"])
    client = request.getfixturevalue(cloud)
    with payer.block() as block:
        client.chat.complete(**ASK)
        client.chat.complete(**ASK, max_tokens=10_000)
    assert block.clamped == 1
    assert 256 <= provider.requests[0].body["max_tokens"] < 100_000
    assert provider.requests[1].body["model"] == "codestral-latest"
    payer.agrees(calls=2)


def test_other_calls_of_the_clouds_are_charged_too(
    payer: Paying, azure: MistralAzure, vertex: MistralGCP, provider: SimulatedProvider
) -> None:
    with payer.block():
        assert vertex.fim.complete(model="codestral-latest", prompt="def f(").choices
        assert azure.ocr.process(**OCR, document=PICTURE).pages
    payer.agrees(calls=2)


def test_a_recording_elsewhere_is_held_at_the_longest_that_is_transcribed(
    payer: Paying, client: Mistral, provider: SimulatedProvider
) -> None:
    ask = {"model": "voxtral-mini-2602", "file_url": "https://example.com/a.mp3"}
    with payer.block(cap="0.539"), pytest.raises(budgeted.BudgetExceededError):  # three hours
        client.audio.transcriptions.complete(**ask)
    assert provider.requests == []


def test_what_is_billed_out_of_sight_is_refused(payer: Paying, client: Mistral, provider: SimulatedProvider) -> None:
    with payer.block():
        with pytest.raises(budgeted.UnpricedModelError, match="speech"):
            client.audio.speech.complete(input="Hello", model="voxtral-tts")
        with pytest.raises(budgeted.UnpricedModelError, match="a batch"):
            client.batch.jobs.create(endpoint="/v1/chat/completions", model=MODEL, input_files=["a"])
        with pytest.raises(budgeted.UnpricedModelError, match="a moderation"):
            client.classifiers.moderate(model="mistral-moderation-latest", inputs=["Hello"])
        with pytest.raises(budgeted.UnpricedModelError, match="a moderation"):
            client.classifiers.moderate_chat(model="mistral-moderation-latest", inputs=[MESSAGES])
        with pytest.raises(budgeted.UnpricedModelError, match="a classification"):
            client.classifiers.classify(model="a", inputs=["Hello"])
        with pytest.raises(budgeted.UnpricedModelError, match="a live session"):
            client.audio.sessions.create(agent_id="a")
    assert provider.requests == []
