"""The page to begin with: each step, taken in turn in one folder, prints what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from page_examples import ROOT, blocks, run

from budgeted.testing import SimulatedProvider

PAGE = ROOT / "docs" / "start" / "index.md"

DAY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d\+00:00")


def steady(text: str) -> str:
    """What is printed, but for the day and the width of columns."""
    return re.sub(r"[ \t]+", " ", DAY.sub("DAY", text)).strip()


def commands(text: str) -> list[tuple[list[str], str]]:
    return [
        (shlex.split(line), output)
        for line, _, output in (part.partition("\n") for part in text.split("$ budgeted ")[1:])
    ]


@pytest.mark.slow
def test_each_step_prints_what_the_page_shows(tmp_path: Path) -> None:
    environment = {**os.environ, "BUDGETED_HOME": str(tmp_path / "home"), "BUDGETED_LEDGER": "./spend"}
    printed = ""
    seen = []
    with SimulatedProvider() as provider:
        for language, text in blocks(PAGE):
            if language == "python":
                done = run(text, provider, tmp_path)
                assert done.returncode == 0, done.stderr
                printed = done.stdout
            elif language == "text":
                assert printed == text
            for words, expected in commands(text) if language == "console" else ():
                told = subprocess.run(
                    [sys.executable, "-m", "budgeted", *words],
                    env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
                )  # fmt: skip
                assert [steady(line) for line in told.stdout.splitlines()] == [
                    steady(line) for line in expected.splitlines()
                ]
            seen.append(language)
    assert seen == ["python", "text", "python", "text", "python", "text", "console"]
