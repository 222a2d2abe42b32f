"""A user's own page: what was spent and on what, who pays as well, and what was refused or is uncertain."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from clocks import DAY, Clock
from serving import READER, TOKEN, Serving
from visiting import Visitor

from budgeted import BudgetExceededError, BudgetManager
from budgeted.ledger.memory.ledger import MemoryLedger

HOSTILE = ["<script>alert(1)</script>", '"; DROP TABLE users; --', "a&name=bob", "../\N{SNOWMAN}?#%2f+"]
"""Names that users may have."""


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("default", ledger=MemoryLedger(), on_exceed="raise") as made:
        yield made


@pytest.fixture
def serving(manager: BudgetManager) -> Iterator[Serving]:
    with Serving(ledger=manager.ledger, tokens=(TOKEN,), read_tokens=(READER,)) as one:
        yield one


@pytest.fixture
def visitor(serving: Serving) -> Iterator[Visitor]:
    with Visitor(serving.url, TOKEN) as one:
        yield one


OPENAI, ANTHROPIC = "gpt-5-mini", "claude-sonnet-4-5"


def call(manager: BudgetManager, model: str, *users: str, cost: float = 2) -> None:
    """A call that all of these pay for."""
    with contextlib.ExitStack() as blocks:
        for user in users:
            blocks.enter_context(manager.budget(user))
        with manager.hold(model=model, input="hi", max_output_tokens=1) as held:
            held.settle(cost=cost)


def leave_uncertain(manager: BudgetManager, user: str, cost: float) -> None:
    with pytest.raises(TimeoutError), manager.hold(cost=cost, user=user):
        raise TimeoutError


def test_what_was_spent_is_told_by_model_provider_and_day(visitor: Visitor, manager: BudgetManager) -> None:
    call(manager, OPENAI, "alice")
    call(manager, ANTHROPIC, "alice", cost=1)
    call(manager, OPENAI, "bob")
    page = visitor.get("/page/user", name="alice")
    for told in (
        "$3.00 spent today",
        "$3.00 in the last 30 days",
        "$3.00 in all",
        f"{OPENAI} $2.00 67%",
        "openai $2.00 67%",
    ):
        assert told in page.text
    assert "anthropic $1.00 33% Total, each call once $3.00" in page.text
    assert "Every day in numbers" in page.text
    drawn = visitor.client.get("/page/user.svg", params={"name": "alice", "small": "1"})
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert ET.fromstring(drawn.content).tag.endswith("svg")  # noqa: S314 - our own
    assert OPENAI.encode() in drawn.content


def test_days_before_are_told_as_such() -> None:
    clock = Clock()
    with BudgetManager("default", ledger=MemoryLedger(), clock=clock) as manager:
        call(manager, OPENAI, "alice")
        clock.now += 40 * DAY
        call(manager, ANTHROPIC, "alice", cost=0.5)
        with Serving(ledger=manager.ledger) as serving, Visitor(serving.url) as visitor:
            text = visitor.get("/page/user", name="alice").text
    # The server goes by its own clock, for which all that was long ago.
    assert "$0.00 spent today" in text
    assert "$2.50 in all" in text
    assert "Nothing was spent in the last 30 days" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_has_a_page_and_a_picture_of_its_own(
    visitor: Visitor, manager: BudgetManager, name: str
) -> None:
    call(manager, OPENAI, name)
    manager.assign(name, "team:" + name)
    leave_uncertain(manager, name, 0.25)
    page = visitor.get("/page/user", name=name)
    assert page.tags.count("script") == 1
    assert "$2.25 spent today" in page.text
    assert " ".join(name.split()) in page.text
    listed = visitor.get(page.links["Say what they cost"])
    assert " ".join(name.split()) in listed.text
    assert visitor.client.get("/page/user.svg", params={"name": name}).status_code == 200
    assert "pays for" in page.text
    assert visitor.get(page.links["team:" + name.strip()]).text


def test_a_user_without_any_spend_has_limits_of_every_kind(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits(
        "new", "$5/rolling 24 hours", "20k input tokens/hour", "60 calls/minute", "$1", "$1/day on gpt-5*"
    )
    page = visitor.get("/page/user", name="new")
    for told in ("$5/rolling", "60 calls/minute", "on gpt-5*", "Nothing was spent in the last 30 days"):
        assert told in page.text
    assert "img" not in page.tags
    assert visitor.client.get("/page/user.svg", params={"name": "new"}).status_code == 200


def test_a_user_that_nobody_knows_is_not_there(visitor: Visitor) -> None:
    assert "Nothing is known of “nobody”" in visitor.get("/page/user", 404, name="nobody").text
    visitor.get("/page/user.svg", 422)


def test_the_teams_above_a_user_are_told_with_what_they_have_left(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("team:search", "$10/day")
    manager.set_limits("company", "$100/day")
    manager.assign("alice", "team:search")
    manager.assign("team:search", "company")
    call(manager, OPENAI, "alice")
    page = visitor.get("/page/user", name="alice")
    assert "team:search $10/day" in page.text
    assert "$8.00" in page.text
    assert "company $100/day" in page.text
    assert "openai $2.00 100%" in visitor.get(page.links["company"]).text


def test_calls_that_its_limits_refused_are_told_and_no_others(visitor: Visitor, manager: BudgetManager) -> None:
    for user in ("alice", "bob", "tag:feature=alice"):
        manager.set_limits(user, "$1/day")
    for user, cost in (("alice", 1.25), ("bob", 1.5)):
        with pytest.raises(BudgetExceededError), manager.hold(cost=cost, user=user):
            pass
    manager.activity()  # tells it at once
    page = visitor.get("/page/user", name="alice")
    assert "$1/day has $1.00 left" in page.text
    assert "$1.25" in page.text
    assert "$1.50" not in page.text
    assert "$1.25" not in visitor.get("/page/user", name="tag:feature=alice").text


def test_uncertain_charges_are_those_of_this_user_and_are_put_right_there(
    visitor: Visitor, manager: BudgetManager
) -> None:
    for user, cost in (("alice", 0.25), ("alice2", 0.5), ("bob", 1)):
        leave_uncertain(manager, user, cost)
    page = visitor.get("/page/user", name="alice")
    assert "1 uncertain, of $0.25" in page.text
    assert "$0.50" not in page.text
    listed = visitor.get(page.links["Say what they cost"])
    assert "1 charge was made without a bill, $0.25 in all" in listed.text
    question = visitor.send(listed.form("/page/uncertain"), cost="3")
    done = visitor.send(question.form("/page/uncertain"), 303)
    assert "cost $3.00 instead of $0.25" in done.text
    assert "Uncertain charges of alice There are none" in done.text
    assert [one.cost for one in manager.uncertain()] == [0.5, 1]


def test_a_tag_and_a_cap_with_a_key_have_pages_alike(visitor: Visitor, manager: BudgetManager) -> None:
    with manager.budget("alice", tags={"feature": "search"}, cap=5, key="nightly"):
        call(manager, OPENAI)
    for name in ("tag:feature=search", "key:nightly"):
        page = visitor.get("/page/user", name=name)
        assert "$2.00 spent today" in page.text
        assert "openai $2.00 100%" in page.text


def test_who_may_only_look_is_offered_nothing_to_do(serving: Serving, manager: BudgetManager) -> None:
    leave_uncertain(manager, "alice", 0.25)
    with Visitor(serving.url, READER) as reader:
        page = reader.get("/page/user", name="alice")
    assert "Say what they cost" not in page.text
    posted = [form.action for form in page.forms if form.method == "post"]
    assert posted == ["/page/logout"]
