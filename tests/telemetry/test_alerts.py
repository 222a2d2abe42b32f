"""Alerts and other events: each told once, wherever it happens, and by whatever callback, to nobody's harm."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from forking import forked
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

from budgeted import (
    BudgetExceededError,
    BudgetManager,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
    Usage,
)
from budgeted.events import Event
from budgeted.telemetry import events

MOMENT = 1_795_564_800  # 2026-11-25T00:00:00+00:00


class Told:
    """Keeps what it is told, and has all of it when asked."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: str) -> list[Event]:
        assert events.finish(10)
        return [event for event in self.all if event.kind == kind]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider.get_tracer("tests")
    provider.shutdown()


def pay(manager: BudgetManager, cost: float, user: str | None = None) -> None:
    with manager.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


def test_each_threshold_is_told_once_with_its_figures(make_manager: Any, told: Told) -> None:
    manager = make_manager("shop", max_budget="$10/day", on_event=told, clock=lambda: MOMENT + 6 * 3600)
    for _ in range(10):
        pay(manager, 1)
    first, second = told.of("alert")
    assert (first.threshold, first.spent, first.remaining) == (0.8, 8, 2)
    assert (second.threshold, second.spent, second.remaining) == (1.0, 10, 0)
    assert (first.project, first.account, first.account_kind) == ("shop", "global", "global")
    assert (first.limit, first.unit, first.amount) == ("$10/day", "usd", 10)
    assert first.at == dt.datetime(2026, 11, 25, 6, tzinfo=dt.UTC)
    assert first.resets_at == dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
    assert first.exhausted_at == dt.datetime(2026, 11, 25, 7, 30, tzinfo=dt.UTC)  # 8 in six hours, 2 to go


def test_users_and_keyed_blocks_alert_for_themselves(make_manager: Any, told: Told) -> None:
    manager = make_manager(max_budget="$100", default_user_limits="$1/day", on_event=told)
    pay(manager, 0.9, "alice")
    pay(manager, 0.7, "bob")
    with manager.budget(cap=2, key="nightly"):
        pay(manager, 1.6)
    assert [(one.account_kind, one.account) for one in told.of("alert")] == [("user", "alice"), ("block", "nightly")]


def test_one_dear_call_may_reach_several_thresholds(make_manager: Any, told: Told) -> None:
    manager = make_manager(max_budget="$10", on_event=told, alerts=(1, 0.25, 0.5))
    pay(manager, 6)
    assert [one.threshold for one in told.of("alert")] == [0.25, 0.5]


def test_no_share_is_rounded(make_manager: Any, told: Told) -> None:
    manager = make_manager(max_budget="$0.000000007", on_event=told, alerts=0.7)  # 4.9 nano-USD
    pay(manager, 0.000000004)
    assert told.of("alert") == []
    pay(manager, 0.000000001)
    assert len(told.of("alert")) == 1


def test_limits_in_tokens_alert_too_and_rates_do_not(make_manager: Any, told: Told, model: str) -> None:
    manager = make_manager(max_budget="1500 tokens/day + 1 call/minute", on_event=told)
    with manager.hold(model, "x", 1000) as held:
        held.settle(usage=Usage(900, 500))
    manager.flush()
    assert [(one.limit, one.spent) for one in told.of("alert")] == [("1,500 tokens/day", 1400)]


def test_a_new_period_alerts_anew_and_so_does_a_raised_limit_or_a_reset(make_manager: Any, told: Told) -> None:
    now = [MOMENT]
    manager = make_manager(max_budget="$1/day", on_event=told, alerts=0.8, clock=lambda: now[0])
    pay(manager, 0.9)
    assert len(told.of("alert")) == 1
    now[0] += 86_400
    pay(manager, 0.9)
    assert len(told.of("alert")) == 2
    manager.set_limits(None, "$2/day")
    pay(manager, 0.1)
    assert len(told.of("alert")) == 2
    pay(manager, 0.7)
    assert len(told.of("alert")) == 3
    manager.reset_cost(None)
    pay(manager, 1.7)
    assert len(told.of("alert")) == 4


def test_what_was_spent_elsewhere_is_noticed_soon(make_manager: Any, told: Told, tmp_path: Path) -> None:
    first = make_manager("shop", max_budget="$10", ledger=tmp_path, on_event=told, alerts=0.8)
    pay(first, 1)
    first.flush()  # has looked: nothing is due before the next charge here
    code = f"""
from budgeted import BudgetManager
manager = BudgetManager("shop", ledger={str(tmp_path)!r}, alerts=())
with manager.hold(cost=8) as held:
    held.settle(cost=8)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    pay(first, 0.1)
    first.flush()
    assert [one.spent for one in told.of("alert")] == [9.1]


def test_what_was_spent_elsewhere_is_noticed_where_each_call_is_a_user_s_first(
    make_manager: Any, told: Told, tmp_path: Path
) -> None:
    first = make_manager("shop", max_budget="$10", ledger=tmp_path, on_event=told, alerts=0.8)
    second = make_manager("shop", ledger=tmp_path, alerts=())
    pay(first, 1, "alice")
    first.flush()
    pay(second, 8)
    pay(first, 0.1, "bob")
    first.flush()
    assert [one.spent for one in told.of("alert")] == [9.1]


def test_a_threshold_that_calls_of_two_processes_reach_together_is_told_of(
    make_manager: Any, told: Told, tmp_path: Path
) -> None:
    first = make_manager("shop", default_user_limits="$10", ledger=tmp_path, on_event=told, alerts=0.8)
    second = make_manager("shop", default_user_limits="$10", ledger=tmp_path, on_event=told, alerts=0.8)
    with first.hold(cost=5, user="alice") as one, second.hold(cost=4, user="alice") as other:
        one.settle(cost=5)
        first.flush()  # has looked: there is room
        other.settle(cost=4)  # the first one here, by a plan from before
        second.flush()
    assert [alert.spent for alert in told.of("alert")] == [9]


def test_a_threshold_that_a_user_reached_elsewhere_is_told_of_with_its_first_call_here(
    make_manager: Any, told: Told, tmp_path: Path
) -> None:
    first = make_manager("shop", default_user_limits="$10", ledger=tmp_path, on_event=told, alerts=(0.5, 0.8))
    second = make_manager("shop", default_user_limits="$10", ledger=tmp_path, alerts=())
    pay(second, 6, "alice")
    pay(first, 0.1, "alice")
    assert [(one.threshold, one.spent) for one in told.of("alert")] == [(0.5, 6.1)]
    pay(first, 2, "alice")
    assert [one.threshold for one in told.of("alert")] == [0.5, 0.8]


def test_who_flushes_waits_for_what_another_thread_is_looking_at(
    make_manager: Any, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_manager("shop", max_budget="$10", ledger=tmp_path, on_event=told, alerts=0.8)
    second = make_manager("shop", ledger=tmp_path, alerts=())
    pay(first, 1)
    first.flush()
    looking, flushed, read = threading.Event(), threading.Event(), first.ledger.read

    def slowly(account: str) -> Any:
        looking.set()
        flushed.wait(0.2)  # no longer than until the other one has not waited
        return read(account)

    monkeypatch.setattr(first.ledger, "read", slowly)
    pay(second, 8)
    pay(first, 0.1)
    with ThreadPoolExecutor(1) as another:
        other = another.submit(first.flush)
        assert looking.wait(30)
        first.flush()
        found = told.of("alert")
        flushed.set()
        other.result()
    assert [one.spent for one in found] == [9.1]


@pytest.mark.slow
def test_of_many_processes_one_tells(tmp_path: Path) -> None:
    code = f"""
import json, sys
from concurrent.futures import ThreadPoolExecutor
from budgeted import BudgetManager; from budgeted.telemetry import events
told = []
manager = BudgetManager(
    "shop", ledger={str(tmp_path / "ledger")!r}, max_budget="$10", default_user_limits="$3",
    on_event=lambda event: told.append((event.account, event.threshold)),
)
sys.stdin.readline()
def pay(number):
    with manager.hold(cost=0.01, user=("alice", "bob", "carol")[number % 3]) as held:
        held.settle(cost=0.01)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(pay, range(225)))
manager.flush()
events.finish(10)
print(json.dumps(told))
"""
    run = [sys.executable, "-c", code]
    made = [subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in made:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [tuple(one) for process in made for one in json.loads(process.communicate(timeout=60)[0])]
    names = ("alice", "bob", "carol")
    assert sorted(told) == sorted([("global", 0.8), *((name, share) for name in names for share in (0.8, 1.0))])


def test_of_many_threads_one_tells(make_manager: Any, told: Told) -> None:
    manager = make_manager(max_budget="$1", on_event=told, alerts=(0.3, 0.6, 0.9))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: pay(manager, 0.01), range(100)))
    assert sorted(one.threshold for one in told.of("alert")) == [0.3, 0.6, 0.9]


def test_who_dies_before_telling_leaves_it_to_the_next(make_manager: Any, told: Told, tmp_path: Path) -> None:
    code = f"""
import os
from budgeted import BudgetManager; from budgeted.telemetry import alerts
alerts.Alerts._tell = lambda *args: os._exit(9)
manager = BudgetManager("shop", ledger={str(tmp_path)!r}, max_budget="$10")
with manager.hold(cost=9) as held:
    held.settle(cost=9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 9
    second = make_manager("shop", ledger=tmp_path, on_event=told)
    assert second.balance().spent == 9
    pay(second, 0.1)
    assert [one.threshold for one in told.of("alert")] == [0.8]
    assert second.uncertain() == []


def test_an_alert_is_a_warning_a_span_event_and_a_count(
    make_manager: Any, metrics: Any, tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    manager = make_manager("alerting-shop", max_budget="$100", default_user_limits="$10", alerts=0.8)
    with tracer.start_as_current_span("work") as span:
        pay(manager, 9, "alice")
    (event,) = span.events
    assert event.name == "budgeted.alert"
    assert event.attributes["budgeted.threshold"] == 0.8
    assert event.attributes["budgeted.spent"] == 9
    assert "alice" not in repr(event.attributes)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "budgeted: a user has spent 80% of $10")
    assert vars(record)["budgeted.event"] == "alert"
    (point,) = metrics.points("budgeted.alerts", project="alerting-shop")
    assert point.value == 1
    assert dict(point.attributes) == {
        "budgeted.project": "alerting-shop",
        "budgeted.account.kind": "user",
        "budgeted.threshold": "0.8",
    }


def test_without_alerts_nothing_is_told(make_manager: Any, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(max_budget="$1", on_event=told, alerts=())
    pay(manager, 1)
    manager.flush()
    assert told.of("alert") == []
    assert caplog.records == []


def test_charges_that_are_reported_or_corrected_alert_too(make_manager: Any, told: Told, model: str) -> None:
    manager = make_manager(max_budget="$1", on_event=told)
    manager.update_cost("alice", {"id": "r", "model": model, "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    with manager.hold(model, "x", 10) as held:
        pass
    manager.reconcile(held.id, cost=0.9)
    assert [one.threshold for one in told.of("alert")] == [0.8]


def test_refusals_are_told_with_account_and_reason(make_manager: Any, told: Told, model: str) -> None:
    manager = make_manager("shop", max_budget="$10", default_user_limits="$0.0000001", wait=0, on_event=told)
    with pytest.raises(BudgetExceededError), manager.hold(model, "x", 100, user="alice"):
        pass
    (event,) = told.of("refused")
    assert (event.account, event.account_kind, event.reason) == ("alice", "user", "spent")
    assert (event.model, event.limit, event.remaining) == (model, "$0.0000001", 1e-7)


@pytest.mark.parametrize(
    ("settings", "user", "error", "reason", "kind"),
    [
        ({}, "alice", UnpricedModelError, "unpriced", ""),
        ({"unknown_users": "deny"}, "mallory", UnknownUserError, "unknown_user", "user"),
        ({"unattributed": "deny", "default_user_limits": "$1"}, None, UnattributedCallError, "unattributed", "global"),
    ],
)
def test_calls_turned_away_for_other_reasons_are_told(
    make_manager: Any, told: Told, settings: Any, user: str | None, error: type[Exception], reason: str, kind: str
) -> None:
    manager = make_manager(max_budget="$10", on_event=told, **settings)
    for _ in range(2):
        with pytest.raises(error), manager.hold("nobody-priced-this", "x", 100, user=user):
            pass
    seen = [(one.reason, one.account_kind, one.model) for one in told.of("refused")]
    assert seen == [(reason, kind, "nobody-priced-this")] * 2
    assert told.of("refused")[0].account == ("mallory" if kind == "user" else kind)


def test_calls_turned_away_for_other_reasons_are_counted_and_marked(
    make_manager: Any, metrics: Any, tracer: Tracer
) -> None:
    manager = make_manager(max_budget="$10")
    with tracer.start_as_current_span("work") as span, pytest.raises(UnpricedModelError):
        manager.hold("nobody-priced-that", "x", 100).__enter__()
    assert metrics.value("budgeted.calls", outcome="refused", model="nobody-priced-that") == 1
    assert dict(span.attributes) == {"budgeted.outcome": "refused", "budgeted.reason": "unpriced"}


def test_a_callback_that_raises_is_named_once_and_goes_on_being_called(
    make_manager: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []

    def broken(event: Event) -> None:
        seen.append(event)
        msg = f"cannot write to {event.account}"
        raise OSError(msg)

    manager = make_manager(max_budget="$1", default_user_limits="$0.1", on_event=broken, alerts=(0.1, 0.2))
    pay(manager, 0.1, "alice")
    assert events.finish(10)
    assert len(seen) == 3
    said = [record.getMessage() for record in caplog.records if "on_event" in record.getMessage()]
    assert said == ["budgeted: on_event raised OSError (said once)"]


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
def test_a_callback_that_raises_what_ends_a_thread_goes_on_being_called(
    make_manager: Any, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    seen: list[Event] = []

    def broken(event: Event) -> None:
        seen.append(event)
        raise error

    manager = make_manager(max_budget="$1", on_event=broken, alerts=(0.1, 0.2))
    pay(manager, 0.2)
    assert events.finish(10)
    assert [event.threshold for event in seen] == [0.1, 0.2]
    assert f"budgeted: on_event raised {error.__name__} (said once)" in caplog.messages


def test_a_callback_that_would_never_be_awaited_is_refused(make_manager: Any) -> None:
    async def tell(event: Event) -> None:
        raise AssertionError(event)

    with pytest.raises(TypeError, match="write a plain function, not async def"):
        make_manager(on_event=tell)


def test_a_callback_that_hangs_holds_up_no_call_and_no_other_manager(
    make_manager: Any, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    hanging = make_manager(max_budget="$1", on_event=lambda _: go_on.wait(), wait=0)
    other = make_manager(max_budget="$1", on_event=told)
    try:
        for _ in range(events.MOST_WAITING + 10):
            with pytest.raises(BudgetExceededError), hanging.hold(cost=2):
                pass
        pay(other, 0.9)
        assert not events.finish(0)
    finally:
        go_on.set()
    assert [one.threshold for one in told.of("alert")] == [0.8]
    assert [r.levelname for r in caplog.records if "falls behind" in r.getMessage()] == ["WARNING"]


def test_an_alert_is_not_lost_in_a_flood_of_refusals(make_manager: Any, told: Told) -> None:
    free = threading.Event()

    def slow(event: Event) -> None:
        assert free.wait(10)
        told(event)

    manager = make_manager(max_budget="$10", default_user_limits="$1", on_event=slow, wait=0, alerts=0.8)
    for _ in range(events.MOST_WAITING + 500):
        with pytest.raises(BudgetExceededError), manager.hold(cost=2, user="alice"):
            pass
    pay(manager, 0.9, "bob")
    free.set()
    assert [(one.account, one.threshold) for one in told.of("alert")] == [("bob", 0.8)]
    assert len(told.of("refused")) == events.MOST_WAITING


def test_a_process_that_ends_tells_first(tmp_path: Path) -> None:
    code = f"""
from budgeted import BudgetManager
manager = BudgetManager("shop", ledger={str(tmp_path)!r}, max_budget="1000 tokens/day", unpriced="free",
    on_event=lambda event: print(event.kind, event.threshold, flush=True))
with manager.hold("free-model", "x", 900) as held:
    held.settle(usage=dict(input_tokens=1, output_tokens=899))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "alert 0.8\n"


def test_a_forked_child_tells_for_itself(make_manager: Any, told: Told) -> None:
    manager = make_manager(max_budget="$1", on_event=told, alerts=0.5)
    pay(manager, 0.1)

    def child() -> int:
        pay(manager, 0.5)
        return len(told.of("alert"))

    assert forked(child) == "1"
    assert told.of("alert") == []


def test_a_callback_that_has_nothing_to_do_keeps_no_thread(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "IDLE_SECONDS", 0.01)
    listener = events.Listener(told)
    before = set(threading.enumerate())
    for _ in range(3):
        listener.tell(Event(kind="ledger", at=dt.datetime.now(dt.UTC)))
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
        assert not set(threading.enumerate()) - before
    assert len(told.all) == 3


def test_an_alert_in_a_coroutine_reaches_its_span_without_stopping_the_loop(make_manager: Any, tracer: Tracer) -> None:
    manager = make_manager(max_budget="$1", alerts=0.5)

    async def work() -> None:
        async with manager.hold(cost=0.6) as held:
            held.settle(cost=0.6)

    with tracer.start_as_current_span("work") as span:
        asyncio.run(work())
        manager.flush()  # what it left to the background
    assert [event.name for event in span.events] == ["budgeted.alert"]
