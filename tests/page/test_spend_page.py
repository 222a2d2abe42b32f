"""The view of what was spent over time: a picture, the same numbers as tables, and links to choose what is shown."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from serving import READER, TOKEN, Serving
from visiting import Visitor

from budgeted import BudgetManager
from budgeted.ledger.memory.ledger import MemoryLedger

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgeted.page.spending.PATIENCE", 60.0)  # a machine that does much else is slow


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("default", ledger=MemoryLedger()) as made:
        yield made


@pytest.fixture
def serving(manager: BudgetManager) -> Iterator[Serving]:
    with Serving(ledger=manager.ledger, tokens=(TOKEN,), read_tokens=(READER,)) as one:
        yield one


@pytest.fixture
def visitor(serving: Serving) -> Iterator[Visitor]:
    with Visitor(serving.url, READER) as one:
        yield one


def spend(manager: BudgetManager, usd: float, user: str, **tags: str) -> None:
    with manager.budget(user, tags=tags), manager.hold(cost=usd) as held:
        held.settle(cost=usd)


@pytest.mark.parametrize("by", ["model", "user", "provider", "tag:feature"])
@pytest.mark.parametrize("per", ["hour", "day", "month"])
def test_every_choice_is_a_page_with_a_picture_that_adds_up(
    visitor: Visitor, manager: BudgetManager, by: str, per: str
) -> None:
    visitor.get("/page/spend", by=by, per="hour")  # from here on, hours are watched
    spend(manager, 1.25, SCRIPT, feature=SCRIPT)
    visitor.get("/page/spend", by=by, per="day")
    page = visitor.get("/page/spend", by=by, per=per)
    if per != "hour":  # which is kept for a moment
        assert "$1.25 in the last" in page.text
        assert "img" in page.tags
    assert page.tags.count("script") == 1
    drawn = visitor.client.get("/page/spend.svg", params={"by": by, "per": per})
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert drawn.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert ET.fromstring(drawn.content).tag.endswith("svg")  # noqa: S314 - our own
    assert len(drawn.content) < 30_000


def test_choices_are_links_and_tags_are_among_them(visitor: Visitor, manager: BudgetManager) -> None:
    for tag in ("feature", "feature2", "f", "team.x"):
        spend(manager, 1, "alice", **{tag: "a"})
        spend(manager, 1, "alice", **{tag: "b"})
    page = visitor.get("/page/spend")
    assert {"model", "user", "tag:feature", "tag:feature2", "tag:f", "tag:team.x", "hour", "month"} <= set(page.links)
    assert "(untagged)" in visitor.get(page.links["tag:feature2"]).text


def test_a_users_name_leads_to_the_users_page(visitor: Visitor, manager: BudgetManager) -> None:
    spend(manager, 1, SCRIPT)
    page = visitor.get("/page/spend", by="user")
    assert SCRIPT in visitor.get(page.links[SCRIPT]).text


def test_hours_say_since_when_they_are_known(visitor: Visitor, manager: BudgetManager) -> None:
    spend(manager, 1, "alice")
    page = visitor.get("/page/spend", per="hour")
    assert "Hours are known from" in page.text
    assert "as far as this server has watched" in page.text


@pytest.mark.parametrize("query", [{"by": "<b>"}, {"per": "week"}, {"by": "would_refuse"}, {"by": "tag:a=b"}])
def test_what_cannot_be_shown_is_told_by_its_name(visitor: Visitor, query: dict[str, str]) -> None:
    page = visitor.get("/page/spend", 422, **query)
    assert next(iter(query.values())) in page.text


def test_nobody_sees_a_picture_without_a_token(serving: Serving) -> None:
    with Visitor(serving.url) as stranger:
        assert stranger.client.get("/page/spend.svg").status_code == 303
