"""The logger ``budgeted``: what goes wrong is said at the right level, and nobody's name or text is in it."""

from __future__ import annotations

import contextvars
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clocks import NOON, Clock

from budgeted import BudgetExceededError, BudgetManager, LedgerError, Usage, register_price
from budgeted.telemetry import events
from budgeted.telemetry.log_throttling import MOST_KEYS, Repeats

SECRETS = ("alice", "team-secret", "my prompt", "sk-secret", "nightly-key")


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="budgeted")
    return caplog


def test_a_life_full_of_trouble_names_no_user_no_prompt_and_no_key(
    records: pytest.LogCaptureFixture, make_manager: Any, model: str
) -> None:
    manager = make_manager(max_budget="$1", default_user_limits="$0.004", wait=0, fallback="dearer-than-known")
    prompt = "my prompt, sk-secret"
    with manager.budget("team-secret"), manager.hold(model, prompt, user="alice") as held:  # clamped
        held.settle(usage=Usage(1, 1))
    with manager.hold(model, prompt, 100, user="alice"):  # estimated
        pass
    with manager.hold(cost=0.001, user="alice") as held:  # an overrun
        held.settle(cost=0.5)
    with pytest.raises(BudgetExceededError), manager.hold(model, prompt, 100, user="alice"):  # no fallback, refused
        pass
    with manager.hold(model, prompt, 10) as held:  # unattributed
        held.settle(usage=Usage(1, 1))
    soft = make_manager(max_budget="$1", default_user_limits="$0.0000001", on_exceed="warn")
    with soft.hold(model, prompt, 100, user="alice") as held:  # over, and goes on
        held.settle(usage=Usage(1, 1))
    with soft.budget("alice", cap=1, key="nightly-key"), soft.hold(model, prompt, 10) as held:
        held.settle(usage=Usage(1, 1))
    with soft.budget("alice") as block:
        contextvars.Context().run(block.__exit__, None, None, None)  # left where it was not entered
    told = [(record.levelname, record.getMessage()) for record in records.records if record.name == "budgeted"]
    assert len(told) >= 6
    assert not [text for _, text in told for secret in SECRETS if secret in text]
    assert {level for level, _ in told} <= {"INFO", "WARNING"}


def test_a_call_that_goes_well_is_not_worth_a_word(records: pytest.LogCaptureFixture, spend: Any) -> None:
    spend("alice")
    assert records.records == []


@pytest.mark.parametrize(("budget", "settled", "word"), [("$0.004", True, "at most"), ("$1", False, "estimate")])
def test_what_needs_a_look_is_a_warning(
    records: pytest.LogCaptureFixture, make_manager: Any, model: str, budget: str, settled: bool, word: str
) -> None:
    manager = make_manager(max_budget=budget)
    with manager.hold(model, "x") as held:
        if settled:
            held.settle(usage=Usage(1, 1))
    (record,) = records.records
    assert record.levelname == "WARNING"
    assert record.name == "budgeted"
    assert word in record.getMessage()


def test_calls_that_are_capped_are_a_record_a_minute_and_model(
    records: pytest.LogCaptureFixture, make_manager: Any, model: str
) -> None:
    register_price("capped-as-well", input=1, output=2, max_output_tokens=100_000)
    clock = Clock()
    manager = make_manager(max_budget="$0.004", clock=clock)
    for seconds, name, times in ((0, model, 3), (59, model, 1), (59, "capped-as-well", 1), (60, model, 1)):
        clock.now = NOON + seconds
        for _ in range(times):
            with manager.hold(name, "x") as held:
                held.release()
    told = [record.getMessage() for record in records.records if "may write at most" in record.getMessage()]
    assert [text.split()[1] for text in told] == [model, "capped-as-well", model]
    assert "(the last of 4 alike)" in told[2]


def test_a_cap_that_cuts_off_hardly_any_answer_wakes_nobody(
    records: pytest.LogCaptureFixture, make_manager: Any, model: str
) -> None:
    manager = make_manager(max_budget="$0.0075")
    with manager.hold(model, "x") as held:  # 900 of 1,000 tokens
        held.release()
    assert [record.levelname for record in records.records] == ["INFO"]


def test_a_refusal_is_one_record_that_wakes_nobody(records: pytest.LogCaptureFixture, make_manager: Any) -> None:
    register_price("refused-quietly", input=1, output=2, max_output_tokens=1000)
    poor = make_manager("shop", max_budget="$0.0000001", wait=0)
    for _ in range(3):
        with pytest.raises(BudgetExceededError), poor.hold("refused-quietly", "x", 100):
            pass
    assert [record.levelname for record in records.records] == ["INFO"] * 3
    assert shown(records.records[0]) == {
        "budgeted.event": "refused",
        "budgeted.project": "shop",
        "budgeted.account": "global",
        "budgeted.account.kind": "global",
        "budgeted.reason": "spent",
        "budgeted.limit": "$0.0000001",
        "budgeted.unit": "usd",
        "budgeted.amount": 1e-7,
        "budgeted.spent": 0,
        "budgeted.held": 0,
        "budgeted.remaining": 1e-7,
        "budgeted.requested": 0.000219,
        "gen_ai.request.model": "refused-quietly",
    }


def shown(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that a structured log shows of a record."""
    return {name: value for name, value in vars(record).items() if "." in name}


def test_overruns_and_estimates_are_records_with_figures(
    records: pytest.LogCaptureFixture, manager: BudgetManager, model: str
) -> None:
    with manager.hold(cost=0.001, user="alice") as held:
        held.settle(cost=0.5)
    with manager.hold(model, "x", 100, user="alice"):
        pass
    overrun, estimate = map(shown, records.records)
    assert (overrun["budgeted.event"], overrun["budgeted.cost"], overrun["budgeted.overrun"]) == ("overrun", 0.5, 0.499)
    assert (estimate["budgeted.event"], estimate["gen_ai.request.model"]) == ("estimated", model)
    assert estimate["budgeted.cost"] > 0
    assert "left" in estimate["budgeted.reason"] or "settled" in estimate["budgeted.reason"]
    assert not {"budgeted.account", "user.id"} & (overrun.keys() | estimate.keys())


def test_a_loop_writes_a_line_a_minute_that_counts_the_rest_and_tells_each(
    records: pytest.LogCaptureFixture, make_manager: Any, model: str
) -> None:
    clock, told = Clock(), []
    manager = make_manager(max_budget="$1000", alerts=(), clock=clock, on_event=told.append)

    def loop(times: int) -> None:
        for _ in range(times):
            with manager.hold(cost=0.001) as held:
                held.settle(cost=0.002)

    loop(1000)
    assert len(records.messages) == 1
    with manager.hold(model, "x", 100):  # another reason is another line
        pass
    assert len(records.messages) == 2
    clock.now += 61
    loop(1)
    assert shown(records.records[-1])["budgeted.count"] == 1000
    assert records.messages[-1].endswith("(the last of 1000 alike)")
    loop(7)
    manager.close()
    assert shown(records.records[-1])["budgeted.count"] == 7
    assert len(records.messages) == 4
    assert events.finish(10)
    assert len(told) == 1009


def test_a_clock_that_is_set_back_silences_nothing(records: pytest.LogCaptureFixture, make_manager: Any) -> None:
    clock = Clock()
    manager = make_manager(max_budget="$1", alerts=(), clock=clock)
    for _ in range(3):
        with manager.hold(cost=0.001) as held:
            held.settle(cost=0.002)
        clock.now -= 3600
    assert len(records.messages) == 3


def test_invented_names_of_models_do_not_grow_without_end(records: pytest.LogCaptureFixture) -> None:
    lines = Repeats()
    for number in range(MOST_KEYS + 500):
        lines.log(f"model-{number}", 0.0, logging.WARNING, "said", (), {})
    assert len(records.messages) == MOST_KEYS + 1
    lines.write_rest()
    assert records.messages[-1] == "said (the last of 499 alike)"


def test_a_filter_that_raises_costs_nobody_a_response(
    monkeypatch: pytest.MonkeyPatch, make_manager: Any, model: str
) -> None:
    told: list[events.Event] = []

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError(record.name)

    monkeypatch.setattr(logging.getLogger("budgeted"), "filters", [broken])
    manager = make_manager(max_budget="$1", on_event=told.append)
    with manager.hold(cost=0.001) as held:
        held.settle(cost=0.9)  # an overrun, and an alert
    with pytest.raises(BudgetExceededError), manager.hold(cost=1):
        pass
    assert manager.balance().spent == 0.9
    with make_manager(max_budget="$0.004").hold(model, "x") as held:  # clamped
        held.release()
    with make_manager(max_budget="$0", on_exceed="warn").hold(cost=1) as held:  # over, and goes on
        held.release()
    assert events.finish(10)
    assert [event.kind for event in told] == ["overrun", "alert", "refused"]


def test_a_process_that_ends_says_what_it_left_out() -> None:
    code = """
from budgeted import BudgetManager
manager = BudgetManager("shop", ledger="memory://", max_budget="$1", alerts=())
for _ in range(5):
    with manager.hold(cost=0.001) as held:
        held.settle(cost=0.002)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    first, last = done.stderr.splitlines()
    assert "alike" not in first
    assert last.endswith("(the last of 4 alike)")


@pytest.mark.parametrize(("metric_users", "name"), [(True, "alice"), (["bob"], None), ("hash", "2bd806c97f0e00af")])
def test_a_user_is_named_in_records_only_where_opted_in(
    records: pytest.LogCaptureFixture, make_manager: Any, metric_users: Any, name: str | None
) -> None:
    manager = make_manager(max_budget="$1", metric_users=metric_users, alerts=())
    with manager.hold(cost=0.001, user="alice") as held:
        held.settle(cost=0.5)
    (record,) = records.records
    assert shown(record).get("user.id") == name
    assert shown(record).get("budgeted.account") == name


def test_a_ledger_in_trouble_is_an_error_in_one_record(
    records: pytest.LogCaptureFixture, make_manager: Any, tmp_path: Path, model: str
) -> None:
    manager = make_manager(max_budget="$1", ledger=tmp_path)
    manager.ledger.close()
    with pytest.raises(LedgerError), manager.hold(model, "x", 100):
        pass
    (record,) = records.records
    assert record.levelname == "ERROR"
    assert shown(record)["budgeted.event"] == "ledger"


def test_a_hostile_name_of_a_model_forges_no_line_of_the_log(
    records: pytest.LogCaptureFixture, manager: BudgetManager
) -> None:
    register_price("evil*", input=1, output=2, max_output_tokens=1000)
    with manager.hold("evil\n2026-11-22 CRITICAL all is lost", "x", 100):
        pass
    assert "\n" not in records.records[0].getMessage()


def test_a_call_without_a_model_is_told_of_in_whole_words(make_manager: Any, caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(max_budget="$1", wait=0)
    with caplog.at_level("INFO", "budgeted"), pytest.raises(BudgetExceededError), manager.hold(cost=2):
        pass
    assert caplog.messages == ["budgeted: a call was refused: no room is left of $1 of a global account"]
