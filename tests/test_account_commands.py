"""Commands that set limits, stop and resume accounts, raise limits for a period, and say whom users belong to."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from budgeted import BudgetManager, BudgetStoppedError
from budgeted.cli.command_group import budgeted


def run(line: str, *, code: int = 0) -> Result:
    """Run a command line, quoted as in a shell."""
    result = CliRunner().invoke(budgeted, shlex.split(line), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def printed(line: str) -> Any:
    return json.loads(run(f"{line} --json").stdout)


def limits(user: str | None = None) -> list[str]:
    with BudgetManager("default") as manager:
        return [balance.text for balance in manager.balances(user)]


@pytest.fixture
def team(budgeted_home: Path) -> Iterator[BudgetManager]:
    """A project in which alice, who has spent a quarter of a dollar, belongs to a team."""
    with BudgetManager("default", max_budget="$100/day") as manager:
        manager.set_limits("team:search", "$50/month")
        manager.set_limits("alice", "$5/day")
        manager.assign("alice", "team:search")
        spend(manager, "alice", 0.25)
        yield manager


def spend(manager: BudgetManager, user: str, cost: float) -> None:
    with manager.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


# -- limits


@pytest.mark.parametrize(
    ("words", "user", "expected"),
    [
        ("'$5/day' alice", "alice", ["$5/day"]),
        ("alice '$5/day'", "alice", ["$5/day"]),
        ("alice '$5/day' '3 calls/hour'", "alice", ["$5/day", "3 calls/hour"]),
        ("'$5/day + 3 calls/hour' team:search", "team:search", ["$5/day", "3 calls/hour"]),
        ("10 alice@example.com", "alice@example.com", ["$10"]),
        ("0.5 alice", "alice", ["$0.50"]),
        ("'$0' alice", "alice", ["$0"]),
        ("alice 5 '3 calls'", "alice", ["$5", "3 calls"]),
        ("5 '3 calls' --user 12345", "12345", ["$5", "3 calls"]),
        ("'0 calls/day' alice", "alice", ["0 calls/day"]),
        ("'$5' --user '$odd/day'", "$odd/day", ["$5"]),
        ("'$5' --user 12345", "12345", ["$5"]),
        ("'$5' 123456789012345678", "123456789012345678", ["$5"]),
        ("'$10/day'", None, ["$10/day"]),
    ],
)
def test_a_limit_is_told_from_a_user_wherever_they_stand(
    budgeted_home: Path, words: str, user: str | None, expected: list[str]
) -> None:
    run(f"limits set {words}")
    assert limits(user) == expected


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        ("/day alice", "'/day'"),  # $5/day
        ("alice ''", "''"),  # $5
        ("0/day alice", "'0/day'"),  # $10/day
        ("00/month", "'00/month'"),  # $100/month
        ("0 alice", "'0'"),  # $10
        (".50/day alice", "'.50/day'"),  # $2.50/day
        (",000/month alice", "',000/month'"),  # $1,000/month
        ("-bash.50/day alice", "-b"),  # $0.50/day
        ("bash.50/day alice", "'bash.50/day'"),
        ("/bin/sh.50 alice", "'/bin/sh.50'"),
        ("60 calls/minute alice", "'calls/minute'"),
        ("3 calls alice", "'calls'"),
        ("60 rpm", "'rpm'"),
        ("20k 'input tokens/minute' alice", "'input tokens/minute'"),
        ("5 per day alice", "'day'"),
        ("'$5/day' + '$10/month'", "'+'"),
        ("12345 '$5/day'", "'12345'"),  # a user, or $12,345?
        ("'$5/fortnight' alice", "'$5/fortnight'"),
        ("'$5' alice bob", "'bob'"),
        ("alice", "'alice'"),
    ],
)
def test_what_a_shell_has_taken_apart_is_refused_with_how_to_quote_it(
    budgeted_home: Path, words: str, quoted: str
) -> None:
    error = run(f"limits set {words}", code=2).stderr
    assert quoted in error
    assert "Traceback" not in error
    assert not (budgeted_home / "default").exists()


def test_limits_are_shown_and_taken_away_while_what_was_spent_stays(team: BudgetManager) -> None:
    shown = run("limits show alice").stdout
    assert shown.splitlines()[1].split()[0] == "$5/day"
    assert "belongs to team:search" in shown
    assert [one["text"] for one in printed("limits show")] == ["$100/day"]
    assert run("limits unset alice").stdout == "alice has no limits\n"
    assert team.balance("alice").spent == 0.25
    assert run("limits show alice").stdout.startswith("alice has no limits\n")
    assert "name a user, or write --global" in run("limits unset", code=2).stderr
    run("limits unset --global")
    assert team.balances() == []


@pytest.mark.parametrize(
    "line", ["limits show alise", "limits unset alise", "stop alise", "resume alise", "top-up alise 5"]
)
def test_a_misspelt_user_is_told_with_the_nearest_name_and_not_made(team: BudgetManager, line: str) -> None:
    assert "nobody called 'alise' is known in project 'default'; did you mean 'alice'?" in run(line, code=1).stderr
    assert [one.name for one in team.accounts()] == ["alice", "team:search"]


def test_before_a_first_run_there_are_no_limits_to_be_shown(budgeted_home: Path) -> None:
    for line in ("limits show", "users"):
        assert run(line).stdout.startswith("nothing recorded yet")


# -- raises


def test_a_limit_is_raised_until_its_period_ends(team: BudgetManager) -> None:
    run("top-up alice 5")
    assert team.balance("alice").remaining == 9.75
    run("top-up '$0.50' alice")
    assert team.balance("alice").remaining == 10.25
    run("top-up 1")
    assert team.balance().remaining == 100.75


@pytest.mark.parametrize(
    ("line", "told", "code"),
    [
        ("top-up alice", "say how much is added for 'alice'", 2),
        ("top-up alice ''", "''", 2),
        ("top-up alice '$5/day'", "without a period", 1),
        ("top-up alice 5 --until friday", "'friday'", 2),
        ("top-up alice '5 calls'", "no limit in calls", 1),
        ("top-up alice -- -5", "'-5'", 2),
        ("top-up alice nan", "'nan'", 2),
        ("top-up alice 1e12", "at most 1,000,000,000 USD", 2),
    ],
)
def test_a_raise_that_makes_no_sense_is_refused(team: BudgetManager, line: str, told: str, code: int) -> None:
    assert told in run(line, code=code).stderr
    assert team.balance("alice").remaining == 4.75


# -- stopping


def test_a_stop_refuses_calls_of_running_programs_is_shown_and_ends(team: BudgetManager) -> None:
    assert "alice is stopped: her key has leaked" in run("stop alice --reason 'her key has leaked'").stdout
    with pytest.raises(BudgetStoppedError, match="her key has leaked"):
        spend(team, "alice", 0.25)
    assert "stopped: her key has leaked" in run("users").stdout
    assert "stopped: her key has leaked" in run("balance alice").stdout
    assert "alice is stopped: her key has leaked" in run("accounts").stdout
    [alice] = printed("users --prefix alice")
    assert (alice["stopped"], alice["team"], alice["spent"]) == ("her key has leaked", "team:search", 0.25)
    assert [one["text"] for one in printed("balance alice")] == ["$5/day"]
    run("resume alice")
    spend(team, "alice", 0.25)
    assert "'alice'" not in run("users").stdout
    assert "alice is not stopped" in run("resume alice", code=1).stderr


def test_a_stop_of_a_team_is_shown_for_its_members(team: BudgetManager) -> None:
    run("stop team:search")
    assert "team:search is stopped: no reason was given" in run("balance alice").stdout


def test_all_calls_are_stopped_and_that_is_shown_everywhere(team: BudgetManager) -> None:
    run("stop --reason maintenance")
    with pytest.raises(BudgetStoppedError, match="maintenance"):
        spend(team, "bob", 0.25)
    for line in ("users", "accounts", "balance", "balance alice", "limits show alice"):
        assert "stopped: maintenance" in run(line).stdout, line
    run("resume")
    spend(team, "bob", 0.25)
    assert "stopped" not in run("balance").stdout


# -- belonging


def test_users_are_assigned_to_teams_and_to_nothing(team: BudgetManager) -> None:
    assert run("assign bob team:search").stdout == "bob belongs to team:search\n"
    spend(team, "bob", 1)
    assert team.balance("team:search").spent == 1.25
    run("assign bob --none")
    assert {one.name: one.team for one in team.accounts()} == {
        "alice": "team:search",
        "bob": None,
        "team:search": None,
    }


@pytest.mark.parametrize(
    ("line", "told", "code"),
    [
        ("assign team:search alice", "'team:search' -> 'alice' -> 'team:search'", 1),
        ("assign alice alice", "'alice'", 1),
        ("assign alice", "name a team, such as team:search, or write --none", 2),
        ("assign alice team:search --none", "or write --none", 2),
        ("assign bob search", "did you mean 'team:search'?", 1),
        ("assign bob --none", "nobody called 'bob'", 1),
    ],
)
def test_an_assignment_that_makes_no_sense_is_refused(team: BudgetManager, line: str, told: str, code: int) -> None:
    assert told in run(line, code=code).stderr
    assert [one.team for one in team.accounts("alice")] == ["team:search"]


def test_a_team_without_limits_is_told_of(team: BudgetManager) -> None:
    assert "team:serach has no limits" in run("assign bob team:serach").stderr


# -- listing


def test_users_are_listed_a_page_at_a_time(team: BudgetManager) -> None:
    page = run("users --count 1")
    assert page.stdout.splitlines()[1].split() == ["alice", "$5/day", "$0.25", "team:search"]
    assert page.stderr == "there are more: --after alice\n"
    rest = run("users --count 1 --after alice")
    assert rest.stdout.splitlines()[1].split()[:2] == ["team:search", "$50/month"]
    assert rest.stderr == ""
    assert run("users --count 0").stdout == "nobody yet\n"
    assert run("users --prefix zoe").stdout == "there are no such users\n"


def test_projects_of_a_ledger_are_listed(tmp_path: Path) -> None:
    for ledger in (tmp_path / "files", f"sqlite:///{tmp_path}/database"):
        assert "there are no projects in" in run(f"projects --ledger {ledger}").stdout
        for name in ("shop", "app"):
            run(f"limits set 5 --project {name} --ledger {ledger}")
        assert run(f"projects --ledger {ledger}").stdout.split() == ["project", "app", "shop"]
        assert printed(f"projects --ledger {ledger}") == ["app", "shop"]
    assert "cannot be told" in run("projects --ledger memory://", code=1).stderr
