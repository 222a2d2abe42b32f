"""Tags: what calls are for is charged, limited and listed besides who pays for them."""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from budgeted import BudgetExceededError, BudgetManager, BudgetStoppedError, UnknownUserError
from budgeted.payers import payer_interface
from budgeted.testing import SimulatedProvider


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tags", ledger="memory://", max_budget=100) as made:
        yield made


def spend(manager: BudgetManager, cost: float = 1, **arguments: Any) -> None:
    with manager.hold(cost=cost, **arguments) as held:
        held.settle(cost=cost)


def tags(manager: BudgetManager) -> dict[str, float]:
    """What was spent of each tag."""
    found = [one.name for one in manager.accounts("tag:") if one.kind == "tag"]
    return {name.removeprefix("tag:"): manager.balance(name).spent for name in found}


class Feature(enum.StrEnum):
    SEARCH = "search"


class Level(enum.IntEnum):
    HIGH = 3


# -- what is charged


def test_what_a_call_is_for_is_charged_besides_its_user(manager: BudgetManager) -> None:
    with manager.budget("alice", tags={"feature": "search", "session": 7}):
        spend(manager)
    assert tags(manager) == {"feature=search": 1, "session=7": 1}
    assert manager.balance("alice").spent == manager.balance().spent == 1
    assert manager.get_users() == [one.name for one in manager.accounts()] == ["alice"]


def test_an_inner_value_of_the_same_name_counts_instead_and_other_names_add_up(manager: BudgetManager) -> None:
    with manager.budget(tags={"feature": "search", "team": "x"}):
        with manager.budget(tags={"feature": "index", "session": "s"}):
            spend(manager)
        with manager.budget(tags={"feature": None}):
            spend(manager, 2)
        spend(manager, 4, tags={"team": "y"})
    assert tags(manager) == {"feature=index": 1, "feature=search": 6, "session=s": 1, "team=x": 3, "team=y": 4}


def test_a_report_has_the_values_of_a_tag_and_adds_up(manager: BudgetManager) -> None:
    with manager.budget("team"), manager.budget("alice", tags={"feature": "search"}):
        spend(manager)
        spend(manager, 2, tags={"feature": "index"})
    spend(manager, 4)
    report = manager.report(by="tag:feature")
    assert {name: row.spent for name, row in report.items()} == {"index": 2, "search": 1, "(untagged)": 4}
    assert report.total.spent == manager.balance().spent == 7


def test_values_are_text_numbers_ids_and_members_of_enumerations(manager: BudgetManager) -> None:
    key = uuid.UUID(int=5)
    spend(manager, tags={"a": Feature.SEARCH, "b": Level.HIGH, "c": True, "d": key, "e": "x=y, z", "f": None})
    assert sorted(tags(manager)) == ["a=search", "b=3", "c=True", f"d={key}", "e=x=y, z"]


def test_a_functions_tags_are_asked_of_its_arguments(manager: BudgetManager) -> None:
    @manager.budgeted(user=lambda question, **_: question, tags={"session": lambda _, session: session, "fixed": 1})
    def answer(question: str, *, session: int | None) -> None:
        spend(manager)

    @manager.budgeted(tags=lambda question: {"whole": question})
    async def later(question: str) -> None:
        spend(manager)

    @manager.budgeted(tags={"steps": "all"})
    def steps() -> Iterator[int]:
        spend(manager)
        yield 1
        spend(manager)

    answer("one", session=1)
    answer("two", session=None)
    asyncio.run(later("what"))
    assert list(steps()) == [1]
    assert tags(manager) == {"fixed=1": 2, "session=1": 1, "steps=all": 2, "whole=what": 1}


def test_a_wrong_value_of_a_functions_tag_is_told_before_the_function_runs(manager: BudgetManager) -> None:
    ran = []

    @manager.budgeted(tags={"session": lambda session: session})
    def answer(session: object) -> None:
        ran.append(session)

    with pytest.raises(TypeError, match=r"tag 'session' must be text, a whole number, a UUID or None, got 1\.5"):
        answer(1.5)
    assert not ran


def test_calls_of_an_sdk_are_tagged(manager: BudgetManager) -> None:
    import openai

    with SimulatedProvider() as provider:
        client = openai.OpenAI(base_url=f"{provider.url}/v1", api_key="none", max_retries=0)
        with manager.budget("alice", tags={"feature": "search"}):
            client.chat.completions.create(
                model="gpt-5-mini", max_completion_tokens=20, messages=[{"role": "user", "content": "Hello!"}]
            )
    assert tags(manager) == {"feature=search": manager.balance().spent}
    assert manager.balance().spent > 0


def test_all_calls_of_a_program_have_the_tags_of_its_manager() -> None:
    with BudgetManager("tags", ledger="memory://", tags={"team": "x", "feature": "none"}) as manager:
        spend(manager)
        with manager.budget("alice", tags={"feature": "search"}):
            spend(manager)
        manager.reconfigure(tags={})
        spend(manager)
        assert tags(manager) == {"feature=none": 1, "feature=search": 1, "team=x": 2}


# -- what is limited


def test_a_tags_value_is_limited_as_a_user_is(manager: BudgetManager) -> None:
    manager.set_limits("tag:feature=search", "$2/day")
    with manager.budget("alice", tags={"feature": "search"}):
        spend(manager, 1.5)
        with pytest.raises(BudgetExceededError) as refused:
            spend(manager)
        with manager.budget(tags={"feature": "other"}):
            spend(manager)
    error = refused.value
    assert (error.account, error.account_kind, error.limit) == ("tag:feature=search", "tag", "$2/day")
    assert str(error).startswith("the tag 'feature=search' has $0.50 left of $2/day")
    assert pickle.loads(pickle.dumps(error)).account == error.account  # noqa: S301
    assert manager.balance("tag:feature=search").remaining == 0.5
    manager.reset_cost("tag:feature=search")
    assert manager.balance("tag:feature=search").spent == 0
    manager.delete_user("tag:feature=search")
    assert "feature=search" not in tags(manager)
    with pytest.raises(UnknownUserError):
        manager.delete_user("tag:feature=search")


def test_a_tag_is_stopped_and_resumed_and_belongs_to_a_team_as_a_user_does(manager: BudgetManager) -> None:
    manager.stop("tag:feature=search", "a loop")
    with manager.budget("alice", tags={"feature": "search"}):
        with pytest.raises(BudgetStoppedError, match=r"^the tag 'feature=search' is stopped.*: a loop"):
            spend(manager)
        manager.resume("tag:feature=search")
        manager.assign("tag:feature=search", "team:web")
        spend(manager)
    assert manager.balance("team:web").spent == manager.balance("alice").spent == 1


def test_a_user_who_is_called_like_a_tag_is_that_tags_account(manager: BudgetManager) -> None:
    manager.set_limits("tag:feature=search", "$1")
    with manager.budget("tag:feature=search"):
        spend(manager)
    with manager.budget("tag:none"):
        spend(manager)
    assert tags(manager) == {"feature=search": 1}
    assert manager.get_users() == ["tag:none"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "tag:feature",
            "'tag:feature' names a tag without a value, .* write 'tag:feature=VALUE', or .*'tag:feature=\\*'",
        ),
        ("tag:session=*", r"limits of that very value, .* write default_user_limits={'tag:session=\*': \.\.\.}"),
    ],
)
def test_limits_that_no_call_would_come_by_are_refused(manager: BudgetManager, name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        manager.set_limits(name, "$1")
    assert not manager.accounts("tag:")
    with manager.budget(name):  # there it is now, and so it is what is meant
        spend(manager)
    manager.set_limits(name, "$2")
    assert manager.balance(name).remaining == 1


def test_only_patterns_of_tags_give_tags_their_default_limits() -> None:
    limits = {"tag:session=*": "$1", "*": "$2"}
    with BudgetManager("tags", ledger="memory://", default_user_limits=limits) as manager:
        with manager.budget("alice", tags={"session": 1, "team": "x"}):
            spend(manager)
            with pytest.raises(BudgetExceededError, match="the tag 'session=1' has"):
                spend(manager, 0.5)
        assert [one.text for one in manager.balances("tag:session=2")] == ["$1"]
        assert manager.balances("tag:team=x") == []
        assert [one.text for one in manager.balances("alice")] == ["$2"]


def test_limits_of_tags_are_no_limits_of_users(caplog: pytest.LogCaptureFixture) -> None:
    limits = {"tag:session=*": "$1"}
    with BudgetManager("tags", ledger="memory://", default_user_limits=limits, unknown_users="deny") as manager:
        manager.set_limits("tag:feature=search", "$5")
        spend(manager, tags={"feature": "search"})  # nobody is looked for, as no user has a limit
        manager.set_limits("alice", "$5")
        with manager.budget("alice", tags={"session": "new"}):
            spend(manager)
    assert "nobody but the global account" not in caplog.text


def test_a_tag_is_no_user_to_pay(manager: BudgetManager, caplog: pytest.LogCaptureFixture) -> None:
    manager.set_limits("alice", "$5")
    with caplog.at_level(logging.WARNING):
        spend(manager, tags={"feature": "search"})
    assert "nobody but the global account" in caplog.text


# -- what makes no sense


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("feature=search", TypeError, "tags must be a mapping such as .* got 'feature=search'"),
        (0, TypeError, "tags must be a mapping"),
        ({"": "x"}, ValueError, "'' is no name of a tag"),
        ({"a b": "x"}, ValueError, "'a b' is no name of a tag; write 1 to 64 letters"),
        ({"a=b": "x"}, ValueError, "'a=b' is no name of a tag"),
        ({"1st": "x"}, ValueError, "'1st' is no name of a tag"),
        ({"x" * 65: "x"}, ValueError, "is no name of a tag"),
        ({5: "x"}, TypeError, "the name of a tag must be a string such as 'feature', got 5"),
        ({"feature": ""}, ValueError, "tag 'feature', '', is empty; give None, or leave it out"),
        ({"feature": "a\nb"}, ValueError, r"tag 'feature', 'a\\nb', holds control characters"),
        ({"feature": "\ud800"}, ValueError, "lone surrogates"),
        ({"feature": "ü" * 101}, ValueError, "has 202 bytes, and 200 are allowed; use a shorter id, or a hash"),
        ({"feature": 1.5}, TypeError, "got 1.5"),
        ({"feature": ["a"]}, TypeError, r"got \['a'\]"),
        ({"feature": b"a"}, TypeError, "got b'a'"),
        ({"feature": 10**5000}, ValueError, "is a number of more than 200 digits"),
        ({f"n{number}": 1 for number in range(17)}, ValueError, "17 names, and a call may have 16 tags"),
    ],
)
def test_tags_that_make_no_sense_are_told_at_once(
    given: Any, error: type[Exception], text: str, manager: BudgetManager
) -> None:
    for take in (
        lambda: manager.budget(tags=given),
        lambda: manager.hold(cost=1, tags=given),
        lambda: manager.budgeted(tags=given),
        lambda: manager.reconfigure(tags=given),
    ):
        with pytest.raises(error, match=text):
            take()


def test_a_coroutine_function_is_no_value_of_a_tag(manager: BudgetManager) -> None:
    async def session() -> str:
        return "s"

    with pytest.raises(TypeError, match=r"tags=.* is a coroutine function"):
        manager.budgeted(tags={"session": session})


def test_a_call_has_at_most_sixteen_tags_in_all_its_blocks(manager: BudgetManager) -> None:
    with manager.budget(tags={f"n{number}": 1 for number in range(16)}):
        with manager.budget(tags={"n3": 2}):
            spend(manager)
        with pytest.raises(ValueError, match="more than 16 tags"), manager.budget(tags={"one": "more"}):
            pass
    assert len(tags(manager)) == 16


def test_users_times_sessions_are_not_all_kept_in_mind(manager: BudgetManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payer_interface, "MOST_GROUPS", 100)
    manager.reconfigure(alerts=())  # which look at accounts a little later
    for number in range(400):
        with manager.budget(f"user-{number % 20}", tags={"session": number}), manager.budget(tags={"step": 1}):
            spend(manager, 0.01)
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, payer_interface.Group) and one.payer is manager.payer]
    assert len(kept) <= 100 + 20 + 2
    assert manager.balance("user-7").spent == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["tag:a b=c", "tag:=c", "tag:feature=", "tag:feature=" + "x" * 201])
def test_a_name_that_is_nearly_a_tags_is_refused(name: str, manager: BudgetManager) -> None:
    for take in (manager.budget, manager.balance, lambda name: manager.set_limits(name, "$1"), manager.create_budget):
        with pytest.raises(ValueError, match="tag"):
            take(*([1, name] if take == manager.create_budget else [name]))
