"""A real browser, and a real server whose page it looks at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import Serving

from budgeted import BudgetManager

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
PROJECT = "shop"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all tests of a module: as long as it is there, no other may run a loop of its own in this thread."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[BudgetManager]:
    """A project of two users, one of whom has spent all that she has."""
    with BudgetManager(PROJECT, ledger=str(tmp_path / "ledger"), max_budget="$20/day", on_exceed="raise") as manager:
        manager.set_limits("alice", "$2/day")
        manager.set_limits("bob", "$5/day", "100 calls/day")
        for user, cost in (("alice", 2), ("bob", 1.5)):
            with manager.hold(cost=cost, user=user) as held:
                held.settle(cost=cost)
        yield manager


@pytest.fixture
def serving(shop: BudgetManager, tmp_path: Path) -> Iterator[Serving]:
    """A server without tokens."""
    with Serving(ledger=str(tmp_path / "ledger")) as server:
        yield server


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens an address in a context of its own; at the end, no page had an error or asked for anything elsewhere."""
    contexts: list[Any] = []
    problems: list[str] = []

    def opened(url: str, *, may_fail: bool = False, **options: Any) -> Any:
        contexts.append(context := browser.new_context(**options))
        context.set_default_timeout(15_000)
        page = context.new_page()
        here = urlsplit(url).netloc
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", lambda one: urlsplit(one.url).netloc == here or problems.append(f"elsewhere: {one.url}"))
        if not may_fail:
            page.on("console", lambda one: one.type in ("error", "warning") and problems.append(f"console: {one.text}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []
