"""What goes on in one process is seen by others that share its ledger: refused calls, waiting ones, calls in flight."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clocks import Clock
from conftest import ALL_SHARED
from ledgers import opened
from servers import project

from budgeted import BudgetExceededError, BudgetManager, BudgetStoppedError, LedgerUnavailableError
from budgeted.telemetry import activity_records

PLACES: dict[str, Callable[[Path], str]] = {"journal": str, **ALL_SHARED}
HOSTILE = "\"; DROP TABLE accounts; --\n<script>alert('é')</script>"


@pytest.fixture(params=PLACES)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[BudgetManager, BudgetManager]]:
    """A manager whose users have a dollar each, and one of another process that looks."""
    where, name = PLACES[request.param](tmp_path / "ledger"), project()
    one = BudgetManager(name, ledger=opened(where, name), default_user_limits="$1/day", on_exceed="raise")
    other = BudgetManager(name, ledger=opened(where, name))
    yield one, other
    for manager in (one, other):
        manager.close()


def refuse(manager: BudgetManager, user: str, cost: float = 2) -> None:
    with pytest.raises(BudgetExceededError), manager.hold(cost=cost, user=user):
        pass


def test_a_refused_call_is_seen_by_another_process(two: tuple[BudgetManager, BudgetManager]) -> None:
    mine, other = two
    refuse(mine, HOSTILE.replace("\n", " "))
    mine.stop("bob", reason="an audit")
    with pytest.raises(BudgetStoppedError), mine.hold(cost=0.1, user="bob"):
        pass
    mine.activity()
    seen = other.activity()
    assert [(one.account, one.limit, one.requested, one.remaining, one.reason) for one in reversed(seen.refusals)] == [
        (HOSTILE.replace("\n", " "), "$1/day", 2, 1, "spent"),
        ("bob", "", None, None, "stopped"),
    ]
    assert seen.refused_today == 2
    assert not seen.waiting


ENDS = """
import sys
from budgeted import BudgetExceededError, BudgetManager
manager = BudgetManager(sys.argv[2], ledger=sys.argv[1], default_user_limits="$1/day", on_exceed="raise")
for user in ("alice", "bob"):
    try:
        with manager.hold(cost=2, user=user):
            pass
    except BudgetExceededError:
        manager.activity() if user == "alice" else None  # which tells at once, and so nothing for seconds
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLACES)
def test_a_process_that_ends_tells_the_last_it_has_to_tell(kind: str, tmp_path: Path) -> None:
    where, name = PLACES[kind](tmp_path / "ledger"), project()
    subprocess.run([sys.executable, "-c", ENDS, where, name], check=True, timeout=120)
    with BudgetManager(name, ledger=opened(where, name)) as other:
        assert [one.account for one in other.activity().refusals] == ["bob", "alice"]


def test_who_looks_in_the_process_of_the_calls_sees_each_refusal_at_once(tmp_path: Path) -> None:
    """As the page of a gateway does, whose budgets are another manager's."""
    with (
        BudgetManager("shop", ledger=tmp_path, default_user_limits="$1/day", on_exceed="raise") as mine,
        BudgetManager("shop", ledger=mine.ledger) as looking,
    ):
        for number in range(20):
            refuse(mine, f"user{number}")
            assert looking.activity().refused_today == number + 1


def test_calls_in_flight_are_seen_with_who_pays(two: tuple[BudgetManager, BudgetManager]) -> None:
    mine, other = two
    with mine.hold(cost=0.25, user="alice") as held:
        [call] = other.activity().in_flight
        assert (call.accounts, call.held) == (("global", "alice"), 0.25)
        held.settle(cost=0.1)
    assert other.activity().in_flight == ()


def test_a_call_that_asks_is_seen_until_it_gets_what_it_asked_for(two: tuple[BudgetManager, BudgetManager]) -> None:
    mine, other = two

    def ask() -> None:
        with mine.budget("alice", on_exceed="ask", wait=60), mine.hold(cost=2) as held:
            held.settle(cost=2)

    thread = threading.Thread(target=ask)
    thread.start()
    while not mine.activity().waiting:
        assert thread.is_alive()
    [waiting] = other.activity().waiting
    assert (waiting.account, waiting.limit, waiting.requested, waiting.asks) == ("alice", "$1/day", 2, True)
    other.top_up("alice", 5)
    thread.join(30)
    assert not thread.is_alive()
    assert mine.activity().waiting == ()
    assert other.activity().waiting == ()


def test_a_call_that_has_asked_for_long_is_still_seen_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgeted.metering.when_it_does_not_fit.SAID_AFTER", 0.0)
    said = threading.Event()
    monkeypatch.setattr("budgeted.telemetry.call_reporting.note_waiting", lambda *_: said.set())
    with BudgetManager("p", ledger="memory://", default_user_limits="$1/day") as manager:

        def ask() -> None:
            with manager.budget("alice", on_exceed="ask", wait=60), manager.hold(cost=2) as held:
                held.settle(cost=2)

        thread = threading.Thread(target=ask)
        thread.start()
        assert said.wait(30)
        manager.top_up("bob", 1)  # it looks again, and there is still no room
        assert [one.asks for one in manager.activity().waiting] == [True]
        manager.top_up("alice", 5)
        thread.join(30)
        assert not thread.is_alive()


def test_what_processes_tell_is_no_account_that_anybody_sees(two: tuple[BudgetManager, BudgetManager]) -> None:
    mine, other = two
    refuse(mine, "bob")
    assert mine.activity().refused_today == 1
    assert [info.name for info in other.accounts()] == ["bob"]
    assert set(other.report(by="account")) <= {"global", "bob"}


def test_a_thousand_refusals_are_told_in_one_record_of_the_last(
    two: tuple[BudgetManager, BudgetManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = two
    told: list[activity_records.Record] = []
    publish = activity_records.publish

    def count(ledger: object, process: str, record: activity_records.Record) -> None:
        told.append(record)
        publish(ledger, process, record)  # type: ignore[arg-type]

    monkeypatch.setattr("budgeted.telemetry.activity.publish", count)
    for number in range(1000):
        refuse(mine, f"user {number % 30}", 2 + number)
    mine.activity()
    seen = other.activity()
    assert seen.refused_today == 1000
    assert [one.requested for one in seen.refusals] == [2 + number for number in range(999, 979, -1)]
    assert len(told) < 100


def test_what_a_ledger_did_not_take_is_told_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = activity_records.publish

    def away(*_: object) -> None:
        raise LedgerUnavailableError("it is away")

    with BudgetManager("p", ledger=str(tmp_path), default_user_limits="$1") as manager:
        monkeypatch.setattr("budgeted.telemetry.activity.publish", away)
        refuse(manager, "bob")
        assert manager.activity().refusals == ()
        monkeypatch.setattr("budgeted.telemetry.activity.publish", publish)
        assert [one.account for one in manager.activity().refusals] == ["bob"]


def test_what_a_process_told_is_forgotten_after_a_day(tmp_path: Path) -> None:
    clock = Clock()
    with (
        BudgetManager("p", ledger=str(tmp_path), clock=clock, default_user_limits="$1") as gone,
        BudgetManager("p", ledger=str(tmp_path), clock=clock) as looks,
    ):
        refuse(gone, "bob")
        gone.activity()
        assert looks.activity().refused_today == 1
        clock.now += 86_401
        assert looks.activity().refusals == ()
        refuse(looks, "bob")
        looks.activity()
        assert len(activity_records.read(looks.ledger, clock.now - 86_401)) == 1
