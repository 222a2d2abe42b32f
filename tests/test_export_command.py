"""The command that prints all that a project knows, for other programs."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted

ODD = '=SUM(A1)\N{PILE OF POO},"b'


def run(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(budgeted, ["export", *args], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def lines(*args: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*args).stdout.splitlines()]


def table(*args: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run("--format", "csv", *args).stdout)))


@pytest.fixture
def filled(budgeted_home: Path) -> None:
    """Two users, one of whom belongs to a team, a cap with a key, and a charge that nobody confirmed."""
    with BudgetManager("default", max_budget="$10/day + 60 calls/hour") as manager:
        manager.set_limits("alice", "$5/day")
        manager.assign("alice", "team:search")
        with manager.hold(cost="0.00000025", user="alice") as held:
            held.settle(cost="0.00000025")
        with manager.budget("alice", cap=2, key="nightly"), manager.hold(cost=1) as held:
            held.settle(cost=1)
        manager.hold(cost=0.5, user=ODD).__enter__().__exit__(TimeoutError, TimeoutError(), None)
        manager.stop(ODD, "it is odd")


def test_lines_of_json_tell_the_days_the_accounts_and_what_is_uncertain(filled: None) -> None:
    found = lines()
    today = dt.datetime.now(dt.UTC).date().isoformat()
    rows = {one["account"]: one for one in found if one["what"] == "report"}
    assert {one["kind"] for one in rows.values()} == {"global", "user", "block"}
    assert {name: row["spent_usd"] for name, row in rows.items()} == {
        "global": 1.50000025,
        "alice": 1.00000025,
        "team:search": 1.00000025,
        "key:nightly": 1,
        ODD: 0.5,
    }
    assert rows["alice"]["day"] == today
    accounts = {one["account"]: one for one in found if one["what"] == "accounts"}
    assert accounts.keys() == {"global", "alice", ODD, "team:search", "key:nightly"}
    assert (accounts["alice"]["team"], accounts[ODD]["stopped"]) == ("team:search", "it is odd")
    assert [limit["text"] for limit in accounts["global"]["limits"]] == ["$10/day", "60 calls/hour"]
    [doubtful] = [one for one in found if one["what"] == "uncertain"]
    assert (doubtful["cost_usd"], doubtful["users"]) == (0.5, [ODD])


def test_csv_is_one_table_that_no_spreadsheet_computes(filled: None) -> None:
    [alice] = [row for row in table("--what", "accounts") if row["account"] == "alice"]
    assert (alice["spent_usd"], alice["limits"], alice["team"]) == ("1.00000025", "$5/day", "team:search")
    names = [row["account"] for row in table("--what", "report")]
    assert "'" + ODD in names
    assert ODD not in names
    [doubtful] = table("--what", "uncertain")
    assert doubtful["users"] == "'" + ODD
    assert "CSV is one table: write --what report" in run("--format", "csv", code=2).stderr


def test_an_export_is_of_the_days_that_are_asked_for(filled: None) -> None:
    assert lines("--what", "report", "--since", "2999-01-01") == []
    assert lines("--what", "report", "--until", "2020-01-01") == []
    assert len(lines("--what", "report", "--since", "2020-01-01", "--until", "2999-01-01")) == 5
    assert "'yesterday'" in run("--since", "yesterday", code=2).stderr
    assert run("--since", "2026-11-02", "--until", "2026-11-01", code=2).stdout == ""


def test_all_pages_of_accounts_are_told(budgeted_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgeted.cli.export_books.PAGE", 2)
    with BudgetManager("default") as manager:
        for number in range(5):
            manager.set_limits(f"user-{number}", 1)
    assert len([one for one in lines("--what", "accounts") if one["kind"] == "user"]) == 5


def test_nothing_is_told_of_what_is_not_there(budgeted_home: Path) -> None:
    assert "there is no project" in run(code=1).stderr
