"""``fallback={0.8: "gpt-5-mini"}``: a cheaper model is asked for once so much of a limit is spent."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator

import pytest
from openai import OpenAI

from budgeted import BudgetManager
from budgeted.testing import SimulatedProvider

FALLBACK = {0.5: "gpt-5-mini"}


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0, fallback=FALLBACK) as made:
        made.set_limits("alice", 0.02)
        yield made


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as made:
        made.reply(output_tokens=500)
        yield made


def ask(provider: SimulatedProvider) -> str:
    """Half a cent of gpt-5, a tenth of one of gpt-5-mini. Returns the model that was asked."""
    messages = [{"role": "user", "content": "Name a city."}]
    with OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
        client.chat.completions.create(model="gpt-5", messages=messages, max_completion_tokens=500)  # type: ignore[arg-type]
    return provider.bill[-1].model


def test_it_is_asked_for_once_so_much_of_a_users_limit_is_spent(
    manager: BudgetManager, provider: SimulatedProvider
) -> None:
    with manager.budget("alice"):
        assert [ask(provider) for _ in range(4)] == ["gpt-5", "gpt-5", "gpt-5-mini", "gpt-5-mini"]
    assert round(manager.balance("alice").spent * 1e9) == provider.billed_nano()


def test_what_a_block_has_set_aside_for_a_call_is_not_spent(
    manager: BudgetManager, provider: SimulatedProvider
) -> None:
    with manager.budget("alice", cap=0.02, reserve=True):
        assert [ask(provider) for _ in range(3)] == ["gpt-5", "gpt-5", "gpt-5-mini"]


def test_what_other_blocks_have_set_aside_is_on_its_way_to_be_spent(
    manager: BudgetManager, provider: SimulatedProvider
) -> None:
    def elsewhere() -> None:
        with manager.budget("alice"):
            assert ask(provider) == "gpt-5-mini"

    with manager.budget("alice", cap=0.01, reserve=True):
        contextvars.Context().run(elsewhere)
