"""A call is held for what its request lets it meet: fees of tools, a region, and models that answer instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from paying import MESSAGES, Paying

import budgeted

if TYPE_CHECKING:
    from collections.abc import Callable

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

CLAUDE: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 2000, "messages": MESSAGES}
GPT: dict[str, Any] = {"model": "gpt-5-mini", "input": "Hello", "max_output_tokens": 100}


@pytest.fixture
def held(payer: Paying, provider: SimulatedProvider) -> Callable[[Callable[[], object]], float]:
    """Tells in USD what a call would have been held for, by having it refused."""

    def ask(call: Callable[[], object]) -> float:
        with payer.block(cap="0.000001"), pytest.raises(budgeted.BudgetExceededError) as refused:
            call()
        assert provider.requests == []
        return float(refused.value.requested)

    return ask


def test_a_region_with_a_price_of_its_own(held: Any, claude: anthropic.Anthropic) -> None:
    anywhere = held(lambda: claude.messages.create(**CLAUDE, extra_body={"inference_geo": "global"}))
    for place in ("us", "mars"):  # one that nobody knows may be the dearest
        there = held(lambda: claude.messages.create(**CLAUDE, extra_body={"inference_geo": place}))  # noqa: B023 - called at once
        assert there == pytest.approx(1.1 * anywhere, rel=0.002)  # the name itself is a few tokens


def test_the_dearest_of_models_that_may_answer_instead(held: Any, claude: anthropic.Anthropic) -> None:
    haiku = {**CLAUDE, "model": "claude-haiku-4-5"}
    alone = held(lambda: claude.messages.create(**haiku))
    opus = held(lambda: claude.messages.create(**CLAUDE))
    others = [{"model": "claude-sonnet-4-5"}, {"model": "claude-opus-4-6"}]
    either = held(lambda: claude.messages.create(**haiku, extra_body={"fallbacks": others}))
    assert alone < opus <= either


def test_a_model_that_may_answer_instead_must_have_a_price(
    payer: Paying, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="nobodys-other"):
        claude.messages.create(**CLAUDE, extra_body={"fallbacks": [{"model": "nobodys-other"}]})
    assert provider.requests == []


def test_searches_of_files_and_containers(held: Any, chat: openai.OpenAI) -> None:
    window = {"type": "mcp", "server_label": "a", "server_url": "https://example.com", "require_approval": "never"}
    files = {"type": "file_search", "vector_store_ids": ["a"]}
    code = {"type": "code_interpreter", "container": {"type": "auto"}}
    alone = held(lambda: chat.responses.create(**GPT, tools=[window]))
    assert held(lambda: chat.responses.create(**GPT, tools=[window, files])) == pytest.approx(alone + 0.025, abs=1e-4)
    assert held(lambda: chat.responses.create(**GPT, tools=[window, code])) == pytest.approx(alone + 0.03, abs=1e-4)
    twice = held(lambda: chat.responses.create(**GPT, tools=[window, files], max_tool_calls=2))
    assert twice == pytest.approx(alone + 0.005, abs=1e-4)
