"""The pages of frameworks: what they need, and what their tables say of refusals."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import warnings
from pathlib import Path
from typing import NamedTuple

from page_examples import ROOT
from refused_case import Case

PAGES = sorted((ROOT / "docs/how-to/frameworks").glob("*.md"))


class Row(NamedTuple):
    """A row of a page's table: where a call is refused, and how many refusals there are."""

    where: str
    refused: int

    def is_tried_by(self, case: Case) -> bool:
        return f"{self.where} ".startswith(case.row)


def packages(page: Path) -> list[str]:
    """What a page has its readers install."""
    found = re.search("^pip install (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, page
    return [name.strip("'").partition("[")[0] for name in found[1].split()]


def is_installed(page: Path) -> bool:
    try:
        return all(importlib.metadata.version(name) for name in packages(page))
    except importlib.metadata.PackageNotFoundError:
        return False


def cases(page: Path) -> list[Case]:
    """What is tried of a page's table; its framework is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a framework warns of is its business
        found: list[Case] = importlib.import_module(f"refusals.{page.stem.replace('-', '_')}").CASES
    return found


def rows(page: Path) -> list[Row]:
    table = page.read_text(encoding="utf-8").partition("## What a refusal does inside")[2]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [Row(row[0], int(row[-1])) for row in cells[1:]]
