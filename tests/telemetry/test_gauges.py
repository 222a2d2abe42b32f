"""The gauges: limits and what is left of them, read from the ledgers when a collector asks."""

from __future__ import annotations

import fcntl
import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forking import forked
from opentelemetry.sdk.metrics.view import View

from budgeted import BudgetManager, Usage
from budgeted.errors import LedgerUnavailableError
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.telemetry import gauges

NAMES = ("budgeted.limit", "budgeted.spent", "budgeted.held", "budgeted.remaining")


class CountingLedger(MemoryLedger):
    """Counts the looks into it."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[str] = []

    def read(self, account: str) -> Any:
        self.looks.append(account)
        return super().read(account)

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> Any:
        self.looks.append(prefix + "*")
        return super().accounts(prefix, after, count)


def figures(metrics: Any, project: str, **attributes: str) -> tuple[float, ...]:
    """Limit, spent, held and remaining."""
    return tuple(metrics.value(name, project=project, **attributes) for name in NAMES)


def test_the_global_limit_is_shown_with_what_is_spent_held_and_left(
    metrics: Any, make_manager: Any, spend: Any, model: str
) -> None:
    manager = make_manager("shop", max_budget="$10/day")
    spend(paying=manager)
    with manager.hold(cost=1):
        assert figures(metrics, "shop") == (10, 0.002, 1, 8.998)
    (point,) = metrics.points("budgeted.limit", project="shop")
    assert dict(point.attributes) == {
        "budgeted.project": "shop",
        "budgeted.account": "global",
        "budgeted.period": "day",
    }


def test_each_period_has_a_series_of_its_own(metrics: Any, make_manager: Any, spend: Any) -> None:
    spend(paying=make_manager("shop", max_budget="$10/day + $50/30 days + $100"))
    limits = {p.attributes["budgeted.period"]: p.value for p in metrics.points("budgeted.limit", project="shop")}
    assert limits == {"day": 10, "30 days": 50, "total": 100}


def test_limits_on_some_models_are_told_apart(metrics: Any, make_manager: Any) -> None:
    make_manager("shop", max_budget="$10/day + $1/day on gpt-5* + $5 on a/b")
    limits = {
        (p.attributes["budgeted.period"], p.attributes.get("budgeted.models")): p.value
        for p in metrics.points("budgeted.limit", project="shop")
    }
    assert limits == {("day", None): 10, ("day", "gpt-5*"): 1, ("total", "a/b"): 5}


def test_periods_counted_from_a_date_are_told_apart_from_those_of_the_calendar(metrics: Any, make_manager: Any) -> None:
    make_manager("shop", max_budget="$10/month + $20/month from 2026-01-15")
    limits = {p.attributes["budgeted.period"]: p.value for p in metrics.points("budgeted.limit", project="shop")}
    assert limits == {"month": 10, "month from 2026-01-15": 20}


def test_a_rolling_limit_shows_what_counts_now_and_one_that_keeps_what_it_has_now(
    metrics: Any, make_manager: Any
) -> None:
    now = [1_795_564_800.0]
    manager = make_manager("shop", max_budget="$10/rolling day + $10/day, keep up to $5", clock=lambda: now[0])
    for cost in (3, 4):
        with manager.hold(cost=cost) as held:
            held.settle(cost=cost)
        now[0] += 20 * 3600
    assert figures(metrics, "shop", **{"budgeted.period": "rolling day"}) == (10, 4, 0, 6)
    assert figures(metrics, "shop", **{"budgeted.period": "day"}) == (13, 0, 0, 13)


def test_limits_in_tokens_and_calls_are_no_amounts_of_money(metrics: Any, make_manager: Any) -> None:
    make_manager("shop", max_budget="1000 tokens/day + 60 calls/minute")
    assert metrics.points("budgeted.limit", project="shop") == []


def test_a_period_that_has_ended_counts_as_begun_anew(metrics: Any, make_manager: Any, spend: Any) -> None:
    now = [1_800_000_000.0]
    spend(paying=make_manager("shop", max_budget="$10/day", clock=lambda: now[0]))
    assert figures(metrics, "shop") == (10, 0.002, 0, 9.998)
    now[0] += 86_400
    assert figures(metrics, "shop") == (10, 0, 0, 10)


def test_what_is_left_is_never_negative(metrics: Any, make_manager: Any) -> None:
    manager = make_manager("shop", max_budget="$1")
    with manager.hold(cost=1) as held:
        held.settle(cost=3)
    assert figures(metrics, "shop") == (1, 3, 0, 0)


def test_a_view_that_drops_attributes_leaves_the_tightest_global_limit(
    make_metrics: Any, make_manager: Any, spend: Any
) -> None:
    merged = make_metrics(views=[View(instrument_name="budgeted.*", attribute_keys=set())])
    for project, budget in (("a", "$10/day + $0.01 + $5/month"), ("b", "$20"), ("c", "$7/day")):
        spend("alice", paying=make_manager(project, max_budget=budget, default_user_limits="$0.005", metric_users=True))
    assert [merged.value(name) for name in NAMES] == [0.01, 0.002, 0, 0.008]


# -- managers


def test_several_managers_are_told_apart_by_their_projects(metrics: Any, make_manager: Any) -> None:
    make_manager("a", max_budget="$1")
    make_manager("b", max_budget="$2")
    assert metrics.value("budgeted.limit", project="a") == 1
    assert metrics.value("budgeted.limit", project="b") == 2


def test_one_project_on_two_ledgers_has_two_series_that_stay_apart(metrics: Any, make_manager: Any) -> None:
    make_manager("shop", max_budget="$1")
    assert metrics.value("budgeted.limit", project="shop") == 1
    make_manager("shop", max_budget="$2")
    for _ in range(3):
        limits = {
            p.attributes.get("budgeted.ledger"): p.value for p in metrics.points("budgeted.limit", project="shop")
        }
        assert limits == {None: 1, "2": 2}


def test_two_managers_of_one_ledger_have_one_series_and_one_look(metrics: Any, make_manager: Any) -> None:
    ledger = CountingLedger()
    make_manager("shop", max_budget="$1", ledger=ledger)
    make_manager("shop", max_budget="$2", ledger=ledger)
    ledger.looks.clear()
    assert [point.value for point in metrics.points("budgeted.limit", project="shop")] == [2]
    assert ledger.looks == ["g"]


def test_a_closed_manager_is_shown_no_more(metrics: Any, make_manager: Any) -> None:
    manager = make_manager("shop", max_budget="$1")
    assert metrics.points("budgeted.limit", project="shop")
    manager.close()
    assert metrics.points("budgeted.limit", project="shop") == []


def test_a_closed_managers_ledger_goes_with_it(metrics: Any) -> None:
    with BudgetManager("passing", ledger="memory://", max_budget="$1") as manager:
        assert metrics.value("budgeted.limit", project="passing") == 1
    ledger = weakref.ref(manager.ledger)
    for thread in threading.enumerate():
        if thread.name == "budgeted-metrics":
            thread.join(10)
    del manager
    gc.collect()
    assert ledger() is None


def test_a_manager_that_was_reconfigured_is_shown_as_it_is_now(metrics: Any, make_manager: Any) -> None:
    manager = make_manager("shop", max_budget="$1")
    metrics.all()
    manager.reconfigure(max_budget="$3")
    assert metrics.value("budgeted.limit", project="shop") == 3


# -- ledgers that do not answer


class BrokenLedger(MemoryLedger):
    """Cannot be reached any more."""

    broken = False

    def read(self, account: str) -> Any:
        if self.broken:
            msg = "no route to host"
            raise LedgerUnavailableError(msg)
        return super().read(account)


def test_a_ledger_that_is_away_leaves_its_gauges_out_and_everything_else_in(
    metrics: Any, make_manager: Any, spend: Any, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = BrokenLedger()
    make_manager("away", max_budget="$1", ledger=ledger)
    spend(paying=make_manager("here", max_budget="$1"))
    ledger.broken = True
    assert metrics.points("budgeted.limit", project="away") == []
    assert metrics.value("budgeted.spent", project="here") == 0.002
    assert metrics.value("budgeted.spend", model=model) == 0.002
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    ledger.broken = False
    assert metrics.value("budgeted.limit", project="away") == 1


def test_a_ledger_whose_lock_another_process_keeps_does_not_stop_a_collection(
    metrics: Any, make_manager: Any, spend: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "READ_SECONDS", 0.1)
    manager = make_manager("stuck", max_budget="$1", ledger=tmp_path / "ledger")
    spend()
    with (manager.ledger.directory / "lock").open("r+b") as another_process:
        fcntl.flock(another_process, fcntl.LOCK_EX)
        started = time.monotonic()
        for _ in range(2):
            found = metrics.all()
            assert {"budgeted.spend", "budgeted.limit"} <= set(found)
            assert "stuck" not in str(found["budgeted.limit"])
        assert time.monotonic() - started < 2
    assert manager.balance().limit == 1
    assert metrics.value("budgeted.limit", project="stuck") == 1
    assert metrics.value("budgeted.spend", model=model) == 0.002


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_the_shared_ledger_for_itself(
    metrics: Any, make_manager: Any, spend: Any, tmp_path: Path
) -> None:
    manager = make_manager("shop", max_budget="$1", ledger=tmp_path / "ledger")
    spend(paying=manager)

    def child() -> object:
        spend(paying=manager)
        return figures(metrics, "shop")

    assert forked(child) == repr((1.0, 0.004, 0.0, 0.996))
    assert figures(metrics, "shop") == (1, 0.004, 0, 0.996)


# -- users


def crowd(manager: BudgetManager, users: int) -> None:
    for number in range(users):
        manager.set_limits(f"user-{number:05}", "$1/day")


def test_a_crowd_of_users_costs_a_collection_nothing_while_none_is_named(metrics: Any, make_manager: Any) -> None:
    ledger = CountingLedger()
    crowd(make_manager("shop", max_budget="$1", ledger=ledger), 10_000)
    metrics.all()
    ledger.looks.clear()
    started = time.thread_time()
    points = metrics.points("budgeted.limit", project="shop")
    assert time.thread_time() - started < 0.1
    assert len(points) == 1
    assert ledger.looks == ["g"]


def test_users_are_shown_where_they_are_opted_in(metrics: Any, make_manager: Any, spend: Any) -> None:
    manager = make_manager("shop", max_budget="$1", metric_users=True, default_user_limits="$0.50/day")
    spend("alice", paying=manager)
    (point,) = metrics.points("budgeted.remaining", **{"user.id": "alice"}, project="shop")
    assert point.value == 0.498
    assert dict(point.attributes) == {
        "budgeted.project": "shop",
        "budgeted.account": "alice",
        "budgeted.period": "day",
        "user.id": "alice",
    }


def test_a_user_called_global_is_not_the_global_account(metrics: Any, make_manager: Any, spend: Any) -> None:
    manager = make_manager("shop", max_budget="$5/day", metric_users=True, default_user_limits="$1/day")
    spend("global", paying=manager)
    limits = {p.attributes.get("user.id"): p.value for p in metrics.points("budgeted.limit", project="shop")}
    assert limits == {None: 5, "global": 1}


def test_a_list_of_users_has_only_those_read(metrics: Any, make_manager: Any) -> None:
    ledger = CountingLedger()
    manager = make_manager("shop", max_budget="$9", ledger=ledger, metric_users=["user-00003", "nobody"])
    crowd(manager, 10)
    ledger.looks.clear()
    shown = {p.attributes["budgeted.account"] for p in metrics.points("budgeted.limit", project="shop")}
    assert shown == {"global", "user-00003"}
    assert sorted(ledger.looks) == ["g", "u:nobody", "u:user-00003"]


def test_users_who_go_by_one_name_are_added_up(metrics: Any, make_manager: Any, spend: Any) -> None:
    manager = make_manager("shop", max_budget="$9", metric_users=lambda user: user.partition("@")[2])
    for user in ("ann@shop", "ben@shop", "cyd@bank"):
        manager.set_limits(user, "$1/day")
        spend(user, paying=manager)
    assert figures(metrics, "shop", **{"user.id": "shop"}) == (2, 0.004, 0, 1.996)
    assert figures(metrics, "shop", **{"user.id": "bank"}) == (1, 0.002, 0, 0.998)


def test_more_users_than_the_sdk_has_room_for_do_not_displace_the_global_account(
    metrics: Any, make_manager: Any, caplog: pytest.LogCaptureFixture
) -> None:
    manager = make_manager("shop", max_budget="$9", metric_users=True)
    crowd(manager, 2_500)
    for _ in range(2):
        assert metrics.value("budgeted.limit", project="shop", **{"budgeted.account": "global"}) == 9
    assert len(metrics.points("budgeted.limit", project="shop")) == gauges.MOST_USER_SERIES + 1
    assert not metrics.points("budgeted.limit", **{"otel.metric.overflow": True})
    assert len([record for record in caplog.records if "limits of users" in record.message]) <= 1


def test_each_reader_sees_the_present(make_metrics: Callable[..., Any], make_manager: Any, spend: Any) -> None:
    first, second = make_metrics(), make_metrics()
    manager = make_manager("shop", max_budget="$1")
    for spent in (0.002, 0.004):
        spend(paying=manager)
        assert first.value("budgeted.spent", project="shop") == spent
        assert second.value("budgeted.spent", project="shop") == spent


def test_of_many_users_those_who_have_spent_most_are_named(metrics: Any, make_manager: Any, model: str) -> None:
    manager = make_manager("shop", max_budget="$10000", default_user_limits="$10", metric_users="top 3")
    for number in range(2000):
        with manager.hold(cost=0.001 * number, user=f"user-{number:04}") as held:
            held.settle(cost=0.001 * number)
    most = {"user-1997", "user-1998", "user-1999"}
    assert {p.attributes.get("user.id") for p in metrics.points("budgeted.spent", project="shop")} == {None, *most}
    for user in ("user-0001", "user-1999"):
        with manager.hold(model, "x" * 1000, 500, user=user) as held:
            held.settle(usage=Usage(1000, 500))
    spent = {point.attributes.get("user.id"): point.value for point in metrics.points("budgeted.spend", model=model)}
    assert spent == {None: 0.002, "user-1999": 0.002}


def test_a_restart_shows_what_was_there_before(metrics: Any, make_manager: Any, spend: Any, tmp_path: Path) -> None:
    first = make_manager("shop", max_budget="$10/day", ledger=tmp_path)
    spend(paying=first)
    before = figures(metrics, "shop")
    first.close()
    assert metrics.points("budgeted.spent", project="shop") == []
    make_manager("shop", ledger=tmp_path)
    assert figures(metrics, "shop") == before == (10, 0.002, 0, 9.998)


def test_the_time_that_is_left_is_shown_where_a_limit_will_be_reached(metrics: Any, make_manager: Any) -> None:
    midnight = 1_795_564_800
    now = [midnight + 6 * 3600]
    manager = make_manager("shop", max_budget="$10/day + $100/month + $20", alerts=(), clock=lambda: now[0])
    assert metrics.points("budgeted.time_to_exhaustion", project="shop") == []
    with manager.hold(cost=4) as held:
        held.settle(cost=4)
    name, day = "budgeted.time_to_exhaustion", {"project": "shop", "budgeted.period": "day"}
    assert metrics.value(name, **day) == 9 * 3600
    assert metrics.value(name, project="shop", **{"budgeted.period": "total"}) == 4 * 86_400
    assert len(metrics.points(name, project="shop")) == 2  # the month ends before its limit is reached
    now[0] += 86_400
    assert [p.attributes["budgeted.period"] for p in metrics.points(name, project="shop")] == ["total"]
