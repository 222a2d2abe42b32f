"""Limits, balances, reports, uncertain charges and settings of a manager, through its own methods."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from clocks import DAY, HOUR, Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from budgeted import (
    BudgetExceededError,
    BudgetManager,
    LedgerError,
    LedgerUnavailableError,
    Limit,
    UnknownUserError,
    UnpricedModelError,
    Usage,
    register_price,
)
from budgeted.ledger.memory.ledger import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from budgeted.ledger.accounts import Account, LimitSpec

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", clock=clock) as made:
        yield made


def spend(manager: BudgetManager, user: str | None, usd: float) -> str:
    """Have a call cost this much; returns the charge's id."""
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)
    return held.id


# -- limits


def test_a_limit_holds_for_the_global_account_and_for_users(manager: BudgetManager) -> None:
    manager.set_limits(None, "$10")
    manager.set_limits("alice", 3)
    spend(manager, "alice", 2)
    with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=2, user="alice"):
        pass
    assert (refused.value.account, refused.value.account_kind) == ("alice", "user")
    spend(manager, "bob", 8)
    with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=1):
        pass
    assert (refused.value.account, refused.value.account_kind) == ("global", "global")


@pytest.mark.parametrize("given", ["$5/day", 5, 5.0, Decimal(5), Fraction(5), Limit("$5/day"), "5 USD per day"])
def test_limits_come_as_text_numbers_and_objects(manager: BudgetManager, given: Any) -> None:
    manager.set_limits("alice", given)
    assert manager.balance("alice").limit == 5


def test_several_limits_hold_at_once(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5/day + 2 calls/minute", "$20/month")
    assert [one.text for one in manager.balances("alice")] == ["$5/day", "2 calls/minute", "$20/month"]
    spend(manager, "alice", 1)
    spend(manager, "alice", 1)
    with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=1, user="alice"):
        pass
    assert refused.value.limit == "2 calls/minute"
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 60


def test_a_new_amount_keeps_what_was_spent(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5/day")
    spend(manager, "alice", 2)
    manager.set_limits("alice", "$3/day")
    assert (manager.balance("alice").spent, manager.balance("alice").remaining) == (2, 1)


def test_a_limit_that_is_new_to_a_user_counts_what_was_spent_in_its_period(manager: BudgetManager) -> None:
    spend(manager, "alice", 2)
    manager.set_limits("alice", "$5/day + $7/month + $9")
    assert [one.spent for one in manager.balances("alice")] == [2, 2, 2]


def test_no_limits_remove_all(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1")
    manager.set_limits("alice")
    spend(manager, "alice", 50)
    assert manager.balance("alice").limit is None
    assert manager.balance("alice").spent == 50


def test_a_limit_on_some_models_counts_only_them(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1 on cent*")
    with manager.hold("cent", "x", 50, user="alice") as held:
        held.settle(usage=Usage(10, 40))
    spend(manager, "alice", 3)
    assert manager.balance("alice").spent == 0.5


@pytest.mark.parametrize(
    "limits",
    [
        ("a lot",),
        ("$5/fortnight",),
        ("$-5",),
        ("-5",),
        (-5,),
        (float("nan"),),
        (float("inf"),),
        ("nan",),
        (10**30,),
        ("$5/day", "$6/day"),
        ("$5 from 2026-01-01",),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_and_changes_nothing(manager: BudgetManager, limits: Any) -> None:
    manager.set_limits("alice", "$7/day")
    with pytest.raises(ValueError, match=r"."):
        manager.set_limits("alice", *limits)
    assert [one.text for one in manager.balances("alice")] == ["$7/day"]


@pytest.mark.parametrize("limit", [True, None, b"5", {"usd": 5}])
def test_what_is_no_limit_at_all_is_a_type_error(manager: BudgetManager, limit: Any) -> None:
    with pytest.raises(TypeError, match="USD"):
        manager.set_limits("alice", limit)


# -- amounts


BAD_AMOUNTS = [
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    -0.01,
    "-1",
    "nan",
    "abc",
    "",
    "1e30",
    10**30,
    Decimal("NaN"),
]
NO_AMOUNTS = [True, False, b"1", [1], {}, ...]


@pytest.mark.parametrize("amount", [*BAD_AMOUNTS, *NO_AMOUNTS], ids=repr)
def test_absurd_amounts_are_refused_at_every_door(manager: BudgetManager, amount: Any) -> None:
    charge = spend(manager, "alice", 1)
    doors = [
        lambda: BudgetManager("x", ledger="memory://", max_budget=amount, duration="daily"),
        lambda: manager.budget("alice", cap=amount),
        lambda: manager.budgeted("alice", cap=amount),
        lambda: manager.hold(cost=amount),
        lambda: manager.reconcile(charge, cost=amount),
        lambda: manager.create_budget(amount, "bob"),
        lambda: manager.reconfigure(max_budget=amount, duration="daily"),
        lambda: register_price("absurd", input=amount, output=1),
    ]
    for door in doors:
        with pytest.raises((ValueError, TypeError)):
            door()
    assert not manager.is_valid_user("bob")
    assert manager.balance("alice").spent == 1


def test_what_is_finer_than_a_nano_usd_is_cut_off_limits_and_rounded_up_for_costs(manager: BudgetManager) -> None:
    manager.set_limits("alice", "0.0000000019")
    spend(manager, "alice", "0.0000000001")  # type: ignore[arg-type]
    assert manager.balance("alice").limit == 1e-9
    assert manager.balance("alice").spent == 1e-9


def test_a_budget_of_nothing_refuses_everything_that_costs(manager: BudgetManager) -> None:
    manager.set_limits("alice", 0)
    with pytest.raises(BudgetExceededError), manager.hold(cost="0.000000001", user="alice"):
        pass


def test_ten_dimes_are_a_dollar(manager: BudgetManager) -> None:
    """No float takes part: 0.1 ten times is 1, not 0.9999999999999999."""
    manager.set_limits("alice", 1)
    for _ in range(10):
        spend(manager, "alice", 0.1)
    assert manager.balance("alice").spent == 1
    assert manager.balance("alice").remaining == 0


# -- names


NAMES = [
    "a",
    "alice@example.com",
    "x" * 256,
    "é" * 128,
    "😀" * 64,
    '"; DROP TABLE accounts; --',
    "a'b\"c\\d",
    "*",
    "../../etc/passwd",
    "%s %n {0}",
    "global",
    "g",
    "u:",
    "café",
    "cafe\u0301",
    " ",
    "مرحبا",
]


def test_any_printable_name_is_a_user_of_its_own(manager: BudgetManager) -> None:
    for number, name in enumerate(NAMES, 1):
        manager.create_budget(100, name)
        spend(manager, name, number)
    assert [manager.get_current_cost(name) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert set(manager.get_users()) == set(NAMES)
    assert {name: row.spent for name, row in manager.report("user").items()} == {
        name: number for number, name in enumerate(NAMES, 1)
    }


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00", "\x7f", "a\u2028b", "\ud800", "x" * 257, "é" * 129])
def test_names_that_would_break_a_line_are_refused(manager: BudgetManager, name: str) -> None:
    for door in (manager.budget, manager.set_limits, manager.balance, manager.get_current_cost, manager.delete_user):
        with pytest.raises(ValueError, match="user"):
            door(name)
    with pytest.raises(ValueError, match="user"):
        manager.create_budget(1, name)
    assert not manager.is_valid_user(name)


@pytest.mark.parametrize("name", [42, 4.2, b"alice", ["alice"], object()])
def test_names_that_are_no_text_are_refused(manager: BudgetManager, name: Any) -> None:
    with pytest.raises(TypeError, match="must be a string"):
        manager.create_budget(1, name)
    with pytest.raises(TypeError, match="must be a string"):
        manager.budget(name)
    assert manager.get_users() == []


# -- users


def test_an_unknown_user_gets_the_default_limits_at_its_first_call(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, default_user_limits="$2/day") as manager:
        assert manager.balance("alice").limit == 2
        assert manager.get_users() == []
        spend(manager, "alice", 1)
        assert manager.get_users() == ["alice"]
        assert not manager.is_valid_user("alice")
        with pytest.raises(BudgetExceededError), manager.hold(cost=1.5, user="alice"):
            pass


def test_a_user_who_spent_before_there_were_default_limits_gets_them(tmp_path: Path) -> None:
    with BudgetManager("app", ledger=tmp_path, wait=0) as manager:
        spend(manager, "alice", 1)
        manager.set_limits("bob")  # none, as somebody wants it
    with BudgetManager("app", ledger=tmp_path, wait=0, default_user_limits="$2") as manager:
        spend(manager, "alice", 0.5)
        with pytest.raises(BudgetExceededError), manager.hold(cost=1, user="alice"):
            pass
        assert (manager.balance("alice").text, manager.is_valid_user("alice")) == ("$2", False)
        spend(manager, "bob", 100)
    with BudgetManager("app", ledger=tmp_path, wait=0) as manager:
        assert manager.balance("alice").text == "$2"


def test_default_limits_go_by_patterns_of_names(clock: Clock) -> None:
    limits = {"team:*": "$50/month", "*@example.com": ["$5/day", "60 calls/minute"], "*": 1}
    with BudgetManager(ledger="memory://", clock=clock, default_user_limits=limits) as manager:
        assert manager.balance("team:search").limit == 50
        assert [one.text for one in manager.balances("bob@example.com")] == ["$5/day", "60 calls/minute"]
        assert manager.balance("anyone").limit == 1


def test_unknown_users_can_be_refused(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, unknown_users="deny") as manager:
        with pytest.raises(UnknownUserError, match="alice"), manager.hold(cost=1, user="alice"):
            pass
        with pytest.raises(KeyError), manager.hold(cost=1, user="alice"):
            pass
        assert manager.get_users() == []
        manager.set_limits("alice", 5)
        spend(manager, "alice", 1)
        spend(manager, None, 1)
        manager.delete_user("alice")
        with pytest.raises(UnknownUserError), manager.hold(cost=1, user="alice"):
            pass


def test_a_user_who_only_was_charged_is_still_unknown(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, unknown_users="deny") as manager:
        manager.update_cost("alice", {"model": "cent", "usage": {"prompt_tokens": 5, "completion_tokens": 5}})
        assert manager.get_current_cost("alice") == 0.1
        with pytest.raises(UnknownUserError), manager.hold(cost=1, user="alice"):
            pass


def test_a_deleted_user_is_forgotten_but_stays_in_the_reports(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    spend(manager, "alice", 1)
    manager.delete_user("alice")
    assert not manager.is_valid_user("alice")
    assert manager.get_users() == []
    assert manager.report("user")["alice"].spent == 1
    with pytest.raises(UnknownUserError, match="alice"):
        manager.delete_user("alice")
    spend(manager, "alice", 2)
    assert manager.balance("alice").spent == 2


def test_a_deleted_user_whose_charge_is_still_listed_may_pay_again(manager: BudgetManager) -> None:
    with manager.hold(cost=2, user="alice") as left:
        pass
    manager.delete_user("alice")
    assert manager.uncertain()[0].users == ("alice",)
    spend(manager, "alice", 1)
    assert manager.balance("alice").spent == 1
    manager.reconcile(left.id, cost=0)
    assert (manager.uncertain(), manager.balance().spent) == ([], 1)


class AwayAtFirst(MemoryLedger):
    """Cannot be reached before somebody says so."""

    away = False

    def read(self, account: str) -> Account | None:
        if self.away:
            msg = "away"
            raise LedgerUnavailableError(msg)
        return super().read(account)

    read_limits = read


def test_what_an_unknown_user_paid_while_the_ledger_was_away_is_recorded(clock: Clock) -> None:
    ledger = AwayAtFirst()
    settings: Any = {"unknown_users": "deny", "on_ledger_error": "allow"}
    with BudgetManager(ledger=ledger, clock=clock, max_budget=5, **settings) as manager:
        ledger.away = True
        with manager.hold(cost=1, user="alice") as held:
            ledger.away = False
            held.settle(cost=1)
        assert manager.balance().spent == 1
        with pytest.raises(UnknownUserError), manager.hold(cost=1, user="alice"):
            pass


class DeletedAtOnce(MemoryLedger):
    """Somebody else deletes every new account once, as soon as it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: set[str] = set()

    def set_limits(self, account: str, limits: Sequence[LimitSpec], **how: bool) -> None:
        super().set_limits(account, limits, **how)
        if account not in self.gone:
            self.gone.add(account)
            self.delete(account)


def test_an_account_that_is_deleted_while_a_call_is_planned_is_made_again(clock: Clock) -> None:
    ledger = DeletedAtOnce()
    with BudgetManager(ledger=ledger, clock=clock, default_user_limits=5) as manager:
        with manager.budget("alice", cap=2, key="job"):
            spend(manager, None, 1)
        assert ledger.gone == {"g", "u:alice", "b:job"}
        assert (manager.balance("alice").limit, manager.balance("alice").spent) == (5, 1)


def test_users_are_listed_a_page_at_a_time(manager: BudgetManager) -> None:
    for number in range(25):
        manager.set_limits(f"user{number:02}", 1)
    manager.set_limits("zoe", 2)
    first = manager.accounts("user", count=10)
    rest = manager.accounts("user", after=first[-1].name, count=100)
    assert [one.name for one in (*first, *rest)] == [f"user{number:02}" for number in range(25)]
    assert first[0].balances[0].limit == 1
    assert len(manager.accounts()) == 26


# -- balances


def test_the_balance_is_that_of_the_tightest_limit(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5/day", "$6/month", "1000 tokens/day")
    assert manager.balance("alice").text == "$5/day"
    spend(manager, "alice", 4)
    manager.set_limits("alice", "$5/day", "$4.50/month")
    assert manager.balance("alice").text == "$4.50/month"


def test_a_balance_says_when_its_period_began_and_ends(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5/day")
    found = manager.balance("alice")
    assert found.period_start == dt.datetime(2025, 11, 22, tzinfo=dt.UTC)
    assert found.resets_at == dt.datetime(2025, 11, 23, tzinfo=dt.UTC)
    manager.set_limits("alice", "$5")
    assert manager.balance("alice").resets_at is None


def test_what_calls_in_flight_hold_is_shown(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5")
    with manager.hold(cost=2, user="alice") as held:
        found = manager.balance("alice")
        assert (found.spent, found.held, found.remaining) == (0, 2, 3)
        held.settle(cost=0.5)
    found = manager.balance("alice")
    assert (found.spent, found.held, found.remaining) == (0.5, 0, 4.5)


def test_an_account_without_limits_counts_since_its_last_reset(manager: BudgetManager) -> None:
    assert manager.balance().limit is None
    spend(manager, "alice", 1)
    assert manager.balance().spent == manager.balance("alice").spent == 1
    assert manager.balance("nobody").spent == 0


# -- periods and clocks


def test_a_new_day_starts_from_nothing(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/day", "$100")
    spend(manager, "alice", 4)
    clock.now += DAY
    assert [one.spent for one in manager.balances("alice")] == [0, 4]
    spend(manager, "alice", 5)
    assert [one.spent for one in manager.balances("alice")] == [5, 9]
    assert [row.spent for row in manager.report("day").values()] == [4, 5]
    assert list(manager.report("day")) == ["2025-11-22", "2025-11-23"]


def test_a_hold_settles_into_the_period_that_it_was_opened_in(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/day")
    with manager.hold(cost=4, user="alice") as held:
        clock.now += DAY
        assert manager.balance("alice").held == 0
        spend(manager, "alice", 5)
        held.settle(cost=4)
    assert manager.balance("alice").spent == 5
    assert [row.spent for row in manager.report("day").values()] == [4, 5]


def test_a_call_that_waits_gets_its_turn_in_the_next_period(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/day")
    clock.now += 12 * HOUR - 0.01
    with manager.hold(cost=4, user="alice") as first:
        turn = threading.Timer(0.01, lambda: setattr(clock, "now", clock.now + 1))
        turn.start()
        with manager.hold(cost=5, user="alice") as second:
            assert manager.balance("alice").held == 5
            second.settle(cost=5)
        first.settle(cost=4)
    turn.join()
    assert manager.balance("alice").spent == 5


def test_a_clock_set_back_reopens_no_period(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/day")
    clock.now += DAY
    spend(manager, "alice", 5)
    clock.now -= DAY
    with pytest.raises(BudgetExceededError), manager.hold(cost=1, user="alice"):
        pass


def test_days_are_those_of_the_time_zone() -> None:
    clock = Clock(1_763_852_400.0)  # 23:00 in UTC, midnight in Berlin
    with BudgetManager(ledger="memory://", clock=clock, timezone="Europe/Berlin", max_budget="$5/day") as manager:
        assert manager.balance().resets_at == dt.datetime(2025, 11, 23, 23, tzinfo=dt.UTC)
        spend(manager, None, 1)
        assert list(manager.report("day")) == ["2025-11-23"]


def test_a_clock_may_return_datetimes() -> None:
    now = dt.datetime(2025, 11, 22, 12, tzinfo=dt.UTC)
    with BudgetManager(ledger="memory://", clock=lambda: now, max_budget="$5/day") as manager:  # type: ignore[arg-type, return-value]
        assert manager.balance().period_start == dt.datetime(2025, 11, 22, tzinfo=dt.UTC)


# -- reports


def test_reports_add_up_by_user_model_provider_and_day(manager: BudgetManager, clock: Clock) -> None:
    register_price("theirs", input=1, output=1, provider="openai")
    for user, tokens in (("alice", 30), ("bob", 10)):
        with manager.hold("cent", "x", 50, user=user) as held:
            held.settle(usage=Usage(tokens, 10))
    clock.now += DAY
    with manager.hold("theirs", "x", 50, user="bob", provider="openai") as held:
        held.settle(usage=Usage(1_000_000, 0))
    assert {name: (row.spent, row.calls) for name, row in manager.report().items()} == {
        "bob": (1.2, 2),
        "alice": (0.4, 1),
    }
    assert {name: row.spent for name, row in manager.report("model").items()} == {"theirs": 1, "cent": 0.6}
    assert manager.report("provider")["openai"].input_tokens == 1_000_000
    assert manager.report("day", since="2025-11-23") == {"2025-11-23": manager.report("model")["theirs"]}
    assert manager.report("user", since=dt.date(2025, 11, 23)).keys() == {"bob"}


@pytest.mark.parametrize(("by", "since"), [("colour", None), ("user", "last week"), ("user", 5)])
def test_reports_that_do_not_exist_are_refused(manager: BudgetManager, by: Any, since: Any) -> None:
    with pytest.raises(ValueError, match=r"write one of|such as"):
        manager.report(by, since)


# -- uncertain charges


def test_a_call_that_nobody_settles_is_listed_until_it_is_reconciled(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5/day")
    with manager.hold(cost=2, user="alice") as held:
        pass
    (listed,) = manager.uncertain()
    assert (listed.id, listed.users, listed.cost, listed.held) == (held.id, ("alice",), 2, 2)
    assert listed.at == dt.datetime(2025, 11, 22, 12, tzinfo=dt.UTC)
    assert manager.balance("alice").uncertain == 2
    assert manager.report("user")["alice"].uncertain == 2
    manager.reconcile(held.id, cost=0.25)
    assert manager.uncertain() == []
    assert (manager.balance("alice").spent, manager.balance("alice").uncertain) == (0.25, 0)
    assert manager.report("user")["alice"].spent == 0.25


def test_a_charge_is_reconciled_by_tokens_too(manager: BudgetManager) -> None:
    with manager.hold("cent", "x", 50, user="alice") as held:
        pass
    manager.reconcile(held.id, usage={"input_tokens": 3, "output_tokens": 4})
    assert manager.balance("alice").spent == 0.07
    manager.reconcile(held.id, usage=Usage(1, 1))
    assert manager.balance("alice").spent == 0.02
    assert manager.report("model")["cent"].output_tokens == 1


def test_uncertain_charges_of_past_periods_are_not_in_this_ones_balance(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/day")
    with manager.hold(cost=2, user="alice"):
        pass
    clock.now += DAY
    assert manager.balance("alice").uncertain == 0
    assert len(manager.uncertain()) == 1


def test_reconcile_says_what_it_wants(manager: BudgetManager) -> None:
    charge = spend(manager, "alice", 1)
    with pytest.raises(LedgerError, match="no charge 'nonsense' is known"):
        manager.reconcile("nonsense", cost=1)
    for arguments in ({}, {"cost": 1, "usage": Usage(1, 1)}):
        with pytest.raises(TypeError, match="takes one of"):
            manager.reconcile(charge, **arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="usage must"):
        manager.reconcile(charge, usage=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fields of Usage"):
        manager.reconcile(charge, usage={"inputs": 5})
    with pytest.raises(ValueError, match="input_tokens"):
        manager.reconcile(charge, usage={"input_tokens": -5})
    assert manager.balance("alice").spent == 1


def test_the_price_of_a_reconciled_usage_must_be_known() -> None:
    with BudgetManager(ledger="memory://") as manager:
        with manager.hold("mystery-model-of-mine", "x", 5) as held:
            pass
        with pytest.raises(UnpricedModelError, match="cost=USD"):
            manager.reconcile(held.id, usage=Usage(1, 1))
        manager.reconcile(held.id, cost=1)
        assert manager.balance().spent == 1


@pytest.mark.parametrize(("policy", "charged"), [("estimate", 0.42), ("hold", 0.42), ("release", 0)])
def test_what_nobody_confirms_is_charged_as_asked(policy: Any, charged: float) -> None:
    with BudgetManager(ledger="memory://", max_budget=50, on_uncertain=policy) as manager:
        with manager.hold("cent", "", 40):
            bound = manager.balance().held
        at_most = manager.balance().spent
        assert at_most == pytest.approx(bound - {"estimate": 0, "hold": 0, "release": bound}[policy])
        assert len(manager.uncertain()) == (0 if policy == "release" else 1)
        assert at_most >= charged - 0.25


# -- settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("unknown_users", "maybe"),
        ("unpriced", "allow"),
        ("unattributed", "ignore"),
        ("on_ledger_error", "raise"),
        ("on_uncertain", "forget"),
        ("on_exceed", "block"),
        ("on_exceed", None),
        ("wait", -1),
        ("wait", "30"),
        ("wait", float("nan")),
        ("wait", 10**400),
        ("wait", True),
        ("hold_timeout", 0),
        ("hold_timeout", None),
        ("fallback", 5),
        ("fallback", ["gpt-5", ""]),
        ("min_output_tokens", -1),
        ("min_output_tokens", 2.5),
        ("timezone", "Mars/Olympus"),
        ("timezone", 5),
        ("alerts", 0),
        ("alerts", [0.5, "most"]),
        ("on_event", "print"),
        ("semconv", "yes"),
        ("metric_users", "alice"),
        ("metric_users", 5),
        ("fsync", "sometimes"),
        ("clock", 5),
        pytest.param("clock", lambda: "noon", id="clock of text"),
        pytest.param("clock", lambda: float("nan"), id="clock of nan"),
        ("duration", "daily"),
        ("max_budget", "plenty"),
        ("default_user_limits", "plenty"),
        ("default_user_limits", {"*": "plenty"}),
        ("default_user_limits", {5: "$5"}),
        ("project_name", ""),
        ("project_name", None),
        ("client_type", "remote"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(tmp_path: Path, setting: str, value: Any) -> None:
    home = tmp_path / "ledger"
    with pytest.raises((ValueError, TypeError)) as error:
        BudgetManager(**{"ledger": home, setting: value})
    assert any(text in str(error.value) for text in (setting, repr(value), "plenty"))
    assert not home.exists()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("max_usd", "max_budget"),
        ("budget_duration", "duration"),
        ("soft_budget", "alerts"),
        ("redis_url", "ledger"),
        ("max_budgets", "max_budget"),
        ("fallbacks", "fallback"),
    ],
)
def test_a_keyword_of_another_package_is_refused_naming_ours(theirs: str, ours: str) -> None:
    with pytest.raises(TypeError, match=rf"unknown keyword '{theirs}'.*'{ours}'"):
        BudgetManager(**{"ledger": "memory://", theirs: 5})  # type: ignore[arg-type]


def test_keywords_of_blocks_and_decorators_are_checked_too(manager: BudgetManager) -> None:
    for door in (manager.budget, manager.budgeted):
        with pytest.raises(TypeError, match="'max_usd'; here it is called 'cap'"):
            door("alice", max_usd=5)  # type: ignore[operator]
    with pytest.raises(TypeError, match="'max_tokens'; here it is called 'max_output_tokens'"):
        manager.hold("cent", "x", max_tokens=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unknown keyword 'colour'; there are"):
        manager.reconfigure(colour="red")
    for name in ("client_type", "api_base", "headers"):
        with pytest.raises(TypeError, match=f"{name} is for making a manager.*write BudgetManager"):
            manager.reconfigure(**{name: "hosted", "max_budget": 1})


def test_settings_change_in_place(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/day")
    spend(manager, "alice", 1)
    manager.reconfigure(on_exceed="warn", timezone="Asia/Tokyo", max_budget="$7/day")
    assert manager.balance().limit == 7
    assert manager.balance("alice").spent == 1
    with manager.hold(cost=50, user="alice") as held:
        held.settle(cost=50)
    assert manager.balance("alice").spent == 51


def test_settings_that_fail_change_nothing(manager: BudgetManager, tmp_path: Path) -> None:
    manager.set_limits(None, "$7/day")
    before = manager.settings
    (tmp_path / "file").write_text("x")
    for wrong in (
        {"on_exceed": "warn", "wait": -1},
        {"on_exceed": "warn", "max_budget": "plenty"},
        {"on_exceed": "warn", "max_budget": 3, "ledger": "mongodb://x"},
        {"max_budget": 3, "ledger": tmp_path / "file"},
        {"max_budget": 3, "fsync": "always"},
        {"max_budget": 3, "project_name": "a\nb"},
    ):
        with pytest.raises((ValueError, TypeError, LedgerError)):
            manager.reconfigure(**wrong)  # type: ignore[arg-type]
    assert manager.settings is before
    assert manager.balance().text == "$7/day"
    assert manager.project_name == "tests"


def test_calls_in_flight_settle_where_they_were_opened(tmp_path: Path) -> None:
    with BudgetManager("first", ledger=tmp_path) as manager:
        with manager.hold(cost=2, user="alice") as held:
            manager.reconfigure(project_name="second")
            held.settle(cost=1)
        assert manager.balance("alice").spent == 0
        manager.reconfigure(project_name="first")
        assert manager.balance("alice").spent == 1


def test_a_manager_closes_once_and_is_a_context_manager(tmp_path: Path) -> None:
    with BudgetManager(ledger=tmp_path, max_budget=5) as manager:
        spend(manager, "alice", 1)
    manager.close()
    with pytest.raises(LedgerError, match="closed"):
        manager.balance()


# -- ledgers


def test_a_restart_on_the_file_ledger_forgets_nothing(tmp_path: Path, clock: Clock) -> None:
    def start(**settings: Any) -> BudgetManager:
        return BudgetManager("app", ledger=tmp_path, clock=clock, **settings)

    with start(max_budget="$100/month") as manager:
        manager.create_budget(10, "alice", "daily")
        manager.set_limits("bob", "$5/day on cent", "3 calls/day")
        spend(manager, "alice", 1)
        with manager.hold("cent", "x", 50, user="bob"):
            pass
        before = (
            manager.user_dict,
            [manager.balances(user) for user in (None, "alice", "bob")],
            manager.uncertain(),
            manager.report("model"),
            manager.report("user"),
        )
    with start() as manager:
        assert before == (
            manager.user_dict,
            [manager.balances(user) for user in (None, "alice", "bob")],
            manager.uncertain(),
            manager.report("model"),
            manager.report("user"),
        )
        manager.reconcile(manager.uncertain()[0].id, cost=0)
        assert manager.is_valid_user("alice")
    with start(max_budget="$200/month") as manager:
        assert manager.balance().limit == 200
        assert manager.balance().spent == 1


USERS = st.sampled_from(["alice", "bob"])
CENTS = st.integers(0, 500).map(lambda cents: cents / 100)
DEEDS = st.one_of(
    st.tuples(st.just("spend"), USERS, CENTS, CENTS),
    st.tuples(st.just("leave"), USERS, CENTS),
    st.tuples(
        st.just("limit"), USERS, st.sampled_from([(), ("$5/day",), ("$9", "$3/day"), ("4 calls/hour", "$7/month")])
    ),
    st.tuples(st.just("budget"), USERS, CENTS, st.sampled_from([None, "daily", "weekly", "2h"])),
    st.tuples(st.just("report"), USERS, st.integers(0, 300)),
    st.tuples(st.just("reconcile"), CENTS),
    st.tuples(st.just("reset"), USERS),
    st.tuples(st.just("delete"), USERS),
    st.tuples(st.just("wait"), st.sampled_from([1, HOUR, DAY, 40 * DAY])),
    st.tuples(st.just("restart")),
)


def act(manager: BudgetManager, deed: str, *said: Any) -> None:
    """Do one of the deeds above, as far as it is possible."""
    if deed == "spend":
        with manager.hold(cost=said[1], user=said[0]) as held:
            held.settle(cost=said[2])
    elif deed == "leave":
        with manager.hold(cost=said[1], user=said[0]):
            pass
    elif deed == "limit":
        manager.set_limits(said[0], *said[1])
    elif deed == "budget":
        manager.create_budget(said[1], said[0], said[2])
    elif deed == "report":
        manager.update_cost(said[0], {"model": "cent", "usage": {"prompt_tokens": said[1], "completion_tokens": 0}})
    elif deed == "reconcile" and manager.uncertain():
        manager.reconcile(manager.uncertain()[0].id, cost=said[0])
    elif deed == "reset":
        manager.reset_cost(said[0])
    elif deed == "delete":
        manager.delete_user(said[0])


def told(manager: BudgetManager) -> Any:
    """Everything that a manager tells, but the ids of charges."""
    return (
        manager.user_dict,
        [manager.balances(user) for user in (None, "alice", "bob")],
        [(one.users, one.cost, one.at) for one in manager.uncertain()],
        [manager.report(by) for by in ("user", "model", "day")],
    )


@settings(max_examples=25)
@given(st.lists(DEEDS, max_size=25))
def test_restarts_and_the_kind_of_ledger_make_no_difference(deeds: list[Any]) -> None:
    clock = Clock()
    options: Any = {"clock": clock, "wait": 0, "max_budget": "$50/week", "default_user_limits": "$20"}
    with tempfile.TemporaryDirectory() as home, BudgetManager("app", ledger="memory://", **options) as one:
        other = BudgetManager("app", ledger=home, **options)
        for deed in deeds:
            if deed[0] == "wait":
                clock.now += deed[1]
            elif deed[0] == "restart":
                other.close()
                other = BudgetManager("app", ledger=home, **options)
            else:
                outcomes = []
                for manager in (one, other):
                    try:
                        outcomes.append(act(manager, *deed))
                    except (BudgetExceededError, UnknownUserError) as error:
                        outcomes.append(str(error))  # type: ignore[func-returns-value]
                assert outcomes[0] == outcomes[1], deed
            assert told(one) == told(other)
            for balance in (balance for user in (None, "alice", "bob") for balance in one.balances(user)):
                assert balance.held == 0
                assert balance.remaining == pytest.approx(max(0, (balance.limit or 0) - balance.spent))
        other.close()


def test_projects_share_a_path_and_nothing_else(tmp_path: Path) -> None:
    with BudgetManager("a/b", ledger=tmp_path) as one, BudgetManager("a", ledger=tmp_path) as other:
        spend(one, "alice", 1)
        assert other.get_users() == []
        with BudgetManager("a/b", ledger=tmp_path) as again:
            assert again.balance("alice").spent == 1
        assert one.balance("alice").spent == 1


def test_ledgers_may_be_named_in_many_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    odd = tmp_path / "with space & ünicode"
    with BudgetManager(ledger=odd) as manager:
        spend(manager, "alice", 1)
        for same in (str(odd), os.fspath(odd) + "/", odd.as_uri(), f"~/{odd.name}", odd.name, f"./x/../{odd.name}"):
            with BudgetManager(ledger=same) as other:
                assert other.balance("alice").spent == 1, same


def test_the_default_ledger_is_in_budgeted_home(budgeted_home: Path) -> None:
    with BudgetManager("app") as manager:
        spend(manager, "alice", 1)
    assert [entry.name for entry in budgeted_home.iterdir()] == ["app"]
    with BudgetManager("app") as manager:
        assert manager.balance("alice").spent == 1


@pytest.mark.parametrize("where", ["mongodb://host/db", "ftp://x", "file://relative/dir", "", "a\0b", 5, b"dir"])
def test_ledgers_that_do_not_exist_are_refused(where: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError, match="write a path"):
        BudgetManager(ledger=where)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_no_file_and_no_directory_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LedgerError, match="is \\(or runs through\\) a file"):
        BudgetManager(ledger=tmp_path / "file")
    with pytest.raises(LedgerError, match="is \\(or runs through\\) a file"):
        BudgetManager(ledger=tmp_path / "file" / "below")
    (tmp_path / "home" / "app").mkdir(parents=True)
    (tmp_path / "home" / "app" / "thesis.tex").write_text("mine")
    with pytest.raises(LedgerError, match=r"thesis\.tex"):
        BudgetManager("app", ledger=tmp_path / "home")
    assert [entry.name for entry in (tmp_path / "home" / "app").iterdir()] == ["thesis.tex"]
    assert (tmp_path / "file").read_text() == "mine"


UNREADABLE = """
import os, sys
import budgeted.ledger.journal.ledger
from budgeted import BudgetManager, LedgerUnavailableError
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    BudgetManager("app", ledger=sys.argv[1])
except LedgerUnavailableError as error:
    print(error)
"""


def test_a_ledger_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with BudgetManager("app", ledger=home):
        pass
    for entry in (*tmp_path.parents, tmp_path):  # others may pass, so that it is the ledger that stops them
        if entry.owner() == home.owner() and str(entry).startswith("/tmp/pytest"):  # noqa: S108
            entry.chmod(0o755)
    home.chmod(0)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", UNREADABLE, str(home)], capture_output=True, text=True, check=True, timeout=60
        )
    finally:
        home.chmod(0o755)
    assert "cannot be used: Permission denied" in ran.stdout


def test_errors_of_a_manager_pickle(manager: BudgetManager) -> None:
    manager.set_limits("alice", 1)
    with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=2, user="alice"):
        pass
    copy = pickle.loads(pickle.dumps(refused.value))  # noqa: S301
    assert str(copy) == str(refused.value)
    assert vars(copy) == vars(refused.value)
    assert issubclass(LedgerUnavailableError, LedgerError)


# -- cap kept under a key


def test_a_keyed_cap_goes_on_with_what_is_left(tmp_path: Path) -> None:
    with BudgetManager(ledger=tmp_path) as manager:
        with manager.budget("job", cap=1, key="nightly") as block:
            assert block.remaining == 1
            spend(manager, None, 0.4)
            assert (block.spent, block.remaining) == (0.4, 0.6)
        with manager.budget("job", cap=1, key="nightly") as block:
            spend(manager, None, 0.1)
            assert (block.spent, block.remaining) == (0.1, 0.5)
    with BudgetManager(ledger=tmp_path) as manager, manager.budget("job", cap=1, key="nightly") as block:
        with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=0.6):
            pass
        assert block.remaining == 0.5
        assert (refused.value.account, refused.value.account_kind) == ("nightly", "block")
        assert refused.value.limit == "a cap of $1"
        spend(manager, None, 0.5)
        assert block.remaining == 0


def test_a_keyed_cap_may_be_raised(manager: BudgetManager) -> None:
    for cap, costs in ((1, 0.9), (2, 1.0)):
        with manager.budget(cap=cap, key="nightly") as block:
            spend(manager, None, costs)
    assert block.remaining == 0.1


def test_two_managers_keep_keys_apart(manager: BudgetManager) -> None:
    with BudgetManager("other", ledger="memory://") as other:
        with manager.budget(cap=1, key="job"):
            spend(manager, None, 1)
        with other.budget(cap=1, key="job"):
            spend(other, None, 1)


def test_a_key_without_a_cap_is_refused(manager: BudgetManager) -> None:
    with pytest.raises(ValueError, match="needs a cap"):
        manager.budget("alice", key="job")
