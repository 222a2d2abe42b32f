"""The examples of the documentation: reading them out of a page, and running them as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from budgeted.testing import SimulatedProvider

ROOT = Path(__file__).parents[1]


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of every block of code."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def examples(page: Path) -> list[str]:
    return [code for language, code in blocks(page) if language == "python"]


def run(code: str, provider: SimulatedProvider, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own, whose SDKs call the simulated provider."""
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": provider.openai_url,
        "OPENAI_API_KEY": "none",
        "BUDGETED_HOME": str(folder / "home"),
    }
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
