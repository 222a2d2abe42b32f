"""Pages that are walked through, step by step in one folder: each prints what the page shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_examples import ROOT
from page_steps import steps, walk

from budgeted.testing import SimulatedProvider

START = ROOT / "docs" / "start" / "index.md"
HOW_TO = ROOT / "docs" / "how-to"
WALKED = ("claude-code-and-codex", "script")


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


def test_every_page_whose_programs_have_names_is_walked_through() -> None:
    named = {page.stem for page in (ROOT / "docs").rglob("*.md") if any(step.title for step in steps(page))}
    assert named <= {*WALKED}
