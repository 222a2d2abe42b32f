"""Whatever way Google's Gen AI SDK is called, each request is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pydantic
import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from ways import bare_name, break_or_close, broken_off, closed, consumer_raises, each_way

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from paying import Paying

    from budgeted.testing import SimulatedProvider

# The warning is about how the SDK uses aiohttp, where that is installed.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

MODEL = "gemini-2.5-flash"
ASK: dict[str, Any] = {"model": MODEL, "contents": "Say something nice about budgets."}
BROKEN = (errors.APIError, ValueError, OSError)


class City(pydantic.BaseModel):
    name: str
    people: int


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[genai.Client]:
    with genai.Client(api_key="any", http_options={"base_url": provider.google_url}) as made:
        yield made


@pytest.fixture
def vertex(provider: SimulatedProvider) -> Iterator[genai.Client]:
    with genai.Client(
        vertexai=True,
        project="p",
        location="us-central1",
        credentials=Credentials(token="any"),  # noqa: S106 - the provider takes any
        http_options={"base_url": provider.google_url},
    ) as made:
        yield made


def _generate(client: genai.Client) -> None:
    assert client.models.generate_content(**ASK).text


def _stream(client: genai.Client) -> None:
    chunks = client.models.generate_content_stream(**ASK)
    assert inspect.isgenerator(chunks)
    assert "".join(chunk.text or "" for chunk in chunks)


def _chat(client: genai.Client) -> None:
    chat = client.chats.create(model=MODEL)
    assert chat.send_message("Hello").text
    assert len(chat.get_history()) == 2


def _chat_stream(client: genai.Client) -> None:
    chat = client.chats.create(model=MODEL)
    assert [chunk.text for chunk in chat.send_message_stream("Hello")]
    assert chat.get_history()


def _structured(client: genai.Client) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    assert isinstance(client.models.generate_content(**ASK, config=config).parsed, City)


def _json_schema(client: genai.Client) -> None:
    config = {"response_mime_type": "application/json", "response_json_schema": City.model_json_schema()}
    assert client.models.generate_content(**ASK, config=config).parsed["name"]


def _several(client: genai.Client) -> None:
    assert len(client.models.generate_content(**ASK, config={"candidate_count": 3}).candidates) == 3


def _thinking(client: genai.Client) -> None:
    config = {"thinking_config": {"thinking_budget": 2000}, "system_instruction": "Be brief."}
    usage = client.models.generate_content(**ASK, config=config).usage_metadata
    assert usage.thoughts_token_count


def _raw(client: genai.Client) -> None:
    answer = client.models.generate_content(**ASK, config={"should_return_http_response": True})
    assert "usageMetadata" in answer.sdk_http_response.body


def _an_image(client: genai.Client) -> None:
    part = types.Part.from_bytes(data=bytes(100_000), mime_type="image/png")
    assert client.models.generate_content(model=MODEL, contents=["What is this?", part]).text


def _sound(client: genai.Client) -> None:
    part = types.Part.from_bytes(data=bytes(100_000), mime_type="audio/wav")
    assert client.models.generate_content(model=MODEL, contents=["What is this?", part]).text


def _a_full_model_name(client: genai.Client) -> None:
    assert client.models.generate_content(**{**ASK, "model": f"models/{MODEL}"}).text


def _embed(client: genai.Client) -> None:
    assert client.models.embed_content(model="gemini-embedding-001", contents=["Hello", "there"]).embeddings


def _declared_tools(client: genai.Client) -> None:
    tool = types.Tool(function_declarations=[{"name": "weather", "parameters": {"type": "OBJECT", "properties": {}}}])
    calling = types.FunctionCallingConfig(mode="ANY")
    config = types.GenerateContentConfig(tools=[tool], tool_config=types.ToolConfig(function_calling_config=calling))
    assert client.models.generate_content(**ASK, config=config).function_calls


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(
    way: Callable[[genai.Client], None], payer: Paying, client: genai.Client
) -> None:
    payer.pays_once(way, client)


@pytest.mark.parametrize("way", [_generate, _stream, _chat_stream, _structured, _embed], ids=bare_name)
def test_vertex_ai_is_charged_the_same(
    way: Callable[[genai.Client], None], payer: Paying, vertex: genai.Client, provider: SimulatedProvider
) -> None:
    with payer.block():
        way(vertex)
    payer.agrees()
    assert "/projects/p/locations/us-central1/" in provider.requests[0].path


async def _generate_async(client: Any) -> None:
    assert (await client.models.generate_content(**ASK)).text


async def _stream_async(client: Any) -> None:
    stream = await client.models.generate_content_stream(**ASK)
    assert inspect.isasyncgen(stream)
    assert [chunk.text async for chunk in stream]


async def _chat_async(client: Any) -> None:
    assert (await client.chats.create(model=MODEL).send_message("Hello")).text


async def _chat_stream_async(client: Any) -> None:
    stream = await client.chats.create(model=MODEL).send_message_stream("Hello")
    assert [chunk.text async for chunk in stream]


async def _embed_async(client: Any) -> None:
    assert (await client.models.embed_content(model="gemini-embedding-001", contents="Hello")).embeddings


TRANSPORTS = ["aiohttp", *(name for name in ("httpx", "httpx2") if importlib.util.find_spec(name))]


def asynchronous(provider: SimulatedProvider, transport: str) -> Any:
    """A client that sends by one of the packages that the SDK knows; aiohttp wins where it is installed."""
    options: dict[str, Any] = {"base_url": provider.google_url}
    if transport != "aiohttp":
        options["async_client_args"] = {"transport": importlib.import_module(transport).AsyncHTTPTransport()}
    return genai.Client(api_key="any", http_options=options).aio


@pytest.mark.parametrize("transport", TRANSPORTS)
@each_way(globals(), suffix="_async")
def test_every_way_of_awaiting_is_one_exact_charge(
    way: Callable[..., Any], transport: str, payer: Paying, provider: SimulatedProvider
) -> None:
    payer.awaits_once(way, asynchronous(provider, transport))


@pytest.mark.parametrize("stream", [False, True])
def test_automatic_function_calling_is_a_charge_for_each_of_its_calls(
    stream: bool, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(tool="weather", text='{"city": "Rome"}'), Reply(text="It is sunny."))
    chat = client.chats.create(model=MODEL, config={"tools": [weather]})
    with payer.block() as block:
        if stream:
            assert "".join(chunk.text or "" for chunk in chat.send_message_stream("Rome?")) == "It is sunny."
        else:
            assert chat.send_message("Rome?").text == "It is sunny."
    payer.agrees(calls=2)
    assert block.calls == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        {"input_tokens": 5000, "cached_tokens": 3000},
        {"reasoning_tokens": 300, "output_tokens": 500},
        {"input_tokens": 250_000, "cached_tokens": 100_000, "model": "gemini-2.5-pro"},
        {"pieces": 1},
        {"write_size": 3},
        {"gzip": True},
        {"crlf": True},
    ],
    ids=str,
)
def test_what_the_answer_says_is_what_is_charged(
    reply: dict[str, Any], stream: bool, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.reply(**reply)
    with payer.block():
        if stream:
            list(client.models.generate_content_stream(**ASK))
        else:
            client.models.generate_content(**ASK)
    payer.agrees()


def test_counting_tokens_costs_nothing(payer: Paying, client: genai.Client) -> None:
    with payer.block() as block:
        assert client.models.count_tokens(**ASK).total_tokens
    assert block.calls == 0


# -- the cap


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_is_written_into_the_configuration(
    stream: bool, paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05")
    provider.reply(output_tokens=100_000)
    with payer.block() as block:
        if stream:
            list(client.models.generate_content_stream(**ASK, config={"temperature": 0.5}))
        else:
            client.models.generate_content(**ASK, config={"temperature": 0.5})
    assert block.clamped == 1
    assert provider.requests[0].body["generationConfig"]["temperature"] == 0.5
    assert 256 <= provider.requests[0].body["generationConfig"]["maxOutputTokens"] < 65_536
    payer.agrees()


def test_a_cap_of_the_callers_own_is_left_alone(
    payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    with payer.block() as block:
        client.models.generate_content(**ASK, config={"max_output_tokens": 20})
    assert provider.requests[0].body["generationConfig"]["maxOutputTokens"] == 20
    assert block.clamped == 0
    payer.agrees()


def test_structured_output_is_never_clamped(
    paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05")
    with payer.block(), pytest.raises(budgeted.BudgetExceededError):
        client.models.generate_content(**ASK, config={"response_mime_type": "application/json"})
    assert provider.requests == []


def test_a_fallback_is_asked_in_place_of_the_model(
    paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.05", fallback=["gemini-2.5-flash-lite"])
    with payer.block():
        client.models.generate_content(**{**ASK, "model": "gemini-2.5-pro"}, config={"max_output_tokens": 20_000})
    assert "/models/gemini-2.5-flash-lite:generateContent" in provider.requests[0].path


def test_a_fallback_may_have_any_name(
    paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    budgeted.register_price(r"of-any-name-\g<1>", input=0, output=1, provider="google")
    payer = paying(max_budget="0.05", fallback=[r"of-any-name-\g<1>"])
    with payer.block():
        client.models.generate_content(**{**ASK, "model": "gemini-2.5-pro"}, config={"max_output_tokens": 20_000})
    assert r"/models/of-any-name-\g<1>:" in unquote(provider.requests[0].path)


def test_a_thinking_budget_is_part_of_the_floor(
    paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.10")
    with payer.block():
        client.models.generate_content(**ASK, config={"thinking_config": {"thinking_budget": 2000}})
    assert provider.requests[0].body["generationConfig"]["maxOutputTokens"] >= 6_000
    payer.agrees()


# -- what is not in the request


@pytest.mark.parametrize(
    "config",
    [
        {"tools": [types.Tool(google_search=types.GoogleSearch())]},
        {"tools": [types.Tool(code_execution=types.ToolCodeExecution())]},
        {"cached_content": "cachedContents/abc"},
    ],
    ids=["search", "code", "cache"],
)
def test_what_is_not_in_the_request_is_held_at_the_context_window(
    config: dict[str, Any], payer: Paying, client: genai.Client, provider: SimulatedProvider, pool: ThreadPoolExecutor
) -> None:
    provider.reply(hang=True)
    with payer.block() as block:
        asked = pool.submit(client.models.generate_content, **ASK, config=config)
        assert provider.wait_parked()
        assert block.held >= 1_048_576 * 0.3 / 1e6
        provider.release()
        asked.result()
    payer.agrees()


def test_without_a_known_context_window_it_is_refused(
    payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    search = types.Tool(google_search=types.GoogleSearch())
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="googleSearch"):
        client.models.generate_content(**{**ASK, "model": "gemini-2.5-pro"}, config={"tools": [search]})
    assert provider.requests == []


# -- searches and pictures


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [MODEL, "gemini-3.5-flash"])
def test_searches_are_charged_as_google_bills_them(
    model: str, stream: bool, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.reply(searches=3)
    config = {"tools": [types.Tool(google_search=types.GoogleSearch())]}
    with payer.block():
        if stream:
            list(client.models.generate_content_stream(**{**ASK, "model": model}, config=config))
        else:
            client.models.generate_content(**{**ASK, "model": model}, config=config)
    payer.agrees()
    assert provider.bill[0].usage.searches == 3
    assert payer.spent > (0.035e9 if model == MODEL else 3 * 0.014e9)


def test_searches_may_be_awaited(payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(searches=2)

    async def ask() -> None:
        async with asynchronous(provider, TRANSPORTS[0]) as client:
            with payer.block():
                config = {"tools": [{"google_search": {}}]}
                await client.models.generate_content(**{**ASK, "model": "gemini-3.5-flash"}, config=config)

    asyncio.run(ask())
    payer.agrees()


SEARCH = types.Tool(google_search=types.GoogleSearch())
GROUNDED = [
    pytest.param(SEARCH, MODEL, 0.035, id="search"),
    pytest.param(types.Tool(google_search_retrieval=types.GoogleSearchRetrieval()), MODEL, 0.035, id="retrieval"),
    pytest.param(SEARCH, "gemini-3.5-flash", 0.14, id="searches of newer models, each"),
    pytest.param(types.Tool(google_maps=types.GoogleMaps()), MODEL, 0.025, id="maps, by the prompt"),
]


@pytest.mark.parametrize(("tool", "model", "fee"), GROUNDED)
def test_the_fee_of_as_much_grounding_as_there_may_be_is_held(
    tool: types.Tool, model: str, fee: float, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    window = {MODEL: 1_048_576 * 0.3e-6, "gemini-3.5-flash": 1_000_000 * 1.5e-6}[model]
    ask = {**ASK, "model": model, "config": {"tools": [tool], "max_output_tokens": 10}}
    with payer.block(cap=window + fee - 0.001), pytest.raises(budgeted.BudgetExceededError):
        client.models.generate_content(**ask)
    assert provider.requests == []
    with payer.block(cap=window + fee + 0.001):
        client.models.generate_content(**ask)
    payer.agrees()


@pytest.mark.parametrize(("budget", "sent"), [("0.40", False), ("0.49", True)])
def test_a_fallback_is_held_with_as_many_searches_as_it_bills(
    budget: str, sent: bool, paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget=budget, fallback=["gemini-3.1-flash-lite"])  # each search $0.014; before: each answer
    config = {"tools": [types.Tool(google_search=types.GoogleSearch())], "max_output_tokens": 60_000}
    with payer.block(), contextlib.nullcontext() if sent else pytest.raises(budgeted.BudgetExceededError):
        client.models.generate_content(**ASK, config=config)
    assert [request.path.rpartition("/")[2] for request in provider.requests] == (
        ["gemini-3.1-flash-lite:generateContent"] if sent else []
    )


@pytest.mark.parametrize("modalities", [None, ["TEXT", "IMAGE"]])
def test_a_picture_is_held_and_charged_at_the_price_of_pictures(
    modalities: Any, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    config: dict[str, Any] = {"max_output_tokens": 2_000} | ({"response_modalities": modalities} if modalities else {})
    with payer.block(cap="0.05"), pytest.raises(budgeted.BudgetExceededError):
        client.models.generate_content(model="gemini-2.5-flash-image", contents="A budget.", config=config)
    assert provider.requests == []
    with payer.block(cap="0.07"):
        answer = client.models.generate_content(model="gemini-2.5-flash-image", contents="A budget.", config=config)
    assert answer.parts[0].inline_data.data
    payer.agrees()
    assert payer.spent > 1_290 * 30_000


def test_a_cap_that_is_granted_leaves_room_for_a_picture(
    paying: Callable[..., Paying], client: genai.Client, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.80", min_output_tokens=256)
    with payer.block() as block:
        client.models.generate_content(model="gemini-2.5-flash-image", contents="A budget.")
    assert block.clamped == 1
    assert provider.requests[0].body["generationConfig"]["maxOutputTokens"] >= 2_520 + 256
    payer.agrees()


@pytest.mark.filterwarnings("ignore:The SDK's token creation")
def test_caches_indexes_and_secrets_of_live_sessions_are_refused(
    payer: Paying, client: genai.Client, provider: SimulatedProvider, tmp_path: Path
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("A budget.")
    with payer.block():
        with pytest.raises(budgeted.UnpricedModelError, match="a cache"):
            client.caches.create(model=MODEL, config={"contents": ["A budget."]})
        with pytest.raises(budgeted.UnpricedModelError, match="an index"):
            client.file_search_stores.upload_to_file_search_store(
                file_search_store_name="fileSearchStores/a", file=text
            )
        with pytest.raises(budgeted.UnpricedModelError, match="an index"):
            client.file_search_stores.import_file(file_search_store_name="fileSearchStores/a", file_name="files/b")
        with pytest.raises(budgeted.UnpricedModelError, match="a live session"):
            client.auth_tokens.create(config={"http_options": {"api_version": "v1alpha"}})
    assert provider.requests == []


def test_videos_and_batches_are_refused(payer: Paying, vertex: genai.Client, provider: SimulatedProvider) -> None:
    with payer.block():
        with pytest.raises(budgeted.UnpricedModelError, match="a video"):
            vertex.models.generate_videos(model="veo-3.1-generate-001", source={"prompt": "A budget."})
        with pytest.raises(budgeted.UnpricedModelError, match="a job"):
            vertex.batches.create(model=MODEL, src="gs://a/b.jsonl")
    assert provider.requests == []


@pytest.mark.filterwarnings("ignore:The generate_images")
def test_pictures_of_imagen_are_charged_by_their_number(
    payer: Paying, vertex: genai.Client, provider: SimulatedProvider
) -> None:
    ask: dict[str, Any] = {"model": "imagen-4.0-generate-001", "prompt": "A budget.", "config": {"number_of_images": 3}}
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="imagen-4"):
        vertex.models.generate_images(**ask)
    budgeted.register_price("imagen-4.0-generate-001", input=0, output=0, per_call="0.04", provider="google")
    with payer.block(cap="0.11"), pytest.raises(budgeted.BudgetExceededError):
        vertex.models.generate_images(**ask)
    assert provider.requests == []
    with payer.block(cap="0.12"):
        assert len(vertex.models.generate_images(**ask).generated_images) == 3
    payer.agrees()


# -- streams that are left


@pytest.mark.parametrize("leave", [broken_off, closed, consumer_raises], ids=bare_name)
def test_a_stream_that_is_left_is_charged_an_estimate(
    leave: Callable[[Any], None], payer: Paying, client: genai.Client
) -> None:
    payer.guesses_when_left(leave, lambda: client.models.generate_content_stream(**ASK))


def test_a_stream_that_is_never_read_was_never_sent(payer: Paying, client: genai.Client) -> None:
    payer.sends_nothing_unread(lambda: client.models.generate_content_stream(**ASK))


def test_a_stream_is_paid_for_by_whoever_asked_wherever_it_is_read(payer: Paying, client: genai.Client) -> None:
    payer.charges_whoever_asked(lambda: client.models.generate_content_stream(**ASK))


@pytest.mark.parametrize("reply", [{"error_after": 2}, {"drop_after": 2}, {"malformed_after": 2}], ids=str)
def test_a_stream_that_breaks_is_charged_an_estimate(
    reply: dict[str, Any], payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.reply(output_tokens=40, **reply)
    with payer.block() as block, pytest.raises(Exception):  # noqa: B017, PT011 - httpx's or httpx2's or the SDK's own
        list(client.models.generate_content_stream(**ASK))
    assert block.held == 0
    payer.guessed()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("how", ["break", "cancel", "close"])
def test_an_asynchronous_stream_that_is_left_is_charged_an_estimate(
    how: str, transport: str, payer: Paying, provider: SimulatedProvider
) -> None:
    async def read(client: Any) -> None:
        stream = await client.models.generate_content_stream(**ASK)
        await break_or_close(stream, how, stream.aclose)

    client = asynchronous(provider, transport)
    payer.guesses_when_a_task_leaves(read, client, cancel=how == "cancel")


# -- failures and nonsense


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_is_refused_costs_nothing(
    status: int, stream: bool, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(status=status))
    with payer.block() as block, pytest.raises(errors.APIError):
        if stream:
            list(client.models.generate_content_stream(**ASK))
        else:
            client.models.generate_content(**ASK)
    assert block.held == 0
    assert payer.spent == 0
    assert payer.manager.uncertain() == []


def test_a_timeout_is_uncertain_and_so_is_each_attempt_before_it(payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(hang=True)
    retries = types.HttpRetryOptions(attempts=2, initial_delay=0.01, max_delay=0.01)
    options = types.HttpOptions(base_url=provider.google_url, timeout=300, retry_options=retries)
    with payer.block(), genai.Client(api_key="any", http_options=options) as client, pytest.raises(Exception):  # noqa: B017, PT011 - httpx's or httpx2's
        client.models.generate_content(**ASK)
    payer.guessed(calls=len(provider.requests))


NONSENSE: list[Any] = [
    None,
    {},
    {"promptTokenCount": -5, "candidatesTokenCount": 3, "totalTokenCount": -2},
    {"promptTokenCount": 10**12, "candidatesTokenCount": 3, "totalTokenCount": 10**12},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", NONSENSE, ids=str)
def test_an_answer_without_sensible_usage_is_charged_an_estimate_and_returned(
    usage: Any, stream: bool, payer: Paying, client: genai.Client, provider: SimulatedProvider
) -> None:
    provider.reply(usage=usage, output_tokens=30)
    with payer.block():
        if stream:
            assert "".join(chunk.text or "" for chunk in client.models.generate_content_stream(**ASK))
        else:
            assert client.models.generate_content(**ASK).text
    payer.guessed()


def test_an_unknown_model_is_refused(payer: Paying, client: genai.Client, provider: SimulatedProvider) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="nobody-1"):
        client.models.generate_content(**{**ASK, "model": "nobody-1"})
    assert provider.requests == []
