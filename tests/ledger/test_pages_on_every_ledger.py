"""The examples of the pages on budgets say the same on every ledger."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis_server
from page_examples import ROOT, examples, run
from servers import http_url, postgres_url, project

from budgeted.testing import SimulatedProvider

PAGES = ("limits", "blocks", "purposes-and-tools", "reports", "stops-and-raises", "teams")

PLACES: dict[str, Callable[[Path], str]] = {
    "journal": str,
    "sqlite": lambda folder: f"sqlite:///{folder}.db",
    "postgresql": lambda folder: postgres_url(),
    "redis": lambda folder: redis_server.shared().url,
    "http": lambda folder: http_url(),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


def everything_on(page: str, folder: Path, place: Callable[[Path], str]) -> str:
    """A program that runs a page's examples one after the other, each on a ledger of its own."""
    programs = []
    [found] = (ROOT / "docs").rglob(f"{page}.md")
    for number, code in enumerate(examples(found)):
        where, name = place(folder / f"ledger{number}"), project()
        code = re.sub(r', ledger="[^"]+"|ledger="[^"]+"(, )?', "", code)  # noqa: PLW2901 - as it is run
        code = re.sub(r'BudgetManager\("[^"]+"', f"BudgetManager({name!r}, ledger={where!r}", code)  # noqa: PLW2901
        code, count = re.subn(r"\bconfigure\(", f"configure(project_name={name!r}, ledger={where!r}, ", code)  # noqa: PLW2901
        if count or "BudgetManager(" in code:
            programs.append(code)
    # What events are told to print belongs to the example that they come of.
    each = (f"exec({code!r}, {{'__name__': '__main__'}}); events.finish()" for code in programs)
    return "\n".join(["from budgeted.telemetry import events", *each])


def told(printed: str) -> str:
    """What was printed, without times and projects, which are others each time."""
    times = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[-+:.\d]*|datetime\.datetime\([^)]*\)+"
    return re.sub(times, "TIME", re.sub(r"test-[0-9a-f]+-\d+", "PROJECT", printed))


def printed_by_page(place: Callable[[Path], str], provider: SimulatedProvider, folder: Path) -> dict[str, str]:
    """What each page's examples print, all of them in one process."""
    programs = []
    for page in PAGES:
        (folder / page).mkdir()
        programs.append(everything_on(page, folder / page, place))
    done = run("\nprint('\\f')\n".join(programs), provider, folder)
    assert done.returncode == 0, done.stderr
    return dict(zip(PAGES, told(done.stdout).split("\f\n"), strict=True))


@pytest.fixture(scope="module")
def in_memory(provider: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each page's examples print in memory."""
    return printed_by_page(lambda _: "memory://", provider, tmp_path_factory.mktemp("memory"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLACES)
def test_the_pages_examples_print_the_same_on_every_ledger(
    kind: str, in_memory: dict[str, str], provider: SimulatedProvider, tmp_path: Path
) -> None:
    found = printed_by_page(PLACES[kind], provider, tmp_path)
    assert all(found.values())
    assert found == in_memory
