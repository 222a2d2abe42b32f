"""What a notebook shows of blocks, balances and reports: tables that are well-formed, whatever users are called."""

from __future__ import annotations

import pickle
from html.parser import HTMLParser

import pytest

from budgeted import Balance, BudgetManager

SCRIPT = "<script>alert('x')</script> & \"Söhne\""


def html_of(shown: object) -> str:
    """What a notebook asks for."""
    html: str = shown._repr_html_()  # type: ignore[attr-defined]
    return html


class Page(HTMLParser):
    """The tags and texts of a page; each tag must be closed where it belongs."""

    def __init__(self, shown: object) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self._open: list[str] = []
        self.feed(html_of(shown))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.styles.append(dict(attrs).get("style") or "")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def manager() -> BudgetManager:
    with BudgetManager(ledger="memory://", max_budget="$10/day + 1000 calls", default_user_limits="$2") as made:
        for user, usd in ((SCRIPT, 0.5), ("alice", 1.25)):
            with made.hold(cost=usd, user=user) as held:
                held.settle(cost=usd)
        yield made


def test_a_block_is_shown_with_what_is_left_of_its_cap(manager: BudgetManager) -> None:
    with manager.budget(SCRIPT, cap="0.50") as block, manager.hold(cost=0.25), manager.hold(cost=0.125) as held:
        held.settle(cost=0.125)
        page = Page(block)
    assert page.texts[0] == "Budget"
    assert page.texts[-7:] == [SCRIPT, "$0.50", "$0.125", "$0.25", "$0.125", "1", "0"]
    assert "script" not in page.tags
    widths = [style.partition(";")[0] for style in page.styles if style.startswith("width")]
    assert widths == ["width: 25%", "width: 50%"]


def test_a_block_without_a_cap_has_no_bar(manager: BudgetManager) -> None:
    page = Page(manager.budget())
    assert page.texts[-7:] == ["nobody in particular", "-", "$0.00", "$0.00", "-", "0", "0"]
    assert "div" not in page.tags


def test_balances_are_shown_in_their_units(manager: BudgetManager) -> None:
    page = Page(manager.balances())
    assert page.texts[0] == "Balances"
    assert {"$10/day", "$1.75", "$8.25", "1,000 calls", "2 calls", "998 calls"} <= set(page.texts)
    assert page.tags.count("tr") == 3
    assert "$1.75" in Page(manager.balance()).texts
    assert Page(manager.balance("nobody yet")).texts[-1] == "-"
    assert "none" in Page(Balance(None, 0.0, 0.0, None)).texts


def test_what_is_over_its_limit_fills_its_bar(manager: BudgetManager) -> None:
    manager.set_limits("alice", 1)
    page = Page(manager.balance("alice"))
    assert [style.partition(";")[0] for style in page.styles if style.startswith("width")] == ["width: 100%"]
    manager.set_limits("alice", 0)
    assert "$0" in Page(manager.balance("alice")).texts


def test_a_report_is_shown_with_its_total(manager: BudgetManager) -> None:
    page = Page(manager.report("user"))
    assert page.texts[:2] == ["Spent by user: $1.75, calls: 2", "user"]
    assert page.texts.index("alice") < page.texts.index(SCRIPT)
    assert "script" not in page.tags
    assert Page(manager.report("day", since="2300-01-01")).texts[0] == "Spent by day: $0.00, calls: 0"


def test_a_long_report_is_cut_short() -> None:
    with BudgetManager(ledger="memory://") as manager:
        for number in range(60):
            with manager.hold(cost=0.001, user=f"user {number}") as held:
                held.settle(cost=0.001)
        page = Page(manager.report())
    assert page.texts[-1] == "... and 10 more"
    assert page.texts[0] == "Spent by user: $0.06, calls: 60"


def test_they_are_what_they_were_to_a_program(manager: BudgetManager) -> None:
    report, balances = manager.report("user"), manager.balances()
    assert isinstance(report, dict)
    assert isinstance(balances, list)
    assert report == dict(report)
    assert balances == list(balances)
    assert repr(report) == repr(dict(report))
    assert repr(balances) == repr(list(balances))
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301
    assert Page(pickle.loads(pickle.dumps(report))).texts == Page(report).texts  # noqa: S301


def test_only_the_bars_have_colours_which_are_seen_on_any_ground(manager: BudgetManager) -> None:
    colours = {part for part in html_of(manager.report()).split('"') if "color" in part or "background" in part}
    assert colours
    assert not any(name in text for text in colours for name in ("black", "white", "#000", "#fff"))
