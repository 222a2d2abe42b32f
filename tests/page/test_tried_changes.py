"""What a change of limits would do is what it then does, on every kind of limit; and a stale one is noticed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clocks import DAY, Clock

from budgeted import BudgetManager
from budgeted.page.tried_changes import ChangedMeanwhileError, set_limits, top_up, try_limits, try_top_up

HOSTILE = ("<script>alert(1)</script>", '"; DROP TABLE', " ", "global", "key:", "tag:feature=<b>", "\u202eecila")


@pytest.fixture(params=["memory://", "spend", "sqlite:///spend.db"])
def manager(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BudgetManager]:
    monkeypatch.chdir(tmp_path_factory.mktemp("tried"))
    with BudgetManager("tried", ledger=request.param, clock=Clock()) as made:
        yield made


def spend(manager: BudgetManager, usd: float, user: str | None = None) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


def told(manager: BudgetManager, account: str | None, text: str) -> list[tuple[str, str, str]]:
    """The kind, and the limit before and after, of each change."""
    return [
        (one.kind, one.before.text if one.before else "", one.after.text if one.after else "")
        for one in try_limits(manager, account, text).changes
    ]


def test_each_limit_is_told_to_stay_to_change_to_come_or_to_go(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$10/day + 60 calls/minute + $1/day on gpt-5*")
    assert told(manager, "alice", "$20/day + 60 calls/minute + $100/month") == [
        ("changed", "$10/day", "$20/day"),
        ("same", "60 calls/minute", "60 calls/minute"),
        ("new", "", "$100/month"),
        ("gone", "$1/day on gpt-5*", ""),
    ]
    assert [one.text for one in manager.balances("alice")] == ["$10/day", "60 calls/minute", "$1/day on gpt-5*"]


@pytest.mark.parametrize(
    "text",
    [
        "$20/day",
        "$1/day",
        "$100/month + 5 calls",
        "1000 tokens/hour + $5/rolling 24 hours",
        "$3/day on gpt-5*",
        "$50/month, keep up to $20",
        "$9 + $0.000000001/day",
        "",
    ],
)
@pytest.mark.parametrize("account", ["alice", None])
def test_what_is_shown_is_what_comes_of_it(manager: BudgetManager, account: str | None, text: str) -> None:
    manager.set_limits(account, "$10/day + $40/month")
    manager.top_up(account, 1)
    spend(manager, 2.5, account)
    tried = try_limits(manager, account, text)
    set_limits(manager, account, text, tried.seen)
    assert [one.after for one in tried.changes if one.after] == manager.balances(account)
    assert tried.text == " + ".join(one.text for one in manager.balances(account))


def test_it_says_what_would_be_refused_at_once(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$10/day")
    spend(manager, 2, "alice")
    [low] = try_limits(manager, "alice", "$2/day").changes
    [high] = try_limits(manager, "alice", "$2.01/day").changes
    [new] = try_limits(manager, "alice", "$1/month").changes[:1]
    assert (low.refuses, high.refuses, new.refuses) == (True, False, True)


def test_what_calls_in_flight_hold_is_not_left(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$10/day")
    with manager.hold(cost=4, user="alice") as held:
        [lower, new] = try_limits(manager, "alice", "$4/day + $20/month").changes
        assert lower.after is not None
        assert new.after is not None
        assert (lower.after.held, lower.waits, lower.refuses) == (4, True, False)
        assert (new.after.held, new.after.remaining) == (4, 16)
        assert manager.balance("alice").held == 4
        held.settle(cost=4)


def test_a_top_up_is_shown_as_it_will_be_until_its_period_ends(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day + $30/month")
    spend(manager, 1, "alice")
    tried = try_top_up(manager, "alice", "$5")
    [day, month] = tried.changes
    assert day.before is not None
    assert day.after is not None
    assert (day.before.limit, day.after.limit, day.after.remaining, day.kind) == (1, 6, 5, "changed")
    assert month.kind == "same"
    top_up(manager, "alice", "$5", tried.seen)
    assert manager.balances("alice") == [one.after for one in tried.changes]


@pytest.mark.parametrize(("limits", "amount"), [("$1", "$5"), ("$1/day", "5 calls"), ("$1/day", "x"), ("$1/day", "")])
def test_a_top_up_that_cannot_be_says_so_before(manager: BudgetManager, limits: str, amount: str) -> None:
    manager.set_limits("alice", limits)
    with pytest.raises(ValueError, match=r"limit|period"):
        try_top_up(manager, "alice", amount)


@pytest.mark.parametrize("by_whom", ["another amount", "one more", "none", "a raise"])
def test_a_change_by_somebody_else_in_between_is_noticed(manager: BudgetManager, by_whom: str) -> None:
    manager.set_limits("alice", "$1/day")
    limits, raised = try_limits(manager, "alice", "$3/day"), try_top_up(manager, "alice", "$1")
    if by_whom == "another amount":
        manager.set_limits("alice", "$2/day")
    elif by_whom == "one more":
        manager.set_limits("alice", "$1/day + $9/month")
    elif by_whom == "none":
        manager.set_limits("alice")
    else:
        manager.top_up("alice", 1)
    before = manager.balances("alice")
    with pytest.raises(ChangedMeanwhileError, match="somebody else"):
        set_limits(manager, "alice", "$3/day", limits.seen)
    with pytest.raises(ChangedMeanwhileError, match="somebody else"):
        top_up(manager, "alice", "$1", raised.seen)
    assert manager.balances("alice") == before


def test_what_is_spent_meanwhile_is_no_reason_to_ask_again(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    tried = try_limits(manager, "alice", "$3/day")
    spend(manager, 0.5, "alice")
    set_limits(manager, "alice", "$3/day", tried.seen)
    assert manager.balance("alice").remaining == 2.5


@pytest.mark.parametrize("account", HOSTILE)
def test_an_account_may_be_called_anything(manager: BudgetManager, account: str) -> None:
    tried = try_limits(manager, account, "$1/day")
    assert [one.kind for one in tried.changes] == ["new"]
    set_limits(manager, account, "$1/day", tried.seen)
    assert manager.balance(account).limit == 1
    assert manager.balance(None).limit is None


def test_a_keyed_caps_limits_are_its_own(manager: BudgetManager) -> None:
    with manager.budget(cap=5, key="nightly"):
        spend(manager, 2)
    [change] = try_limits(manager, "key:nightly", "$8").changes
    assert change.before is not None
    assert change.after is not None
    assert (change.before.limit, change.after.limit, change.after.spent) == (5, 8, 2)


@pytest.mark.parametrize("text", ["$10/dya", "<script>", "$1/day + $2/day", "-5", "$1" + " " * 2000])
def test_text_that_is_no_limit_is_quoted_with_a_right_one(manager: BudgetManager, text: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        try_limits(manager, "alice", text)


def test_users_whom_nobody_gave_limits_have_those_of_such_users() -> None:
    clock = Clock()
    with BudgetManager("tried", ledger="memory://", clock=clock, default_user_limits="$2/day") as manager:
        assert told(manager, "new", "$5/day") == [("changed", "$2/day", "$5/day")]
        tried = try_top_up(manager, "new", "1")
        clock.now += DAY
        assert [one.kind for one in tried.changes] == ["changed"]
        assert manager.accounts() == []  # it was only tried
