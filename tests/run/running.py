"""Running ``budgeted run`` as a user would, and reading the table that it prints at the end."""

from __future__ import annotations

import subprocess
import sys
from typing import Protocol

Done = subprocess.CompletedProcess[str]

COMMAND = [sys.executable, "-m", "budgeted", "run"]


class Run(Protocol):
    """Runs ``budgeted run`` in a directory of the test's."""

    def __call__(self, *arguments: str, **variables: str) -> Done: ...


def table(done: Done) -> dict[str, list[str]]:
    """The cells behind each row's name."""
    lines = done.stderr.splitlines()
    head = next((number for number, line in enumerate(lines) if line.startswith("budgeted run ")), None)
    assert head is not None, done.stderr
    cells = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[head + 1 :])
    return {name: figures for name, *figures in cells}
