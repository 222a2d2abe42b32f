"""OpenAI beyond completions: pictures, sound, searches, other endpoints, and what is out of sight."""

from __future__ import annotations

import io
import json
import wave
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from paying import MESSAGES
from ways import bare_name

import budgeted
from budgeted.pricing.price_registry import _registered, _remembered
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")]

ASK: dict[str, Any] = {"model": "gpt-5-mini", "messages": MESSAGES}
SEARCH = {"type": "web_search"}
CLAUDES_SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.fixture
def prices() -> Iterator[Any]:
    """Registers prices until the test ends."""
    before = dict(_registered)
    yield budgeted.register_price
    _registered.clear()
    _registered.update(before)
    _remembered.clear()


# -- pictures and sound


def test_pictures_are_charged_by_their_tokens(payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block() as block:
        assert len(chat.images.generate(model="gpt-image-1", prompt="A budget.", n=3, quality="low").data) == 3
        assert chat.images.edit(model="gpt-image-1", prompt="A larger budget.", image=io.BytesIO(b"png"), n=2).data
    payer.agrees(calls=2)
    assert block.calls == 2


def test_pictures_are_held_by_their_number_and_quality(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.05"), pytest.raises(budgeted.BudgetExceededError):
        chat.images.generate(model="gpt-image-1", prompt="A budget.", n=4, quality="low")
    assert provider.requests == []
    with payer.block(cap="0.07"):
        chat.images.generate(model="gpt-image-1", prompt="A budget.", n=4, quality="low")
    payer.agrees()


def test_a_picture_whose_price_nobody_knows_is_refused(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="dall-e-3"):
        chat.images.generate(model="dall-e-3", prompt="A budget.")
    assert provider.requests == []


def test_a_price_for_each_picture_is_held_and_charged_as_often_as_there_are_pictures(
    payer: Paying, chat: openai.OpenAI, prices: Any
) -> None:
    prices("dall-e-3", input=0, output=0, per_call="0.04")
    with payer.block(cap="0.11"), pytest.raises(budgeted.BudgetExceededError):
        chat.images.generate(model="dall-e-3", prompt="A budget.", n=3)
    with payer.block(cap="0.12"):
        chat.images.generate(model="dall-e-3", prompt="A budget.", n=3)
    payer.agrees()


@pytest.mark.parametrize("streamed", [False, True])
def test_speech_is_charged_by_the_character(streamed: bool, payer: Paying, chat: openai.OpenAI, prices: Any) -> None:
    prices("tts-1", input=15, output=0)
    with payer.block():
        if streamed:
            with chat.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Größe") as audio:
                assert len(b"".join(audio.iter_bytes())) == 5
        else:
            assert chat.audio.speech.create(model="tts-1", voice="alloy", input="Größe").content
    payer.agrees()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("text", ["A budget is a promise. " * 40, "2026: 1,234,567.89 USD!", "预算就是承诺。"])
def test_speech_billed_by_tokens_is_an_estimate_that_is_listed_and_never_above_its_hold(
    text: str, streamed: bool, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    ask: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": text}
    with payer.block():
        if streamed:
            with chat.audio.speech.with_streaming_response.create(**ask) as audio:
                assert b"".join(audio.iter_bytes())
        else:
            assert chat.audio.speech.create(**ask).content
    (charge,) = payer.guessed()
    assert provider.billed_nano() / 1e9 <= charge.cost <= charge.held
    assert streamed or charge.cost == charge.held  # no answer says what it used: the most that it can have been


def test_slow_speech_is_held_at_more(payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider) -> None:
    ask: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "A budget is a promise. " * 40}
    for more in ({"speed": 0.25}, {"instructions": "Speak very slowly."}):
        with payer.block(cap="0.06"), pytest.raises(budgeted.BudgetExceededError):
            chat.audio.speech.create(**ask, **more)
    assert provider.requests == []
    with payer.block(cap="0.06"):
        chat.audio.speech.create(**ask)
    payer.guessed()


def test_a_transcript_is_held_at_the_models_window_and_charged_by_its_tokens(
    payer: Paying, chat: openai.OpenAI
) -> None:
    with payer.block(cap="0.30") as block:
        assert chat.audio.transcriptions.create(model="gpt-4o-transcribe", file=io.BytesIO(b"sound")).text
    payer.agrees()
    assert block.calls == 1


WAV_SECONDS = 90


def wav() -> io.BytesIO:
    """A minute and a half of silence."""
    made = io.BytesIO()
    with wave.open(made, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(bytes(2 * 8_000 * WAV_SECONDS))
    made.seek(0)
    return made


def test_a_transcript_billed_by_the_minute_is_held_by_the_length_of_its_sound(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.008"), pytest.raises(budgeted.BudgetExceededError):
        chat.audio.transcriptions.create(model="whisper-1", file=wav())
    assert provider.requests == []
    provider.reply(usage={"type": "duration", "seconds": 61})
    with payer.block(cap="0.0091") as block:  # $0.006 a minute
        chat.audio.transcriptions.create(model="whisper-1", file=wav())
    assert block.spent == pytest.approx(0.0061)


def test_a_transcript_whose_length_nobody_tells_is_charged_at_the_length_of_its_sound(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(usage=None)
    with payer.block():
        chat.audio.transcriptions.create(model="whisper-1", file=wav())
    (charge,) = payer.guessed()
    assert charge.cost == pytest.approx(0.009, abs=0.0001)


def test_an_empty_recording_is_the_providers_to_refuse(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(usage={"type": "duration", "seconds": 0})
    with payer.block() as block:
        chat.audio.transcriptions.create(model="whisper-1", file=io.BytesIO(b""))
    assert block.spent == 0
    assert len(provider.requests) == 1


def test_a_price_per_call_holds_for_sound_too(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider, prices: Any
) -> None:
    prices("whisper-1", input=0, output=0, per_call="0.06")
    provider.queue(Reply(usage=None))
    with payer.block() as block:
        chat.audio.transcriptions.create(model="whisper-1", file=io.BytesIO(b"sound"))
    assert block.spent == 0.06


# -- searches


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_searches_are_held_and_charged(
    stream: bool, payer: Paying, chat: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.reply(searches=3)
    with payer.block():
        list(chat.responses.create(model="gpt-5-mini", input="Hello", tools=[SEARCH], stream=stream))
        list(
            claude.messages.create(
                model="claude-haiku-4-5", max_tokens=100, messages=MESSAGES, tools=[CLAUDES_SEARCH], stream=stream
            )
        )
    assert [billed.usage.searches for billed in provider.bill] == [3, 3]
    payer.agrees(calls=2)


def test_as_many_searches_are_held_as_the_request_allows(
    payer: Paying, chat: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    ask: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": MESSAGES}
    with payer.block(cap="0.70"):  # 0.20 for the window, 0.0005 for the answer
        with pytest.raises(budgeted.BudgetExceededError):
            claude.messages.create(**ask, tools=[{**CLAUDES_SEARCH, "max_uses": 60}])
        claude.messages.create(**ask, tools=[{**CLAUDES_SEARCH, "max_uses": 40}])
    with payer.block(cap="0.70"):  # 0.10 for the window
        ask = {"model": "gpt-5-mini", "input": "Hello", "max_output_tokens": 100, "tools": [SEARCH]}
        with pytest.raises(budgeted.BudgetExceededError):
            chat.responses.create(**ask, max_tool_calls=65)
        chat.responses.create(**ask, max_tool_calls=55)
    payer.agrees(calls=2)


# -- endpoints that speak like OpenAI's


@pytest.mark.parametrize(
    ("place", "model", "named"),
    [
        ("openrouter.ai/api/v1", "anthropic/claude-haiku-4.5", "openrouter"),
        ("api.deepseek.com", "deepseek-chat", "deepseek"),
        ("api.x.ai/v1", "grok-4", "x-ai"),
        ("api.together.xyz/v1", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "together"),
        ("house.openai.azure.com/openai/v1", "gpt-5-mini", "azure"),
        ("bedrock-runtime.us-west-2.amazonaws.com/openai/v1", "openai.gpt-oss-120b-1:0", "aws"),
        ("us-central1-aiplatform.googleapis.com/v1/endpoints/openapi", "google/gemini-2.5-flash", "google"),
        ("v1", "gpt-5-mini", "openai"),
    ],
)
def test_an_endpoint_is_reported_under_its_own_name(
    place: str, model: str, named: str, payer: Paying, provider: SimulatedProvider
) -> None:
    client = openai.OpenAI(base_url=f"{provider.url}/{place}", api_key="any", max_retries=0)
    with client, payer.block():
        client.chat.completions.create(model=model, messages=MESSAGES)
    assert list(payer.manager.report("provider")) == [named]
    assert payer.spent > 0


@pytest.mark.parametrize("modalities", [None, ["text", "image"]])
def test_a_model_that_answers_with_pictures_is_held_at_their_price(
    modalities: list[Any] | None, payer: Paying, provider: SimulatedProvider
) -> None:
    client = openai.OpenAI(
        base_url=f"{provider.url}/generativelanguage.googleapis.com/v1beta/openai", api_key="any", max_retries=0
    )
    ask: dict[str, Any] = {"model": "gemini-2.5-flash-image", "messages": MESSAGES, "max_tokens": 1000}
    more = {} if modalities is None else {"modalities": modalities}
    with client:
        with payer.block(cap=0.02), pytest.raises(budgeted.BudgetExceededError):
            client.chat.completions.create(**ask, **more)
        with payer.block(cap=0.02):
            client.chat.completions.create(**ask, modalities=["text"])
    assert payer.charges() == 1


class House(openai.AzureOpenAI):
    """A client of an application's own."""


def test_a_client_that_an_application_derives_is_its_parents(
    payer: Paying, provider: SimulatedProvider, prices: Any
) -> None:
    prices("house-model", input=2, output=8, provider="azure")  # as the simulated provider prices the unknown
    client = House(azure_endpoint=provider.url, api_version="2024-10-21", api_key="any", max_retries=0)
    with client, payer.block():
        client.chat.completions.create(model="house-model", messages=MESSAGES)
    payer.agrees()
    assert list(payer.manager.report("provider")) == ["azure"]


def test_a_server_of_ones_own_is_priced_by_its_address(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider, prices: Any
) -> None:
    prices("house-*", input=2, output=8, base_url=provider.openai_url)  # as the simulated provider prices the unknown
    with payer.block():
        chat.chat.completions.create(model="house-model", messages=MESSAGES)
    payer.agrees()
    with payer.block(), pytest.raises(budgeted.UnpricedModelError), openai.OpenAI(api_key="any") as elsewhere:
        elsewhere.chat.completions.create(model="house-model", messages=MESSAGES)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("stated", "charged"),
    [
        ({"cost": 0.0012}, 1_200_000),
        ({"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}, 2_100_000),
        ({"cost": -1}, 110_000),
        ({"cost": "much"}, 110_000),
        ({"cost": None}, 110_000),
        ({"cost": float(10**12)}, 110_000),
        ({}, 110_000),
    ],
    ids=str,
)
def test_what_openrouter_says_that_it_costs_is_charged_if_it_makes_sense(
    stated: dict[str, Any], charged: int, stream: bool, payer: Paying, provider: SimulatedProvider, prices: Any
) -> None:
    prices("house", input=1, output=5, provider="openrouter")
    provider.reply(usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30, **stated})
    client = openai.OpenAI(base_url=f"{provider.url}/openrouter.ai/api/v1", api_key="any", max_retries=0)
    with client, payer.block():
        list(client.chat.completions.create(model="house", messages=MESSAGES, stream=stream))
    assert payer.spent == charged
    assert payer.manager.uncertain() == []
    assert provider.requests[0].body["usage"] == {"include": True}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_searches_of_perplexity_are_held_and_what_it_says_that_they_cost_is_charged(
    stream: bool, payer: Paying, provider: SimulatedProvider
) -> None:
    parts = {"input_tokens_cost": 0.00002, "output_tokens_cost": 0.00016, "search_queries_cost": 0.09}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30, "num_search_queries": 18}
    provider.reply(usage={**usage, "cost": {**parts, "total_cost": 0.09018}})
    ask: dict[str, Any] = {"model": "sonar-deep-research", "messages": MESSAGES, "max_tokens": 100}
    client = openai.OpenAI(base_url=f"{provider.url}/api.perplexity.ai", api_key="any", max_retries=0)
    with client:
        with payer.block(cap="0.50"), pytest.raises(budgeted.BudgetExceededError):  # a hundred searches, and the tokens
            client.chat.completions.create(**ask)
        assert provider.requests == []
        with payer.block(cap="0.51"):
            list(client.chat.completions.create(**ask, stream=stream))
    assert payer.spent == 90_180_000
    assert payer.manager.uncertain() == []


@pytest.mark.parametrize(
    ("plugin", "fee"),
    [
        ({"id": "web"}, 0.02),
        ({"id": "web", "max_results": 50}, 0.20),
    ],
    ids=["as usual", "many results"],
)
@pytest.mark.parametrize("way", ["chat", "responses"])
def test_the_results_of_openrouters_searches_are_held(
    way: str, plugin: dict[str, Any], fee: float, payer: Paying, provider: SimulatedProvider
) -> None:
    model, more = "openai/gpt-5-mini", {"plugins": [{"id": "file-parser"}, plugin]}
    window = 400_000 * 0.25e-6

    def ask() -> None:
        if way == "chat":
            client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=10, extra_body=more)
        else:
            client.responses.create(model=model, input="Hello", max_output_tokens=10, extra_body=more)

    with openai.OpenAI(base_url=f"{provider.url}/openrouter.ai/api/v1", api_key="any", max_retries=0) as client:
        with payer.block(cap=window + fee - 0.001), pytest.raises(budgeted.BudgetExceededError):
            ask()
        assert provider.requests == []
        with payer.block(cap=window + fee + 0.001):
            ask()


# -- what knows no cap


@pytest.mark.parametrize("path", ["/responses/compact", "/decisions"])
def test_what_knows_no_cap_is_held_whole(
    path: str, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.25"), pytest.raises(budgeted.BudgetExceededError):  # 128,000 tokens at 2 USD a million
        chat.post(path, body={"model": "gpt-5-mini", "input": "Hello"}, cast_to=object)
    assert provider.requests == []


def test_a_response_that_is_compacted_is_charged_what_it_says(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    body = {"model": "gpt-5-mini", "input": "Hello"}
    with payer.block():
        chat.post("/responses/compact", body=body, cast_to=object)
    payer.agrees()
    assert provider.requests[0].body == body


# -- what is out of sight


def _background(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat.responses.create(model="gpt-5-mini", input="Hello", background=True)


def _batch(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat.batches.create(completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file_1")


def _claudes_batch(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    claude.messages.batches.create(requests=[])


def _websocket(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat.realtime.connect(model="gpt-realtime")


def _remix(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat.post("/videos/video_1/remix", body={"prompt": "again"}, cast_to=object)


def _live_secret(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat.post("/realtime/client_secrets", body={}, cast_to=object)


def _run(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat.post("/threads/thread_1/runs/run_1/submit_tool_outputs", body={"tool_outputs": []}, cast_to=object)


def _drawing(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat.responses.create(model="gpt-5-mini", input="Draw a budget.", tools=[{"type": "image_generation"}])


def _advised(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    advisor: Any = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-1"}
    claude.beta.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=MESSAGES, tools=[advisor])


ANSWERED = [_background, _websocket, _drawing, _advised]
UNSEEN = [*ANSWERED, _batch, _claudes_batch, _remix, _live_secret, _run]


@pytest.mark.parametrize("start", UNSEEN, ids=bare_name)
def test_what_is_out_of_sight_is_refused_inside_a_budget(
    start: Any, payer: Paying, chat: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match=r"budgeted\.hold\(cost=USD\)"):
        start(chat, claude)
    assert provider.requests == []


@pytest.mark.parametrize("start", UNSEEN, ids=bare_name)
def test_what_is_out_of_sight_may_be_held_by_hand(
    start: Any, payer: Paying, chat: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    with payer.block() as block:
        with budgeted.hold(cost=2) as held:
            with (
                pytest.raises((openai.NotFoundError, anthropic.NotFoundError)) if start not in ANSWERED else _nothing()
            ):
                start(chat, claude)
            held.settle(cost="1.50")
        assert block.spent >= 1.5
        with pytest.raises(budgeted.UnpricedModelError):
            start(chat, claude)


OPENAIS_UNSEEN = [
    *("/fine_tuning/jobs/j/resume", "/evals/e/runs", "/containers", "/vector_stores/v/search"),
    *("/realtime/calls/c/accept", "/live/sessions/s/accept", "/live/sessions/s/fork"),
    *("/agents/automations", "/agents/automations/a/resume", "/agents/automations/a/invocations"),
    "/agents/sessions/s/events",
]
CLAUDES_UNSEEN = [
    *("/v1/sessions", "/v1/sessions/s/events?beta=true", "/v1/dreams"),
    *("/v1/deployments", "/v1/deployments/d/run", "/v1/deployments/d/unpause"),
]


@pytest.mark.parametrize("body", [None, {"a": "b"}], ids=["no body", "body"])
@pytest.mark.parametrize("path", [*OPENAIS_UNSEEN, *CLAUDES_UNSEEN])
def test_whatever_starts_what_is_out_of_sight_is_refused(
    path: str,
    body: Any,
    payer: Paying,
    chat: openai.OpenAI,
    claude: anthropic.Anthropic,
    provider: SimulatedProvider,
) -> None:
    client = chat if path in OPENAIS_UNSEEN else claude
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match=r"budgeted\.hold\(cost=USD\)"):
        client.post(path, body=body, cast_to=object)
    assert provider.requests == []


@pytest.mark.parametrize("path", ["chat/completions", "/chat/completions/", "chat/completions?a=b"])
def test_a_path_is_the_same_however_its_slashes_are_written(
    path: str, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block("alice", cap="0.0000001"), pytest.raises(budgeted.BudgetExceededError):
        chat.post(path, body=ASK, cast_to=object)
    assert provider.requests == []


def test_a_body_that_is_given_as_text_is_metered_and_capped(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.10")
    body = json.dumps({"model": "gpt-5", "messages": MESSAGES}).encode()
    with payer.block() as block:
        chat.post("/chat/completions", content=body, cast_to=object)
    assert block.clamped == 1
    assert "max_completion_tokens" in provider.requests[0].body
    payer.agrees()


def test_a_body_that_cannot_be_read_is_refused_where_dollars_count_and_else_sent_as_it_is(
    paying: Callable[..., Paying], chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    body = json.dumps(ASK).encode()
    with paying().block(), pytest.raises(budgeted.UnpricedModelError):
        chat.post("/chat/completions", content=io.BytesIO(body), cast_to=object)
    assert provider.requests == []
    with paying(max_budget="40000 tokens/hour").block():
        chat.post("/chat/completions", content=io.BytesIO(body), cast_to=object)
    assert provider.requests[0].body == ASK


def test_a_hold_by_hand_does_not_pay_for_blocks_that_are_entered_in_it(
    payer: Paying, chat: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    with budgeted.hold(cost=2) as held, payer.block() as block:
        with pytest.raises(budgeted.UnpricedModelError, match=r"budgeted\.hold\(cost=USD\)"):
            _background(chat, claude)
        with budgeted.hold(cost=1) as inner:
            _background(chat, claude)
            inner.settle(cost=1)
        assert block.spent >= 1
        held.settle(cost=0)
    assert len(provider.requests) == 1


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


# -- arguments that make no sense

NONSENSE = [7, True, "text", {"a": 1}, [1], [None], -1, 0.5]
OF_CHAT = (
    "messages modalities n tools stream_options response_format service_tier max_completion_tokens web_search_options"
)
OF_RESPONSES = "input tools text max_output_tokens max_tool_calls service_tier previous_response_id"
OF_MESSAGES = "messages tools thinking max_tokens system speed mcp_servers container output_config"


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_arguments_that_make_no_sense_are_the_providers_to_refuse(
    nonsense: Any, payer: Paying, chat: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.reply(status=400)
    for name in OF_CHAT.split():
        with payer.block(), pytest.raises(openai.BadRequestError):
            chat.chat.completions.create(**ASK, extra_body={name: nonsense})
    for name in OF_RESPONSES.split():
        with payer.block(), pytest.raises(openai.BadRequestError):
            chat.responses.create(model="gpt-5-mini", input="Hello", extra_body={name: nonsense})
    for name in OF_MESSAGES.split():
        with payer.block(), pytest.raises(anthropic.BadRequestError):
            claude.messages.create(
                model="claude-haiku-4-5", max_tokens=10, messages=MESSAGES, extra_body={name: nonsense}
            )
    for name in ("n", "quality", "prompt", "partial_images"):
        with payer.block(), pytest.raises(openai.BadRequestError):
            chat.images.generate(model="gpt-image-1", prompt="A budget.", extra_body={name: nonsense})
    assert payer.spent == 0


def test_messages_that_are_a_number_are_the_providers_to_refuse(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(status=400)
    with payer.block(), pytest.raises(openai.BadRequestError):
        chat.chat.completions.create(model="gpt-5-mini", messages=7, modalities=5)
    assert payer.spent == 0
