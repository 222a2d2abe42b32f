"""The APIs that the simulated provider has beside those of the SDKs: each tells what it bills, in its own place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from budgeted.testing import Billed, Provider, SimulatedProvider

SENT, MADE = 1000, 20
MESSAGES = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        provider.reply(input_tokens=SENT, output_tokens=MADE, pieces=4)
        yield provider


def post(provider: Provider, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(provider.url + path, json=body, headers=named, timeout=20, trust_env=False)


def only(provider: Provider) -> Billed:
    assert provider.wait_idle()
    (billed,) = provider.bill
    return billed


def told(usage: dict[str, Any]) -> tuple[int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"]


def items(text: str) -> list[Any]:
    """The JSON of a stream's events."""
    lines = (line.partition("data:")[2].strip() for line in text.splitlines() if line.startswith("data:"))
    return [json.loads(line) for line in lines if line != "[DONE]"]


class Chat(NamedTuple):
    """A request for an answer of some tokens, whole and streamed.

    Attributes:
        path: where it goes.
        body: what is sent.
        read: reads (input, output) of an answer.
        stream_path: where a stream is asked for; empty: in the same place, by the body.
        headers: what else asks for a stream.
        read_last: reads (input, output) of the events of a stream.
    """

    path: str
    body: dict[str, Any]
    read: Callable[[Any], tuple[int, int]]
    read_last: Callable[[list[Any]], tuple[int, int]]
    stream_path: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


def lookalike(path: str, model: str, **more: Any) -> Chat:
    """OpenAI's chat completions, with the usage in the last chunk."""
    body = {"model": model, "messages": MESSAGES, **more}
    return Chat(path, body, lambda answer: told(answer["usage"]), lambda events: told(events[-1]["usage"]))


def dashscope_usage(answer: dict[str, Any]) -> tuple[int, int]:
    return answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]


def generated(answer: dict[str, Any]) -> tuple[int, int]:
    (result,) = answer["results"]
    return result["input_token_count"], result["generated_token_count"]


WATSONX = {"model_id": "ibm/granite-3-3-8b-instruct", "project_id": "any"}
CHATS = {
    "together": lookalike("/together/v1/chat/completions", "Qwen/Qwen3.5-9B"),
    "fireworks": lookalike("/fireworks/inference/v1/chat/completions", "accounts/fireworks/models/glm-4p7"),
    "cerebras": lookalike("/cerebras/v1/chat/completions", "zai-glm-4.7"),
    "zai": lookalike("/api/paas/v4/chat/completions", "glm-4.6"),
    "openrouter": lookalike("/openrouter/api/v1/chat/completions", "amazon/nova-micro-v1"),
    "perplexity": lookalike("/perplexity/chat/completions", "sonar"),
    "writer": lookalike("/writer/v1/chat", "palmyra-x5", stream_options={"include_usage": True}),
    "azure": lookalike("/azure/models/chat/completions", "phi-4", stream_options={"include_usage": True}),
    "dashscope": Chat(
        "/api/v1/services/aigc/text-generation/generation",
        {"model": "qwen-plus", "input": {"messages": MESSAGES}},
        dashscope_usage,
        lambda events: dashscope_usage(events[-1]),
        headers={"x_dashscope_sse": "enable"},
    ),
    "watsonx": Chat(
        "/ml/v1/text/chat?version=2025-01-01",
        {**WATSONX, "messages": MESSAGES},
        lambda answer: told(answer["usage"]),
        lambda events: told(events[-1]["usage"]),
        stream_path="/ml/v1/text/chat_stream?version=2025-01-01",
    ),
    "watsonx_generation": Chat(
        "/ml/v1/text/generation?version=2025-01-01",
        {**WATSONX, "input": "Hello there"},
        generated,
        lambda events: (generated(events[0])[0], generated(events[-1])[1]),
        stream_path="/ml/v1/text/generation_stream?version=2025-01-01",
    ),
}


@pytest.fixture(params=CHATS)
def chat(request: pytest.FixtureRequest) -> Chat:
    return CHATS[request.param]


def streamed(provider: Provider, chat: Chat) -> list[Any]:
    by_body = {} if chat.stream_path or chat.headers else {"stream": True}
    return items(post(provider, chat.stream_path or chat.path, chat.body | by_body, **chat.headers).text)


def test_an_answer_tells_the_usage_that_is_billed(provider: SimulatedProvider, chat: Chat) -> None:
    answer = post(provider, chat.path, chat.body).json()
    billed = only(provider)
    assert chat.read(answer) == (billed.usage.input_tokens, billed.usage.output_tokens) == (SENT, MADE)
    assert (billed.stream, billed.reported, billed.delivered) == (False, True, True)
    assert billed.nano_usd > 0


def test_a_stream_tells_the_usage_that_is_billed(provider: SimulatedProvider, chat: Chat) -> None:
    events = streamed(provider, chat)
    billed = only(provider)
    assert chat.read_last(events) == (billed.usage.input_tokens, billed.usage.output_tokens) == (SENT, MADE)
    assert (billed.stream, billed.reported, billed.delivered) == (True, True, True)


def test_usage_may_be_left_out(provider: SimulatedProvider, chat: Chat) -> None:
    provider.reply(usage=None)
    for text in (post(provider, chat.path, chat.body).text, json.dumps(streamed(provider, chat))):
        assert '"usage": {' not in text
        assert '"usage":{' not in text
        assert "token_count" not in text
    assert provider.wait_idle()
    assert [billed.reported for billed in provider.bill] == [False, False]


def test_a_stream_that_breaks_off_is_billed_as_far_as_it_went(provider: SimulatedProvider, chat: Chat) -> None:
    provider.reply(input_tokens=SENT, output_tokens=MADE, pieces=4, error_after=2)
    streamed(provider, chat)
    assert only(provider).usage.output_tokens == MADE // 2
    assert not provider.bill[0].reported


def test_a_refused_request_is_not_billed_and_a_wrong_one_is_refused(provider: SimulatedProvider, chat: Chat) -> None:
    assert post(provider, chat.path, {}).status_code == 400
    provider.reply(status=429, retry_after=2)
    refused = post(provider, chat.path, chat.body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert "Rate limit reached." in refused.text
    assert provider.bill == []


# -- what tells its usage in its own way


def test_a_request_to_perplexity_costs_a_fee_by_the_size_of_its_context(provider: SimulatedProvider) -> None:
    body = {"model": "sonar", "messages": MESSAGES}
    for size in ("low", "medium", "high"):
        usage = post(
            provider, "/perplexity/chat/completions", body | {"web_search_options": {"search_context_size": size}}
        ).json()["usage"]
        assert usage["search_context_size"] == size
        assert round(usage["cost"]["total_cost"] * 1e9) == provider.bill[-1].nano_usd
    assert [billed.nano_usd - (SENT + MADE) * 1000 for billed in provider.bill] == [5_000_000, 8_000_000, 12_000_000]


def test_each_chunk_of_perplexity_has_the_usage_so_far(provider: SimulatedProvider) -> None:
    counts = [told(event["usage"])[1] for event in streamed(provider, CHATS["perplexity"])]
    assert counts == [4, 8, 12, 16, MADE]


def test_a_search_costs_the_same_whatever_it_finds(provider: SimulatedProvider) -> None:
    for count in (1, 20):
        found = post(provider, "/perplexity/search", {"query": "budgets", "max_results": count}).json()
        assert len(found["results"]) == count
    assert [billed.nano_usd for billed in provider.bill] == [5_000_000, 5_000_000]


def test_openrouter_tells_what_an_answer_costs(provider: SimulatedProvider) -> None:
    chat = CHATS["openrouter"]
    assert round(post(provider, chat.path, chat.body).json()["usage"]["cost"] * 1e9) == only(provider).nano_usd
    assert round(streamed(provider, chat)[-1]["usage"]["cost"] * 1e9) == provider.bill[1].nano_usd


def test_writers_completions_tell_no_usage(provider: SimulatedProvider) -> None:
    body = {"model": "palmyra-x5", "prompt": "Hello there"}
    answer = post(provider, "/writer/v1/completions", body).json()
    assert set(answer) == {"choices", "model"}
    values = [event["value"] for event in items(post(provider, "/writer/v1/completions", body | {"stream": True}).text)]
    assert len("".join(values).split()) == MADE
    assert [billed.reported for billed in provider.bill] == [False, False]


def test_a_stream_of_dashscope_repeats_what_it_said_unless_increments_are_asked_for(
    provider: SimulatedProvider,
) -> None:
    path, body = CHATS["dashscope"].path, CHATS["dashscope"].body
    for incremental in (False, True):
        asked = body | {"parameters": {"incremental_output": incremental, "result_format": "text"}}
        texts = [event["output"]["text"] for event in items(post(provider, path, asked, x_dashscope_sse="enable").text)]
        assert len(("".join(texts) if incremental else texts[-1]).split()) == MADE


def test_a_key_is_exchanged_for_a_token_for_nothing(provider: SimulatedProvider) -> None:
    given = httpx2.post(f"{provider.url}/identity/token", content="apikey=any", trust_env=False).json()
    assert given["access_token"].count(".") == 2
    assert given["expires_in"] == 3600
    assert provider.bill == []


LLAMA = "/v1/models/meta/meta-llama-3-70b-instruct/predictions"


def test_a_prediction_tells_its_usage_when_it_is_asked_for(provider: SimulatedProvider) -> None:
    created = post(provider, LLAMA, {"input": {"prompt": "Hello there"}})
    assert created.status_code == 201
    assert (created.json()["status"], created.json()["output"]) == ("starting", None)
    assert "metrics" not in created.json()
    billed = only(provider)
    assert (billed.model, billed.reported) == ("meta/meta-llama-3-70b-instruct", False)
    polled = httpx2.get(f"{provider.url}/v1/predictions/{created.json()['id']}", trust_env=False)
    assert polled.status_code == 200
    metrics = polled.json()["metrics"]
    assert (metrics["input_token_count"], metrics["output_token_count"]) == (SENT, MADE)
    assert len("".join(polled.json()["output"]).split()) == MADE
    assert only(provider).reported


def test_a_prediction_that_is_waited_for_tells_its_usage_at_once(provider: SimulatedProvider) -> None:
    body = {"version": "meta/meta-llama-3-70b-instruct:abc", "input": {"prompt": "Hello there"}}
    made = post(provider, "/v1/predictions", body, prefer="wait=5")
    assert (made.status_code, made.json()["status"]) == (201, "succeeded")
    assert made.json()["metrics"]["output_token_count"] == MADE
    assert (only(provider).model, only(provider).reported) == ("meta/meta-llama-3-70b-instruct", True)


def test_an_unknown_prediction_is_not_there(provider: SimulatedProvider) -> None:
    assert httpx2.get(f"{provider.url}/v1/predictions/none", trust_env=False).status_code == 404


def test_speech_tells_its_characters_in_a_header(provider: SimulatedProvider) -> None:
    provider.reply()
    body = {"text": "Hello there", "model_id": "eleven_multilingual_v2"}
    answer = post(provider, "/v1/text-to-speech/rachel?output_format=mp3_44100_128", body)
    assert answer.headers["character-cost"] == "11"
    assert answer.headers["content-type"] == "audio/mpeg"
    assert (only(provider).nano_usd, only(provider).reported) == (1_100_000, True)


EMBEDDINGS: dict[str, tuple[str, dict[str, Any], Callable[[Any], int]]] = {
    "voyage": (
        "/voyage/v1/embeddings",
        {"model": "voyage-3.5", "input": ["Hello", "there"]},
        lambda answer: answer["usage"]["total_tokens"],
    ),
    "voyage_multimodal": (
        "/voyage/v1/multimodalembeddings",
        {"model": "voyage-multimodal-3.5", "inputs": [{"content": [{"type": "text", "text": "Hello"}]}]},
        lambda answer: answer["usage"]["text_tokens"],
    ),
    "voyage_rerank": (
        "/voyage/v1/rerank",
        {"model": "rerank-2.5", "query": "Hello", "documents": ["there", "here"]},
        lambda answer: answer["usage"]["total_tokens"],
    ),
    "dashscope": (
        "/api/v1/services/embeddings/text-embedding/text-embedding",
        {"model": "text-embedding-v4", "input": {"texts": ["Hello", "there"]}},
        lambda answer: answer["usage"]["total_tokens"],
    ),
    "watsonx": (
        "/ml/v1/text/embeddings",
        {**WATSONX, "inputs": ["Hello", "there"]},
        lambda answer: answer["input_token_count"],
    ),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_tell_the_tokens_that_are_billed(provider: SimulatedProvider, name: str) -> None:
    path, body, read = EMBEDDINGS[name]
    assert read(post(provider, path, body).json()) == only(provider).usage.input_tokens == SENT
    assert only(provider).usage.output_tokens == 0
    assert only(provider).reported


def test_features_are_billed_and_nothing_tells_of_it(provider: SimulatedProvider) -> None:
    path = "/hf-inference/models/intfloat/multilingual-e5-large/pipeline/feature-extraction"
    assert post(provider, path, {"inputs": "Hello"}).json() == [0.25] * 8
    assert len(post(provider, path, {"inputs": ["Hello", "there"]}).json()) == 2
    assert [(billed.model, billed.reported) for billed in provider.bill] == [
        ("intfloat/multilingual-e5-large", False)
    ] * 2


def test_gemini_streams_a_list_where_no_events_are_asked_for(provider: SimulatedProvider) -> None:
    path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    body = {"contents": [{"parts": [{"text": "Hello there"}]}]}
    answer = post(provider, path, body)
    assert answer.headers["content-type"] == "application/json"
    assert [part["usageMetadata"] for part in answer.json()] == [
        event["usageMetadata"] for event in items(post(provider, f"{path}?alt=sse", body).text)
    ]
    assert answer.json()[-1]["usageMetadata"]["candidatesTokenCount"] == MADE
    assert provider.wait_idle()
    assert [billed.reported for billed in provider.bill] == [True, True]
