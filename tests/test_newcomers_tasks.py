"""The tasks of a newcomer, as CONTRIBUTING.md tells them: each command does what it is for, in a project in use."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_examples import ROOT

from budgeted import BudgetExceededError, BudgetManager
from budgeted.cli.command_group import budgeted

TOLD = {
    "1": "alice",
    "2": "$9/day",
    "3": "refused",
    "4": "cost $0.02",
    "5": "her key has leaked",
    "6": "$9/day",
    "7": "remaining",
    "8": "alice",
    "9": "all are equal",
    "10": "bk-",
}
"""What each of them has to say, for whoever does it."""


def tasks() -> list[tuple[str, str]]:
    """The number of each task, and its command."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Ten tasks")[2].partition("\n## ")[0]
    return re.findall(r"^\| (\d+) \|.*\| `budgeted ([^`]*)` \|$", section, re.MULTILINE)


@pytest.fixture
def charge(budgeted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an uncertain charge, in a project with users, limits and a refusal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUDGETED_LEDGER", "./ledger")
    with BudgetManager("default", ledger="./ledger", default_user_limits="$5/day") as manager:
        with manager.hold(cost=2, user="alice") as held:
            held.settle(cost=2)
        with contextlib.suppress(TimeoutError), manager.hold(cost=0.5, user="bob"):
            raise TimeoutError
        with pytest.raises(BudgetExceededError), manager.hold(cost=50, user="bob"):
            pass
        [doubtful] = manager.uncertain()
        return doubtful.id


@pytest.mark.slow
def test_a_newcomer_gets_every_task_done_by_its_command(charge: str) -> None:
    runner = CliRunner()
    made = runner.invoke(budgeted, ["keys", "create", "alice"], catch_exceptions=False)
    [key] = re.findall(r"bk-\S+", made.output)
    told = {}
    for number, command in tasks():
        words = [{"ID": charge, "KEY": key}.get(word, word) for word in shlex.split(command)]
        done = runner.invoke(budgeted, words, catch_exceptions=False)
        assert done.exit_code == 0, (command, done.output)
        told[number] = done.output
    assert [number for number, text in TOLD.items() if text not in told[number]] == []
    assert list(told) == list(TOLD)
