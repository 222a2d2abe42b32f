"""Limits that are suggested by what was spent lately, each with its reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from clocks import DAY, Clock

from budgeted import BudgetManager, Limit
from budgeted.cli.command_group import budgeted
from budgeted.ledger.spending_records import RollupRow
from budgeted.money import NANO


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("suggest", ledger="memory://", clock=clock) as made:
        yield made


def spend(manager: BudgetManager, usd: float, user: str | None = None) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


def days_of(manager: BudgetManager, clock: Clock, user: str | None, amounts: list[float]) -> None:
    """Spend on each of the days up to today; nothing where it is 0."""
    clock.now -= len(amounts) * DAY
    for usd in amounts:
        clock.now += DAY
        if usd:
            spend(manager, usd, user)


def test_a_limit_lets_95_in_100_days_pass_and_is_rounded_up(manager: BudgetManager, clock: Clock) -> None:
    days_of(manager, clock, "alice", [0.0] * 9 + [3.1] + [5] * 18 + [7.8, 8.9])
    everybody, alice = manager.suggest()
    assert (everybody.account, alice.account) == (None, "alice")
    assert (everybody.limit, alice.limit, alice.days) == ("$8/day", "$8/day", 21)
    assert alice.reason == ("alice spent $3.10 to $8.90 on 21 of 30 days; 95% of these days were at $7.80 or below")
    assert everybody.reason.startswith("everybody together spent")
    for one in (everybody, alice):
        manager.set_limits(one.account, one.limit)
    assert [manager.balance(user).text for user in (None, "alice")] == ["$8/day", "$8/day"]


def test_all_calls_of_a_day_are_summed_up_over_models(manager: BudgetManager) -> None:
    for _ in range(3):
        spend(manager, 1, "alice")
    with manager.hold("gpt-4o", "x", 10, user="alice") as held:
        held.settle(cost=0.5)
    assert [one.limit for one in manager.suggest()] == ["$4/day", "$4/day"]


def test_few_days_are_said_to_be_few(manager: BudgetManager, clock: Clock) -> None:
    days_of(manager, clock, "alice", [1, 1])
    [_, alice] = manager.suggest()
    assert (alice.limit, alice.days) == ("$1/day", 2)
    assert alice.reason == (
        "alice spent $1.00 on 2 of 30 days; that is little to go by: look again when it has spent on 7 days or more"
    )
    assert manager.suggest(days=1)[1].reason.startswith("alice spent $1.00 today; that is little")


def test_days_before_those_asked_for_do_not_count(manager: BudgetManager, clock: Clock) -> None:
    days_of(manager, clock, "alice", [50] + [1] * 10)
    assert [one.limit for one in manager.suggest(days=10)] == ["$1/day", "$1/day"]
    assert [one.limit for one in manager.suggest(percentile=100)] == ["$50/day", "$50/day"]
    clock.now += 40 * DAY
    assert manager.suggest() == []


def test_who_spent_most_comes_first_and_caps_are_left_out(manager: BudgetManager) -> None:
    spend(manager, 1, "bob")
    spend(manager, 2, "alice")
    with manager.budget(cap=5, key="nightly"):
        spend(manager, 0.25)
    assert [one.account for one in manager.suggest()] == [None, "alice", "bob"]


def test_values_of_tags_that_came_up_on_one_day_alone_are_left_out(manager: BudgetManager, clock: Clock) -> None:
    days_of(manager, clock, "alice", [1, 1])
    today = max(row.day for row in manager.ledger.rollups())
    rows = [(today, "t:session=1", 1), (today, "t:feature=search", 1), (today - 1, "t:feature=search", 1)]
    manager.ledger.restore([], [RollupRow(day, account, "", "", 1, usd * NANO) for day, account, usd in rows], [])
    assert [one.account for one in manager.suggest()] == [None, "alice", "tag:feature=search"]


@pytest.mark.parametrize(
    ("usd", "limit"),
    [
        (0.00042, "$0.0005/day"),
        (9.99, "$10/day"),
        (10, "$10/day"),
        (10.01, "$12/day"),
        (130, "$150/day"),
        (1e-9, "$0.00000001/day"),
    ],
)
def test_figures_are_those_that_people_would_choose(manager: BudgetManager, usd: float, limit: str) -> None:
    spend(manager, usd)
    [one] = manager.suggest()
    assert one.limit == limit
    assert str(Limit(one.limit)) == limit


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"days": 0}, "days must be a number from 1"),
        ({"days": 401}, "days must be a number from 1 to 400"),
        ({"days": "30"}, "got '30'"),
        ({"percentile": 0}, "percentile must be above 0 and at most 100, such as 95, got 0"),
        ({"percentile": 101}, "got 101"),
        ({"percentile": float("nan")}, "got nan"),
        ({"percentile": True}, "got True"),
    ],
)
def test_what_makes_no_sense_is_refused(manager: BudgetManager, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="must be") as raised:
        manager.suggest(**asked)
    assert told in str(raised.value)


def test_the_command_prints_them(budgeted_home: Path) -> None:
    def run(*args: str) -> str:
        result = CliRunner().invoke(budgeted, ["suggest", *args], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "nothing recorded yet" in run()
    with BudgetManager("default") as manager:
        assert run() == "nothing recorded yet\n"
        spend(manager, 3, "=alice")
    lines = run().splitlines()
    assert [line.split()[:2] for line in lines] == [["account", "limit"], ["global", "$3/day"], ["=alice", "$3/day"]]
    assert [one["account"] for one in json.loads(run("--format", "json"))] == [None, "=alice"]
    assert [row[0] for row in csv.reader(io.StringIO(run("--format", "csv")))] == ["account", "global", "'=alice"]
