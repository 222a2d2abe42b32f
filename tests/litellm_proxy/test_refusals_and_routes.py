"""What the proxy's clients are answered, and what becomes of calls on each of its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from running_proxy import CENTS, DIME, QUESTION, Proxy, settled, spent

if TYPE_CHECKING:
    from budgeted import BudgetManager
    from budgeted.testing import SimulatedProvider

CHAT = "/v1/chat/completions"
ASKED = {"model": "dime", **QUESTION}
FREE_TEXT = {"role": "user", "content": "Name a city."}


def test_a_refusal_says_which_budget_it_is_and_until_when(proxy: Proxy, manager: BudgetManager) -> None:
    manager.set_limits(None, "$0.05/day")
    answer = proxy.post(CHAT, ASKED)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["type"] == "budget_exceeded"
    assert "the global budget has $0.05 left of $0.05/day" in error["message"]
    assert "resets at" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) > 0


def test_a_client_does_not_try_again_what_is_refused(proxy: Proxy, manager: BudgetManager) -> None:
    manager.set_limits(None, "$0.05")
    client = openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="sk-alice", max_retries=5)
    with pytest.raises(openai.UnprocessableEntityError, match=r"of \$0\.05"):
        client.chat.completions.create(model="dime", messages=[FREE_TEXT], max_tokens=DIME)


def test_a_refusal_is_in_the_format_of_its_route(proxy: Proxy, manager: BudgetManager) -> None:
    manager.set_limits(None, "$0.05")
    answer = proxy.post("/v1/messages", {"model": "claude", **QUESTION})
    assert answer.status_code == 422
    assert answer.json()["type"] == "error"
    assert "of $0.05" in answer.json()["error"]["message"]


PAID = [
    (CHAT, ASKED),
    (CHAT, {**ASKED, "stream": True}),
    (CHAT, {"model": "claude", **QUESTION}),
    (CHAT, {"model": "claude", **QUESTION, "stream": True}),
    ("/v1/completions", {"model": "dime", "prompt": "Hi", "max_tokens": DIME}),
    ("/v1/responses", {"model": "dime", "input": "Hi", "max_output_tokens": DIME}),
    ("/v1/responses", {"model": "dime", "input": "Hi", "max_output_tokens": DIME, "stream": True}),
    ("/v1/responses", {"model": "claude", "input": "Hi", "max_output_tokens": DIME}),
    ("/v1/messages", {"model": "claude", **QUESTION}),
    ("/v1/messages", {"model": "claude", **QUESTION, "stream": True}),
    ("/v1/messages", {"model": "dime", **QUESTION}),
    ("/anthropic/v1/messages", {"model": "claude-dime", **QUESTION}),
    ("/anthropic/v1/messages", {"model": "claude-dime", **QUESTION, "stream": True}),
    ("/openai/v1/chat/completions", ASKED),
    ("/openai/v1/chat/completions", {**ASKED, "stream": True}),
    ("/openai_passthrough/v1/responses", {"model": "dime", "input": "Hi", "max_output_tokens": DIME}),
    ("/mine/v1/chat/completions", ASKED),
    ("/mine/v1/messages", {"model": "claude-dime", **QUESTION, "stream": True}),
    ("/gemini/v1beta/models/dime:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}]}),
]


@pytest.mark.parametrize(("user", "path", "body"), [(f"henry-{n}", *paid) for n, paid in enumerate(PAID)])
def test_every_route_is_charged_once_and_exactly(
    user: str, path: str, body: dict[str, Any], proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(None, "$100")
    answer = proxy.post(path, body, user, user_id=user)  # Gemini's routes have the key elsewhere
    assert answer.status_code == 200, answer.text
    assert settled(manager, provider) == spent(manager) == spent(manager, user) > 0
    assert len(provider.bill) == 1


@pytest.mark.parametrize(
    "path", ["/openai/v1/nonsense", "/anthropic/v1/nonsense", "/mine/anything/at/all", "/gemini/v1beta/nonsense"]
)
def test_what_is_passed_through_and_cannot_be_read_is_refused(
    path: str, proxy: Proxy, provider: SimulatedProvider
) -> None:
    answer = proxy.post(path, ASKED)
    assert answer.status_code == 422, answer.text
    assert "no budget can bound it" in answer.json()["error"]["message"]
    assert provider.requests == []


def test_a_route_with_a_price_per_request_is_charged_that(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(None, "$0.25")
    assert [proxy.post("/flat", ASKED).status_code for _ in range(3)] == [200, 200, 422]
    assert settled(manager, provider) == spent(manager) == 2 * CENTS


def test_a_call_is_held_at_the_dearest_deployment_of_its_group(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(None, "$0.05")
    assert proxy.post(CHAT, {"model": "mixed", **QUESTION}).status_code == 422
    assert proxy.post(CHAT, {"model": "failing-first", **QUESTION}).status_code == 422
    assert provider.requests == []
    assert proxy.post(CHAT, {"model": "openai/penny", **QUESTION}).status_code == 200


def test_a_call_without_a_cap_is_sent_with_the_one_that_was_granted(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(None, "$12")
    assert proxy.post(CHAT, {"model": "dime", "messages": [FREE_TEXT]}).status_code == 200
    (request,) = provider.requests
    assert 256 <= request.body["max_tokens"] <= 300


def test_an_answer_that_litellm_makes_up_costs_nothing(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(None, "$0.01")
    assert proxy.post(CHAT, {"model": "made-up", **QUESTION}).status_code == 200
    assert settled(manager, provider) == spent(manager) == 0


def test_who_asks_for_an_answer_that_is_made_up_pays_for_one_that_is_not(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    for made_up in ("Paris", "", False, 0):
        proxy.post(CHAT, {**ASKED, "mock_response": made_up})
    assert settled(manager, provider) == spent(manager)


def test_a_model_without_a_price_is_refused(proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider) -> None:
    answer = proxy.post(CHAT, {"model": "openai/nobody-knows-it", **QUESTION})
    assert answer.status_code == 422
    assert "no price is known" in answer.json()["error"]["message"]
    assert provider.requests == []


GARBAGE: list[dict[str, Any]] = [
    {"messages": 5},
    {"messages": "x"},
    {"messages": [5]},
    {"messages": [{"role": "user", "content": {"a": 1}}], "max_tokens": DIME},
    {**QUESTION, "max_tokens": "many"},
    {**QUESTION, "max_tokens": -5},
    {**QUESTION, "n": "x"},
    {"messages": [FREE_TEXT], "tool_choice": 7},
    {**QUESTION, "metadata": {"tags": [1, None, {}]}},
    {**QUESTION, "user": "x" * 1000},
    {**QUESTION, "fallbacks": [{"x": 5}, 7, None]},
    {**QUESTION, "litellm_call_id": "another's"},
]


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_charged_what_it_is_billed(
    body: dict[str, Any], proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(None, "$100")
    proxy.post(CHAT, {"model": "dime", **body}, "ida")
    assert settled(manager, provider) == spent(manager)


def test_what_is_billed_out_of_sight_is_refused(proxy: Proxy, manager: BudgetManager) -> None:
    answer = proxy.post("/v1/realtime/client_secrets", {"model": "dime"})
    assert answer.status_code == 422
    assert "where no hook can see it" in answer.json()["error"]["message"]


def test_a_price_per_request_counts_at_its_own_path_alone(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(None, "$100")
    proxy.post("/openai/v1/flat", ASKED)
    assert settled(manager, provider) == spent(manager) == 0
