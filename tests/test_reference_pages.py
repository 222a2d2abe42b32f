"""The reference names all there is: public names by their docstrings, and commands by click, from the code itself."""

from __future__ import annotations

import importlib
import re

import pytest
from page_examples import ROOT

import budgeted
from budgeted.cli import command_group

REFERENCE = ROOT / "docs" / "reference"


def told(page: str) -> list[str]:
    """The names, with their modules, whose docstrings a page shows."""
    return re.findall(r"^::: ([\w.]+)$", (REFERENCE / page).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", ["python.md", "errors.md"])
def test_what_the_reference_shows_is_what_the_package_offers(page: str) -> None:
    for name in told(page):
        module, _, public = name.rpartition(".")
        assert getattr(importlib.import_module(module), public) is getattr(budgeted, public)


def test_every_public_name_is_shown_once() -> None:
    shown = [name.rpartition(".")[2] for page in ("python.md", "errors.md") for name in told(page)]
    assert sorted(shown) == sorted(budgeted.__all__)


def test_options_are_those_of_the_whole_command() -> None:
    text = (REFERENCE / "command-options.md").read_text(encoding="utf-8")
    options = dict(re.findall(r"^    :(\w+): (.+)$", text, re.MULTILINE))
    assert importlib.import_module(options["module"]) is command_group
    assert getattr(command_group, options["command"]) is command_group.budgeted
