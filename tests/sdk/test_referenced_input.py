"""What a request refers to without holding it is held at the context window, whichever parameter says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from paying import MESSAGES

from budgeted import BudgetExceededError, hold

if TYPE_CHECKING:
    import anthropic
    import openai
    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")]

HAIKU: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": MESSAGES}
"""$1 per million tokens of input, of which 200,000 are the most: 20 cents."""

CONTINUED = {"type": "continue", "previous_message_id": "msg_1"}


def test_a_thread_that_goes_on_is_held_with_what_it_keeps_and_may_search(
    payer: Paying, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.29"), pytest.raises(BudgetExceededError):  # ten searches at a cent each
        claude.beta.messages.create(**HAIKU, thread=CONTINUED)
    assert provider.requests == []
    with payer.block(cap="0.31"):
        claude.beta.messages.create(**HAIKU, thread=CONTINUED)
    payer.agrees()


def test_a_thread_that_begins_is_all_in_its_request(payer: Paying, claude: anthropic.Anthropic) -> None:
    with payer.block(cap="0.01"):
        claude.beta.messages.create(**HAIKU, thread={"type": "create"})
    payer.agrees()


@pytest.mark.parametrize(
    "reference",
    [
        {"thread": CONTINUED},
        {"container": "container_1"},
        {"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}]},
        {"compaction": {"type": "summarize"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["argument", "extra_body"])
def test_claudes_references(
    reference: dict[str, Any], how: str, payer: Paying, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.19"), pytest.raises(BudgetExceededError):
        claude.beta.messages.create(**HAIKU, **(reference if how == "argument" else {"extra_body": reference}))
    assert provider.requests == []


MINI: dict[str, Any] = {"model": "gpt-5-mini", "max_output_tokens": 100}
"""25 cents per million tokens of input, and a context of hundreds of thousands."""


@pytest.mark.parametrize(
    "reference",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"context_management": [{"type": "compaction"}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}, *MESSAGES]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
        {"tools": [{"type": "programmatic_tool_calling"}]},
    ],
    ids=str,
)
def test_references_of_openais_responses(
    reference: dict[str, Any], payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.06"), pytest.raises(BudgetExceededError):
        chat.responses.create(**{**MINI, "input": "Go on.", **reference})
    assert provider.requests == []


@pytest.mark.parametrize(
    "whole",
    [
        {"store": True},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}, *MESSAGES]},
        {"tools": [{"type": "shell", "environment": {"type": "local"}}]},
        {"tools": [{"type": "apply_patch"}]},
        {"prompt_cache_key": "mine"},
    ],
    ids=str,
)
def test_what_refers_to_nothing_is_held_by_its_own_size(
    whole: dict[str, Any], payer: Paying, chat: openai.OpenAI
) -> None:
    with payer.block(cap="0.01"):
        chat.responses.create(**{**MINI, "input": "Hello.", **whole})
    payer.agrees()


@pytest.mark.parametrize("more", [{"data_sources": [{"type": "azure_search"}]}, {"preset": "email"}], ids=str)
def test_references_of_servers_that_speak_like_openai(
    more: dict[str, Any], payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.06"), pytest.raises(BudgetExceededError):
        chat.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, max_tokens=100, extra_body=more)
    assert provider.requests == []


@pytest.mark.parametrize("reference", [{"thread": CONTINUED}, {"container": "container_1"}], ids=str)
def test_a_body_that_is_held_for_by_hand_is_read_like_an_sdks(payer: Paying, reference: dict[str, Any]) -> None:
    with payer.block(cap="0.19"):
        with pytest.raises(BudgetExceededError), hold("claude-haiku-4-5", HAIKU | reference):
            pass
        with hold("claude-haiku-4-5", HAIKU) as held:
            held.release()
