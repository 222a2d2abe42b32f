"""Reading what a response says it used, in whatever shape it comes, whole or as a stream."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted import Usage
from budgeted.wire.response_usage import NOTHING, read
from budgeted.wire.server_sent_events import EventMeter
from budgeted.wire.stream_usage import BodyMeter
from budgeted.wire.usage_report_formats import read_usage

CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-5",
    "service_tier": "flex",
    "choices": [{"index": 0}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
    },
}
RESPONSES = {
    "id": "resp_1",
    "model": "gpt-5",
    "output": [],
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 140,
    },
}
MESSAGES = {
    "id": "msg_1",
    "model": "claude-sonnet-4-5",
    "content": [],
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 60,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 40,
        "server_tool_use": {"web_search_requests": 2},
        "service_tier": "standard",
    },
}
EXPECTED = [
    (CHAT, Usage(100, 40, 60, reasoning_tokens=30, input_audio_tokens=5, service_tier="flex")),
    (RESPONSES, Usage(100, 40, 60, reasoning_tokens=30)),
    (MESSAGES, Usage(100, 40, 60, 30, 20, web_searches=2, service_tier="standard")),
]
SHAPES = pytest.mark.parametrize(("body", "usage"), EXPECTED, ids=["chat", "responses", "messages"])


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")


def _objects(value: Any) -> Any:
    return SimpleNamespace(**{k: _objects(v) for k, v in value.items()}) if isinstance(value, dict) else value


def _models(value: Any) -> Any:
    return Model(**{k: _models(v) for k, v in value.items()}) if isinstance(value, dict) else value


class HttpResponse:
    def __init__(self, body: Any) -> None:
        self.content = json.dumps(body).encode()


@SHAPES
@pytest.mark.parametrize(
    "shape",
    [
        dict,
        _objects,
        _models,
        json.dumps,
        lambda body: json.dumps(body, indent=1).encode(),
        HttpResponse,
        lambda body: SimpleNamespace(http_response=HttpResponse(body)),
        lambda body: SimpleNamespace(type="response.completed", response=_objects(body)),
    ],
    ids=["mapping", "objects", "pydantic", "text", "bytes", "http", "raw", "event"],
)
def test_every_shape_says_the_same(shape: Any, body: dict[str, Any], usage: Usage) -> None:
    answer = read(shape(body))
    assert answer.usage == usage
    assert (answer.model, answer.id) == (body["model"], body["id"])


def test_compactions_of_a_context_are_billed_beside_the_totals() -> None:
    iteration = {
        "input_tokens": 500,
        "output_tokens": 60,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 7,
    }
    iterations = [{"type": "message", **iteration}, {"type": "compaction", **iteration}]
    usage = {**MESSAGES["usage"], "iterations": iterations}
    found = read({**MESSAGES, "usage": usage}).usage
    assert found == Usage(100 + 537, 40 + 60, 60 + 30, 30 + 7, 20, web_searches=2, service_tier="standard")


@pytest.mark.parametrize(("told", "billed"), [(5, 5), (0, 0), (None, 1), ("many", 1), (-1, 1)])
def test_the_searches_that_a_response_counts_as_billed_are_charged(told: Any, billed: int) -> None:
    output = [{"type": "web_search_call", "action": {"type": "search"}}]
    response = {**RESPONSES, "output": output, "tool_usage": {"web_search": {"num_requests": told}}}
    found = read(response).usage
    assert found is not None
    assert found.web_searches == billed
    meter = EventMeter()
    meter.feed(b"data: " + json.dumps({"type": "response.completed", "response": response}).encode() + b"\n\n")
    streamed = meter.answer().usage
    assert streamed is not None
    assert streamed.web_searches == billed


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("grok-4", Usage(10, 55)),
        ("x-ai/grok-4-fast", Usage(10, 55)),
        ("gemini-2.5-pro", Usage(10, 55)),
        ("voxtral-mini-2507", Usage(10, 5)),
        ("", Usage(10, 5)),
    ],
)
def test_what_is_only_in_the_total_counts_as_output_where_its_provider_counts_so(model: str, usage: Usage) -> None:
    report = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 65}
    assert read_usage(report, model=model) == usage
    assert read({"model": model, "choices": [], "usage": report}).usage == usage


def test_what_tools_brought_is_input_through_litellm() -> None:
    report = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 65}
    details = {"reasoning_tokens": 2, "text_tokens": 3}
    found = read_usage({**report, "completion_tokens_details": details}, model="gemini-2.5-pro")
    assert found == Usage(60, 5, reasoning_tokens=2)


def test_embeddings_have_no_output() -> None:
    assert read_usage({"prompt_tokens": 10, "total_tokens": 10}) == Usage(10, 0)


def test_deepseeks_name_for_cached_input_is_known() -> None:
    reported = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8}
    assert read_usage(reported) == Usage(10, 5, 8)


NONSENSE = [
    None,
    {},
    {"usage": None},
    {"usage": {}},
    {"usage": []},
    {"usage": "many"},
    {"usage": 5},
    {"usage": {"prompt_tokens": -1, "completion_tokens": 1}},
    {"usage": {"prompt_tokens": 1, "completion_tokens": -1}},
    {"usage": {"prompt_tokens": "1", "completion_tokens": 1}},
    {"usage": {"prompt_tokens": None, "completion_tokens": 1}},
    {"usage": {"prompt_tokens": 1.5, "completion_tokens": 1}},
    {"usage": {"prompt_tokens": float("nan"), "completion_tokens": 1}},
    {"usage": {"prompt_tokens": True, "completion_tokens": 1}},
    {"usage": {"prompt_tokens": 10**12, "completion_tokens": 1}},
    {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}},
    {"usage": {"input_tokens": 5, "output_tokens": -3}},
    {"usage": {"input_tokens": "5", "output_tokens": 3, "cache_read_input_tokens": 1}},
    {"usage": {"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": -1}},
    {"usage": {"input_tokens": 5, "output_tokens": 3, "cache_creation_input_tokens": 10**12}},
    "",
    "not json",
    b"\xff\xfe",
    "[1, 2]",
    "{" * 5000,
    17,
    [],
    object(),
    SimpleNamespace(content=5),
]


@pytest.mark.parametrize("response", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_no_report(response: Any) -> None:
    if type(response) is object:
        assert read(response) == NOTHING
    assert read(response).usage is None


def test_an_object_whose_attributes_raise_is_no_report() -> None:
    class Strange:
        @property
        def content(self) -> bytes:
            raise RuntimeError

    assert read(Strange()) == NOTHING


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
COUNTS = ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"]
DETAILS = ["prompt_tokens_details", "completion_tokens_details", "cache_creation", "server_tool_use", "service_tier"]
CACHES = ["cache_read_input_tokens", "cache_creation_input_tokens", "speed"]


@given(
    st.dictionaries(
        st.sampled_from([*COUNTS, *DETAILS, *CACHES]), JSON | st.dictionaries(st.sampled_from(COUNTS), JSON)
    )
)
def test_whatever_is_reported_it_is_read_or_not_but_never_raises(reported: dict[str, Any]) -> None:
    usage = read_usage(reported)
    assert usage is None or (usage.input_tokens >= 0 and usage.output_tokens >= 0)
    read({"usage": reported, "model": reported, "id": reported})


# -- streams


def _sse(*payloads: Any, end: str = "\n", named: bool = False, done: bool = True) -> bytes:
    text = ""
    for payload in payloads:
        name = f"event: {payload['type']}{end}" if named else ""
        text += f"{name}data: {json.dumps(payload, separators=(',', ':'))}{end}{end}"
    return (text + (f"data: [DONE]{end}{end}" if done else "")).encode()


def _chat_chunks(text: str) -> list[Any]:
    delta = {"id": "c", "model": "gpt-5", "choices": [{"index": 0, "delta": {"content": text}}], "usage": None}
    return [delta, delta, {"id": "c", "model": "gpt-5", "choices": [], "usage": CHAT["usage"]}]


@given(st.text(max_size=20), st.lists(st.integers(1, 400), max_size=60), st.sampled_from(["\n", "\r\n", "\r"]))
def test_however_a_stream_is_cut_the_usage_is_read_and_its_chunk_is_hidden(
    text: str, cuts: list[int], end: str
) -> None:
    stream = _sse(*_chat_chunks(text), end=end)
    without = _sse(*_chat_chunks(text)[:2], end=end)
    for drop, expected in ((True, without), (False, stream)):
        meter, rest, passed = EventMeter(drop_usage=drop), stream, b""
        for cut in [*cuts, len(stream)]:
            piece, rest = rest[:cut], rest[cut:]
            passed += meter.feed(piece)
        passed += meter.flush()
        assert passed == expected
        assert meter.final
        assert meter.answer().usage == Usage(100, 40, 60, reasoning_tokens=30, input_audio_tokens=5)
        assert meter.answer().model == "gpt-5"


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=20))
def test_garbage_passes_through_unchanged(garbage: bytes, cuts: list[int]) -> None:
    meter, rest, passed = EventMeter(drop_usage=True), garbage, b""
    for cut in [*cuts, len(garbage)]:
        piece, rest = rest[:cut], rest[cut:]
        passed += meter.feed(piece)
    assert passed + meter.flush() == garbage


@pytest.mark.parametrize(
    "text", ["[DONE]", "data: [DONE]", 'say "usage" and "choices": []', '"usage":null', "\n\ndata: x"]
)
def test_text_that_looks_like_the_protocol_is_text(text: str) -> None:
    meter = EventMeter(drop_usage=True)
    assert meter.feed(_sse(*_chat_chunks(text)[:2], done=False)) == _sse(*_chat_chunks(text)[:2], done=False)
    assert not meter.final
    meter.feed(_sse(*_chat_chunks(text)[2:]))
    assert meter.final


def test_the_start_of_an_anthropic_stream_is_not_its_usage() -> None:
    meter = EventMeter()
    start = {"type": "message_start", "message": {**MESSAGES, "usage": {**MESSAGES["usage"], "output_tokens": 1}}}
    meter.feed(_sse(start, named=True, done=False))
    assert not meter.whole
    assert not meter.final
    assert meter.received().input_tokens == 100
    meter.feed(_sse({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40}}, named=True, done=False))
    assert not meter.final  # more counts may come
    assert meter.answer().usage == EXPECTED[2][1]
    meter.feed(_sse({"type": "message_stop"}, named=True, done=False))
    assert meter.final


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_the_last_event_of_a_response_has_its_usage(kind: str) -> None:
    meter = EventMeter()
    meter.feed(_sse({"type": "response.created", "response": {**RESPONSES, "usage": None}}, named=True, done=False))
    assert meter.answer().usage is None
    meter.feed(_sse({"type": kind, "response": RESPONSES}, named=True, done=False))
    assert meter.final
    assert meter.answer().usage == EXPECTED[1][1]


def test_usage_on_every_chunk_is_cumulative_and_seen_by_the_caller() -> None:
    meter = EventMeter(drop_usage=True)
    for tokens in (1, 2, 3):
        usage = {"prompt_tokens": 7, "completion_tokens": tokens}
        chunk = _sse({"choices": [{"delta": {"content": "x"}}], "usage": usage}, done=False)
        assert meter.feed(chunk) == chunk
        assert not meter.final
    assert meter.whole
    assert meter.answer().usage == Usage(7, 3)


def test_what_was_received_counts_at_least_a_token_per_event_and_per_four_bytes() -> None:
    meter = EventMeter()
    meter.feed(_sse(*({"choices": [{"delta": {"content": "a"}}]} for _ in range(10)), done=False))
    assert meter.received() == Usage(0, 10)
    meter.feed(_sse({"choices": [{"delta": {"content": "b" * 400}}]}, done=False))
    assert meter.received().output_tokens == pytest.approx(103, abs=1)


def test_a_body_that_is_no_stream_is_read_at_its_end() -> None:
    meter = BodyMeter()
    data = json.dumps(CHAT).encode()
    assert meter.feed(data[:50]) + meter.feed(data[50:]) + meter.flush() == data
    assert meter.answer().usage == EXPECTED[0][1]
    assert meter.received().output_tokens > 0


# -- providers that name things their own way

GEMINI = {
    "candidates": [
        {"content": {"parts": [{"text": "Hi"}]}, "groundingMetadata": {"webSearchQueries": ["a", "b"]}},
    ],
    "usageMetadata": {
        "promptTokenCount": 80,
        "toolUsePromptTokenCount": 20,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 140,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 70},
            {"modality": "AUDIO", "tokenCount": 6},
            {"modality": "IMAGE", "tokenCount": 3},
            {"modality": "VIDEO", "tokenCount": 1},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r1",
}
GEMINI_OBJECT = _objects(
    {
        "candidates": [],
        "usage_metadata": {
            "prompt_token_count": 80,
            "tool_use_prompt_token_count": 20,
            "cached_content_token_count": None,
            "candidates_token_count": 10,
            "thoughts_token_count": 30,
            "total_token_count": 140,
            "prompt_tokens_details": None,
        },
        "model_version": "gemini-2.5-flash",
        "response_id": "r1",
    }
)
VERTEX_EMBEDDINGS = {"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 7}}}] * 2}
COHERE = {
    "id": "c1",
    "message": {"role": "assistant"},
    "usage": {"billed_units": {"input_tokens": 100.0, "output_tokens": 39.5}, "tokens": {"input_tokens": 900.0}},
}
COHERE_EMBEDDINGS = {"id": "c2", "embeddings": [], "meta": {"billed_units": {"input_tokens": 9.0, "image_tokens": 4.0}}}
OLLAMA = {"model": "llama3.2", "done": True, "prompt_eval_count": 100, "eval_count": 40, "response": "Hi"}
OTHERS = [
    (
        GEMINI,
        Usage(
            100,
            40,
            60,
            reasoning_tokens=30,
            input_audio_tokens=6,
            cached_audio_tokens=2,
            input_image_tokens=4,
            web_searches=1,
        ),
        ("gemini-2.5-flash", "r1"),
    ),
    (GEMINI_OBJECT, Usage(100, 40, reasoning_tokens=30), ("gemini-2.5-flash", "r1")),
    ({**GEMINI, "modelVersion": "gemini-3-pro"}, Usage(100, 40, 60), ("gemini-3-pro", "r1")),
    (VERTEX_EMBEDDINGS, Usage(14), (None, None)),
    (COHERE, Usage(100, 40), (None, "c1")),
    (COHERE_EMBEDDINGS, Usage(13, input_image_tokens=4), (None, "c2")),
    (OLLAMA, Usage(100, 40), ("llama3.2", None)),
]


@pytest.mark.parametrize(
    ("body", "usage", "names"),
    OTHERS,
    ids=["gemini", "gemini object", "gemini 3", "vertex", "cohere", "cohere embeddings", "ollama"],
)
def test_other_providers_are_read_too(body: Any, usage: Usage, names: tuple[Any, Any]) -> None:
    shapes = (body, json.dumps(body), HttpResponse(body)) if isinstance(body, dict) else (body,)
    for shape in shapes:
        answer = read(shape)
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (usage.input_tokens, usage.output_tokens)
        if names[0] != "gemini-3-pro":
            assert answer.usage == usage
        assert (answer.model, answer.id) == names


def test_the_latest_gemini_models_are_billed_for_each_search() -> None:
    answer = read({**GEMINI, "modelVersion": "gemini-3-pro"})
    assert answer.usage is not None
    assert answer.usage.web_searches == 2


def test_gemini_output_that_is_only_in_the_total_counts() -> None:
    assert read_usage({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 65}) == Usage(10, 55)


def test_a_blocked_prompt_has_no_output() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    assert read(blocked).usage == Usage(9, 0)


NO_REPORTS: list[Any] = [
    {"promptTokenCount": "many"},
    {"promptTokenCount": 10, "thoughtsTokenCount": -1},
    {"promptTokenCount": 10, "cachedContentTokenCount": 11},
    {"promptTokenCount": 10, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 11}]},
    {"promptTokenCount": 10**12},
    {"billed_units": None},
    {"billed_units": {"input_tokens": float("nan")}},
    {"billed_units": {"input_tokens": float("inf"), "output_tokens": 1.0}},
    {"billed_units": {"input_tokens": "12"}},
    {"billed_units": {"search_units": 1.0}},
    {"prompt_eval_count": -1},
    {"prompt_eval_count": "1"},
    {"prompt_eval_count": 1, "eval_count": 1e9},
]


@pytest.mark.parametrize("usage", NO_REPORTS, ids=str)
def test_other_reports_that_make_no_sense_are_none(usage: Any) -> None:
    assert read_usage(usage) is None
