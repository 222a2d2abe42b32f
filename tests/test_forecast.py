"""When a limit will be reached, as balances and reports tell it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from budgeted import BudgetManager

MIDNIGHT = 1_795_564_800  # 2026-11-25T00:00:00+00:00
HOUR = 3600


class Shop:
    """A manager with a clock that is set by hand."""

    def __init__(self, **settings: Any) -> None:
        self.now = float(MIDNIGHT)
        self.manager = BudgetManager("shop", ledger="memory://", clock=lambda: self.now, alerts=(), **settings)

    def pay(self, cost: float, user: str | None = None) -> None:
        with self.manager.hold(cost=cost, user=user) as held:
            held.settle(cost=cost)

    def left(self, user: str | None = None) -> float | None:
        """Seconds until the tightest limit is reached."""
        end = self.manager.balance(user).exhausted_at
        return None if end is None else (end - dt.datetime.fromtimestamp(self.now, dt.UTC)).total_seconds()


@pytest.fixture
def shop() -> Any:
    made: list[Shop] = []

    def make(**settings: Any) -> Shop:
        made.append(Shop(**settings))
        return made[-1]

    yield make
    for one in made:
        one.manager.close()


def test_the_rate_is_what_was_spent_since_the_period_began(shop: Any) -> None:
    day = shop(max_budget="$10/day")
    day.now += 6 * HOUR
    assert day.left() is None
    day.pay(4)
    assert day.left() == pytest.approx(9 * HOUR)
    day.now += 6 * HOUR
    assert day.left() is None  # at 4 in twelve hours it resets before


def test_a_first_call_foretells_no_ruin(shop: Any) -> None:
    day = shop(max_budget="$10/day")
    day.now += 1
    day.pay(0.1)
    assert day.left() is None
    day.pay(0.9)
    assert day.left() == pytest.approx(9 * HOUR)  # as if over an hour, the 24th part of a day


def test_what_is_held_is_as_good_as_spent_and_a_limit_that_is_reached_is_so_now(shop: Any) -> None:
    day = shop(max_budget="$10/day")
    day.now += 6 * HOUR
    day.pay(4)
    with day.manager.hold(cost=2) as held:
        assert day.left() == pytest.approx(6 * HOUR)
        held.settle(cost=6)
    assert day.left() == 0


def test_a_limit_for_ever_goes_by_the_last_seven_days(shop: Any) -> None:
    ever = shop(max_budget="$100")
    ever.pay(50)
    ever.now += 30 * 24 * HOUR
    assert ever.left() is None  # nothing lately
    ever.pay(10)
    assert ever.left() == pytest.approx(4 * 24 * HOUR)  # a day at least: 10 of it, 40 to go
    ever.now += 4 * 24 * HOUR
    assert ever.left() == pytest.approx(16 * 24 * HOUR)


def test_each_account_has_a_rate_of_its_own(shop: Any) -> None:
    users = shop(max_budget="$1000", default_user_limits="$10")
    users.pay(5, "alice")
    users.pay(1, "bob")
    found = {one.name: one.balances[0].exhausted_at for one in users.manager.accounts()}
    assert found["alice"] == dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
    assert found["bob"] == dt.datetime(2026, 12, 4, tzinfo=dt.UTC)
    report = users.manager.report(by="user")
    assert {name: row.exhausted_at for name, row in report.items()} == found
    assert users.left("alice") == pytest.approx(24 * HOUR)


def test_other_headings_of_a_report_have_no_limit_to_reach(shop: Any) -> None:
    users = shop(max_budget="$10/day")
    users.pay(5, "alice")
    assert all(row.exhausted_at is None for row in users.manager.report(by="day").values())


def test_limits_in_tokens_and_calls_are_foretold_too(shop: Any) -> None:
    calls = shop(max_budget="10 calls/day")
    calls.now += 6 * HOUR
    for _ in range(4):
        calls.pay(0)
    (balance,) = calls.manager.balances()
    assert balance.exhausted_at == dt.datetime(2026, 11, 25, 15, tzinfo=dt.UTC)


def test_a_trickle_ends_in_no_century_worth_naming(shop: Any) -> None:
    ever = shop(max_budget=10**8)
    ever.pay(0.000001)
    assert ever.left() is None
