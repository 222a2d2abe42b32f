"""How a project stands: its limits, who is near one, what is in flight, what was spent today."""

from __future__ import annotations

from pathlib import Path

import pytest
from clocks import DAY, Clock

from budgeted.manager import project_status as status_module
from budgeted.manager.administrative_manager import Books
from budgeted.manager.project_status import project_status, tightest, used_share


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books("app", ledger=tmp_path, max_budget="$10/day", clock=Clock())


def spend(books: Books, cost: float, user: str | None = None) -> None:
    with books.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


def test_those_nearest_a_limit_come_first_and_those_without_one_last(books: Books) -> None:
    with books:
        for user, limit in (("alice", "$4"), ("bob", "$1 + 100 calls/day"), ("zoe", "0 calls")):
            books.set_limits(user, *limit.split(" + "))
        for user in ("alice", "bob", "free"):
            spend(books, 0.75, user)
        status = project_status(books)
    assert [one.name for one in status.accounts] == ["zoe", "bob", "alice", "free"]
    assert status.complete
    nearest = [tightest(one.balances) for one in status.accounts]
    assert [one and (one.text, used_share(one)) for one in nearest] == [
        ("0 calls", 1.0),
        ("$1", 0.75),
        ("$4", 0.1875),
        None,
    ]


def test_today_is_what_was_charged_since_the_day_began(books: Books) -> None:
    clock = books.payer.clock
    assert isinstance(clock, Clock)
    with books:
        spend(books, 1, "alice")
        clock.now += DAY
        with books.budget("team"):
            spend(books, 0.5, "alice")  # charged to both, and one call
        status = project_status(books)
    assert (status.spent_today, status.calls_today) == (0.5, 1)
    assert status.at.timestamp() == clock.now


def test_what_is_in_flight_uncertain_and_stopped_is_told(books: Books) -> None:
    with books:
        with pytest.raises(TimeoutError), books.hold(cost=0.25, user="bob"):
            raise TimeoutError
        books.stop(None, "nobody is at home")
        before = project_status(books)
        books.resume()
        with books.hold(cost=0.5, user="alice") as held:
            status = project_status(books)
            held.release()
    assert (before.stopped, before.calls_in_flight) == ("nobody is at home", 0)
    assert (status.stopped, status.calls_in_flight, status.held) == ("", 1, 0.5)
    assert (status.uncertain_charges, status.uncertain) == (1, 0.25)


def test_of_very_many_accounts_those_who_spent_most_today_are_looked_at(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "LOOKED_AT", 5)
    monkeypatch.setattr(status_module, "BUSIEST", 2)
    with books:
        for number in range(6):
            spend(books, 0.01 * (number + 1), f"user-{number}")
        status = project_status(books)
    assert [one.name for one in status.accounts] == ["user-5", "user-4"]
    assert not status.complete


def test_a_project_in_which_nothing_has_happened_has_a_status(tmp_path: Path) -> None:
    with Books("new", ledger=tmp_path) as books:
        status = project_status(books)
    assert [one.text for one in status.balances] == [""]
    assert (status.accounts, status.spent_today, status.calls_in_flight) == ((), 0, 0)
