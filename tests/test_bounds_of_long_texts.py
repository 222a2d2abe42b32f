"""Long texts are measured by themselves, as texts: never less than a tokenizer counts, whichever API they are for."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted.pricing.input_token_bound import PER_REQUEST, UNKNOWN, input_bound
from budgeted.pricing.long_texts import LONG, MOST_LOOKED_AT

PLAIN = st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["Cc", "Cs"])
"""Letters that JSON writes as they are."""


def texts(letters: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Short ones, and long ones."""
    short = st.text(letters, min_size=1, max_size=3)
    return st.builds(lambda text, times: text * times, short, st.sampled_from([1, 1, LONG + 1]))


def messages(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[Any]]:
    """A conversation, as one of several APIs has it, or a mixture of them."""
    part = st.fixed_dictionaries({"type": st.sampled_from(["text", "input_text"]), "text": text})
    result = st.fixed_dictionaries({"type": st.just("tool_result"), "content": text | st.lists(part, max_size=3)})
    called = st.fixed_dictionaries({"id": text, "function": st.fixed_dictionaries({"name": text, "arguments": text})})
    message = (
        st.fixed_dictionaries({"role": st.just("user"), "content": text | st.lists(part | result, max_size=3)})
        | st.fixed_dictionaries(
            {"role": st.just("assistant"), "content": st.none(), "tool_calls": st.lists(called, max_size=2)}
        )
        | st.fixed_dictionaries({"type": st.just("function_call_output"), "output": text, "call_id": text})
        | st.fixed_dictionaries({"role": st.just("model"), "parts": st.lists(part, max_size=2)})
        | text
        | st.integers()
        | st.none()
    )
    return st.lists(message, max_size=3)


def bodies(letters: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    text = texts(letters)
    tool = st.fixed_dictionaries(
        {"name": text, "description": text, "input_schema": st.dictionaries(text, text, max_size=2)}
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "messages": messages(text),
            "input": text | messages(text),
            "contents": messages(text),
            "system": text | messages(text),
            "system_instruction": st.fixed_dictionaries({"parts": messages(text)}),
            "response_format": st.dictionaries(text, text, max_size=2),
            "tools": st.lists(tool, max_size=2),
            "temperature": st.floats(0, 2),
            "model": text,
        },
    )


def strings(value: Any) -> list[str]:
    """All that is said in a value, and its keys."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [found for item in (*value, *value.values()) for found in strings(item)]
    return [found for item in value for found in strings(item)] if isinstance(value, list) else []


def written(body: dict[str, Any]) -> int:
    """The bytes of what a model reads of a request, as JSON."""
    read = [value for name, value in body.items() if name not in ("model", "temperature")]
    return PER_REQUEST + sum(len(msgspec.json.encode(value)) for value in read)


def bound_without_tools(body: dict[str, Any], *, exact: bool = True) -> int:
    return input_bound(
        {"tool_list" if name == "tools" else name: value for name, value in body.items()}, exact_bytes=exact
    )


@given(bodies(PLAIN))
def test_a_request_of_plain_letters_is_bounded_by_its_json(body: dict[str, Any]) -> None:
    assert bound_without_tools(body) == written(body)


@given(bodies(st.characters(codec="utf-8")))
def test_no_bound_is_above_the_json_or_below_the_bytes_of_the_texts(body: dict[str, Any]) -> None:
    said = strings([value for name, value in body.items() if name != "model"])
    assert sum(len(text.encode()) for text in said) <= bound_without_tools(body) <= written(body)


@given(bodies(st.characters(codec=None)))
def test_lone_surrogates_have_the_bytes_that_they_would_have(body: dict[str, Any]) -> None:
    said = strings([value for name, value in body.items() if name != "model"])
    assert bound_without_tools(body) >= sum(len(text.encode("utf-8", "surrogatepass")) for text in said)


@given(bodies(st.characters(codec="utf-8") | st.sampled_from("\ufdfa\u1100\u1161e\u0301\u00e9\uff21")))
def test_where_text_is_normalised_first_the_bound_covers_either_form(body: dict[str, Any]) -> None:
    said = strings([value for name, value in body.items() if name != "model"])
    bound = bound_without_tools(body, exact=False)
    assert bound >= sum(len(unicodedata.normalize("NFKC", text).encode()) for text in said)
    assert bound >= bound_without_tools(body)


ESCAPED = 'line\n"quoted"\\' * LONG


@pytest.mark.parametrize(
    "shown",
    [
        lambda text: {"tools": [{"name": "f", "description": text}]},
        lambda text: {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"text": text}}]}]},
        lambda text: {"contents": [{"parts": [{"functionResponse": {"response": {"output": text}}}]}]},
        lambda text: {"response_format": {"json_schema": {"description": text}}},
    ],
    ids=["tool", "call", "answer", "schema"],
)
def test_what_may_be_shown_to_the_model_as_json_is_bounded_as_json(shown: Callable[[str], dict[str, Any]]) -> None:
    assert input_bound(shown(ESCAPED)) >= len(msgspec.json.encode(ESCAPED))


@pytest.mark.parametrize("count", [1, MOST_LOOKED_AT, MOST_LOOKED_AT + 1, 1000])
@pytest.mark.parametrize("place", [0, -1, 7])
def test_one_long_text_among_many_is_counted_wherever_it_is(count: int, place: int) -> None:
    conversation = [{"role": "user", "content": f"message {number}"} for number in range(count)]
    conversation[place % count]["content"] = "é" * 50_000
    body = {"messages": conversation}
    assert input_bound(body) == written(body)


def test_a_long_text_beside_a_picture_counts_in_full() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500_000}}
    text = {"type": "text", "text": "é" * 10_000}
    both = input_bound({"messages": [{"role": "user", "content": [text, picture]}]}, "gpt-5")
    assert 20_000 <= both - input_bound({"messages": [{"role": "user", "content": [picture]}]}, "gpt-5") <= 20_100


def test_a_long_file_that_is_not_in_the_request_has_no_bound() -> None:
    part = {"type": "file", "file": {"file_id": "f", "comment": "x" * 100_000}}
    assert (
        input_bound({"messages": [{"role": "user", "content": [{"type": "text", "text": "y" * 5_000}, part]}]})
        == UNKNOWN
    )


def test_measuring_changes_nothing_in_the_request() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "x" * 5_000}]}
    body = {"messages": [message], "system": "y" * 5_000}
    before = msgspec.json.encode(body)
    input_bound(body)
    assert msgspec.json.encode(body) == before
    assert body["messages"][0] is message
