"""The page of metrics, events and logs: what it names is what calls emit."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from page_examples import ROOT
from scripts import reference_tables

from budgeted import BudgetError, BudgetManager, Usage, register_tool
from budgeted.telemetry import events
from budgeted.telemetry.call_reporting import TURNED_AWAY

PAGE = ROOT / "docs" / "reference" / "telemetry.md"


def named(instrument: str) -> set[str]:
    """The attributes that the page has for an instrument."""
    shared = reference_tables.SHARED
    return {one for name in reference_tables.ATTRIBUTES[instrument] for one in shared.get(name, (name,))}


@pytest.fixture
def everything(make_manager: Any, model: str) -> BudgetManager:
    """Calls of every outcome, by users and tags that may be named."""
    register_tool("page-search", per_call=0.001)
    manager: BudgetManager = make_manager(
        max_budget="$0.05/day + $1 on telemetry-*", metric_users=True, metric_tags=["feature"], alerts=0.1
    )
    manager.set_limits("alice", "$0.006")
    with manager.budget("alice", tags={"feature": "search"}):
        with manager.hold(model, "x") as held:  # clamped
            held.settle(usage=Usage(1, 500))
        manager.reconcile(held.id, cost=0)
        with manager.hold(model, "x", 1) as held:  # an overrun
            held.settle(usage=Usage(1, 1000))
        with manager.hold(tool="page-search") as held:
            held.settle()
        with pytest.raises(BudgetError), manager.hold(cost=5):
            pass
        with pytest.raises(TimeoutError), manager.hold(cost=0.001):
            raise TimeoutError
    return manager


@pytest.mark.usefixtures("everything")
def test_series_have_the_attributes_that_the_page_names(metrics: Any) -> None:
    found = {
        name: {key for point in metric.data.data_points for key in point.attributes}
        for name, metric in metrics.all().items()
    }
    assert found.keys() >= {
        "budgeted.spend",
        "budgeted.calls",
        "budgeted.overrun",
        "budgeted.clamped",
        "budgeted.limit",
    }
    for name, attributes in found.items():
        assert {re.sub(r"(budgeted\.tag)\..*", r"\1.NAME", one) for one in attributes} <= named(name), name
    assert {"gen_ai.tool.name", "user.id", "budgeted.tag.feature", "budgeted.reason"} <= found["budgeted.calls"]
    assert {"budgeted.models", "user.id"} <= found["budgeted.limit"]


def test_records_have_the_fields_that_the_page_names(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    plain = vars(logging.makeLogRecord({})).keys()
    with caplog.at_level(logging.INFO, "budgeted"):
        request.getfixturevalue("everything")
        events.finish()
    told = {name for record in caplog.records for name in vars(record).keys() - plain - {"message"}}
    assert {"budgeted.event", "budgeted.reason", "budgeted.limit", "user.id"} <= told
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(name for name in told if f"`{name}`" not in text) == []


def test_every_reason_of_a_refusal_is_on_the_page() -> None:
    [row] = re.findall(r"^\| `budgeted.reason` \|.*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    reasons = {"spent", "held", "repeated"} | {reason for _, reason, _ in TURNED_AWAY}
    assert set(re.findall(r"`(\w+)`", row)) == reasons
