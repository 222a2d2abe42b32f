"""Completion in shells: projects, users, headings and models, never an error, and nothing that a shell would act on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.cli.shell_completion import INSTALLED_BY

PATIENT = f"""#!{sys.executable}
from budgeted.cli import completions
from budgeted.cli.command_group import budgeted

completions.SECONDS = 60.0
budgeted(prog_name="budgeted")
"""
"""The program, with more time to answer than somebody who has pressed Tab would have."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgeted.cli.completions.SECONDS", 60.0)


def offered(line: str) -> list[str]:
    """What is offered behind a line, whose last word is begun."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    result = CliRunner(env={**words, "_BUDGETED_COMPLETE": "bash_complete"}).invoke(
        budgeted, [], prog_name="budgeted", catch_exceptions=False
    )
    assert result.stderr == ""
    return [found.partition(",")[2] for found in result.stdout.splitlines() if found]


@pytest.fixture
def known(budgeted_home: Path) -> Path:
    """Two projects, with users some of whom no shell should be given."""
    names = ("alice", "alan", "team:search", "$(touch pwned)", "a b", "`id`", "al;id", "; DROP TABLE")
    with BudgetManager("default") as manager:
        for name in names:
            manager.set_limits(name, "$1/day")
    with BudgetManager("other") as manager:
        manager.set_limits("bob", "$1/day")
    return budgeted_home


def test_users_of_the_project_are_offered(known: Path) -> None:
    assert offered("budgeted balance al") == ["alan", "alice"]
    assert offered("budgeted top-up ") == ["alan", "alice", "team:search"]
    assert offered("budgeted balance --project other ") == ["bob"]
    assert offered("budgeted limits set $5 --user ali") == ["alice"]


def test_projects_headings_and_models_are_offered(known: Path) -> None:
    assert offered("budgeted balance --project o") == ["other"]
    assert offered("budgeted report --by t") == ["tool", "tag:"]
    assert "gpt-5-mini" in offered("budgeted price gpt-5-m")


def test_a_million_names_are_no_more_than_fifty(budgeted_home: Path) -> None:
    with BudgetManager("default") as manager:
        for number in range(60):
            manager.set_limits(f"user-{number}", "$1/day")
    assert len(offered("budgeted balance ")) == 50


@pytest.mark.parametrize(
    "ledger",
    ["redis://127.0.0.1:1/0", "http://127.0.0.1:1", "nonsense://x", "sqlite:////nowhere/at/all.db", "/dev/null"],
)
def test_a_ledger_that_is_away_offers_nothing_and_says_nothing(ledger: str, budgeted_home: Path) -> None:
    assert offered(f"budgeted balance --ledger {ledger} al") == []
    assert offered(f"budgeted balance --ledger {ledger} --project d") == []


def test_looking_for_users_makes_no_project(budgeted_home: Path) -> None:
    assert offered("budgeted balance --project misspelt al") == []
    assert not list(budgeted_home.glob("**/misspelt*"))


@pytest.mark.parametrize("shell", INSTALLED_BY)
def test_what_is_printed_says_how_to_install_it(shell: str) -> None:
    shown = CliRunner(env={"SHELL": f"/bin/{shell}"}).invoke(budgeted, ["completion"]).stdout
    assert shown == CliRunner().invoke(budgeted, ["completion", shell]).stdout
    assert shown.startswith("# To install it: ")
    assert "_BUDGETED_COMPLETE" in shown


def test_another_shell_is_told_which_there_are() -> None:
    result = CliRunner(env={"SHELL": "/bin/tcsh"}).invoke(budgeted, ["completion"])
    assert result.exit_code == 2
    assert "'/bin/tcsh'; write which shell it is for: bash, zsh, fish" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("balance ali", "alice"),
        ("balance team : sea", "search"),  # as bash splits team:sea, which it replaces behind the colon alone
        ("balance team :", "search"),
        ("limits set '$5' --user tea", "team:search"),
    ],
)
def test_bash_completes_by_it(known: Path, tmp_path: Path, words: str, completed: str) -> None:
    program = tmp_path / "bin" / "budgeted"
    program.parent.mkdir()
    program.write_text(PATIENT, encoding="utf-8")
    program.chmod(0o755)
    script = f"""
    eval "$(budgeted completion bash)"
    COMP_WORDS=(budgeted {words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
    _budgeted_completion budgeted
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    settings = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    command = ["/usr/bin/env", "bash", "-c", script]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (f"{completed}\n", "")
