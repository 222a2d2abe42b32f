"""The page as people see and use it, in a real browser."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

import pytest
from conftest import PROJECT, Open
from serving import READER, TOKEN, Served, Serving

from budgeted import BudgetExceededError, BudgetManager

axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)>\"'; DROP TABLE"
PATHS = ("/", "/page/users", "/page/user?name=alice", "/page/spend", "/page/uncertain", "/page/limits?account=alice")


def at(serving: Serving | Served, path: str = "/") -> str:
    return f"{serving.url}{path}{'&' if '?' in path else '?'}project={PROJECT}"


def spend(manager: BudgetManager, user: str, cost: float) -> None:
    with manager.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


def shows(page: Any, text: str) -> None:
    """Wait until the page shows a text."""
    page.get_by_text(text, exact=False).first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_accessible_and_light(serving: Serving, open_page: Open, path: str, scheme: str) -> None:
    page = open_page(at(serving, path), color_scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    weight = page.evaluate(
        "() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".reduce((sum, one) => sum + (one.decodedBodySize || 0), 0)"
    )
    assert 0 < weight < 150_000


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_cut_off_on_a_phone(serving: Serving, open_page: Open, path: str) -> None:
    page = open_page(at(serving, path), viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_spent_elsewhere_is_shown_by_itself_in_every_tab(
    serving: Serving, open_page: Open, shop: BudgetManager
) -> None:
    tabs = [open_page(at(serving)), open_page(at(serving, "/page/user?name=bob"))]
    spend(shop, "bob", 0.25)
    shows(tabs[0], "$3.75 spent")
    shows(tabs[1], "$3.25 left")


def test_a_refused_call_is_shown_with_the_reason(serving: Serving, open_page: Open, shop: BudgetManager) -> None:
    page = open_page(at(serving))
    with pytest.raises(BudgetExceededError), shop.hold(cost=0.5, user="alice"):
        pass
    shows(page, "$2/day has $0.00 left")


def test_a_call_that_asks_is_approved_with_a_few_clicks(serving: Serving, open_page: Open, shop: BudgetManager) -> None:
    def ask() -> None:
        with shop.budget("alice", on_exceed="ask", wait=60):
            spend(shop, "alice", 0.5)

    thread = threading.Thread(target=ask)
    thread.start()
    page = open_page(at(serving))
    page.get_by_role("link", name="Approve").click()
    page.get_by_role("button", name="Top up").click()
    thread.join(20)
    assert not thread.is_alive()
    assert shop.balance("alice").spent == 2.5


def test_a_limit_is_raised_by_the_keyboard_alone(serving: Serving, open_page: Open, shop: BudgetManager) -> None:
    page = open_page(at(serving, "/page/users"))
    page.get_by_label("Name begins with").focus()
    page.keyboard.type("al")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="alice").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Edit limits").focus()
    page.keyboard.press("Enter")
    field = page.get_by_role("textbox").first
    field.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("$3/day")
    page.get_by_role("button").filter(has_not_text="Show").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    page.locator("main button.primary").focus()
    page.keyboard.press("Enter")
    shows(page, "$1.00 left")
    assert shop.balance("alice").limit == 3


def test_a_hostile_name_is_text(serving: Serving, open_page: Open, shop: BudgetManager) -> None:
    shop.set_limits(HOSTILE, "$1")
    page = open_page(at(serving, f"/page/user?name={quote(HOSTILE)}"))
    assert page.get_by_role("heading", level=1).inner_text() == HOSTILE
    assert page.locator("img").count() == 0
    page.get_by_label("Refuse every call").fill("</p><script>alert(2)</script>")
    page.get_by_role("button", name="Stop").click()
    page.locator("main button").filter(has_text="Stop").first.click()
    shows(page, "</p><script>alert(2)</script>")
    [info] = [one for one in shop.accounts() if one.name == HOSTILE]
    assert info.stopped == "</p><script>alert(2)</script>"


def test_it_says_that_it_is_not_connected_and_catches_up(shop: BudgetManager, open_page: Open, tmp_path: Any) -> None:
    server = Served(tmp_path / "ledger")
    try:
        page = open_page(at(server), may_fail=True)
        shows(page, "$3.50 spent")
        server.kill()
        shows(page, "Not connected since")
        spend(shop, "bob", 1)
        server.start()
        shows(page, "$4.50 spent")
        page.get_by_text("Not connected since").wait_for(state="hidden")
    finally:
        server.kill()


def test_everything_works_without_its_script(serving: Serving, open_page: Open, shop: BudgetManager) -> None:
    page = open_page(at(serving), java_script_enabled=False)
    page.get_by_role("link", name="bob").click()
    page.get_by_label("Let spend more").fill("$5")
    page.get_by_role("button", name="Top up").click()
    page.get_by_role("button", name="Top up").click()
    shows(page, "may spend $5 more")
    assert next(iter(shop.balances("bob"))).limit == 10


def test_times_are_in_the_readers_zone(serving: Serving, open_page: Open) -> None:
    pages = [open_page(at(serving), timezone_id=zone) for zone in ("Asia/Tokyo", "America/New_York")]
    told = [page.locator("#limits time").first.inner_text() for page in pages]
    assert "9:00" in told[0]
    assert "7:00" in told[1] or "8:00" in told[1]


def test_a_token_is_asked_for_once_and_may_only_look(shop: BudgetManager, open_page: Open, tmp_path: Any) -> None:
    with Serving(ledger=str(tmp_path / "ledger"), tokens=(TOKEN,), read_tokens=(READER,)) as server:
        page = open_page(at(server, "/page/user?name=alice"), may_fail=True)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        shows(page, "none of this server's tokens")
        page.get_by_label("Token").fill(READER)
        page.get_by_role("button", name="Log in").click()
        shows(page, "You may only look")
        assert page.get_by_role("heading", level=1).inner_text() == "alice"
        assert page.locator("main button, main input").count() == 0
        [cookie] = [one for one in page.context.cookies() if "session" in one["name"]]
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Lax"
        assert READER not in cookie["value"]
        page.get_by_role("button", name="Log out").click()
        shows(page, "Token of this server")
