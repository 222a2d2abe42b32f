"""What was spent per hour, as far as somebody watched: no more than is known, and nothing put where it was not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from clocks import DAY, HOUR, NOON, Clock

from budgeted import BudgetManager
from budgeted.money import NANO
from budgeted.page.spend_by_hour import EVERY, LONGEST_GAP, MOST_NAMES, SpendByHour
from budgeted.page.spend_over_time import SpendOverTime


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("by-hour", ledger="memory://", clock=clock) as made:
        yield made


def spend(manager: BudgetManager, usd: float, user: str = "alice") -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


def hours(found: SpendOverTime) -> dict[str, float]:
    """What was spent in each hour in which anything was."""
    return {f"{start:%d %H:%M}": usd / NANO for start, usd in zip(found.starts, found.totals, strict=True) if usd}


def test_what_was_spent_before_anybody_watched_is_in_no_hour(manager: BudgetManager) -> None:
    spend(manager, 5)
    found = SpendByHour("model").look(manager)
    assert hours(found) == {}
    assert found.since == dt.datetime.fromtimestamp(NOON, dt.UTC)


def test_each_hour_has_what_came_while_it_was_watched(manager: BudgetManager, clock: Clock) -> None:
    by_hour = SpendByHour("user")
    by_hour.look(manager)
    for i in range(180):
        clock.now = NOON + i * EVERY
        spend(manager, 0.5 if i % 2 else 0.25, user=("alice", "bob")[i % 2])
        found = by_hour.look(manager)
    assert hours(found) == {"22 12:00": 22.5, "22 13:00": 22.5, "22 14:00": 22.5}
    assert {line.name: line.total / NANO for line in found.series} == {"bob": 45, "alice": 22.5}
    assert found.unwatched == 0


def test_hours_go_on_past_midnight_and_are_forgotten_after_two_days(manager: BudgetManager, clock: Clock) -> None:
    by_hour = SpendByHour("model")
    clock.now = NOON + DAY / 2 - 60
    by_hour.look(manager)
    spend(manager, 1)
    by_hour.look(manager)
    clock.now += 90
    spend(manager, 2)
    assert hours(by_hour.look(manager)) == {"22 23:00": 1, "23 00:00": 2}
    clock.now += 47 * HOUR
    assert hours(by_hour.look(manager)) == {"23 00:00": 2}
    clock.now += 2 * HOUR
    found = by_hour.look(manager)
    assert hours(found) == {}
    assert found.since is None  # all that is shown was watched


def test_what_came_while_nobody_watched_is_told_and_put_into_no_hour(manager: BudgetManager, clock: Clock) -> None:
    by_hour = SpendByHour("model")
    by_hour.look(manager)
    spend(manager, 3)
    clock.now += 5 * HOUR  # such as a laptop that slept
    found = by_hour.look(manager)
    assert (hours(found), found.unwatched) == ({}, 3 * NANO)


def test_a_late_look_within_the_hour_leaves_no_doubt(manager: BudgetManager, clock: Clock) -> None:
    by_hour = SpendByHour("model")
    by_hour.look(manager)
    spend(manager, 3)
    clock.now += 10 * LONGEST_GAP
    assert hours(by_hour.look(manager)) == {"22 12:00": 3}


def test_a_corrected_charge_is_taken_from_the_hour_in_which_it_was_corrected(
    manager: BudgetManager, clock: Clock
) -> None:
    by_hour = SpendByHour("model")
    by_hour.look(manager)
    with manager.hold(cost=4):
        pass  # nobody says what it has cost
    by_hour.look(manager)
    clock.now += HOUR
    by_hour.look(manager)
    manager.reconcile(manager.uncertain()[0].id, cost=1)
    assert hours(by_hour.look(manager)) == {"22 12:00": 4, "22 13:00": -3}


def test_hours_of_a_zone_half_an_hour_off_begin_on_the_half(clock: Clock) -> None:
    with BudgetManager("by-hour", ledger="memory://", clock=clock, timezone="Asia/Kolkata") as manager:
        found = SpendByHour("model").look(manager)
    assert f"{found.starts[-1]:%H:%M}" == "17:00"
    assert found.starts[-1].timestamp() == NOON - HOUR / 2
    assert len(found.starts) == len(set(found.starts)) == 48


def test_of_very_many_users_the_dearest_are_told_apart_and_it_still_adds_up(
    manager: BudgetManager, clock: Clock
) -> None:
    by_hour = SpendByHour("user")
    for i in range(MOST_NAMES + 50):
        spend(manager, 2, user=f"u{i}")
    spend(manager, 1, user="late")
    by_hour.look(manager)
    spend(manager, 8, user="late")  # who was not among those that are told apart: what it had spent is not known
    spend(manager, 3, user="u1")
    found = by_hour.look(manager)
    assert {line.name: line.total / NANO for line in found.series} == {"u1": 3, "(others)": 8}
    spend(manager, 4, user="late")
    found = by_hour.look(manager)
    assert {line.name: line.total / NANO for line in found.series} == {"late": 4, "u1": 3, "(others)": 8}
