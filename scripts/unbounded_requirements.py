"""Print what a dependency group of pyproject.toml names, without the ranges: whatever version is the newest of each.

    python scripts/unbounded_requirements.py sdks

`make matrix-newest` installs these.
"""

# ruff: noqa: INP001

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

NAME = re.compile(r"[\w.-]+(\[[\w.,-]+\])?")


def main() -> None:
    """Print them, one a line."""
    project = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text())
    for requirement in project["dependency-groups"][sys.argv[1]]:
        found = NAME.match(requirement)
        if found is None:
            raise SystemExit(f"not a requirement: {requirement!r}")
        print(found[0])  # noqa: T201 - it is asked for them


main()
