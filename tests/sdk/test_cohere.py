"""Whatever way the Cohere SDK is called, one call is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import cohere
import cohere.core
import httpx
import pytest
from cohere.finetuning import BaseModel, FinetunedModel, Settings
from paying import MESSAGES
from ways import bare_name, break_or_close, broken_off, closed, consumer_raises, each_way

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider


MODEL = "command-a-03-2025"
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[cohere.ClientV2]:
    with cohere.ClientV2("any", base_url=provider.cohere_url, max_retries=0) as made:
        yield made


def _chat(client: cohere.ClientV2) -> None:
    assert client.chat(**ASK).message.content[0].text


def _stream(client: cohere.ClientV2) -> None:
    events = client.chat_stream(**ASK)
    assert inspect.isgenerator(events)
    assert [event.type for event in events][-1] == "message-end"


def _raw(client: cohere.ClientV2) -> None:
    assert client.v2.with_raw_response.chat(**ASK).data.message.content


def _raw_stream(client: cohere.ClientV2) -> None:
    with client.v2.with_raw_response.chat_stream(**ASK) as response:
        assert list(response.data)


def _structured(client: cohere.ClientV2) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    answer = client.chat(**ASK, response_format={"type": "json_object", "json_schema": schema})
    assert "name" in answer.message.content[0].text


def _tools(client: cohere.ClientV2) -> None:
    assert client.chat(**ASK, tools=[TOOL], tool_choice="REQUIRED").message.tool_calls


def _tools_stream(client: cohere.ClientV2) -> None:
    assert list(client.chat_stream(**ASK, tools=[TOOL], tool_choice="REQUIRED"))


def _documents(client: cohere.ClientV2) -> None:
    assert client.chat(**ASK, documents=[{"data": {"text": "Budgets are nice."}}]).message


def _typed_messages(client: cohere.ClientV2) -> None:
    assert client.chat(model=MODEL, messages=[cohere.UserChatMessageV2(content="Hello")]).message


def _more_parameters(client: cohere.ClientV2) -> None:
    client.chat(**ASK, request_options={"additional_body_parameters": {"max_tokens": 7}})


def _embed(client: cohere.ClientV2) -> None:
    asked = {"model": "embed-v4.0", "input_type": "search_query", "embedding_types": ["float"]}
    assert client.embed(texts=["Hello", "there"], **asked).embeddings.float_


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[[cohere.ClientV2], None], payer: Paying, client: cohere.ClientV2
) -> None:
    payer.pays_once(way, client)


async def _chat_async(client: cohere.AsyncClientV2) -> None:
    assert (await client.chat(**ASK)).message.content


async def _stream_async(client: cohere.AsyncClientV2) -> None:
    events = client.chat_stream(**ASK)
    assert inspect.isasyncgen(events)
    assert [event.type async for event in events][-1] == "message-end"


async def _embed_async(client: cohere.AsyncClientV2) -> None:
    asked = {"model": "embed-v4.0", "input_type": "search_query", "embedding_types": ["float"]}
    assert (await client.embed(texts=["Hello"], **asked)).embeddings


@each_way(globals(), suffix="_async")
def test_every_way_of_awaiting_is_one_exact_charge(
    way: Callable[..., Any], payer: Paying, provider: SimulatedProvider
) -> None:
    payer.awaits_once(way, cohere.AsyncClientV2("any", base_url=provider.cohere_url))


@pytest.mark.parametrize("reply", [{"pieces": 1}, {"write_size": 3}, {"gzip": True}, {"crlf": True}], ids=str)
def test_however_it_comes_over_the_wire_it_is_settled_exactly(
    reply: dict[str, Any], payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block():
        list(client.chat_stream(**ASK))
    payer.agrees()


# -- the cap


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_is_written_where_it_has_to_be(
    stream: bool, paying: Callable[..., Paying], client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05")
    provider.reply(output_tokens=100_000)
    with payer.block() as block:
        if stream:
            list(client.chat_stream(**ASK))
        else:
            client.chat(**ASK)
    assert block.clamped == 1
    assert 256 <= provider.requests[0].body["max_tokens"] < 8_000
    payer.agrees()


def test_structured_output_is_never_clamped(
    paying: Callable[..., Paying], client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05")
    with payer.block(), pytest.raises(budgeted.BudgetExceededError):
        client.chat(**ASK, response_format={"type": "json_object"})
    assert provider.requests == []


def test_a_fallback_is_asked_in_place_of_the_model(
    paying: Callable[..., Paying], client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05", fallback=["command-r7b-12-2024"])
    more = {"additional_body_parameters": {"model": MODEL, "max_tokens": 8000}}
    with payer.block():
        client.chat(**ASK, request_options=more)
    assert provider.requests[0].body["model"] == "command-r7b-12-2024"
    payer.agrees()


# -- streams that are left


@pytest.mark.parametrize("leave", [broken_off, closed, consumer_raises], ids=bare_name)
def test_a_stream_that_is_left_is_charged_an_estimate(
    leave: Callable[[Any], None], payer: Paying, client: cohere.ClientV2
) -> None:
    payer.guesses_when_left(leave, lambda: client.chat_stream(**ASK))


def test_a_stream_that_is_never_read_was_never_sent(payer: Paying, client: cohere.ClientV2) -> None:
    payer.sends_nothing_unread(lambda: client.chat_stream(**ASK))


def test_a_stream_is_paid_for_by_whoever_asked_wherever_it_is_read(payer: Paying, client: cohere.ClientV2) -> None:
    payer.charges_whoever_asked(lambda: client.chat_stream(**ASK))


@pytest.mark.parametrize("reply", [{"drop_after": 2}, {"error_after": 2}], ids=str)
def test_a_stream_that_breaks_is_charged_an_estimate(
    reply: dict[str, Any], payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    provider.reply(output_tokens=40, **reply)
    with payer.block() as block:
        try:
            assert list(client.chat_stream(**ASK))[-1].delta.finish_reason == "ERROR"
        except httpx.HTTPError:
            assert "drop_after" in reply
    assert block.held == 0
    payer.guessed()


@pytest.mark.parametrize("how", ["break", "cancel", "close"])
def test_an_asynchronous_stream_that_is_left_is_charged_an_estimate(
    how: str, payer: Paying, provider: SimulatedProvider
) -> None:
    async def read(client: cohere.AsyncClientV2) -> None:
        stream = client.chat_stream(**ASK)
        await break_or_close(stream, how, stream.aclose)

    client = cohere.AsyncClientV2("any", base_url=provider.cohere_url)
    payer.guesses_when_a_task_leaves(read, client, cancel=how == "cancel")


# -- failures and nonsense


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_is_refused_costs_nothing(
    status: int, stream: bool, payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(status=status))
    with payer.block() as block, pytest.raises(cohere.core.ApiError):
        if stream:
            list(client.chat_stream(**ASK))
        else:
            client.chat(**ASK)
    assert block.held == 0
    assert payer.spent == 0
    assert payer.manager.uncertain() == []


def test_what_the_sdk_repeats_is_one_call(payer: Paying, provider: SimulatedProvider) -> None:
    provider.queue(Reply(status=500, retry_after=0.01))
    with payer.block() as block, cohere.ClientV2("any", base_url=provider.cohere_url, max_retries=1) as client:
        assert client.chat(**ASK).message
    assert len(provider.requests) == 2
    assert block.calls == 1
    payer.agrees()


class Breaking(httpx.HTTPTransport):
    """Loses the first answer."""

    lost = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if not self.lost:
            self.lost = True
            response.close()
            raise httpx.RemoteProtocolError("peer closed connection")
        return response


class AsyncBreaking(httpx.AsyncHTTPTransport):
    lost = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if not self.lost:
            self.lost = True
            await response.aclose()
            raise httpx.RemoteProtocolError("peer closed connection")
        return response


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_lost_answer_that_is_asked_for_again_may_have_been_billed(
    asynchronous: bool, payer: Paying, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cohere.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.01)
    again = {"max_retries": 1, "retry_remote_protocol_errors": True}

    async def ask() -> None:
        http = httpx.AsyncClient(transport=AsyncBreaking())
        async with cohere.AsyncClientV2("any", base_url=provider.cohere_url, httpx_client=http) as client:
            await client.chat(**ASK, request_options=again)

    with payer.block():
        if asynchronous:
            asyncio.run(ask())
        else:
            http = httpx.Client(transport=Breaking())
            with cohere.ClientV2("any", base_url=provider.cohere_url, httpx_client=http) as client:
                client.chat(**ASK, request_options=again)
    assert len(provider.bill) == 2
    assert len(payer.manager.uncertain()) == 1
    assert payer.charges() == 2


def test_a_timeout_is_uncertain(payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider) -> None:
    provider.reply(hang=True)
    with payer.block(), pytest.raises(httpx.ReadTimeout):
        client.chat(**ASK, request_options={"timeout_in_seconds": 1})
    payer.guessed()


NONSENSE: list[Any] = [
    None,
    {},
    {"billed_units": {"input_tokens": -5.0, "output_tokens": 3.0}},
    {"billed_units": {"input_tokens": 1e15, "output_tokens": 3.0}},
    {"billed_units": None, "tokens": {"input_tokens": 3.0}},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", NONSENSE, ids=str)
def test_an_answer_without_sensible_usage_is_charged_an_estimate_and_returned(
    usage: Any, stream: bool, payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    provider.reply(usage=usage, output_tokens=30)
    with payer.block():
        if stream:
            assert list(client.chat_stream(**ASK))
        else:
            assert client.chat(**ASK).message.content
    payer.guessed()


def test_other_endpoints_are_let_through(payer: Paying, client: cohere.ClientV2) -> None:
    with payer.block() as block, pytest.raises(cohere.core.ApiError):
        client.tokenize(text="Hello", model=MODEL, offline=False)
    assert block.calls == 0


# -- the first version of the API


@pytest.fixture
def first(provider: SimulatedProvider) -> Iterator[cohere.Client]:
    with cohere.Client("any", base_url=provider.cohere_url, max_retries=0) as made:
        yield made


def _first_chat(client: cohere.Client) -> None:
    assert client.chat(model=MODEL, message="Hello").text


def _first_chat_stream(client: cohere.Client) -> None:
    events = list(client.chat_stream(model=MODEL, message="Hello"))
    assert [event.event_type for event in events][-1] == "stream-end"


def _first_generate(client: cohere.Client) -> None:
    assert client.generate(model=MODEL, prompt="Hello", num_generations=2).generations


def _first_generate_stream(client: cohere.Client) -> None:
    assert list(client.generate_stream(model=MODEL, prompt="Hello"))


def _first_embed(client: cohere.Client) -> None:
    assert client.embed(texts=["Hello", "there"], model="embed-v4.0", input_type="search_query").embeddings


@each_way(globals(), prefix="_first_")
def test_the_first_client_is_one_exact_charge_however_it_is_called(
    way: Callable[[cohere.Client], None], payer: Paying, first: cohere.Client
) -> None:
    payer.pays_once(way, first)


def test_the_first_asynchronous_client_is_one_exact_charge(payer: Paying, provider: SimulatedProvider) -> None:
    async def ask() -> None:
        async with cohere.AsyncClient("any", base_url=provider.cohere_url) as client:
            with payer.block():
                assert (await client.chat(model=MODEL, message="Hello")).text
                assert [event async for event in client.chat_stream(model=MODEL, message="Hello")]

    asyncio.run(ask())
    payer.agrees(calls=2)


@pytest.mark.parametrize("leave", [broken_off, closed, consumer_raises], ids=bare_name)
def test_a_stream_of_the_first_client_that_is_left_is_charged_an_estimate(
    leave: Callable[[Any], None], payer: Paying, first: cohere.Client
) -> None:
    payer.guesses_when_left(leave, lambda: first.chat_stream(model=MODEL, message="Hello"))


@pytest.mark.parametrize("reply", [{"write_size": 3}, {"gzip": True}, {"pieces": 1}], ids=str)
def test_lines_are_read_however_they_come(
    reply: dict[str, Any], payer: Paying, first: cohere.Client, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block():
        assert list(first.chat_stream(model=MODEL, message="Hello"))
    payer.agrees()


# -- reranking, by the search

RERANK: dict[str, Any] = {"model": "rerank-v3.5", "query": "budgets", "documents": ["a nice one", "another"]}


@pytest.fixture
def ranked() -> None:
    budgeted.register_price("rerank-v3.5", input=0, output=0, per_call="0.002", provider="cohere")


@pytest.mark.usefixtures("ranked")
def test_reranking_is_charged_by_the_search(
    payer: Paying, client: cohere.ClientV2, first: cohere.Client, provider: SimulatedProvider
) -> None:
    provider.reply(units=3)
    with payer.block() as block:
        assert client.rerank(**RERANK).results
        assert first.rerank(**RERANK).results
    payer.agrees(calls=2)
    assert block.calls == 2
    assert payer.spent == 2 * 3 * 2_000_000


@pytest.mark.usefixtures("ranked")
def test_reranking_may_be_awaited(payer: Paying, provider: SimulatedProvider) -> None:
    async def ask() -> None:
        async with cohere.AsyncClientV2("any", base_url=provider.cohere_url) as client:
            with payer.block():
                assert (await client.rerank(**RERANK)).results

    asyncio.run(ask())
    payer.agrees()


@pytest.mark.usefixtures("ranked")
@pytest.mark.parametrize(
    ("documents", "most"), [(["short"] * 100, 1), (["short"] * 101, 2), (["long" * 1_000] * 100, 9)]
)
def test_as_many_searches_are_held_as_there_may_be(
    documents: list[str], most: int, payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    ask = {**RERANK, "documents": documents}
    with payer.block(cap=0.002 * most - 0.001), pytest.raises(budgeted.BudgetExceededError):
        client.rerank(**ask)
    assert provider.requests == []
    with payer.block(cap=0.002 * most):
        client.rerank(**ask)
    payer.agrees()


@pytest.mark.usefixtures("ranked")
def test_a_reranking_that_does_not_say_its_searches_is_charged_as_held_and_listed(
    payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    provider.reply(usage=None)
    with payer.block():
        assert client.rerank(**RERANK).results
    (charge,) = payer.guessed()
    assert charge.cost == pytest.approx(0.002)


def test_reranking_by_a_model_without_a_price_is_refused(
    payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="rerank-v9"):
        client.rerank(**{**RERANK, "model": "rerank-v9"})
    assert provider.requests == []


def test_jobs_and_transcripts_are_refused(payer: Paying, client: cohere.ClientV2, provider: SimulatedProvider) -> None:
    settings = Settings(base_model=BaseModel(base_type="BASE_TYPE_CHAT"), dataset_id="b")
    with payer.block():
        with pytest.raises(budgeted.UnpricedModelError, match="a batch"):
            client.embed_jobs.create(model="embed-v4.0", dataset_id="a", input_type="search_document")
        with pytest.raises(budgeted.UnpricedModelError, match="a transcript"):
            client.audio.transcriptions.create(model="a", language="en", file=b"sound")
        with pytest.raises(budgeted.UnpricedModelError, match="fine-tuning"):
            client.finetuning.create_finetuned_model(request=FinetunedModel(name="a", settings=settings))
    assert provider.requests == []
