"""Print the other CPythons of this machine, one a line: of every minor version from 3.11 on, the newest that runs.

    python scripts/other_pythons.py
    python scripts/other_pythons.py --newest   # the last of them alone

They are looked for on the path and among pyenv's. The version that runs this is left out, and so are free-threaded
builds, releases to come, and those that make no virtual environments.
"""

# ruff: noqa: INP001

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = [3, 11]
ASK = """
import ensurepip, json, sys, venv
usual = sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final" and "t" not in sys.abiflags
print(json.dumps(list(sys.version_info[:3]) if usual else None))
"""


def candidates() -> Iterator[Path]:
    """Whatever is called a Python."""
    for folder in os.get_exec_path():
        if Path(folder).is_dir():
            yield from sorted(path for path in Path(folder).iterdir() if re.fullmatch(r"python3\.\d+", path.name))
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    yield from sorted(pyenv.glob("versions/*/bin/python3"))


def version(python: Path) -> list[int] | None:
    """Which one it is, asked by running it: a shim of pyenv's may stand for nothing."""
    try:
        done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found: list[int] | None = json.loads(done.stdout)
    return found


def main() -> None:
    """Print them."""
    newest: dict[int, tuple[list[int], Path]] = {}
    for python in candidates():
        found = version(python)
        if found is None or found < OLDEST or found[:2] == list(sys.version_info[:2]):
            continue
        minor = found[1]
        if minor not in newest or newest[minor][0] < found:
            newest[minor] = (found, python)
    others = [python for _, (_, python) in sorted(newest.items())]
    for python in others[-1:] if "--newest" in sys.argv[1:] else others:
        print(python)  # noqa: T201 - it is asked for them


main()
