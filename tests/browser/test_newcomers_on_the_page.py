"""The tasks of a newcomer on the page, as CONTRIBUTING.md tells them: clicking the words that it has in bold."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PROJECT, Open
from page_examples import ROOT
from serving import Serving

from budgeted import BudgetExceededError, BudgetManager

pytestmark = pytest.mark.slow

TOLD = {
    "1": r"alice \$3\.50",
    "2": r"The limits of “alice” are now: \$9/day",
    "3": r"alice gpt-5-mini .* \$4/day has \$0\.50 left",
    "4": r"The call cost \$0\.02 instead of \$1\.00",
    "5": r"stopped her key has leaked",
    "6": r"may spend \$1\.00 more",
    "7": r"\$9/day \$5\.50 left .* Resets",
    "8": r"alice stopped \$9/day",
}
"""What stands on the page at the end of each of them."""

MOST_CLICKS = 5

STEP = re.compile(r"\*\*(?P<click>[^*]+)\*\*|`(?P<text>[^`]+)` as “(?P<field>[^”]+)”")


def tasks() -> list[tuple[str, str]]:
    """The number of each task, and how it is done on the page; those that are not done there are left out."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Ten tasks")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]*?) ?\|", section, re.MULTILINE)
    return [(number, how) for number, how in rows if how]


def follow(page: Any, how: str) -> int:
    """Do what is told; how many clicks it took."""
    clicks = 0
    for step in STEP.finditer(how):
        if step["text"]:
            page.get_by_label(step["field"]).first.fill(step["text"])
            continue
        begins_so = re.compile(rf"^{re.escape(step['click'])}\b")
        links, buttons = (page.get_by_role(role, name=begins_so) for role in ("link", "button"))
        links.or_(buttons).filter(visible=True).first.click()
        page.wait_for_load_state()
        clicks += 1
    return clicks


@pytest.fixture
def in_use(shop: BudgetManager) -> Iterator[None]:
    """A project in which somebody was refused, nobody knows what a call cost, and a call waits."""
    shop.set_limits("alice", "$4/day")
    with shop.hold(cost=1.5, user="alice") as held:
        held.settle(cost=1.5)
    with pytest.raises(BudgetExceededError), shop.hold("gpt-5-mini", "hello", 1_000_000, user="alice"):
        pass
    with contextlib.suppress(TimeoutError), shop.hold(cost=1, user="bob"):
        raise TimeoutError

    def ask() -> None:
        with shop.budget("bob", on_exceed="ask", wait=120), shop.hold(cost=3.5) as held:
            held.settle(cost=3.5)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    shop.top_up("bob", 100)
    thread.join(60)
    assert not thread.is_alive()


def test_a_newcomer_gets_every_task_done_on_the_page(serving: Serving, open_page: Open, in_use: None) -> None:
    page = open_page(f"{serving.url}/?project={PROJECT}")
    page.get_by_role("link", name="Approve").wait_for()
    done = dict(tasks())
    assert list(done) == list(TOLD)
    for number, how in done.items():
        page.goto(f"{serving.url}/?project={PROJECT}")
        assert follow(page, how) <= MOST_CLICKS
        page.wait_for_function(
            "told => new RegExp(told, 's').test(document.querySelector('main').innerText.replace(/\\s+/g, ' '))",
            arg=TOLD[number],
        )
