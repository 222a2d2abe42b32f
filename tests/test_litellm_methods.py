"""LiteLLM's ``BudgetManager``, method by method: the same arguments and results, without its faults.

The facts are those of LiteLLM 1.109.1, measured; the classes below have the shape of its objects.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from clocks import DAY, NOON, Clock

from budgeted import BudgetExceededError, BudgetManager, UnknownUserError, UnpricedModelError, Usage, register_price

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", clock=clock) as made:
        yield made


_ids = itertools.count()


def response(prompt: int = 6, completion: int = 4, model: str = "cent", **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"id": f"chatcmpl-{next(_ids)}", "object": "chat.completion", "model": model, "usage": usage, **more}


class ModelResponse:
    """What LiteLLM returns: fields as attributes and as items, and notes on how it came by them."""

    def __init__(self, hidden: dict[str, Any] | None = None, **fields: Any) -> None:
        self.__dict__.update(response(**fields))
        self.usage = SimpleNamespace(**self.__dict__["usage"])
        self._hidden_params = hidden or {}

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


# -- the methods, as LiteLLM has them


def test_the_constructor_takes_the_same_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with BudgetManager("project", "local", None, {"x": "y"}) as manager:
        assert (manager.project_name, manager.client_type, manager.headers) == ("project", "local", {"x": "y"})
    with BudgetManager(project_name="project", client_type="local", api_base="https://x", headers=None) as manager:
        assert manager.headers == {"Content-Type": "application/json"}
    assert not (tmp_path / "user_cost.json").exists()


def test_create_budget_returns_the_users_record(manager: BudgetManager) -> None:
    assert manager.create_budget(total_budget=10, user="alice")["total_budget"] == 10
    record = manager.create_budget(total_budget=10, user="bob", duration="daily", created_at=NOON)
    assert record == {
        "total_budget": 10,
        "duration": 1,
        "created_at": NOON,
        "last_updated_at": NOON,
        "current_cost": 0,
        "model_cost": {},
    }


@pytest.mark.parametrize(
    ("duration", "days"),
    [("daily", 1), ("weekly", 7), ("monthly", 30), ("yearly", 365), ("30d", 30), ("2 weeks", 14), ("6h", 0.25)],
)
def test_durations_are_those_of_litellm_and_every_other_period(
    manager: BudgetManager, duration: str, days: float
) -> None:
    assert manager.create_budget(10, "alice", duration)["duration"] == days


@pytest.mark.parametrize("duration", ["fortnightly", "", "1", "0 days"])
def test_a_duration_that_is_none_is_a_value_error_and_changes_nothing(manager: BudgetManager, duration: str) -> None:
    with pytest.raises(ValueError, match="period"):
        manager.create_budget(10, "alice", duration)
    assert not manager.is_valid_user("alice")


@pytest.mark.parametrize("created_at", [float("nan"), "yesterday", 1e18])
def test_a_creation_time_that_is_none_is_refused(manager: BudgetManager, created_at: Any) -> None:
    with pytest.raises(ValueError, match="counted from"):
        manager.create_budget(10, "alice", "daily", created_at)
    assert not manager.is_valid_user("alice")


def test_get_total_budget(manager: BudgetManager) -> None:
    manager.create_budget(12.5, "alice")
    assert manager.get_total_budget("alice") == 12.5
    manager.set_limits("bob", "5 calls/day")
    with pytest.raises(UnknownUserError, match="no budget in USD"):
        manager.get_total_budget("bob")


def test_update_cost_adds_what_a_response_cost(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    result = manager.update_cost(user="alice", completion_obj=response(6, 4))
    assert result["user"]["current_cost"] == 0.1
    assert result["user"]["model_cost"] == {"cent": 0.1}
    assert manager.get_current_cost("alice") == 0.1
    assert manager.get_model_cost("alice") == {"cent": 0.1}
    assert manager.balance().spent == 0.1


def test_update_cost_takes_its_first_two_arguments_in_either_order(manager: BudgetManager) -> None:
    manager.update_cost("alice", response())
    manager.update_cost(response(), "alice")
    manager.update_cost(completion_obj=response(), user="alice")
    assert manager.get_current_cost("alice") == 0.3


def test_update_cost_reads_litellms_objects(manager: BudgetManager) -> None:
    manager.update_cost("alice", ModelResponse(prompt=6, completion=4))
    assert manager.get_current_cost("alice") == 0.1


def test_update_cost_reads_responses_of_other_shapes(manager: BudgetManager) -> None:
    anthropic = {"id": "msg_1", "model": "cent", "usage": {"input_tokens": 6, "output_tokens": 4}}
    responses = SimpleNamespace(id="resp_1", model="cent", usage=SimpleNamespace(input_tokens=6, output_tokens=4))
    embeddings = {"model": "cent", "object": "list", "data": [], "usage": {"prompt_tokens": 10, "total_tokens": 10}}
    http = SimpleNamespace(
        content=b'{"id": "h", "model": "cent", "usage": {"prompt_tokens": 10, "completion_tokens": 0}}'
    )
    for number, one in enumerate((anthropic, responses, embeddings, http), 1):
        manager.update_cost("alice", one)
        assert manager.get_current_cost("alice") == pytest.approx(number / 10)


def test_a_model_given_by_hand_wins(manager: BudgetManager) -> None:
    manager.update_cost("alice", response(model="unheard of"), model="cent")
    assert manager.get_model_cost("alice") == {"cent": 0.1}


def test_the_last_chunk_of_a_stream_is_a_response(manager: BudgetManager) -> None:
    """With LiteLLM it records nothing."""
    chunk = response(object="chat.completion.chunk", choices=[])
    manager.update_cost("alice", chunk)
    assert manager.get_current_cost("alice") == 0.1


@pytest.mark.parametrize("given", [reversed, {"id": "x", "model": "cent"}, "text", 5, len], ids=repr)
def test_what_does_not_say_what_it_used_is_refused_by_its_type(manager: BudgetManager, given: Any) -> None:
    with pytest.raises(ValueError, match=r"the \w+ given to update_cost does not say what it used"):
        manager.update_cost("alice", completion_obj=given) if isinstance(given, str) else manager.update_cost(
            "alice", given
        )
    assert manager.get_users() == []


def test_update_cost_counts_texts(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    result = manager.update_cost(user="alice", model="cent", input_text="a" * 40, output_text="b" * 20)
    assert result["user"]["current_cost"] == 0.15  # no tokenizer is known: a token has four bytes
    assert manager.uncertain()[0].reason == "estimated from the text"


def test_an_empty_output_text_is_fine(manager: BudgetManager) -> None:
    """LiteLLM raises."""
    manager.update_cost("alice", model="cent", input_text="a" * 40, output_text="")
    assert manager.get_current_cost("alice") == 0.1


def test_update_cost_says_what_it_wants(manager: BudgetManager) -> None:
    with pytest.raises(ValueError, match="needs a response, or a model"):
        manager.update_cost("alice")
    with pytest.raises(ValueError, match="needs a response, or a model"):
        manager.update_cost("alice", model="cent")
    with pytest.raises(TypeError, match="user must be a string"):
        manager.update_cost(completion_obj=response())
    with pytest.raises(TypeError, match="input_text must be a string"):
        manager.update_cost("alice", model="cent", input_text=["a"], output_text="b")  # type: ignore[arg-type]


def test_projected_cost_is_what_was_spent_and_what_the_input_would_cost(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    manager.update_cost("alice", response())
    messages = [{"role": "user", "content": "a" * 100}]
    assert manager.projected_cost("cent", messages, "alice") >= 0.1 + 1.0
    assert manager.get_current_cost("alice") == 0.1
    with pytest.raises(UnpricedModelError, match="mystery-model"):
        manager.projected_cost("mystery-model-of-mine", messages, "alice")
    with pytest.raises(KeyError):
        manager.projected_cost("cent", messages, "bob")


def test_is_valid_user_is_true_only_after_a_budget_was_given(manager: BudgetManager) -> None:
    assert not manager.is_valid_user("alice")
    manager.update_cost("alice", response())
    assert not manager.is_valid_user("alice")
    manager.create_budget(1, "alice")
    assert manager.is_valid_user("alice")
    manager.set_limits("bob", "$5/day")
    assert manager.is_valid_user("bob")
    for odd in (None, 5, "", "a\nb"):
        assert not manager.is_valid_user(odd)  # type: ignore[arg-type]


def test_get_users(manager: BudgetManager) -> None:
    manager.create_budget(1, "bob")
    manager.update_cost("alice", response())
    assert sorted(manager.get_users()) == ["alice", "bob"]
    assert manager.user_dict.keys() == {"alice", "bob"}
    assert manager.user_dict["bob"]["total_budget"] == 1


def test_reset_cost_forgets_what_was_spent_and_lets_calls_in_flight_be(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    manager.update_cost("alice", response())
    with manager.hold(cost=2, user="alice") as held:
        assert manager.reset_cost("alice")["user"]["current_cost"] == 0
        assert manager.balance("alice").held == 2
        held.settle(cost=1)
    assert manager.get_current_cost("alice") == 1
    assert manager.balance().spent == 1.1
    assert manager.reset_cost(None)["user"]["current_cost"] == 0
    assert manager.balance().spent == 0


def test_reset_on_duration_and_its_companion_have_nothing_left_to_do(manager: BudgetManager, clock: Clock) -> None:
    manager.create_budget(10, "alice", "daily")
    manager.update_cost("alice", response())
    manager.reset_on_duration("alice")
    manager.update_budget_all_users()
    assert manager.get_current_cost("alice") == 0.1
    clock.now += DAY
    assert manager.get_current_cost("alice") == 0
    assert manager.get_model_cost("alice") == {}


def test_durations_slide_from_when_the_budget_was_created(manager: BudgetManager, clock: Clock) -> None:
    record = manager.create_budget(10, "alice", "daily")
    assert record["created_at"] == NOON
    clock.now += DAY - 1
    manager.update_cost("alice", response())
    assert manager.get_current_cost("alice") == 0.1
    clock.now += 1
    assert manager.get_current_cost("alice") == 0
    assert manager.user_dict["alice"]["last_updated_at"] == NOON + DAY


def test_save_data_and_load_data(tmp_path: Path) -> None:
    with BudgetManager(ledger=tmp_path) as manager:
        manager.create_budget(10, "alice")
        assert manager.save_data() == {"status": "success"}
        assert manager.load_data() is None  # type: ignore[func-returns-value]
        assert manager.is_valid_user("alice")


@pytest.mark.parametrize(
    "method", ["get_total_budget", "get_current_cost", "get_model_cost", "reset_cost", "reset_on_duration"]
)
def test_unknown_users_are_key_errors(manager: BudgetManager, method: str) -> None:
    with pytest.raises(KeyError) as error:
        getattr(manager, method)("nobody")
    assert isinstance(error.value, UnknownUserError)
    assert "create_budget(10, 'nobody')" in str(error.value)


# -- without its faults


def test_a_budget_created_again_keeps_what_was_spent(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice", "monthly")
    manager.update_cost("alice", response())
    record = manager.create_budget(20, "alice", "monthly")
    assert (record["total_budget"], record["current_cost"], record["created_at"]) == (20, 0.1, NOON)


@pytest.mark.parametrize("later", [None, "daily", "weekly", "monthly", "1h"])
@pytest.mark.parametrize("first", [None, "daily", "weekly", "monthly", "1h"])
def test_a_new_duration_keeps_what_was_spent_in_the_present_period(
    manager: BudgetManager, clock: Clock, first: str | None, later: str | None
) -> None:
    manager.create_budget(10, "alice", first)
    manager.update_cost("alice", response())
    clock.now += 600
    record = manager.create_budget(10, "alice", later)
    assert record["current_cost"] == 0.1
    with pytest.raises(BudgetExceededError), manager.hold(cost=9.95, user="alice"):
        pass


def test_a_budget_for_ever_that_gets_a_duration_keeps_the_spend_of_all_days(
    manager: BudgetManager, clock: Clock
) -> None:
    manager.create_budget(10, "alice")
    manager.update_cost("alice", response())
    clock.now += 3 * DAY
    manager.update_cost("alice", response())
    assert manager.create_budget(10, "alice", "daily")["current_cost"] == 0.2
    clock.now += DAY
    assert manager.get_current_cost("alice") == 0


def test_a_daily_budget_that_becomes_one_for_ever_does_not_bring_back_old_days(
    manager: BudgetManager, clock: Clock
) -> None:
    manager.create_budget(10, "alice", "daily", created_at=NOON - NOON % DAY)
    manager.update_cost("alice", response())
    clock.now += DAY
    manager.update_cost("alice", response(3, 2))
    assert manager.create_budget(10, "alice")["current_cost"] == 0.05
    clock.now += DAY
    assert manager.get_current_cost("alice") == 0.05


def test_a_new_budget_leaves_other_limits_alone(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5/day", "9 calls/hour", "$1/day on gpt-5*")
    manager.create_budget(10, "alice", "monthly", created_at=NOON - DAY)
    assert {one.text for one in manager.balances("alice")} == {
        "$10/month from 2025-11-21T12:00Z",
        "9 calls/hour",
        "$1/day on gpt-5*",
    }


def test_a_response_is_charged_once(manager: BudgetManager) -> None:
    once = response()
    for _ in range(3):
        manager.update_cost("alice", once)
    assert manager.get_current_cost("alice") == 0.1
    manager.update_cost("bob", once)
    assert manager.get_current_cost("bob") == 0.1
    assert manager.balance().spent == 0.1


def test_a_response_that_was_metered_is_not_charged_again(manager: BudgetManager) -> None:
    @manager.budgeted("alice")
    def ask(model: str, prompt: str) -> dict[str, Any]:
        return response(6, 4, model)

    answer = ask("cent", "hello")
    manager.update_cost("alice", answer)
    assert manager.get_current_cost("alice") == 0.1
    assert manager.balance().spent == 0.1
    manager.update_cost("bob", answer)
    assert manager.get_current_cost("bob") == 0.1
    assert manager.balance().spent == 0.1


def test_one_report_to_a_user_does_not_make_another_users_forgotten(manager: BudgetManager) -> None:
    once = response()
    for user in ("alice", "bob", "alice", "carol", "bob"):
        manager.update_cost(user, once)
    assert [manager.get_current_cost(user) for user in ("alice", "bob", "carol")] == [0.1, 0.1, 0.1]
    assert manager.balance().spent == 0.1


def test_threads_that_report_one_response_charge_it_once(manager: BudgetManager) -> None:
    barrier = threading.Barrier(8)
    once = response()

    def report() -> None:
        barrier.wait()
        manager.update_cost("alice", once)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(report) for _ in range(8)]:
            done.result()
    assert manager.get_current_cost("alice") == 0.1


def test_two_managers_each_charge_a_response(manager: BudgetManager) -> None:
    once = response()
    manager.update_cost("alice", once)
    with BudgetManager("other", ledger="memory://") as other:
        other.update_cost("alice", once)
        assert other.get_current_cost("alice") == 0.1


def test_a_cache_hit_costs_nothing(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    manager.update_cost("alice", ModelResponse({"cache_hit": True}))
    assert manager.get_current_cost("alice") == 0


def test_update_cost_records_above_the_budget_and_then_calls_are_refused(manager: BudgetManager) -> None:
    manager.create_budget(0.05, "alice")
    assert manager.update_cost("alice", response())["user"]["current_cost"] == 0.1
    with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=0.01, user="alice"):
        pass
    assert (refused.value.current_cost, refused.value.max_budget) == (0.1, 0.05)


def test_update_cost_of_an_unknown_user_is_recorded(manager: BudgetManager) -> None:
    assert manager.update_cost("nobody yet", response())["user"]["current_cost"] == 0.1


def test_a_model_without_a_price_is_an_error_that_loses_nothing(manager: BudgetManager) -> None:
    unpriced = response(600_000, 400_000, model="mystery-model-7")
    for _ in range(2):
        with pytest.raises(UnpricedModelError, match="register_price"):
            manager.update_cost("alice", unpriced)
    (listed,) = manager.uncertain()
    assert (listed.users, listed.model, listed.cost) == (("alice",), "mystery-model-7", 0)
    assert manager.report("model")["mystery-model-7"].input_tokens == 600_000
    register_price("mystery-model-7", input=1, output=1)
    manager.update_cost("alice", unpriced)
    assert manager.get_current_cost("alice") == 1
    assert manager.uncertain() == []
    assert manager.report("user")["alice"].calls == 1
    manager.update_cost("alice", unpriced)
    assert manager.get_current_cost("alice") == 1


def test_a_text_of_a_model_without_a_price_is_reconciled(manager: BudgetManager) -> None:
    with pytest.raises(UnpricedModelError, match="uncertain charge"):
        manager.update_cost("alice", model="mystery-model-8", input_text="a", output_text="b")
    manager.reconcile(manager.uncertain()[0].id, cost=0.5)
    assert manager.get_current_cost("alice") == 0.5


def test_unpriced_models_may_be_free(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, unpriced="free") as manager:
        manager.update_cost("alice", response(model="mystery-model-9"))
        assert manager.get_current_cost("alice") == 0
        assert manager.report("model")["mystery-model-9"].calls == 1


def test_threads_lose_no_updates(manager: BudgetManager) -> None:
    manager.create_budget(100, "alice")
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(25):
            manager.update_cost("alice", response())

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert manager.get_current_cost("alice") == 20


def test_check_then_call_does_not_overspend(manager: BudgetManager) -> None:
    """LiteLLM's documented pattern lets 10 threads spend 10 times a budget of one call."""
    manager.create_budget(1, "alice")
    barrier = threading.Barrier(10)
    sent = []

    def ask() -> None:
        barrier.wait()
        with manager.hold("cent", "x", 50, user="alice") as held:
            sent.append(held.id)
            held.settle(usage=Usage(1, 50))

    with ThreadPoolExecutor(10) as pool:
        results = [pool.submit(ask) for _ in range(10)]
    refused = [one for one in results if isinstance(one.exception(), BudgetExceededError)]
    assert len(sent) == 1
    assert len(refused) == 9
    assert manager.get_current_cost("alice") == 0.51


def test_floats_do_not_drift(manager: BudgetManager) -> None:
    for _ in range(100):
        manager.update_cost("alice", response(0, 1))
    assert manager.get_current_cost("alice") == 1


def test_user_dict_is_a_copy(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    manager.user_dict["alice"]["total_budget"] = 1_000_000
    manager.user_dict.clear()
    assert manager.get_total_budget("alice") == 10
