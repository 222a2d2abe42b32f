"""The view of what goes on: who waits and asks, who was refused and why, and what lets such a call through."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from serving import READER, TOKEN, Serving
from visiting import Visitor

from budgeted import BudgetExceededError, BudgetManager, BudgetStoppedError
from budgeted.ledger.memory.ledger import MemoryLedger

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("default", ledger=MemoryLedger(), on_exceed="raise", wait=60) as made:
        yield made


@pytest.fixture
def serving(manager: BudgetManager) -> Iterator[Serving]:
    with Serving(ledger=manager.ledger, tokens=(TOKEN,), read_tokens=(READER,)) as one:
        yield one


@pytest.fixture
def visitor(serving: Serving) -> Iterator[Visitor]:
    with Visitor(serving.url, TOKEN) as one:
        yield one


def refuse(manager: BudgetManager, cost: float, user: str | None = None) -> None:
    with pytest.raises(BudgetExceededError), manager.hold(cost=cost, user=user):
        pass
    manager.activity()  # tells it at once


def test_nothing_going_on_is_said(visitor: Visitor) -> None:
    page = visitor.get("/page/activity")
    for told in ("No call waits.", "No call was refused in the last day.", "No call is in flight.", "Refused: 0 today"):
        assert told in page.text


def test_who_asks_is_approved_with_a_click_and_a_confirmation_that_says_the_new_limit(
    visitor: Visitor, manager: BudgetManager
) -> None:
    manager.set_limits(SCRIPT, "$1/day")

    def ask() -> None:
        with manager.budget(SCRIPT, on_exceed="ask"), manager.hold(cost=3.5) as held:
            held.settle(cost=3.5)

    thread = threading.Thread(target=ask)
    thread.start()
    while not manager.activity().waiting:
        assert thread.is_alive()
    page = visitor.get("/page/activity")
    assert "asks" in page.text
    assert SCRIPT in page.links
    preview = visitor.get(page.links["Approve: top up $2.50"])
    assert "$3.50 in this period" in preview.text
    visitor.send(preview.form("/page/top-up"), 303)
    thread.join(30)
    assert not thread.is_alive()
    assert manager.balance(SCRIPT).spent == 3.5
    manager.activity()
    assert "No call waits." in visitor.get("/page/activity").text


def test_who_was_refused_is_told_with_the_limit_and_what_is_missing(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    refuse(manager, 1.0213, "alice")
    page = visitor.get("/page/activity")
    for told in ("Refused: 1 today", "alice", "$1/day has $1.00 left", "$1.02"):
        assert told in page.text
    visitor.send(visitor.get(page.links["Top up $0.03"]).form("/page/top-up"), 303)
    with manager.hold(cost=1.0213, user="alice") as held:
        held.settle(cost=1)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("$1", "Edit limits"),
        ("$1/rolling 24 hours", "Edit limits"),
        ("$1/month", "Top up $4.00"),
        ("0 calls/day", "Top up 1 call"),
    ],
)
def test_what_lets_such_a_call_through_depends_on_the_limit(
    visitor: Visitor, manager: BudgetManager, stated: str, told: str
) -> None:
    manager.set_limits(None, stated)
    refuse(manager, 5)
    assert told in visitor.get("/page/activity").text


def test_whoever_is_stopped_is_resumed_from_there(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    manager.stop("alice", reason="her key has leaked")
    with pytest.raises(BudgetStoppedError), manager.hold(cost=0.1, user="alice"):
        pass
    manager.activity()
    page = visitor.get("/page/activity")
    question = visitor.send(visitor.get(page.links["Resume"]).form("/page/resume"))
    assert "her key has leaked" in question.text
    visitor.send(question.form("/page/resume"), 303)
    with manager.hold(cost=0.1, user="alice") as held:
        held.settle(cost=0.1)


def test_a_cap_with_a_key_can_be_changed_and_one_without_is_only_told(visitor: Visitor, manager: BudgetManager) -> None:
    with manager.budget(cap=1, key="nightly"):
        refuse(manager, 2)
    page = visitor.get("/page/activity")
    assert "key:nightly" in page.links
    with manager.budget(cap=1):
        refuse(manager, 2)
    page = visitor.get("/page/activity")
    assert "Refused: 2 today" in page.text
    assert page.text.count("Edit limits") == 1


def test_calls_in_flight_are_listed_with_what_they_hold(visitor: Visitor, manager: BudgetManager) -> None:
    with manager.hold(cost=0.25, user=SCRIPT) as held:
        page = visitor.get("/page/activity")
        assert "In flight: 1, $0.25 held" in page.text
        assert f"global, {SCRIPT}" in page.text
        held.settle(cost=0.25)


def test_who_may_only_look_sees_what_goes_on_and_no_button(serving: Serving, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    refuse(manager, 2, "alice")
    with Visitor(serving.url, READER) as reader:
        page = reader.get("/page/activity")
    assert "$1/day has $1.00 left" in page.text
    assert "Top up" not in page.text
