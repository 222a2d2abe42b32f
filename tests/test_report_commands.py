"""The commands that look at accounts and reports: names that nobody has, first runs, reports as tables and files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted


def run(*args: str, ok: bool = True) -> Result:
    result = CliRunner().invoke(budgeted, list(args), catch_exceptions=False)
    assert (result.exit_code == 0) == ok, result.output
    return result


def spend(manager: BudgetManager, usd: float, user: str | None = None) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


@pytest.fixture
def spent(budgeted_home: Path) -> Path:
    """A project in which alice has spent a dollar, half of it under a key, and nobody seven."""
    with BudgetManager("default", default_user_limits="$5/day") as manager:
        spend(manager, 0.5, "alice")
        with manager.budget(cap=3, key="nightly"):
            spend(manager, 0.5, "alice")
        spend(manager, 7)
    return budgeted_home


def test_a_report_has_a_line_for_the_rest_and_one_for_the_total(spent: Path) -> None:
    lines = [line.split() for line in run("report").stdout.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [
        ("user", "spent"),
        ("alice", "$1.00"),
        ("(nobody)", "$7.00"),
        ("(total)", "$8.00"),
    ]


def test_a_report_of_accounts_says_what_is_in_several_of_its_rows(spent: Path) -> None:
    assert run("report", "--by", "account").stdout.splitlines()[-1] == (
        "$1.50 of it is in more than one row, and once in the total"
    )


def test_a_report_is_printed_as_csv_and_json(spent: Path) -> None:
    rows = list(csv.reader(io.StringIO(run("report", "--by", "key", "--format", "csv").stdout)))
    assert [row[:2] for row in rows[1:]] == [["nightly", "0.5"], ["(no key)", "7.5"], ["(total)", "8.0"]]
    told = json.loads(run("report", "--by", "tag:feature", "--format", "json").stdout)
    assert (told["by"], told["rows"][0]["name"], told["total"]["spent"]) == ("tag:feature", "(untagged)", 8)


def test_a_report_is_of_the_days_that_are_named(spent: Path) -> None:
    assert run("report", "--until", "2001-01-01").stdout == "nothing was spent\n"
    error = run("report", "--since", "2026-02-02", "--until", "2026-02-01", ok=False).stderr
    assert "--until '2026-02-01' is before --since '2026-02-02'" in error


def test_would_refuse_may_be_written_with_a_hyphen(spent: Path) -> None:
    told = run("report", "--by", "would-refuse").stdout
    assert told == "no limit would have refused anything, of those that only warn\n"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("alcie", "did you mean 'alice'?"),
        ("ALICE", "did you mean 'alice'?"),
        ("key:nigthly", "did you mean 'key:nightly'?"),
        ("nightly", "did you mean 'key:nightly'?"),
        ("NIGHT", "did you mean 'key:nightly'?"),
        ("zzz", "`budgeted accounts` lists those who are"),
        ("tag:feature=search", "`budgeted accounts`"),
    ],
)
def test_a_name_that_nobody_has_is_told_with_the_nearest_one(spent: Path, name: str, near: str) -> None:
    for more in ((), ("--json",)):
        error = run("balance", name, *more, ok=False).stderr
        assert f"nobody called {name!r} is known in project 'default'" in error
        assert near in error


def test_the_balance_of_a_cap_is_shown_by_its_key(spent: Path) -> None:
    assert run("balance", "key:nightly").stdout.splitlines()[1].split()[:4] == ["$3", "$0.50", "$0.00", "$2.50"]
    assert run("accounts", "--prefix", "key:").stdout.splitlines()[1].split()[:2] == ["key:nightly", "$3"]


@pytest.mark.parametrize("command", ["report", "balance", "accounts", "uncertain"])
def test_before_anything_was_recorded_commands_say_so(
    budgeted_home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert "nothing recorded yet in" in run(command).stdout
    elsewhere = str(budgeted_home / "spend")
    for args in (("--json",), ("--ledger", elsewhere)):  # for a program, and where a path may be misspelt
        error = run(command, *args, ok=False).stderr
        assert "nothing recorded yet: there is no project 'default' in" in error
    monkeypatch.setenv("BUDGETED_LEDGER", elsewhere)
    assert run(command).stdout == f"nothing recorded yet in {elsewhere}; name another place with --ledger\n"
    assert not budgeted_home.exists()


@pytest.mark.parametrize("command", ["report", "balance", "accounts"])
def test_of_a_project_that_has_only_begun_commands_say_so(budgeted_home: Path, command: str) -> None:
    BudgetManager("default").close()
    assert run(command).stdout == "nothing recorded yet\n"
