"""Programs on Windows: on this one, if it is one, else on a Linux from which what Windows lacks was taken."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

STAND_IN = Path(__file__).with_name("windows_stand_in")
IMPORTS = "platformdirs click rich.console sqlalchemy openai anyio._backends._asyncio trio httpx2"
"""What finds out how it is on Windows as it is imported."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a program is started with."""
    changes = {"BUDGETED_HOME": str(home), **more}
    if sys.platform != "win32":
        changes |= {"PYTHONPATH": str(STAND_IN), "STAND_IN_IMPORTS": more.get("STAND_IN_IMPORTS", "platformdirs")}
    return os.environ | changes


def started(code: str, home: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """A program that runs, with lines between it and this one."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(
        command, env=environment(home, **more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def printed(code: str, home: Path, *arguments: str, **more: str) -> list[str]:
    """What a program prints, line by line, when it has come through."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(
        command, env=environment(home, **more), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
