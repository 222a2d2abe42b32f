"""Every example of the README and of the pages runs, each in a process of its own, as a reader would run it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_examples import ROOT, blocks, examples, run

from budgeted.testing import SimulatedProvider

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
EXAMPLES = examples(README)
OF_PAGES = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    if page.parent.name != "frameworks"  # whose packages only `make matrix` has
    for number, code in enumerate(examples(page), 1)
]


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", [*(pytest.param(code, id=f"example-{number}") for number, code in enumerate(EXAMPLES, 1)), *OF_PAGES]
)
def test_every_example_runs(code: str, provider: SimulatedProvider, tmp_path: Path) -> None:
    done = run(code, provider, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_first_example_prints_what_the_readme_shows(provider: SimulatedProvider, tmp_path: Path) -> None:
    shown = next(text for language, text in blocks(README) if language == "text")
    assert run(EXAMPLES[0], provider, tmp_path).stdout == shown


def test_what_has_to_be_installed_besides_is_told() -> None:
    text = README.read_text(encoding="utf-8")
    install = text.partition("## Install")[2].partition("\n## ")[0]
    for extra in ("cli", "sql", "redis", "http", "server", "gateway", "litellm", "all"):
        assert f"`{extra}`" in install, extra
    for page in (README, *PAGES):
        text = page.read_text(encoding="utf-8")
        for command in re.findall(r"^```\n(pip install 'budgeted.*?)^```", text, re.MULTILINE | re.DOTALL):
            assert "postgresql" not in command or "sql" in command.partition("]")[0], page


def on_an_index() -> str:
    """The README as the metadata of a distribution has it."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    text = README.read_text(encoding="utf-8")
    for one in build["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    return text


def test_on_a_package_index_every_link_leads_somewhere() -> None:
    text = on_an_index()
    titles = re.findall("^##+ (.+)", text, re.MULTILINE)
    headings = {"#" + re.sub("[^a-z ]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith("https://") and link not in headings] == []
    files = re.findall(r"`([^`]+)` in the source distribution", text)
    linked = re.findall(r"\]\((?!https:|#)([^)#]+)", README.read_text(encoding="utf-8"))
    assert [name.partition("#")[0] for name in files] == linked
    assert len(files) >= 5
    assert [name for name in linked if not (ROOT / name).is_file()] == []
    assert "<picture>" not in text


def test_the_readme_is_read_in_one_go() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 200


def test_the_links_of_the_readme_and_the_pages_lead_to_a_page_and_its_heading() -> None:
    lost = []
    for page in (README, *PAGES):
        for link in re.findall(r"\]\((?!https?:)([^)\s]*)\)", without_code(page)):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.is_file() or (anchor and anchor not in headings_of(target)):
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert lost == []


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def headings_of(page: Path) -> set[str]:
    """The anchors of a page's headings: as a heading says itself, else as its words make them."""
    titles = re.findall(r"^#+ (.+?)(?: \{ #([\w-]+) \})?$", without_code(page), re.MULTILINE)
    return {anchor or re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title, anchor in titles}


def test_there_are_examples_to_run() -> None:
    assert len(EXAMPLES) >= 3
    assert len(EXAMPLES) + len(OF_PAGES) >= 70
