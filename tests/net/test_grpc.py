"""xAI's and Google's libraries over gRPC: held before anything is sent, and charged what the server says it used."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_provider import WORDS, GrpcProvider, Used, trusted
from net_calls import ANY, MAX_TOKENS, QUESTION, NetCalls
from xai_sdk import AsyncClient, Client
from xai_sdk.chat import user
from xai_sdk.proto import chat_pb2, chat_pb2_grpc
from xai_sdk.tools import web_search, x_search

from budgeted import BudgetExceededError, BudgetManager, UnpricedModelError, register_price
from budgeted.metering import after_disconnect, drain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from net_calls import NetCall

# What libraries warn of is their business; so is what they leave open.
pytestmark = [pytest.mark.net, pytest.mark.filterwarnings("ignore")]

os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = trusted()

PER_TOKEN = 0.0001
"""USD for a token of output; what is read costs nothing, so that a call may cost, and costs, 0.10 USD."""

GROK, GEMINI = "grok-test", "gemini-test"
CALLS = NetCalls()
TEXT = "".join(WORDS)

grok = CALLS.of("x-ai", GROK)


def _client(provider: GrpcProvider) -> Client:
    return Client(api_key=ANY, api_host=provider.plain, use_insecure_channel=True)


def _chat(client: Any, **more: Any) -> Any:
    asked = {"model": GROK, "messages": [user(QUESTION)], "max_tokens": MAX_TOKENS}
    return client.chat.create(**(asked | more))


@grok
def xai(provider: GrpcProvider) -> str:
    with _client(provider) as client:
        return str(_chat(client).sample().content)


@grok
def xai_stream(provider: GrpcProvider) -> str:
    with _client(provider) as client:
        return "".join(chunk.content for _, chunk in _chat(client).stream())


@grok
async def xai_async(provider: GrpcProvider) -> str:
    async with AsyncClient(api_key=ANY, api_host=provider.plain, use_insecure_channel=True) as client:
        return str((await _chat(client).sample()).content)


@grok
async def xai_async_stream(provider: GrpcProvider) -> str:
    async with AsyncClient(api_key=ANY, api_host=provider.plain, use_insecure_channel=True) as client:
        return "".join([chunk.content async for _, chunk in _chat(client).stream()])


def _request() -> chat_pb2.GetCompletionsRequest:
    return chat_pb2.GetCompletionsRequest(model=GROK, messages=[user(QUESTION)], max_tokens=MAX_TOKENS, n=1)


@grok
def stub_call(provider: GrpcProvider) -> str:
    with grpc.insecure_channel(provider.plain) as channel:
        return str(chat_pb2_grpc.ChatStub(channel).GetCompletion(_request()).outputs[0].message.content)


@grok
def stub_future(provider: GrpcProvider) -> str:
    with grpc.insecure_channel(provider.plain) as channel:
        answer = chat_pb2_grpc.ChatStub(channel).GetCompletion.future(_request())
        return str(answer.result().outputs[0].message.content)


@grok
def stub_single_threaded_stream(provider: GrpcProvider) -> str:
    options = [(grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)]
    with grpc.insecure_channel(provider.plain, options) as channel:
        pieces = chat_pb2_grpc.ChatStub(channel).GetCompletionChunk(_request())
        return "".join(piece.outputs[0].delta.content for piece in pieces)


@grok
async def stub_async(provider: GrpcProvider) -> str:
    async with grpc.aio.insecure_channel(provider.plain) as channel:
        return str((await chat_pb2_grpc.ChatStub(channel).GetCompletion(_request())).outputs[0].message.content)


@grok
async def stub_async_read_stream(provider: GrpcProvider) -> str:
    async with grpc.aio.insecure_channel(provider.plain) as channel:
        call, text = chat_pb2_grpc.ChatStub(channel).GetCompletionChunk(_request()), ""
        while (piece := await call.read()) is not grpc.aio.EOF:
            text += piece.outputs[0].delta.content
        return text


gemini = CALLS.of("google", GEMINI)


def _generativeai(provider: GrpcProvider, transport: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer one
        import google.generativeai as genai

    genai.configure(api_key=ANY, transport=transport, client_options={"api_endpoint": provider.secure})
    return genai.GenerativeModel(GEMINI, generation_config={"max_output_tokens": MAX_TOKENS})


@gemini
def google_generativeai(provider: GrpcProvider) -> str:
    return str(_generativeai(provider, "grpc").generate_content(QUESTION).text)


@gemini
def google_generativeai_stream(provider: GrpcProvider) -> str:
    return "".join(part.text for part in _generativeai(provider, "grpc").generate_content(QUESTION, stream=True))


@gemini
async def google_generativeai_async(provider: GrpcProvider) -> str:
    return str((await _generativeai(provider, "grpc_asyncio").generate_content_async(QUESTION)).text)


@gemini
async def google_generativeai_async_stream(provider: GrpcProvider) -> str:
    parts = await _generativeai(provider, "grpc_asyncio").generate_content_async(QUESTION, stream=True)
    return "".join([part.text async for part in parts])


def _vertexai(provider: GrpcProvider, transport: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        import vertexai
        from google.auth.credentials import AnonymousCredentials
        from vertexai.generative_models import GenerationConfig, GenerativeModel

        vertexai.init(
            project=ANY,
            location="us-central1",
            api_endpoint=provider.secure,
            api_transport=transport,
            credentials=AnonymousCredentials(),
        )
        return GenerativeModel(GEMINI, generation_config=GenerationConfig(max_output_tokens=MAX_TOKENS))


@gemini
def vertexai(provider: GrpcProvider) -> str:
    return str(_vertexai(provider, "grpc").generate_content(QUESTION).text)


@gemini
def vertexai_stream(provider: GrpcProvider) -> str:
    return "".join(part.text for part in _vertexai(provider, "grpc").generate_content(QUESTION, stream=True))


@gemini
async def vertexai_async(provider: GrpcProvider) -> str:
    return str((await _vertexai(provider, "grpc").generate_content_async(QUESTION)).text)


@gemini
async def vertexai_async_stream(provider: GrpcProvider) -> str:
    parts = await _vertexai(provider, "grpc").generate_content_async(QUESTION, stream=True)
    return "".join([part.text async for part in parts])


@pytest.fixture
def provider() -> Iterator[GrpcProvider]:
    with GrpcProvider() as server:
        yield server
    gc.collect()  # what a library leaves open is told of now, where it is ignored


@pytest.fixture
def managing(nothing_registered: None) -> Iterator[Callable[..., BudgetManager]]:
    """Makes managers of so many USD."""
    register_price(GROK, input=0, output=PER_TOKEN * 1e6, max_output_tokens=10_000)
    register_price(GEMINI, input=0, output=PER_TOKEN * 1e6, max_output_tokens=10_000)
    made: list[BudgetManager] = []

    def make(usd: float, **settings: Any) -> BudgetManager:
        made.append(BudgetManager(ledger="memory://", max_budget=usd, **settings))
        return made[-1]

    yield make
    for manager in made:
        assert _settled(manager)
        manager.close()


def _settled(manager: BudgetManager) -> bool:
    """Whether nothing is held any more, as soon as what is ended beside the caller has been."""
    gc.collect()
    never = threading.Event()
    return any(not manager.balance().held or never.wait(0.01) for _ in range(500))


every_call = pytest.mark.parametrize("call", [pytest.param(call, id=call.name) for call in CALLS])


@every_call
def test_a_call_that_may_cost_more_than_is_left_is_not_sent(
    call: NetCall, provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(0.0001)
    with manager.budget("alice"), pytest.raises(BudgetExceededError):  # itself, and not in what a library makes of it
        call.run(provider)
    assert provider.asked == []
    assert manager.balance().spent == 0


@every_call
def test_a_call_is_charged_what_it_is_billed(
    call: NetCall, provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(0.5)
    provider.used = Used(written=300, thought=77)
    with manager.budget("alice") as block:
        assert call.run(provider) == TEXT
    assert _settled(manager)
    assert block.calls == len(provider.bill) == 1
    assert manager.balance().spent == provider.billed(PER_TOKEN) == 0.0377
    assert manager.uncertain() == []


def test_fifty_at_once_never_bill_more_than_the_limit(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1, wait=0)
    provider.seconds = 0.05

    def ask(client: Client) -> bool:
        try:
            with manager.budget("alice"):
                return bool(_chat(client).sample().content)
        except BudgetExceededError:
            return False

    with _client(provider) as client, ThreadPoolExecutor(50) as pool:
        answered = sum(pool.map(ask, [client] * 50))
    assert 0 < answered == len(provider.bill) <= 10
    assert manager.balance().spent == provider.billed(PER_TOKEN) <= 1


async def _fifty(provider: GrpcProvider, manager: BudgetManager) -> int:
    async with AsyncClient(api_key=ANY, api_host=provider.plain, use_insecure_channel=True) as client:

        async def ask() -> bool:
            try:
                with manager.budget("alice"):
                    return bool((await _chat(client).sample()).content)
            except BudgetExceededError:
                return False

        return sum(await asyncio.gather(*(ask() for _ in range(50))))


def test_fifty_coroutines_at_once_never_bill_more_than_the_limit(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1, wait=0)
    provider.seconds = 0.05
    answered = asyncio.run(_fifty(provider, manager))
    assert 0 < answered == len(provider.bill) <= 10
    assert manager.balance().spent == provider.billed(PER_TOKEN) <= 1


def _uncertain(manager: BudgetManager, most: float) -> None:
    """One call's cost is not known, and it is charged no more than it held."""
    assert _settled(manager)
    (charge,) = manager.uncertain()
    assert 0 < manager.balance().spent <= most, charge


def test_a_stream_that_is_left_is_uncertain_and_charged_at_most_its_hold(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    with manager.budget("alice"), _client(provider) as client:
        for _ in _chat(client).stream():
            break
        gc.collect()
        _uncertain(manager, 0.1)


def test_a_stream_that_is_left_is_read_to_its_end_where_it_is_billed_anyway(
    monkeypatch: pytest.MonkeyPatch, provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    monkeypatch.setitem(after_disconnect.BY_HOST, "localhost", after_disconnect.GOES_ON)
    provider.used = Used(written=300, thought=77)
    manager = managing(1)
    with manager.budget("alice"), grpc.insecure_channel(provider.plain) as channel:
        pieces = chat_pb2_grpc.ChatStub(channel).GetCompletionChunk(_request())
        next(pieces)
        del pieces
        gc.collect()
        assert _settled(manager)
        assert drain.finish(10)
    assert manager.balance().spent == provider.billed(PER_TOKEN) == 0.0377
    assert manager.uncertain() == []


def test_a_stream_that_is_left_is_charged_what_came_and_may_have_been_written_since_where_it_stops(
    monkeypatch: pytest.MonkeyPatch, provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    monkeypatch.setitem(after_disconnect.BY_HOST, "localhost", after_disconnect.STOPS)
    register_price("plain-test", input=0, output=PER_TOKEN * 1e6, max_output_tokens=10_000_000)
    manager = managing(1000)
    request = _request()
    request.model, request.max_tokens = "plain-test", 9_000_000
    with manager.budget("alice"), grpc.insecure_channel(provider.plain) as channel:
        pieces = chat_pb2_grpc.ChatStub(channel).GetCompletionChunk(request)
        next(pieces)
        del pieces
        gc.collect()
        _uncertain(manager, 100)  # of the 900 that it held


def test_a_stream_that_is_cancelled_raises_what_grpc_raises(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.go_on.clear()
    with manager.budget("alice"), grpc.insecure_channel(provider.plain) as channel:
        pieces = chat_pb2_grpc.ChatStub(channel).GetCompletionChunk(_request())
        assert isinstance(pieces, grpc.Call)
        next(pieces)
        assert pieces.cancel()
        with pytest.raises(grpc.RpcError) as raised:
            next(pieces)
        assert raised.value.code() == grpc.StatusCode.CANCELLED
    _uncertain(manager, 0.1)


def test_an_awaited_stream_that_is_left_is_uncertain_and_charged_at_most_its_hold(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)

    async def leave() -> None:
        async with AsyncClient(api_key=ANY, api_host=provider.plain, use_insecure_channel=True) as client:
            with manager.budget("alice"):
                async for _ in _chat(client).stream():
                    break

    asyncio.run(leave())
    _uncertain(manager, 0.1)


def test_an_awaited_call_that_is_cancelled_is_uncertain(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.seconds = 0.3

    async def cancel() -> None:
        async with grpc.aio.insecure_channel(provider.plain) as channel:
            with manager.budget("alice"):
                call = chat_pb2_grpc.ChatStub(channel).GetCompletion(_request())
                assert await asyncio.to_thread(provider.begun.wait, 10)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call

    asyncio.run(cancel())
    _uncertain(manager, 0.1)


def test_a_call_that_times_out_after_sending_is_uncertain(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.seconds = 1
    with manager.budget("alice"), grpc.insecure_channel(provider.plain) as channel:
        grpc.channel_ready_future(channel).result()
        with pytest.raises(grpc.RpcError):
            chat_pb2_grpc.ChatStub(channel).GetCompletion(_request(), timeout=0.2)
    _uncertain(manager, 0.1)
    assert "timed out" in manager.uncertain()[0].reason


@every_call
def test_what_the_server_refuses_costs_nothing(
    call: NetCall, provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.status = grpc.StatusCode.INVALID_ARGUMENT
    with manager.budget("alice"), pytest.raises(Exception, match="as the test wants it"):
        call.run(provider)
    assert _settled(manager)
    assert (manager.balance().spent, manager.uncertain()) == (0, [])


@every_call
def test_what_the_server_broke_is_uncertain(
    call: NetCall, provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.status = grpc.StatusCode.INTERNAL
    with manager.budget("alice"), pytest.raises(Exception, match="as the test wants it"):
        call.run(provider)
    _uncertain(manager, 0.1)


def test_what_was_lost_on_its_way_is_uncertain_though_the_last_attempt_found_no_server(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    with _client(provider) as client:
        grpc.channel_ready_future(client._api_channel).result(10)
        provider.seconds = 1
        with ThreadPoolExecutor(1) as pool, manager.budget("alice"):
            answer = pool.submit(_chat(client).sample)
            assert provider.begun.wait(10)
            provider.stop()
            assert "failed to connect" in str(answer.exception())
    _uncertain(manager, 0.1)


def test_a_hold_that_is_left_by_googles_deadline_is_uncertain(managing: Callable[..., BudgetManager]) -> None:
    from google.api_core import exceptions

    manager = managing(1)
    with grpc.insecure_channel("localhost:1") as channel:
        ask = channel.unary_unary("/shop.Orders/Count", lambda _: b"", lambda _: None)
        with pytest.raises(grpc.RpcError) as raised:
            ask(None, timeout=0, wait_for_ready=True)
    error = exceptions.from_grpc_error(raised.value)
    assert isinstance(error, exceptions.DeadlineExceeded)
    with pytest.raises(exceptions.DeadlineExceeded), manager.budget("alice"), manager.hold(cost=0.1):
        raise error
    _uncertain(manager, 0.1)


def test_what_reached_no_server_costs_nothing(managing: Callable[..., BudgetManager]) -> None:
    manager = managing(1)
    with manager.budget("alice"), grpc.insecure_channel("localhost:1") as channel, pytest.raises(grpc.RpcError):
        chat_pb2_grpc.ChatStub(channel).GetCompletion(_request())
    assert (manager.balance().spent, manager.uncertain()) == (0, [])


def test_a_cap_that_was_granted_is_written_into_a_copy_of_the_message(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.used = Used(written=100, thought=0)
    request = _request()
    request.ClearField("max_tokens")
    with manager.budget("alice") as block, grpc.insecure_channel(provider.plain) as channel:
        chat_pb2_grpc.ChatStub(channel).GetCompletion(request)
    assert block.clamped == 1
    assert not request.HasField("max_tokens")
    (sent,) = provider.messages
    assert 256 <= sent.max_tokens <= 2500
    sent.ClearField("max_tokens")
    assert sent == request


@pytest.mark.parametrize("library", [_generativeai, _vertexai])
def test_a_cap_that_was_granted_is_written_into_googles_messages(
    library: Callable[..., Any], provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.used = Used(written=100, thought=0)
    model = library(provider, "grpc")
    model._generation_config = {"temperature": 0.5, "stop_sequences": ["."]}
    with manager.budget("alice") as block:
        model.generate_content(QUESTION)
    assert block.clamped == 1
    (sent,) = provider.messages
    assert 256 <= sent.generation_config.max_output_tokens <= 2500
    assert (sent.generation_config.temperature, sent.generation_config.stop_sequences) == (0.5, ["."])
    assert sent.contents[0].parts[0].text == QUESTION


@pytest.mark.parametrize(("ask", "model"), [(xai, "grok-mini"), (google_generativeai, "models/gemini-mini")])
def test_another_model_that_was_granted_is_written_into_the_message(
    ask: Callable[[GrpcProvider], str], model: str, provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    other = model.rpartition("/")[2]
    register_price(other, input=0, output=1)
    manager = managing(0.01, wait=0, fallback=[other])
    provider.used = Used(written=100, thought=0)
    with manager.budget("alice"):
        ask(provider)
    assert provider.messages[0].model == model


def test_embeddings_of_vertex_ai_are_charged_what_they_read(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    from google.cloud import aiplatform_v1
    from google.cloud.aiplatform_v1.services.prediction_service.transports import PredictionServiceGrpcTransport

    register_price("embedding-test", input=100)
    manager = managing(0.1)
    with grpc.insecure_channel(provider.plain) as channel:
        client = aiplatform_v1.PredictionServiceClient(transport=PredictionServiceGrpcTransport(channel=channel))
        place = "projects/any/locations/us-central1/publishers/google/models/embedding-test"
        with manager.budget("alice"):
            client.predict(endpoint=place, instances=[{"content": QUESTION}])
        with manager.budget("alice"), pytest.raises(BudgetExceededError):
            client.predict(endpoint=place, instances=[{"content": QUESTION * 1000}])
    assert (manager.balance().spent, len(provider.asked)) == (0.001, 1)
    assert manager.uncertain() == []


def test_pictures_are_charged_each(provider: GrpcProvider, managing: Callable[..., BudgetManager]) -> None:
    register_price("grok-imagine-test", per_call=0.07)
    manager = managing(0.2)
    with _client(provider) as client, manager.budget("alice"):
        client.image.sample_batch(QUESTION, "grok-imagine-test", 2)
        with pytest.raises(BudgetExceededError):
            client.image.sample(QUESTION, "grok-imagine-test")
    assert (manager.balance().spent, len(provider.asked)) == (0.14, 1)


def test_what_xai_states_as_its_cost_is_charged(provider: GrpcProvider, managing: Callable[..., BudgetManager]) -> None:
    register_price(GROK, input=0, output=PER_TOKEN * 1e6, provider="x-ai")
    manager = managing(1)
    provider.ticks = 123_456_789
    with manager.budget("alice"):
        xai(provider)
    assert manager.balance().spent == 0.0123456789 // 1e-9 * 1e-9 + 1e-9


@pytest.mark.parametrize("ask", [xai, xai_stream, google_generativeai, google_generativeai_stream])
def test_what_was_cached_is_charged_at_its_own_rate(
    ask: Callable[[GrpcProvider], str], provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    for model in (GROK, GEMINI):
        register_price(model, input=10, cached_input=1, output=100, max_output_tokens=10_000)
    manager = managing(1)
    provider.used = Used(sent=1000, cached=600, written=20, thought=30)
    with manager.budget("alice"):
        ask(provider)
    assert manager.balance().spent == round((400 * 10 + 600 * 1 + 50 * 100) / 1e6, 9)


def test_xais_own_tools_are_held_for_and_charged_by_each_use(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(10)
    provider.model = "grok-4"  # whose context window is known: what tools bring is read as well
    with _client(provider) as client:
        with manager.budget("alice"):
            _chat(client, model="grok-4").sample()
        without = manager.balance().spent
        provider.tools = ["WEB_SEARCH", "X_SEARCH", "WEB_SEARCH", "VIEW_IMAGE"]
        with manager.budget("alice"):
            _chat(client, model="grok-4", tools=[web_search(), x_search()]).sample()
        with manager.budget("alice", cap=0.05), pytest.raises(BudgetExceededError):
            _chat(client, model="grok-4", tools=[web_search(), x_search()]).sample()
    assert manager.balance().spent == round(2 * without + 3 * 0.005, 9)
    assert manager.uncertain() == []


def test_a_tool_of_xais_that_nobody_has_priced_is_uncertain(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    provider.tools = ["IMAGE_SEARCH"]
    with manager.budget("alice"):
        xai(provider)
    _uncertain(manager, 0.1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: _chat(client).defer(),
        lambda client: client.video.generate(prompt=QUESTION, model=GROK),
        lambda client: client.batch.create("many"),
    ],
    ids=["deferred", "video", "batch"],
)
def test_what_is_billed_out_of_sight_is_refused_inside_a_block(
    ask: Callable[[Client], Any], provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(1)
    with _client(provider) as client, manager.budget("alice"), pytest.raises(UnpricedModelError):
        ask(client)
    assert provider.asked == []


def test_what_is_billed_out_of_sight_is_refused_where_it_is_awaited(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    async def defer() -> None:
        async with AsyncClient(api_key=ANY, api_host=provider.plain, use_insecure_channel=True) as client:
            with managing(1).budget("alice"), pytest.raises(UnpricedModelError):
                await _chat(client).defer()

    asyncio.run(defer())
    assert provider.asked == []


def test_a_method_of_theirs_that_nobody_knows_is_refused_inside_a_block(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    managing(1)
    with grpc.insecure_channel(provider.plain) as channel:
        ways = [channel.unary_unary, channel.unary_stream]
        for make in ways:
            ask = make("/xai_api.Chat/Think", lambda _: b"", lambda _: None, _registered_method=False)
            with managing(1).budget("alice"), pytest.raises(UnpricedModelError, match="Chat/Think"):
                ask(None)
        talk = channel.stream_stream("/google.ai.generativelanguage.v1beta.GenerativeService/BidiGenerateContent")
        with managing(1).budget("alice"), pytest.raises(UnpricedModelError):
            talk(iter(()))
    assert provider.asked == []


def test_what_is_free_and_what_is_no_providers_is_let_through(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    with managing(0).budget("alice"), grpc.insecure_channel(provider.plain) as channel:
        for name in ("/xai_api.Models/ListLanguageModels", "/shop.Orders/Count"):
            with pytest.raises(grpc.RpcError) as raised:  # of the server, which knows neither
                channel.unary_unary(name, lambda _: b"", lambda _: None)(None)
            assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert len(provider.asked) == 2


def test_who_asks_for_the_status_of_a_refused_call_is_told(
    provider: GrpcProvider, managing: Callable[..., BudgetManager]
) -> None:
    manager = managing(0.0001)

    async def ask() -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(provider.plain) as channel:
            with manager.budget("alice"):
                call = chat_pb2_grpc.ChatStub(channel).GetCompletion(_request())
                with pytest.raises(BudgetExceededError):
                    await call
                return await asyncio.wait_for(call.code(), 5)

    assert asyncio.run(ask()) == grpc.StatusCode.INTERNAL
