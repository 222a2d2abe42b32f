"""Every example of the README runs, each in a process of its own, as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgeted.testing import SimulatedProvider

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [code for language, code in BLOCKS if language == "python"]


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


def run(code: str, provider: SimulatedProvider, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": provider.openai_url,
        "OPENAI_API_KEY": "none",
        "BUDGETED_HOME": str(folder / "home"),
    }
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("code", EXAMPLES, ids=[f"example-{number}" for number in range(1, len(EXAMPLES) + 1)])
def test_every_example_runs(code: str, provider: SimulatedProvider, tmp_path: Path) -> None:
    done = run(code, provider, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_first_example_prints_what_the_readme_shows(provider: SimulatedProvider, tmp_path: Path) -> None:
    shown = next(text for language, text in BLOCKS if language == "text")
    assert run(EXAMPLES[0], provider, tmp_path).stdout == shown


def test_there_are_examples_to_run() -> None:
    assert len(EXAMPLES) >= 10
