"""What was spent over time, by day and by month: series that add up, whoever paid and whatever they are called."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import DAY, NOON, Clock

from budgeted import BudgetManager
from budgeted.ledger.spending_records import RollupRow
from budgeted.manager.administrative_manager import Books
from budgeted.money import NANO
from budgeted.page.spend_over_time import SpendOverTime, spend_by_days

TODAY = int(NOON // DAY)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books(clock: Clock) -> Iterator[Books]:
    with Books("over-time", ledger="memory://", clock=clock) as made:
        yield made


def charge(books: BudgetManager, usd: int, *, day: int = TODAY, model: str = "m", users: tuple[str, ...] = ()) -> None:
    accounts = ["g", *(f"u:{user}" for user in users)]
    for account in accounts:
        known = [row for row in books.ledger.rollups(day, account) if (row.day, row.model) == (day, model)]
        before = known[0].usd if known else 0
        books.ledger.restore([], [RollupRow(day, account, "openai", model, 1, before + usd * NANO)], [])


def totals(spend: SpendOverTime) -> dict[str, int]:
    return {line.name: line.total // NANO for line in spend.series}


def test_the_last_thirty_days_end_with_today_and_each_has_what_was_spent_in_it(books: Books) -> None:
    charge(books, 3)
    charge(books, 2, day=TODAY - 29, model="old")
    charge(books, 9, day=TODAY - 30, model="older")
    spend = spend_by_days(books, "model", "day")
    assert (len(spend.starts), spend.starts[-1].date()) == (30, dt.date(2025, 11, 22))
    assert totals(spend) == {"m": 3, "old": 2}
    assert (spend.totals[0], spend.totals[-1], spend.total) == (2 * NANO, 3 * NANO, 5 * NANO)
    assert spend.since is None


def test_months_are_those_of_the_calendar(books: Books) -> None:
    charge(books, 1, day=TODAY)  # 22 November
    charge(books, 2, day=TODAY - 21)  # 1 November
    charge(books, 4, day=TODAY - 22)  # 31 October
    spend = spend_by_days(books, "model", "month")
    assert [f"{start:%Y-%m}" for start in spend.starts][::11] == ["2024-12", "2025-11"]
    assert [amount // NANO for amount in spend.totals[-2:]] == [4, 3]


def test_days_are_those_of_the_projects_time_zone(clock: Clock) -> None:
    clock.now = NOON + DAY / 2  # midnight in UTC, and still yesterday in New York
    with Books("over-time", ledger="memory://", clock=clock, timezone="America/New_York") as books:
        spend = spend_by_days(books, "model", "day")
    assert spend.starts[-1] == dt.datetime(2025, 11, 22, tzinfo=zoneinfo.ZoneInfo("America/New_York"))


def test_beyond_the_seven_dearest_all_others_are_one_series(books: Books) -> None:
    for usd in range(1, 11):
        charge(books, usd, model=f"m{usd}")
    spend = spend_by_days(books, "model", "day")
    assert totals(spend) == {**{f"m{usd}": usd for usd in range(10, 3, -1)}, "(others)": 6}
    assert spend.others == "(others)"
    assert sum(line.total for line in spend.series) == spend.total


def test_what_nobody_in_particular_has_paid_is_a_series_of_its_own(books: Books) -> None:
    charge(books, 2, users=("alice",))
    charge(books, 5)
    spend = spend_by_days(books, "user", "day")
    assert totals(spend) == {"alice": 2, "(nobody)": 5}
    assert (spend.rest, spend.others, spend.total // NANO) == ("(nobody)", "", 7)


def test_a_user_may_be_called_as_any_of_the_other_series(books: Books) -> None:
    charge(books, 2, users=("(others)",), model="a")
    charge(books, 3, users=("(nobody)",), model="b")
    charge(books, 5)
    for i in range(8):
        charge(books, 9 + i, users=(f"u{i}",), model=f"m{i}")
    spend = spend_by_days(books, "user", "day")
    assert (spend.others, spend.rest) == ("((others))", "((nobody))")
    assert totals(spend)["((others))"] == 9 + 2 + 3


@pytest.mark.parametrize("place", ["memory://", "spend", "sqlite:///spend.db"])
def test_what_a_team_and_its_user_paid_is_in_both_series_and_once_in_the_total(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.chdir(tmp_path)
    with BudgetManager("over-time", ledger=place, clock=clock) as manager:
        with (
            manager.budget("team:search", tags={"feature": "chat"}),
            manager.budget("alice"),
            manager.hold(cost=3) as held,
        ):
            held.settle(cost=3)
        by_user, by_tag = (spend_by_days(manager, by, "day") for by in ("user", "tag:feature"))
    assert totals(by_user) == {"alice": 3, "team:search": 3}
    assert (by_user.total // NANO, by_user.shared // NANO) == (3, 3)
    assert totals(by_tag) == {"chat": 3}


def test_nothing_spent_is_no_series(books: Books) -> None:
    spend = spend_by_days(books, "user", "month")
    assert (spend.series, spend.total, spend.rest) == ((), 0, "")


@pytest.mark.parametrize("by", ["day", "would_refuse", "account", "tag:", "tag:a=b", "<script>"])
def test_what_cannot_be_told_apart_over_time_is_refused_by_its_name(books: Books, by: str) -> None:
    with pytest.raises(ValueError, match="by="):
        spend_by_days(books, by, "day")
