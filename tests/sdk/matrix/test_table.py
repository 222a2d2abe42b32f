"""No row of the matrix is silently left out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from table import PACKAGES
from test_other_tools import TOOLS

HERE = Path(__file__).parent
GROUPS = tomllib.loads((HERE.parents[2] / "pyproject.toml").read_text())["dependency-groups"]


def test_every_row_runs_in_an_environment_of_make_matrix() -> None:
    groups = ("matrix", "matrix-openai2", "matrix-litellm", "matrix-frameworks", "matrix-frameworks-openai2")
    environments = [_packages(group) for group in groups]
    for name, packages in PACKAGES.items():
        assert any(environment.issuperset(packages) for environment in environments), name


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
