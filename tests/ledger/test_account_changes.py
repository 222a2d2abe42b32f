"""Teams, stops, raises and approval, on every ledger, as their users have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clocks import DAY, HOUR, Clock

from budgeted import BudgetExceededError, BudgetManager, BudgetStoppedError
from budgeted.events import Event

TEAM, ORGANISATION = "team:search", "org:acme"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(ledger: Any, clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger=ledger, clock=clock, wait=0) as made:
        yield made


def pay(manager: BudgetManager, user: str | None, cost: float, **block: Any) -> None:
    with manager.budget(user, **block), manager.hold(cost=cost) as held:
        held.settle(cost=cost)


def refused(manager: BudgetManager, user: str | None, cost: float, **block: Any) -> BudgetExceededError:
    with pytest.raises(BudgetExceededError) as caught, manager.budget(user, **block), manager.hold(cost=cost):
        pass
    return caught.value


# -- teams


def test_paying_for_a_user_pays_for_its_team_and_for_what_that_belongs_to(manager: BudgetManager) -> None:
    manager.set_limits(ORGANISATION, "$3")
    manager.set_limits(TEAM, "$2")
    manager.assign("alice", TEAM)
    manager.assign(TEAM, ORGANISATION)
    pay(manager, "alice", 1.5)
    error = refused(manager, "alice", 0.6)
    assert (error.account, error.account_kind, error.limit, error.spent) == (TEAM, "user", "$2", 1.5)
    pay(manager, "bob", 10)
    assert manager.balance(ORGANISATION).spent == 1.5
    assert manager.balance("alice").spent == 1.5
    manager.assign("bob", ORGANISATION)
    assert refused(manager, "bob", 1.6).account == ORGANISATION


def test_a_call_in_flight_is_charged_to_the_team_that_its_user_had(manager: BudgetManager) -> None:
    manager.set_limits(TEAM, "$2")
    manager.assign("alice", TEAM)
    with manager.budget("alice"), manager.hold(cost=1) as held:
        assert manager.balance(TEAM).held == 1
        manager.assign("alice", None)
        held.settle(cost=0.5)
    pay(manager, "alice", 5)
    balance = manager.balance(TEAM)
    assert (balance.spent, balance.held) == (0.5, 0)


def test_a_user_in_a_block_of_its_team_pays_for_it_once(manager: BudgetManager) -> None:
    manager.set_limits(TEAM, "$2")
    manager.assign("alice", TEAM)
    with manager.budget(TEAM):
        pay(manager, "alice", 1)
    assert manager.balance(TEAM).spent == 1


def test_a_team_that_belongs_to_its_member_is_refused(manager: BudgetManager) -> None:
    manager.assign("alice", TEAM)
    manager.assign(TEAM, ORGANISATION)
    with pytest.raises(ValueError, match="'org:acme' cannot belong to 'alice', which belongs to 'org:acme' in the end"):
        manager.assign(ORGANISATION, "alice")
    with pytest.raises(ValueError, match="cannot belong to"):
        manager.assign("alice", "alice")
    with pytest.raises(ValueError, match="everybody pays the global account"):
        manager.assign(None, TEAM)  # type: ignore[arg-type]
    pay(manager, "alice", 1)


def test_nobody_belongs_to_a_tag_or_a_cap(manager: BudgetManager) -> None:
    with manager.budget(cap=5, key="nightly"):
        pay(manager, "alice", 1)
    for name in ("tag:feature=search", "key:nightly"):
        with pytest.raises(ValueError, match=f"'alice' can belong to users and teams, .* got '{name}'"):
            manager.assign("alice", name)
    manager.assign("tag:feature=search", TEAM)
    pay(manager, "alice", 1, tags={"feature": "search"})
    assert (manager.balance(TEAM).spent, manager.balance("alice").spent) == (1, 2)


def test_at_most_eight_pay_for_one(manager: BudgetManager) -> None:
    for i in range(8):
        manager.assign(f"level{i}", f"level{i + 1}")
    with pytest.raises(ValueError, match="at most 8 accounts pay for one"):
        manager.assign("level8", "level9")
    with pytest.raises(ValueError, match="at most 8 accounts pay for one"):
        manager.assign("below", "level0")
    pay(manager, "level0", 1)
    assert manager.balance("level8").spent == 1


def test_a_team_has_no_default_limits_and_its_members_do(ledger: Any, clock: Clock) -> None:
    with BudgetManager("tests", ledger=ledger, clock=clock, wait=0, default_user_limits="$1") as manager:
        manager.assign("alice", TEAM)
        manager.assign("bob", TEAM)
        pay(manager, "alice", 1)
        pay(manager, "bob", 1)
        assert refused(manager, "bob", 1).account == "bob"
        assert manager.balance(TEAM).spent == 2


# -- stopping


def test_what_is_stopped_refuses_at_once_and_what_is_in_flight_ends(manager: BudgetManager, ledger: Any) -> None:
    other = BudgetManager("tests", ledger=ledger, clock=manager.settings.clock)
    manager.set_limits("alice", "$5")
    pay(other, "alice", 1)
    with other.budget("alice"), other.hold(cost=1) as held:
        manager.stop("alice", reason="her key has leaked")
        error = refused(other, "alice", 0.1)
        held.settle(cost=0.5)
    assert isinstance(error, BudgetStoppedError)
    text = "user 'alice' is stopped, and nothing is sent: her key has leaked; manager.resume('alice') or"
    assert str(error) == f"{text} `budgeted resume` lets it go on"
    assert (error.reason, error.account, error.why) == ("stopped", "alice", "her key has leaked")
    assert manager.balance("alice").spent == 1.5
    pay(other, "bob", 1)
    manager.resume("alice")
    pay(other, "alice", 1)


def test_what_a_stopped_caps_refusal_says_lets_it_go_on(manager: BudgetManager) -> None:
    with manager.budget(cap=5, key="nightly"):
        pay(manager, "alice", 1)
    manager.stop("key:nightly", "a loop")
    with pytest.raises(
        BudgetStoppedError, match=r"block 'nightly' is stopped.*: a loop; manager\.resume\('key:nightly'\)"
    ):
        pay(manager, "alice", 1, cap=5, key="nightly")
    manager.resume("key:nightly")
    pay(manager, "alice", 1, cap=5, key="nightly")
    assert manager.balance("key:nightly").spent == 2


def test_a_stop_of_all_and_of_a_team_reaches_everybody_in_it_whatever_the_policy(manager: BudgetManager) -> None:
    manager.assign("alice", TEAM)
    pay(manager, "alice", 1)
    manager.stop(TEAM)
    assert refused(manager, "alice", 1, on_exceed="warn").account == TEAM
    manager.resume(TEAM)
    manager.stop(reason="an audit")
    error = refused(manager, None, 1, on_exceed="warn")
    assert (error.account, str(error)[:51]) == ("global", "the global budget is stopped, and nothing is sent: ")
    manager.resume()
    pay(manager, "alice", 1)


def test_a_reason_that_would_fill_the_logs_is_refused(manager: BudgetManager) -> None:
    with pytest.raises(ValueError, match="at most 1,000 bytes, got 1,001"):
        manager.stop("alice", "x" * 1_001)
    pay(manager, "alice", 1)


def test_a_stopped_cap_tells_how_it_goes_on(manager: BudgetManager) -> None:
    manager.stop("key:nightly", "it is day")
    with manager.budget(cap=5, key="nightly"):
        with pytest.raises(BudgetStoppedError, match=r"it is day; manager\.resume\('key:nightly'\)"):
            manager.hold(cost=1).__enter__()
        manager.resume("key:nightly")
        with manager.hold(cost=1) as held:
            held.settle(cost=1)


def test_what_was_paid_for_is_recorded_while_it_is_stopped(manager: BudgetManager) -> None:
    manager.create_budget(10, "alice")
    manager.stop("alice")
    manager.update_cost("alice", model="gpt-4o-mini", input_text="a b c", output_text="d")
    assert manager.get_current_cost("alice") > 0


def test_who_stops_is_told_as_an_event(ledger: Any, clock: Clock) -> None:
    told: list[Event] = []
    done = threading.Event()

    def tell(event: Event) -> None:
        told.append(event)
        if event.kind == "resumed":
            done.set()

    with BudgetManager("tests", ledger=ledger, clock=clock, on_event=tell) as manager:
        manager.stop("alice", reason="an audit")
        manager.resume("alice")
        assert done.wait(10)
    assert [(one.kind, one.account, one.reason) for one in told] == [
        ("stopped", "alice", "an audit"),
        ("resumed", "alice", ""),
    ]


# -- a raise for a period


def test_a_raise_lets_so_much_more_be_spent_and_ends_with_the_period(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$5/day + $7/month")
    pay(manager, "alice", 5)
    assert isinstance(refused(manager, "alice", 0.1), BudgetExceededError)
    manager.top_up("alice", 3)
    day, month = manager.balances("alice")
    assert (day.limit, day.remaining, month.limit, month.remaining) == (8, 3, 8, 3)
    assert (day.text, month.text) == ("$5/day", "$7/month")
    pay(manager, "alice", 3)
    assert isinstance(refused(manager, "alice", 0.1), BudgetExceededError)
    clock.now += DAY
    assert manager.balances("alice")[0].limit == 5


def test_a_raise_of_who_has_not_called_yet_counts_for_its_default_limits(ledger: Any, clock: Clock) -> None:
    with BudgetManager("tests", ledger=ledger, clock=clock, wait=0, default_user_limits="$1/day") as manager:
        manager.top_up("alice", "$2")
        pay(manager, "alice", 3)
        assert isinstance(refused(manager, "alice", 0.1), BudgetExceededError)


def test_a_raise_in_calls_and_of_everybody(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits(None, "1 call/hour")
    pay(manager, None, 1)
    manager.top_up(None, "2 calls")
    pay(manager, None, 1)
    pay(manager, None, 1)
    assert isinstance(refused(manager, None, 1), BudgetExceededError)
    clock.now += HOUR
    pay(manager, None, 1)
    assert isinstance(refused(manager, None, 1), BudgetExceededError)


@pytest.mark.parametrize(
    ("amount", "until", "message"),
    [
        (5, "2026-01-01", 'until must be "period"'),
        ("$5/day", "period", "without a period"),
        (0, "period", "without a period"),
        ("20 calls", "period", "has no limit in calls to be raised"),
        (float("nan"), "period", "nan"),
    ],
)
def test_a_raise_that_makes_no_sense_is_refused(manager: BudgetManager, amount: Any, until: str, message: str) -> None:
    manager.set_limits("alice", "$5/day")
    with pytest.raises(ValueError, match=message):
        manager.top_up("alice", amount, until=until)


def test_a_raise_that_could_not_end_is_refused(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5")
    with pytest.raises(ValueError, match=r"\$5 of 'alice' has no period with which a raise could end"):
        manager.top_up("alice", 5)


# -- what is left of a period


def test_what_a_month_leaves_is_spent_in_the_next_one(manager: BudgetManager, clock: Clock) -> None:
    manager.set_limits("alice", "$100/month, keep up to $50")
    pay(manager, "alice", 70)
    clock.now += 31 * DAY
    balance = manager.balance("alice")
    assert (balance.limit, balance.remaining) == (130, 130)
    pay(manager, "alice", 130)
    assert isinstance(refused(manager, "alice", 0.1), BudgetExceededError)


# -- approval


def asking(ledger: Any, clock: Clock, do: Callable[[BudgetManager], None], wait: float = 60) -> list[Event]:
    """A call of $3 that does not fit into $2, and what somebody does when it asks; the events."""
    told: list[Event] = []

    def answer(event: Event) -> None:
        told.append(event)
        if event.kind == "asked":
            do(manager)

    with BudgetManager("tests", ledger=ledger, clock=clock, on_event=answer, on_exceed="ask", wait=wait) as manager:
        manager.set_limits("alice", "$2/day")
        pay(manager, "alice", 3)
        assert manager.balance("alice").spent == 3
    return told


def test_a_call_that_does_not_fit_asks_and_goes_on_when_somebody_raises_the_limit(ledger: Any, clock: Clock) -> None:
    [asked, *_] = asking(ledger, clock, lambda manager: manager.top_up("alice", 1))
    assert (asked.kind, asked.account, asked.limit, asked.requested, asked.remaining) == (
        "asked",
        "alice",
        "$2/day",
        3,
        2,
    )


def test_it_goes_on_when_the_limit_is_another_one(ledger: Any, clock: Clock) -> None:
    told = asking(ledger, clock, lambda manager: manager.set_limits("alice", "$3/day"))
    assert [event.kind for event in told if event.kind != "alert"] == ["asked"]


def test_it_is_refused_when_nobody_answers_in_time(ledger: Any, clock: Clock) -> None:
    with pytest.raises(BudgetExceededError):
        asking(ledger, clock, lambda manager: None, wait=0.2)


def test_it_is_refused_when_somebody_stops_it(ledger: Any, clock: Clock) -> None:
    with pytest.raises(BudgetStoppedError, match="no"):
        asking(ledger, clock, lambda manager: manager.stop("alice", "no"))
