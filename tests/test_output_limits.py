"""The table of maximum output tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted.pricing import max_output_tokens


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-4o-mini", 16_384),
        ("gpt-4o-mini-2024-07-18", 16_384),
        ("gpt-4o-2024-05-13", 4_096),
        ("gpt-5", 128_000),
        ("GPT-5", 128_000),
        ("openai/gpt-5", 128_000),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc123", 16_384),
        ("claude-sonnet-4-5", 64_000),
        ("claude-sonnet-4-5-20250929", 64_000),
        ("claude-sonnet-4-5@20250929", 64_000),
        ("anthropic/claude-sonnet-4.5", 64_000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 64_000),
        ("models/gemini-2.5-flash", 65_536),
        ("amazon.nova-pro-v1:0", 10_000),
        ("deepseek-chat", 8_192),
        ("grok-code-fast-1", 256_000),
    ],
)
def test_a_model_is_found_under_every_way_of_writing_it(model: str, limit: int) -> None:
    assert max_output_tokens.find(model) == limit


@pytest.mark.parametrize("model", ["", "/", ":", "-", "my-model", "gpt-5-custom", "ft:", "us.anthropic."])
def test_an_unknown_model_has_no_limit(model: str) -> None:
    assert max_output_tokens.find(model) is None


@given(st.text())
def test_any_text_is_taken_for_a_name(model: str) -> None:
    limit = max_output_tokens.find(model)
    assert limit is None or limit > 0
