"""The page of a gateway in a real browser: for who has a token, and for who has a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from conftest import Open
from gateways import gateway
from key_requests import ENVIRONMENT, books_of, key_for
from serving import TOKEN

from budgeted import BudgetManager
from budgeted.gateway.key_books import KeyBooks
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.settings import GatewaySettings

axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)>\"'; DROP TABLE"


@pytest.fixture
def url(shop: BudgetManager) -> Iterator[str]:
    shop.set_limits(HOSTILE, "$4/day")
    with gateway(shop, GatewaySettings(), KeyCallers(shop, ENVIRONMENT), {"BUDGETED_TOKEN": TOKEN}) as address:
        yield address


def log_in(page: Any, token: str) -> None:
    page.get_by_label("Key or token").fill(token)
    page.get_by_role("button", name="Log in").click()


def shows(page: Any, text: str) -> None:
    """Wait until the page shows a text."""
    page.get_by_text(text, exact=False).first.wait_for()


def check_access(page: Any) -> None:
    """Whether a page of a phone's width is all there, for whoever reads it."""
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_who_has_a_token_sees_everything_and_logs_out(url: str, open_page: Open) -> None:
    page = open_page(f"{url}/page/users")
    log_in(page, TOKEN)
    page.get_by_role("link", name="bob").click()
    page.get_by_role("heading", name="What you can do").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Key or token").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_has_a_key_sees_what_is_her_own_live_and_nobody_else(
    url: str, open_page: Open, shop: BudgetManager, scheme: str
) -> None:
    page = open_page(url, may_fail=True, color_scheme=scheme, viewport={"width": 360, "height": 740})
    log_in(page, key_for(shop, HOSTILE)[0])
    assert page.get_by_role("heading", level=1).inner_text() == HOSTILE
    assert page.locator("img[onerror]").count() == 0
    check_access(page)
    assert page.get_by_role("button").all_inner_texts() == ["Log out"]
    with shop.hold(cost=1, user=HOSTILE) as held:
        held.settle(cost=1)
    shows(page, "$3.00 left")
    page.get_by_role("link", name="Keys of the gateway").click()
    shows(page, "none of its own")
    check_access(page)
    page.goto(f"{url}/page/user?name=bob")
    shows(page, "Not yours to see")
    page.goto(f"{url}/page/users")
    assert page.get_by_role("heading", level=1).inner_text() == HOSTILE
    assert "bob" not in page.content()
    assert quote("bob") not in page.url


def test_a_page_that_is_looked_at_leads_to_the_login_when_its_key_is_revoked(
    url: str, open_page: Open, shop: BudgetManager
) -> None:
    text, key = key_for(shop, "bob")
    page = open_page(url)
    log_in(page, text)
    shows(page, "$3.50 left")
    KeyBooks(books_of(shop)).revoke(key.id)
    page.get_by_label("Key or token").wait_for()
