"""``hold()``: calls that no SDK's hook sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from budgeted import BudgetExceededError, BudgetManager, UnpricedModelError, Usage, hold, register_price

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""

register_price("free-input", input=0, output=10_000, max_output_tokens=1000)


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0) as made:
        yield made


ANSWER = {"id": "r1", "model": "cent", "usage": {"prompt_tokens": 6, "completion_tokens": 4}}


class HttpResponse:
    """The shape of a response of requests, httpx and the like."""

    def __init__(self, body: object, status: int = 200) -> None:
        self.status_code = status
        self.content = json.dumps(body).encode()


class HttpError(Exception):
    """The shape of an HTTP client's exception."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = SimpleNamespace(status_code=status)


class ConnectError(Exception):
    """Named as httpx names it: nothing was sent."""


# -- what is held


def test_a_cost_is_held_and_settled(manager: BudgetManager) -> None:
    with hold(cost=2, user="alice") as held:
        assert manager.balance("alice").held == 2
        held.settle(cost="0.5")
    assert (manager.balance("alice").spent, manager.balance("alice").held) == (0.5, 0)


def test_a_models_bound_is_held(manager: BudgetManager) -> None:
    with manager.hold("cent", "hello", 50) as held:
        assert held.max_output_tokens == 50
        assert 0.55 <= manager.balance().held <= 1
        held.settle(ANSWER)
    assert manager.balance().spent == 0.1


@pytest.mark.parametrize(
    "given",
    [
        "hello",
        [{"role": "user", "content": "hello"}],
        {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50},
        {"input": "hello", "max_output_tokens": 50},
        {"prompt": "hello", "max_completion_tokens": 50},
        None,
    ],
    ids=repr,
)
def test_input_may_be_text_messages_or_the_whole_body(manager: BudgetManager, given: Any) -> None:
    body = isinstance(given, dict)
    with manager.hold("cent", given, None if body else 50) as held:
        assert held.max_output_tokens == 50
        assert 0.5 < manager.balance().held < 2
        held.release()


def test_the_body_says_how_many_answers_are_asked_for(manager: BudgetManager) -> None:
    for given in ({"n": 3}, {}):
        body = {"prompt": "", "max_tokens": 50, **given}
        with manager.hold("free-input", body, n=None if given else 3) as held:
            assert manager.balance().held == 1.5
            held.release()


def test_a_request_without_an_output_cap_is_granted_one(manager: BudgetManager) -> None:
    with manager.hold("free-input", "") as held:
        assert held.max_output_tokens == 1000
        held.release()
    manager.set_limits("alice", 20)
    with manager.hold("free-input", "", user="alice") as held:
        assert held.max_output_tokens == 500
        assert manager.balance("alice").held == 5
        held.release()


def test_what_does_not_fit_is_refused_before_anything_is_sent(manager: BudgetManager) -> None:
    manager.set_limits("alice", 1)
    with pytest.raises(BudgetExceededError) as refused, manager.hold("free-input", "", 200, user="alice"):
        pytest.fail("nothing may be sent")
    assert (refused.value.model, refused.value.max_output_tokens, refused.value.requested) == ("free-input", 100, 2)
    assert "output cap of 100 tokens" in str(refused.value)
    assert manager.balance("alice").held == 0


def test_an_unpriced_model_is_refused_where_a_usd_limit_applies(manager: BudgetManager) -> None:
    with manager.hold("mystery-model-of-mine", "", 5) as held:
        held.settle(usage=Usage(1, 1))
    manager.set_limits("alice", 5)
    with (
        pytest.raises(UnpricedModelError, match="register_price"),
        manager.hold("mystery-model-of-mine", "", user="alice"),
    ):
        pass
    assert manager.balance("alice").spent == 0


def test_before_it_begins_a_hold_shows_what_the_request_wants(manager: BudgetManager) -> None:
    assert manager.hold("cent", "x", 5).max_output_tokens == 5
    assert manager.hold("cent", "x").max_output_tokens == 100
    assert manager.hold(cost=1).max_output_tokens == 0
    assert manager.hold("cent", "x").id == ""


# -- how it is settled


@pytest.mark.parametrize(
    "response",
    [
        ANSWER,
        SimpleNamespace(id="r2", model="cent", usage=SimpleNamespace(input_tokens=6, output_tokens=4)),
        HttpResponse(ANSWER),
        json.dumps(ANSWER),
        json.dumps(ANSWER).encode(),
    ],
    ids=["mapping", "object", "http", "text", "bytes"],
)
def test_settled_by_a_response(manager: BudgetManager, response: Any) -> None:
    with manager.hold("cent", "hello", 50) as held:
        held.settle(response)
        assert manager.balance().spent == 0.1
    assert manager.uncertain() == []


@pytest.mark.parametrize(
    "usage",
    [
        Usage(6, 4),
        {"input_tokens": 6, "output_tokens": 4},
        {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10},
        {"input_tokens": 6, "output_tokens": 4, "cached_input_tokens": 2},
    ],
    ids=repr,
)
def test_settled_by_a_usage(manager: BudgetManager, usage: Any) -> None:
    with manager.hold("cent", "hello", 50) as held:
        held.settle(usage=usage)
    assert manager.balance().spent == 0.1
    assert manager.report("model")["cent"].input_tokens == 6


def test_settling_again_changes_nothing(manager: BudgetManager) -> None:
    with manager.hold("cent", "hello", 50) as held:
        held.settle(usage=Usage(6, 4))
        held.settle(usage=Usage(6, 40))
        held.settle(cost=5)
        held.release()
    assert manager.balance().spent == 0.1


def test_what_cost_more_than_was_held_is_recorded_in_full(manager: BudgetManager) -> None:
    manager.set_limits("alice", 1)
    with manager.hold(cost=0.5, user="alice") as held:
        held.settle(cost=3)
    assert (manager.balance("alice").spent, manager.balance("alice").remaining) == (3, 0)
    with pytest.raises(BudgetExceededError), manager.hold(cost="0.000000001", user="alice"):
        pass


def test_released_costs_nothing(manager: BudgetManager) -> None:
    with manager.hold(cost=2) as held:
        held.release()
        assert manager.balance().held == 0
    assert (manager.balance().spent, manager.uncertain()) == (0, [])


def test_a_response_that_does_not_say_what_it_used_is_uncertain(manager: BudgetManager) -> None:
    with manager.hold("free-input", "hello", 50) as held:
        held.settle({"id": "x"})
    assert manager.uncertain()[0].cost == 0.5


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_an_http_response_that_refuses_releases(manager: BudgetManager, status: int) -> None:
    with manager.hold("cent", "hello", 50) as held:
        held.settle(HttpResponse({"error": {"message": "no"}}, status))
    assert (manager.balance().spent, manager.balance().held, manager.uncertain()) == (0, 0, [])


def test_a_refusing_response_that_tells_a_usage_is_charged(manager: BudgetManager) -> None:
    with manager.hold("cent", "hello", 50) as held:
        held.settle(HttpResponse(ANSWER, 500))
    assert manager.balance().spent == 0.1


def test_settle_says_what_it_wants(manager: BudgetManager) -> None:
    with manager.hold(cost=2) as held:
        for wrong in ({}, {"cost": 1, "usage": Usage()}, {"response": ANSWER, "cost": 1}):
            with pytest.raises(TypeError, match="settle takes one of"):
                held.settle(**wrong)
        for wrong in ({"usage": 5}, {"usage": {"in": 5}}, {"cost": True}, {"cost": b"1"}):
            with pytest.raises(TypeError):
                held.settle(**wrong)
        for wrong in ({"cost": -1}, {"cost": float("nan")}, {"usage": {"input_tokens": -1}}):
            with pytest.raises(ValueError, match="must"):
                held.settle(**wrong)
        with pytest.raises(TypeError, match="text"):
            held.add(b"bytes")  # type: ignore[arg-type]
        held.settle(cost=1)
    assert manager.balance().spent == 1


def test_a_hold_that_was_never_entered_cannot_be_settled(manager: BudgetManager) -> None:
    held = manager.hold(cost=2)
    for end in (held.release, lambda: held.settle(cost=1)):
        with pytest.raises(RuntimeError, match="with hold"):
            end()
    assert manager.balance().spent == 0


def test_a_hold_is_entered_once(manager: BudgetManager) -> None:
    held = manager.hold(cost=2)
    with held:
        held.release()
    with pytest.raises(RuntimeError, match="entered once"), held:
        pass


# -- how it is left


def test_left_without_a_word_it_is_uncertain(manager: BudgetManager) -> None:
    with manager.hold("free-input", "", 1000, user="alice"):
        pass
    (listed,) = manager.uncertain()
    assert listed.reason == "left without saying what it cost"
    assert (listed.cost, listed.held) == (10, 10)


@pytest.mark.parametrize("error", [HttpError(429), HttpError(500), ConnectError("refused")], ids=str)
def test_left_by_an_exception_that_shows_that_nothing_was_spent_it_is_released(
    manager: BudgetManager, error: Exception
) -> None:
    with pytest.raises(type(error)), manager.hold(cost=2):
        raise error
    assert (manager.balance().spent, manager.balance().held, manager.uncertain()) == (0, 0, [])


@pytest.mark.parametrize("error", [TimeoutError(), KeyboardInterrupt(), RuntimeError("?"), HttpError(200)], ids=repr)
def test_left_by_any_other_exception_it_is_uncertain(manager: BudgetManager, error: BaseException) -> None:
    with pytest.raises(type(error)), manager.hold(cost=2):
        raise error
    assert manager.balance().spent == 2
    assert len(manager.uncertain()) == 1


def test_left_by_an_exception_after_it_was_settled_it_stays_settled(manager: BudgetManager) -> None:
    with pytest.raises(RuntimeError), manager.hold(cost=2) as held:
        held.settle(cost=1)
        raise RuntimeError
    assert (manager.balance().spent, manager.uncertain()) == (1, [])


def test_an_answer_that_comes_late_replaces_the_estimate(manager: BudgetManager) -> None:
    with manager.budget("alice", cap=50) as block:
        with manager.hold("free-input", "", 1000) as held:
            pass
        assert (block.spent, manager.balance("alice").spent) == (10, 10)
        for _ in range(2):
            held.settle(usage=Usage(5, 40))
            assert (block.spent, manager.balance("alice").spent) == (0.4, 0.4)
        held.settle({"id": "says nothing"})
    assert (block.remaining, block.calls, manager.uncertain()) == (49.6, 1, [])


def test_a_stream_that_breaks_is_charged_all_it_held(manager: BudgetManager) -> None:
    with pytest.raises(HttpError), manager.hold("free-input", "", 500) as held:
        for _ in range(10):
            held.add("sixteen letters.")
        raise HttpError(500)
    assert manager.uncertain()[0].cost == 5
    with manager.hold("free-input", "", 500) as held:
        for _ in range(30):
            held.add("a")
    assert manager.uncertain()[1].cost == 5


# -- coroutines


def test_holds_work_in_coroutines(manager: BudgetManager) -> None:
    async def main() -> None:
        async with manager.hold(cost=2, user="alice") as held:
            await asyncio.sleep(0)
            held.settle(cost=0.5)
            assert manager.balance("alice").spent == 0.5
        async with manager.hold("cent", "x", 5, user="alice") as held:
            held.release()
        with pytest.raises(HttpError):
            async with manager.hold(cost=2, user="alice"):
                raise HttpError(503)
        async with manager.hold(cost=2, user="alice"):
            pass

    asyncio.run(main())
    assert manager.balance("alice").spent == 2.5
    assert manager.balance("alice").uncertain == 2


def test_a_cancelled_coroutine_leaves_an_uncertain_charge(manager: BudgetManager) -> None:
    async def main() -> None:
        entered = asyncio.Event()

        async def call() -> None:
            async with manager.hold(cost=2):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(call())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert manager.uncertain()[0].reason == "cancelled after sending"
    assert manager.balance().held == 0


# -- arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of the two"),
        ({"model": "cent", "cost": 1}, "one of the two"),
        ({"model": ""}, "model must be"),
        ({"model": 5}, "model must be"),
        ({"model": "cent", "max_output_tokens": -1}, "max_output_tokens must be"),
        ({"model": "cent", "max_output_tokens": 1.5}, "max_output_tokens must be"),
        ({"model": "cent", "max_output_tokens": True}, "max_output_tokens must be"),
        ({"model": "cent", "n": 0}, "n must be"),
        ({"model": "cent", "provider": 5}, "provider must be"),
        ({"cost": -1}, "cost must not be negative"),
        ({"cost": "much"}, "cost must be a number"),
        ({"cost": None}, "one of the two"),
        ({"cost": True}, "cost must be a number"),
        ({"cost": 1, "user": 5}, "user must be a string"),
        ({"cost": 1, "user": ""}, "user '' is empty"),
        ({"cost": 1, "max_usd": 5}, "here it is called 'cost'"),
        ({"model": "cent", "messages": []}, "here it is called 'input'"),
    ],
    ids=repr,
)
def test_arguments_that_make_no_sense_are_refused(
    manager: BudgetManager, arguments: dict[str, Any], message: str
) -> None:
    for door in (manager.hold, hold):
        with pytest.raises((TypeError, ValueError), match=message):
            door(**arguments)


def test_a_provider_picks_its_own_price(manager: BudgetManager) -> None:
    register_price("same-name", input=0, output=1_000_000, provider="groq")
    register_price("same-name", input=0, output=2_000_000, provider="x-ai")
    for provider, price in (("groq", 10), ("x-ai", 20)):
        with manager.hold("same-name", "", 10, provider=provider) as held:
            assert manager.balance().held == price
            held.release()


def test_dearer_tokens_are_held_at_their_own_price(manager: BudgetManager) -> None:
    kept = {"type": "text", "text": "x" * 10_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = {"messages": [{"role": "user", "content": [kept]}], "max_tokens": 1}
    with manager.hold("claude-sonnet-4-5", body) as held:
        assert manager.balance().held > 10_000 * 6e-6
        held.release()
    with manager.hold("gemini-2.5-flash-image", "a cat", max_output_tokens=1_290) as held:
        assert manager.balance().held > 1_290 * 30e-6
        held.release()


@pytest.mark.parametrize("moment", ["metering/call._held", "metering/manual_hold._begin"])
def test_ctrl_c_while_a_hold_begins_gives_it_back(manager: BudgetManager, moment: str) -> None:
    with manager.budget(cap=5) as block, interrupted(moment), manager.hold(cost=1):
        pytest.fail("the block was entered")
    assert manager.uncertain() == []
    assert (manager.balance().held, block.held, manager.balance().spent) == (0, 0, 0)


@pytest.mark.parametrize("moment", ["wire/response_usage.read", "pricing/model_price.cost"])
def test_ctrl_c_while_an_answer_is_read_does_not_forget_its_cost(manager: BudgetManager, moment: str) -> None:
    @manager.budgeted("alice")
    def complete(model: str, messages: list[Any]) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    with interrupted(moment):
        complete("cent", [{"role": "user", "content": "Hi"}])
    assert manager.uncertain() == []
    assert (manager.balance("alice").spent, manager.balance("alice").held) == (0.03, 0)


@contextlib.contextmanager
def interrupted(function: str) -> Iterator[None]:
    """Ctrl-C as a function of one of the package's modules begins."""
    module, _, name = function.partition(".")

    def look(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == name and code.co_filename.endswith(f"/budgeted/{module}.py"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sys.setprofile(look)
        try:
            yield
        finally:
            sys.setprofile(None)


def test_a_hold_by_its_cost_that_is_settled_by_tokens_nobody_can_price_is_charged_all_it_held(
    manager: BudgetManager,
) -> None:
    with manager.hold(cost=2) as held:
        held.settle(usage=Usage(1000, 100))
    with manager.hold(cost=3) as held:
        held.settle({"id": "x", "model": "nobody-knows-it", "usage": {"prompt_tokens": 5, "completion_tokens": 5}})
    assert [charge.cost for charge in manager.uncertain()] == [2, 3]
    assert all("nobody can price" in charge.reason for charge in manager.uncertain())


@pytest.mark.parametrize(
    "result", [{"total_cost_usd": 0.25, "usage": {"input_tokens": 9, "output_tokens": 9}}, {"cost": "0.25"}]
)
def test_an_agents_result_that_states_its_cost_is_believed(manager: BudgetManager, result: dict[str, Any]) -> None:
    with manager.hold(cost=2) as held:
        held.settle(result)
    assert (manager.balance().spent, manager.uncertain()) == (0.25, [])
    with manager.hold(cost=2) as held:
        held.settle({**result, "total_cost_usd": float("nan"), "cost": None})
    assert manager.balance().spent == 2.25


def test_numbers_that_nobody_can_price_make_a_charge_uncertain_at_the_hold(manager: BudgetManager) -> None:
    with manager.hold("cent", "", 40) as held:
        held.settle(usage=Usage(0, 1, unread=("citation_tokens",)))
    (charge,) = manager.uncertain()
    assert charge.cost == charge.held
    assert "citation_tokens" in charge.reason
