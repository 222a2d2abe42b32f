"""The bound of a request's input: never below what any tokenizer may count, whatever is in the request."""

from __future__ import annotations

import base64
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budgeted.pricing.input_token_bound import IMAGE_TOKENS_DEFAULT, UNKNOWN, counted_bound, image_tokens, input_bound
from budgeted.testing.simulated_model import prompt_tokens

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)  # lone surrogates too
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": ANY_TEXT}))


def bytes_of(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def chat(*contents: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "messages": [{"role": "user", "content": content} for content in contents]}


@given(MESSAGES)
@example([{"role": "user", "content": "\ud800"}])
@example([{"role": "user", "content": "\ufdfa"}])
def test_the_bound_covers_every_byte_and_what_frames_the_messages(messages: list[dict[str, Any]]) -> None:
    bound = input_bound({"model": "gpt-5", "messages": messages})
    assert bound >= sum(bytes_of(message["content"]) + 4 for message in messages) + 3
    assert bound >= prompt_tokens(messages, messages=len(messages))


@given(MESSAGES)
@example([{"role": "user", "content": "\ufdfa" * 20}])
def test_for_tokenizers_that_normalise_it_covers_the_normalised_text(messages: list[dict[str, Any]]) -> None:
    bound = input_bound({"model": "claude-opus-4", "messages": messages}, exact_bytes=False)
    assert bound >= sum(bytes_of(unicodedata.normalize("NFKC", message["content"])) for message in messages)
    assert bound >= input_bound({"model": "claude-opus-4", "messages": messages})


@given(MESSAGES, st.fixed_dictionaries({"role": st.just("user"), "content": ANY_TEXT}))
def test_one_more_message_never_lowers_it(messages: list[dict[str, Any]], one_more: dict[str, Any]) -> None:
    assert input_bound({"messages": [*messages, one_more]}) > input_bound({"messages": messages})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
        max_leaves=12,
    )
)
def test_whatever_a_request_holds_it_has_a_bound(value: Any) -> None:
    for exact in (True, False):
        assert input_bound({"messages": value, "model": "m"}, "m", exact_bytes=exact) >= 0 or "type" in repr(value)


def test_every_shape_of_the_same_request_has_about_the_same_bound() -> None:
    class Message:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return {"role": "user", "content": "Hello there"}

    plain = input_bound(chat("Hello there"))
    assert input_bound({"messages": [Message()]}) == plain
    assert input_bound({"messages": ({"role": "user", "content": "Hello there"},)}) == plain
    assert abs(input_bound({"input": "Hello there"}) - plain) < 50


@pytest.mark.parametrize("name", ["tools", "functions", "response_format", "system", "instructions", "text"])
def test_everything_that_the_model_reads_counts(name: str) -> None:
    extra = [{"type": "function", "function": {"name": "f", "description": "x" * 1000}}]
    assert input_bound({**chat("Hello"), name: extra}) >= input_bound(chat("Hello")) + 1000


@pytest.mark.parametrize("name", ["metadata", "user", "stream_options", "store", "service_tier", "model"])
def test_what_the_model_does_not_read_does_not_count(name: str) -> None:
    assert input_bound({**chat("Hello"), name: "x" * 1000}) == input_bound(chat("Hello"))


def added_by_tools(model: str, *tools: dict[str, Any]) -> int:
    """What tools add to a bound beside their bytes."""
    given = list(tools or ({"name": "now", "input_schema": {"type": "object"}},))
    size = bytes_of(json.dumps(given, separators=(",", ":")))
    return input_bound({**chat("Hello"), "tools": given}, model) - input_bound(chat("Hello"), model) - size


PICTURE = base64.b64encode(bytes(300_000)).decode()

# As https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview has it, and has had it.
CLAUDES = {
    "claude-opus-5": (286, 406),
    "claude-opus-4-8": (290, 410),
    "claude-opus-4-7": (675, 804),
    "anthropic/claude-opus-4.6": (497, 589),
    "us.anthropic.claude-opus-4-5-20251101-v1:0": (496, 588),
    "claude-opus-4-1-20250805": (346, 315),
    "claude-opus-4-20250514": (346, 315),
    "claude-3-opus-20240229": (530, 281),
    "claude-sonnet-5": (354, 474),
    "claude-sonnet-4-6": (497, 589),
    "claude-sonnet-4-5@20250929": (496, 588),
    "claude-sonnet-4-0": (346, 315),
    "claude-3-7-sonnet-latest": (346, 313),
    "claude-3-5-sonnet-20241022": (346, 313),
    "claude-3-sonnet-20240229": (159, 235),
    "claude-haiku-4-5": (496, 588),
    "claude-3-5-haiku-20241022": (264, 355),
    "anthropic.claude-3-haiku-20240307-v1:0": (264, 340),
}


@pytest.mark.parametrize(("model", "published"), CLAUDES.items(), ids=CLAUDES)
def test_the_hidden_prompt_that_anthropic_publishes_is_covered_and_not_much_more(
    model: str, published: tuple[int, int]
) -> None:
    assert max(published) <= added_by_tools(model) <= max(published) + 40


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-fable-5", "claude-opus-4-10", "nobodys-model"])
def test_where_nobody_publishes_a_hidden_prompt_it_is_larger_than_any_that_is(model: str) -> None:
    assert 1_000 <= added_by_tools(model) <= 1_040


@pytest.mark.parametrize(
    "model",
    ["gpt-5-mini", "openai/gpt-4.1", "o3", "chatgpt-4o-latest", "gemini-2.5-pro", "models/gemini-3-pro"],
)
def test_openai_and_google_add_no_such_prompt(model: str) -> None:
    assert 12 <= added_by_tools(model) <= 100


@pytest.mark.parametrize("model", ["openai/gpt-oss-120b", "gpt-neo", "llama-3.3-70b", "my-gpt-4"])
def test_models_that_others_serve_may_have_one(model: str) -> None:
    assert added_by_tools(model) >= 1_000


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("bash_20250124", 245),
        ("text_editor_20250728", 700),
        ("computer_20251124", 735 + 499),
        ("memory_20250818", 700),
        ("computer_toolset_20260801", 4_500),
        ("browser_toolset_20260801", 6_600),
    ],
)
def test_definitions_that_anthropic_keeps_are_covered(kind: str, tokens: int) -> None:
    """They are told by name only, and each of them is billed."""
    bare = added_by_tools("claude-opus-4-7")
    tool = {"type": kind, "name": "x"}
    assert added_by_tools("claude-opus-4-7", tool) >= bare + int(tokens * 1.35)
    assert added_by_tools("claude-opus-4-7", tool, tool) >= bare + int(tokens * 2.7)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
    ],
    ids=["chat", "chat by URL", "responses", "anthropic"],
)
def test_a_picture_counts_as_a_picture_and_not_as_text(part: dict[str, Any]) -> None:
    one = input_bound(chat([part]), "gpt-5")
    two = input_bound(chat([part, part]), "gpt-5")
    assert IMAGE_TOKENS_DEFAULT <= two - one <= IMAGE_TOKENS_DEFAULT + 64
    assert one < len(PICTURE)


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-4o-mini-2024-07-18", 48_169),
        ("claude-sonnet-4-5", 4_784),
        ("gemini-2.5-pro", 6_450),
        ("gemini-3-pro", 2_240),
    ],
)
def test_pictures_cost_what_the_model_makes_of_them(model: str, most: int) -> None:
    assert image_tokens(model) == most
    assert image_tokens(model.upper()) == most


def test_sound_is_bounded_by_its_length() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}}
    bound = input_bound(chat([sound]))
    assert len(PICTURE) / 16 < bound < len(PICTURE) / 16 + 200


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PICTURE}},
        {"type": "input_audio"},
        {"type": "container_upload", "file_id": "file-1"},
    ],
    ids=lambda part: str(part)[:60],
)
def test_what_is_not_in_the_request_has_no_bound(part: dict[str, Any]) -> None:
    assert input_bound(chat("Hello", [part])) == UNKNOWN


def test_a_document_of_plain_text_is_text() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é" * 500}}
    assert 1000 <= input_bound(chat([document])) < 1200


@pytest.mark.parametrize("text", ["data:", 'my "image" and "file"', "image", '{"type": "image"}', "x" * 200_000])
def test_text_that_only_speaks_of_media_is_text(text: str) -> None:
    assert len(text) <= input_bound(chat(text)) <= len(json.dumps(text)) + 100


def test_depth_beyond_what_json_can_hold_is_walked() -> None:
    value: Any = "x" * 100
    for _ in range(5_000):
        value = [value]
    assert input_bound({"messages": value}) >= 100


def test_the_counted_bound_is_not_above_the_bytes() -> None:
    counted = counted_bound(chat("Hello there, how are you doing today?" * 20), "gpt-5")
    assert counted is None or counted <= input_bound(chat("Hello there, how are you doing today?" * 20)) + 100


def test_the_counted_bound_of_an_unknown_tokenizer_is_unknown() -> None:
    assert counted_bound(chat("Hello"), "nobodys-model") is None


def gemini(part: Any) -> Any:
    return {"contents": [{"role": "user", "parts": [{"text": "What is this?"}, part]}]}


@pytest.mark.parametrize("spelled", [("inlineData", "mimeType"), ("inline_data", "mime_type")], ids=str)
def test_media_in_geminis_parts_are_no_text(spelled: tuple[str, str]) -> None:
    def bound(kind: str) -> int:
        return input_bound(
            gemini({spelled[0]: {spelled[1]: kind, "data": "A" * 3_000_000}}), "gemini", exact_bytes=False
        )

    assert 2_240 < bound("image/png") < 3_000
    assert 100_000 < bound("audio/wav") < 300_000
    assert bound("text/plain") > 3_000_000
    assert 258_000 <= bound("application/pdf") < 300_000
    assert bound("video/mp4") == UNKNOWN


def test_a_file_that_gemini_is_only_told_of_has_no_bound() -> None:
    assert (
        input_bound(gemini({"fileData": {"fileUri": "gs://a/b.png", "mimeType": "image/png"}}), exact_bytes=False)
        == UNKNOWN
    )


def test_a_parameter_that_is_called_like_media_is_text() -> None:
    tool = {"type": "function", "function": {"parameters": {"properties": {"file_data": {"type": "string"}}}}}
    assert 0 < input_bound({"messages": [], "tools": [tool]}) < 2_000
