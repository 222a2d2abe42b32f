"""The reference names all there is: public names by their docstrings, and commands by click, from the code itself."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import griffe
import pytest
from page_examples import ROOT

import budgeted
from budgeted import BudgetManager, events, server, testing
from budgeted.cli import command_group

REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted(REFERENCE.glob("*.md"))
WRITTEN_FOR = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.py"))]


def told(*pages: str) -> list[str]:
    """The names, with their modules, whose docstrings pages show."""
    texts = [(REFERENCE / page).read_text(encoding="utf-8") for page in pages]
    return [name for text in texts for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)]


def found(name: str) -> object:
    module, _, public = name.rpartition(".")
    return getattr(importlib.import_module(module), public)


@pytest.fixture(scope="module")
def shown() -> list[object]:
    """Everything whose docstring some page shows."""
    return [found(name) for page in PAGES for name in told(page.name)]


@pytest.mark.parametrize("page", ["python.md", "errors.md"])
def test_what_the_reference_shows_is_what_the_package_offers(page: str) -> None:
    for name in told(page):
        assert found(name) is getattr(budgeted, name.rpartition(".")[2])


def test_every_public_name_is_shown_once() -> None:
    shown = [name.rpartition(".")[2] for name in told("python.md", "errors.md")]
    assert sorted(shown) == sorted(budgeted.__all__)


def test_nothing_is_shown_twice(shown: list[object]) -> None:
    assert [one for one in shown if sum(one is other for other in shown) > 1] == []


@pytest.mark.parametrize("module", [testing, server], ids=["testing", "server"])
def test_every_name_of_a_module_for_applications_is_shown(module: object, shown: list[object]) -> None:
    names = set(vars(module)["__all__"]) - {"app"}  # which is made of what is shown
    assert [name for name in sorted(names) if all(getattr(module, name) is not one for one in shown)] == []


def test_what_events_are_is_shown(shown: list[object]) -> None:
    assert any(events.Event is one for one in shown)


def test_what_public_names_return_is_shown(shown: list[object]) -> None:
    waiting = [getattr(budgeted, name) for name in budgeted.__all__]
    waiting += [one for name, one in inspect.getmembers(BudgetManager, callable) if not name.startswith("_")]
    seen: set[object] = set()
    while waiting:
        for one in returned(waiting.pop()) - seen:
            seen.add(one)
            waiting.append(one)
    assert len(seen) >= 10
    seen = {one for one in seen if not re.search(r"Carried|Extracted|_payer|open_managers", str(one))}  # opaque
    assert sorted(str(one) for one in seen if all(one is not other for other in shown)) == []


def returned(one: object) -> set[type]:
    """The classes of ours in what a function returns, or in the fields of a record."""
    function = inspect.unwrap(one) if callable(one) and not isinstance(one, type) else one
    annotations = getattr(function, "__annotations__", {})
    wanted = annotations.values() if isinstance(one, type) else [annotations.get("return", "")]
    names = {name for text in wanted for name in re.findall(r"[A-Z]\w+", str(text))}
    module = sys.modules[typing.cast("str", getattr(function, "__module__", "builtins"))]
    classes = {getattr(module, name, None) for name in names}
    return {one for one in classes if isinstance(one, type) and one.__module__.startswith("budgeted.")}


def test_what_the_documentation_imports_is_shown(shown: list[object]) -> None:
    imported = set()
    for page in WRITTEN_FOR:
        text = page.read_text(encoding="utf-8")
        for module, names in re.findall(r"^ *from (budgeted[\w.]*) import ([\w, ]+)", text, re.MULTILINE):
            imported |= {(module, name.split(" as ")[0].strip()) for name in names.split(",")}
    objects = {(module, name): getattr(importlib.import_module(module), name, None) for module, name in imported}
    parts = {pair for pair, one in objects.items() if one is None or inspect.ismodule(one)}
    assert len(objects) > len(parts) + 20
    missing = [pair for pair in objects.keys() - parts if all(objects[pair] is not one for one in shown)]
    assert sorted(missing) == []


def test_every_integration_for_applications_is_on_its_page() -> None:
    text = (REFERENCE / "integrations.md").read_text(encoding="utf-8")
    named = set()
    for page in WRITTEN_FOR:
        named |= set(re.findall(r"budgeted\.integrations\.(\w+)", page.read_text(encoding="utf-8")))
    elsewhere = {"pytest_plugin", "problem_answers"}  # told on the page of tests; and the name of a logger
    assert sorted(name for name in named - elsewhere if f"budgeted.integrations.{name}" not in text) == []


@pytest.mark.slow
def test_the_options_of_the_pytest_plugin_are_on_the_page_of_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--help"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
    text = (REFERENCE / "testing.md").read_text(encoding="utf-8")
    rows = "\n".join(re.findall(r"^\| `.*", text, re.MULTILINE))
    assert set(re.findall(r"--llm[\w-]+", printed)) == set(re.findall(r"--llm[\w-]+", rows))
    assert set(re.findall(r"^ +(llm_\w+) \(", printed, re.MULTILINE)) == set(re.findall(r"`(llm_\w+)`", rows))


def test_docstrings_read_well_on_the_site() -> None:
    extensions = griffe.load_extensions(str(ROOT / "scripts" / "docstrings_for_site.py"))
    package = griffe.load("budgeted", search_paths=[ROOT / "src"], extensions=extensions)
    usage = package["pricing.usage.Usage"]
    assert [one.name for one in usage.parameters][:3] == ["self", "input_tokens", "output_tokens"]
    event = package["telemetry.events.Event"].docstring.parse("google")
    attributes = next(one.value for one in event if one.kind is griffe.DocstringSectionKind.attributes)
    described = {one.name: one.description for one in attributes}
    assert described["model"] == described["provider"] != ""
    assert ":class:" not in described["exhausted_at"]


def test_options_are_those_of_the_whole_command() -> None:
    text = (REFERENCE / "command-options.md").read_text(encoding="utf-8")
    options = dict(re.findall(r"^    :(\w+): (.+)$", text, re.MULTILINE))
    assert importlib.import_module(options["module"]) is command_group
    assert getattr(command_group, options["command"]) is command_group.budgeted
