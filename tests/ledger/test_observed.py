"""Alerts, forecasts and gauges on every kind of ledger that processes share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hook_server import Hook
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from budgeted import BudgetManager
from budgeted.telemetry import events, instruments

PAYING = """
import json, sys
from budgeted import BudgetManager; from budgeted.telemetry import events
where, project, url = sys.argv[1:]
told = []
manager = BudgetManager(
    project,
    ledger=where,
    default_user_limits="$3.04",
    alerts_to=url,
    on_event=lambda one: told.append((one.account, one.threshold)),
)
sys.stdin.readline()
for number in range(76):
    with manager.hold(cost=0.02, user=("alice", "bob")[number % 2]) as held:
        held.settle(cost=0.02)
manager.flush()
events.finish(60)
print(json.dumps([one for one in told if one[1] is not None]))
"""


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


@pytest.mark.slow
def test_of_many_processes_one_tells_and_one_sends(place: tuple[str, str], hook: Hook) -> None:
    with BudgetManager(place[1], ledger=place[0], max_budget="$7", alerts=()):
        run = [sys.executable, "-c", PAYING, *place, hook.url]
        made = [subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        for process in made:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        told = [tuple(one) for process in made for one in json.loads(process.communicate(timeout=120)[0])]
    everybody = [("alice", 0.8), ("alice", 1.0), ("bob", 0.8), ("bob", 1.0), ("global", 0.8)]
    assert sorted(told) == everybody
    sent = [hook.next().json for _ in everybody]
    assert sorted((one["account"], one["threshold"]) for one in sent) == everybody
    assert hook.got.empty()


def test_an_alert_is_told_where_it_comes_up(place: tuple[str, str]) -> None:
    told: list[events.Event] = []
    with BudgetManager(place[1], ledger=place[0], max_budget="$10/day + $50", on_event=told.append) as manager:
        for _ in range(10):
            with manager.hold(cost=1) as held:
                held.settle(cost=1)
        manager.flush()
        assert events.finish(10)
        assert [(one.limit, one.threshold) for one in told] == [("$10/day", 0.8), ("$10/day", 1.0)]
        assert manager.uncertain() == []
        assert manager.report(by="user").keys() == {"(nobody)"}  # who gives an alert is no user


def test_a_limit_for_ever_is_foretold_by_what_was_spent_lately(place: tuple[str, str]) -> None:
    with BudgetManager(place[1], ledger=place[0], max_budget="$100") as manager:
        assert manager.balance().exhausted_at is None
        with manager.hold(cost=20, user="alice") as held:
            held.settle(cost=20)
        assert manager.balance().exhausted_at is not None


def test_several_readers_of_a_ledger_over_the_network_share_a_read(place: tuple[str, str]) -> None:
    readers = [InMemoryMetricReader() for _ in range(2)]
    with BudgetManager(place[1], ledger=place[0], max_budget="$100") as manager:
        provider = MeterProvider(readers, shutdown_on_exit=False)
        instruments.observe(provider.get_meter("budgeted"), lambda: [manager.payer])
        assert _spent(readers[0]) == 0
        with manager.hold(cost=20) as held:
            held.settle(cost=20)
        assert _spent(readers[1]) == (0 if manager.ledger.remote else 20)
        provider.shutdown()


def _spent(reader: Any) -> float:
    (value,) = (
        point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "budgeted.spent"
        for point in metric.data.data_points
    )
    return float(value)
