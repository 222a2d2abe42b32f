"""How many output tokens a call is granted that names no cap of its own."""

from __future__ import annotations

from typing import Any

import pytest

from budgeted import BudgetExceededError, BudgetManager, register_price

register_price("a-cent-a-word", input=0, output=10_000, max_output_tokens=1000)


register_price("thinks-too/*", input=0, output=10_000, max_output_tokens=100_000)


def granted(manager: BudgetManager, model: str = "a-cent-a-word", body: dict[str, Any] | None = None) -> int | None:
    """What a call of alice's is granted."""
    with manager.hold(model, body or "", user="alice") as held:
        held.release()
    return held.max_output_tokens


@pytest.mark.parametrize(
    ("least", "output"),
    [(100, 100), (60, 60), (10, 25), (0, 25)],
    ids=["all there is", "more than a quarter", "less than a quarter", "anything"],
)
def test_the_fewest_that_are_worth_having_are_granted_below_256_too(least: int, output: int) -> None:
    with BudgetManager(ledger="memory://", wait=0, min_output_tokens=least) as manager:
        manager.set_limits("alice", 1)
        assert granted(manager) == output


@pytest.mark.parametrize("least", [101, 256, 4096])
def test_what_does_not_reach_for_them_is_refused_with_what_would_have_fitted(least: int) -> None:
    with BudgetManager(ledger="memory://", wait=0, min_output_tokens=least) as manager:
        manager.set_limits("alice", 1)
        with pytest.raises(BudgetExceededError, match="with an output cap of 100 tokens"):
            granted(manager)


THINKING: dict[str, tuple[str, dict[str, Any]]] = {
    "by itself": ("thinks-too/gpt-5-mini", {}),
    "an o model": ("thinks-too/o4-mini", {}),
    "deepseek": ("thinks-too/deepseek-reasoner", {}),
    "gemini": ("thinks-too/gemini-2.5-flash", {}),
    "gemini 3": ("thinks-too/gemini-3-flash-preview", {}),
    "grok": ("thinks-too/grok-4-fast-reasoning", {}),
    "a new claude": ("thinks-too/claude-opus-5", {}),
    "adaptive": ("thinks-too/claude-opus-4-8", {"thinking": {"type": "adaptive"}}),
    "an effort": ("thinks-too/gpt-4-with-effort", {"reasoning_effort": "high"}),
    "an effort of responses": ("thinks-too/gpt-5.1", {"reasoning": {"effort": "medium"}}),
    "a budget left open": ("thinks-too/gemini-x", {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}),
}


@pytest.mark.parametrize(("model", "more"), THINKING.values(), ids=THINKING)
def test_a_model_that_thinks_is_not_cut_so_low_that_no_answer_is_left(model: str, more: dict[str, Any]) -> None:
    with BudgetManager(ledger="memory://", wait=0) as manager:
        manager.set_limits("alice", "$40")  # 4,000 tokens
        with pytest.raises(BudgetExceededError, match="with an output cap of 4000 tokens") as refused:
            granted(manager, model, {"input": "", **more})
        assert (refused.value.reason, refused.value.requested) == ("spent", pytest.approx(40.96))
        manager.set_limits("alice", "$41")
        assert granted(manager, model, {"input": "", **more}) == 4096


AT_ONCE: dict[str, tuple[str, dict[str, Any]]] = {
    "a model that does not": ("thinks-too/gpt-4.1", {}),
    "a claude that is not asked to": ("thinks-too/claude-sonnet-4-5", {}),
    "a chat model": ("thinks-too/gpt-5-chat-latest", {}),
    "a model that draws": ("thinks-too/gemini-2.5-flash-image", {}),
    "a grok that does not": ("thinks-too/grok-4-fast-non-reasoning", {}),
    "no effort": ("thinks-too/gpt-5.1", {"reasoning_effort": "none"}),
    "minimal effort": ("thinks-too/gpt-5-mini", {"reasoning_effort": "minimal"}),
    "minimal effort of responses": ("thinks-too/gpt-5-mini", {"reasoning": {"effort": "minimal"}}),
    "disabled": ("thinks-too/claude-opus-5", {"thinking": {"type": "disabled"}}),
    "switched off": ("thinks-too/qwq", {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}),
    "off at a gateway": ("thinks-too/gpt-5-mini", {"reasoning": {"enabled": False}}),
    "a budget of nothing": (
        "thinks-too/gemini-2.5-flash",
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
    ),
    "the least level": (
        "thinks-too/gemini-3-flash",
        {"generation_config": {"thinking_config": {"thinking_level": "MINIMAL"}}},
    ),
}


@pytest.mark.parametrize(("model", "more"), AT_ONCE.values(), ids=AT_ONCE)
def test_a_model_that_answers_at_once_is_cut_as_before(model: str, more: dict[str, Any]) -> None:
    with BudgetManager(ledger="memory://", wait=0) as manager:
        manager.set_limits("alice", "$40")
        assert granted(manager, model, {"input": "", **more}) == 1000


@pytest.mark.parametrize(
    ("more", "output"),
    [
        ({"reasoning_effort": "low"}, 1_280),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, 2_256),
        ({"reasoning": {"max_tokens": 2_000}}, 2_256),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 512}}}, 1_000),
    ],
    ids=str,
)
def test_thoughts_that_are_limited_leave_room_for_less(more: dict[str, Any], output: int) -> None:
    with BudgetManager(ledger="memory://", wait=0) as manager:
        manager.set_limits("alice", "$40")
        assert granted(manager, "thinks-too/gpt-5-mini", {"input": "", **more}) == output


def test_an_application_that_wants_less_of_a_model_that_thinks_gets_less() -> None:
    with BudgetManager(ledger="memory://", wait=0, min_output_tokens=500) as manager:
        manager.set_limits("alice", "$10")
        assert granted(manager, "thinks-too/gpt-5-mini") == 500


def test_a_cap_of_its_own_is_the_callers_word() -> None:
    with BudgetManager(ledger="memory://", wait=0) as manager:
        manager.set_limits("alice", "$10")
        assert granted(manager, "thinks-too/gpt-5-mini", {"input": "", "max_output_tokens": 50}) == 50


def test_a_model_that_thinks_waits_for_room_that_calls_in_flight_hold() -> None:
    with BudgetManager(ledger="memory://", wait=0) as manager:
        manager.set_limits("alice", "$60")
        with manager.hold(cost=30, user="alice") as held:
            with pytest.raises(BudgetExceededError) as refused:
                granted(manager, "thinks-too/gpt-5-mini")
            assert refused.value.reason == "held"
            held.release()
        assert granted(manager, "thinks-too/gpt-5-mini") == 4096
