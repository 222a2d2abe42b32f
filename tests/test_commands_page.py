"""The page on commands: each example prints what the page shows, one after the other, in one project."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_examples import ROOT, blocks, examples

from budgeted.cli.command_group import budgeted

PAGE = ROOT / "docs" / "reference" / "commands.md"

CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?(\+00:00)?)?"), "DAY"),
    (re.compile(r"genai-prices [\d.]+"), "genai-prices VERSION"),
    (re.compile(r"\b[0-9a-f]{10}\.\d+\b"), "ID"),
    (re.compile(r"[ \t]+"), " "),
)
"""What differs from day to day and from place to place, and what stands in its place here."""


def shown() -> Iterator[tuple[str, str]]:
    """The commands of the page, in order, each with what it is said to print."""
    for language, text in blocks(PAGE):
        if language == "console":
            for part in text.split("$ budgeted ")[1:]:
                line, _, output = part.partition("\n")
                yield line, output


def steady(text: str) -> str:
    for pattern, same in CHANGING:
        text = pattern.sub(same, text)
    return text.strip()


@pytest.fixture
def project(budgeted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_registered: None) -> Path:
    """A directory with what the page says is there, as the examples begin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUDGETED_LEDGER", "./ledger")  # which the page moves
    [program] = examples(PAGE)
    program = program.replace('BudgetManager("default")', 'BudgetManager("default", ledger="./ledger")')
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)
    [request] = [text for language, text in blocks(PAGE) if language == "json"]
    (tmp_path / "request.json").write_text(request)
    return tmp_path


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    doubtful = ""
    for line, expected in shown():
        words = [sys.executable if word == "python" else word for word in shlex.split(line)]
        words = [doubtful if word == "ID" else word for word in words]
        result = CliRunner().invoke(budgeted, words, catch_exceptions=False)
        printed = "".join(capfd.readouterr()) + result.output
        if line == "uncertain":
            doubtful = printed.splitlines()[1].split()[0]
        assert "Traceback" not in printed
        pattern = ".*".join(map(re.escape, steady(expected).split("...")))
        assert re.fullmatch(pattern, steady(printed), re.DOTALL), f"budgeted {line}\n{printed}"


def test_every_command_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    commands = {f"limits {name}" for name in budgeted.commands["limits"].commands} | budgeted.commands.keys() - {
        "limits"
    }  # type: ignore[attr-defined]
    assert [name for name in sorted(commands) if f"budgeted {name}" not in text] == []
