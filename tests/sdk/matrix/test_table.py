"""No row of the matrix is silently left out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from framework_pages import PAGES, packages
from table import PACKAGES
from test_other_tools import TOOLS

HERE = Path(__file__).parent
GROUPS = tomllib.loads((HERE.parents[2] / "pyproject.toml").read_text())["dependency-groups"]


def test_every_row_runs_in_an_environment_of_make_matrix() -> None:
    for name, wanted in PACKAGES.items():
        assert any(environment.issuperset(wanted) for environment in ENVIRONMENTS), name


def test_every_page_of_a_framework_is_tried_in_an_environment_of_make_matrix() -> None:
    assert len(PAGES) == 5
    for page in PAGES:
        assert any(environment.issuperset({*packages(page)} - {"budgeted"}) for environment in ENVIRONMENTS), page


def test_every_other_tool_is_in_the_environment_of_openai() -> None:
    assert _packages("matrix") >= set(TOOLS)


def test_every_file_of_rows_is_in_the_table() -> None:
    assert {path.stem for path in (HERE / "rows").glob("*.py")} == set(PACKAGES)


def _packages(group: str) -> set[str]:
    found: set[str] = set()
    for requirement in GROUPS[group]:
        if isinstance(requirement, dict):
            found |= _packages(requirement["include-group"])
        else:
            found.add(re.split(r"[\[<>=~! ]", requirement)[0])
    return found


ENVIRONMENTS = [
    _packages(group)
    for group in ("matrix", "matrix-openai2", "matrix-litellm", "matrix-frameworks", "matrix-frameworks-openai2")
]
