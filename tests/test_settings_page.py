"""The page of settings has all that can be set, as the code has it."""

from __future__ import annotations

import re

import pytest
from page_examples import ROOT
from scripts import reference_tables

from budgeted.manager.environment import MANAGER_SETTINGS, OTHER_VARIABLES, unknown_variables
from budgeted.manager.stated_settings import TABLES

PAGE = ROOT / "docs" / "reference" / "settings.md"


@pytest.fixture(scope="module")
def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_tables_of_the_reference_are_what_the_code_makes() -> None:
    assert [page.name for page, made in reference_tables.pages().items() if made != page.read_text("utf-8")] == []


def test_every_variable_that_is_read_is_in_a_table(text: str) -> None:
    in_tables = "\n".join(re.findall(r"^\|.*", text, re.MULTILINE))
    read = {f"BUDGETED_{name.upper()}" for name in (*MANAGER_SETTINGS, *OTHER_VARIABLES)}
    assert sorted(read - set(re.findall(r"BUDGETED_[A-Z_]+", in_tables))) == []


def test_every_variable_of_the_tables_is_read(text: str) -> None:
    rows = "\n".join(re.findall(r"^\|.*", text, re.MULTILINE))
    named = re.findall(r"`(BUDGETED_[A-Z_]+)`", rows)
    assert unknown_variables(dict.fromkeys(named, "x")) == []


def test_every_table_of_the_file_is_shown(text: str) -> None:
    [file] = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    shown = {name for name in TABLES if re.search(rf"^\[{name}[\].]", file, re.MULTILINE)}
    assert shown | {"gateway"} == set(TABLES)
    assert "`[gateway]`" in text
