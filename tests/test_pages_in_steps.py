"""Pages that are walked through, step by step in one folder: each prints what the page shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_examples import ROOT
from page_steps import steps, walk

from budgeted import BudgetManager, Usage
from budgeted.testing import SimulatedProvider

START = ROOT / "docs" / "start" / "index.md"
HOW_TO = ROOT / "docs" / "how-to"
WALKED = ("claude-code-and-codex", "script", "teams")


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


@pytest.mark.slow
def test_the_first_five_minutes_go_as_the_page_shows(provider: SimulatedProvider, tmp_path: Path) -> None:
    seen = walk(START, provider, tmp_path, BUDGETED_LEDGER="./spend")
    assert seen == ["python", "text", "python", "text", "python", "text", "console"]


@pytest.mark.slow
@pytest.mark.parametrize("name", WALKED)
def test_each_step_of_a_how_to_page_prints_what_the_page_shows(
    name: str, provider: SimulatedProvider, tmp_path: Path
) -> None:
    assert "console" in walk(HOW_TO / f"{name}.md", provider, tmp_path)


@pytest.mark.slow
def test_the_invoice_is_compared_as_the_page_shows(provider: SimulatedProvider, tmp_path: Path) -> None:
    with BudgetManager("default", ledger=tmp_path / "ledger") as manager:
        for model, used in (("gpt-5-mini", Usage(9_000_000, 700_000)), ("gpt-5", Usage(2_000_000, 150_000))):
            with manager.hold(model, "Hello", max_output_tokens=700_000, user="alice") as held:
                held.settle(usage=used)
        with pytest.raises(TimeoutError), manager.hold("gpt-5", "Hello", max_output_tokens=12_000, user="bob"):
            raise TimeoutError
        [doubtful] = manager.uncertain()
    today = dt.datetime.now(dt.UTC).date()
    day = dt.timedelta(days=1)
    instead = {"2026-11-01": str(today - day), "2026-11-30": str(today + day), "4ff5a1c20b.3": doubtful.id}
    walk(HOW_TO / "invoice.md", provider, tmp_path, instead, BUDGETED_LEDGER="./ledger")


def test_every_page_whose_programs_have_names_is_walked_through() -> None:
    named = {page.stem for page in (ROOT / "docs").rglob("*.md") if any(step.title for step in steps(page))}
    assert named <= {*WALKED}
