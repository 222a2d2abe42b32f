"""A number in a usage report that no reader knows is named, whatever the shape, and nothing else is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted.wire import response_usage
from budgeted.wire.usage_report_formats import read_usage

REPORTS: dict[str, dict[str, Any]] = {
    "chat completions": {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
    },
    "responses": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 10},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 140,
    },
    "messages": {
        "input_tokens": 100,
        "output_tokens": 40,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
        "server_tool_use": {"web_search_requests": 1},
        "service_tier": "standard",
        "inference_geo": "global",
    },
    "Gemini": {
        "promptTokenCount": 100,
        "candidatesTokenCount": 40,
        "thoughtsTokenCount": 10,
        "totalTokenCount": 150,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
        "trafficType": "ON_DEMAND",
    },
    "interactions": {"total_input_tokens": 100, "total_output_tokens": 40, "total_tokens": 140},
    "Converse": {"inputTokens": 100, "outputTokens": 40, "totalTokens": 140, "cacheDetails": [{"ttl": "5m"}]},
    "Cohere": {"billed_units": {"input_tokens": 100.0, "output_tokens": 40.0}, "tokens": {"input_tokens": 166}},
    "Ollama": {"prompt_eval_count": 100, "eval_count": 40, "total_duration": 5, "done": True},
    "OCR": {"pages_processed": 3, "doc_size_bytes": 1000},
    "a transcript": {"type": "duration", "seconds": 12.5},
    "a total alone": {"total_tokens": 100},
}
"""One of each shape, of which every number is known."""

INSIDE: dict[str, tuple[str | int, ...]] = {
    "chat completions": ("completion_tokens_details",),
    "responses": ("input_tokens_details",),
    "messages": ("server_tool_use",),
    "Gemini": ("promptTokensDetails", 0),
    "Converse": ("cacheDetails", 0),
    "Cohere": ("billed_units",),
}
"""Where a report has a part of which every number is known, too."""

shapes = pytest.mark.parametrize("shape", REPORTS)
strange = st.from_regex(r"[a-z]{1,12}_(tokens|units|seconds|calls)_of_a_stranger", fullmatch=True)
numbers = st.one_of(st.integers(1, 10**30), st.floats(0.001, 1e300))


def named(report: dict[str, Any], name: str) -> bool:
    """Whether a report is read, and says of a number that it is unread."""
    usage = read_usage(report, model="any")
    return usage is not None and any(each.rpartition(".")[2] == name for each in usage.unread)


@shapes
def test_a_report_of_which_every_number_is_known_names_none(shape: str) -> None:
    usage = read_usage(REPORTS[shape], model="any")
    assert usage is not None
    assert usage.unread == ()


@shapes
@given(name=strange, number=numbers)
def test_a_stranger_beside_the_counts_is_named(shape: str, name: str, number: float) -> None:
    assert named({**REPORTS[shape], name: number}, name)


@pytest.mark.parametrize("shape", INSIDE)
@given(name=strange, number=numbers)
def test_a_stranger_in_the_details_is_named(shape: str, name: str, number: float) -> None:
    report = copy.deepcopy(REPORTS[shape])
    part: Any = report
    for step in INSIDE[shape]:
        part = part[step]
    part[name] = number
    assert named(report, name)


@shapes
@given(name=strange, depth=st.integers(1, 5))
def test_a_stranger_is_named_however_deep_it_is(shape: str, name: str, depth: int) -> None:
    inner: Any = {name: 7}
    for _ in range(depth):
        inner = {"deeper": [inner]}
    assert named({**REPORTS[shape], "more": inner}, name)


@shapes
@pytest.mark.parametrize("nothing", [0, 0.0, None, False, True, "7 tokens", {}, []], ids=repr)
def test_what_is_no_number_above_zero_is_no_stranger(shape: str, nothing: object) -> None:
    usage = read_usage({**REPORTS[shape], "news": nothing}, model="any")
    assert usage is not None
    assert usage.unread == ()


NONSENSE = [-1, 1.5, "7", 10**30, {"tokens": 7}, [7], float("nan"), float("inf")]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
def test_nonsense_for_a_count_is_no_report_or_names_itself(nonsense: object) -> None:
    for shape, count in (
        ("chat completions", "prompt_tokens"),
        ("responses", "output_tokens"),
        ("OCR", "pages_processed"),
    ):
        usage = read_usage({**REPORTS[shape], count: nonsense}, model="any")
        assert usage is None or usage.unread, shape


@pytest.mark.parametrize("shape", ["responses", "messages"])
def test_an_output_that_is_null_is_not_none_at_all(shape: str) -> None:
    assert read_usage({**REPORTS[shape], "output_tokens": None}, model="any") is None


@pytest.mark.parametrize("missing", ["prompt_tokens", "completion_tokens"])
def test_a_total_does_not_stand_for_the_part_that_is_missing(missing: str) -> None:
    report: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10, missing: None}
    assert read_usage(report, model="any") is None
    del report[missing]  # as a stream leaves out what is null
    assert read_usage(report, model="any") is None


def test_a_total_is_the_input_where_nothing_was_written() -> None:
    for report in ({"total_tokens": 10}, {"prompt_tokens": 10, "total_tokens": 10}, {"prompt_tokens": 10}):
        usage = read_usage(report, model="any")
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens, usage.unread) == (10, 0, ())


def test_an_answer_in_an_answer_that_never_ends_is_read_all_the_same() -> None:
    report: dict[str, Any] = {**REPORTS["chat completions"]}
    report["more"] = report
    usage = response_usage.read({"usage": report}).usage
    assert usage is not None
    assert usage.unread
