"""Teams as a settings file states them: who belongs to what, and what an operator has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_examples import ROOT, blocks

from budgeted import BudgetExceededError, budget, get_manager, hold
from budgeted.cli.command_group import budgeted as command
from budgeted.payers.scope import by_default

TEAMS = """
default_user_limits = "$1/day"

[users."alice"]
limits = "$5/day"

[users."carol"]
team = "search"

[users."org:acme"]
month = 500

[teams."search"]
limits = "$50/month"
members = ["alice", "bob"]
belongs_to = "org:acme"

[teams."lab"]
belongs_to = "team:search"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_registered: None) -> Iterator[Path]:
    """The working directory of an application of its own, without a manager before and after."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    end()


def end() -> None:
    """Close the default manager, as if its program had ended."""
    if by_default:
        get_manager().close()


def start(text: str) -> dict[str, str | None]:
    """Start a program with this file; to what each account belongs then."""
    end()
    Path("budgeted.toml").write_text(text, encoding="utf-8")
    budget("anybody")
    return {one.name: one.team for one in get_manager().accounts()}


def refusal(text: str) -> str:
    end()
    Path("budgeted.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"\S") as refused:
        budget("anybody")
    assert not by_default
    return str(refused.value)


def test_members_teams_of_users_and_teams_of_teams_pay_together(folder: Path) -> None:
    assert start(TEAMS) == {
        "alice": "team:search",
        "bob": "team:search",
        "carol": "team:search",
        "org:acme": None,
        "team:lab": "team:search",
        "team:search": "org:acme",
    }
    with hold(cost=4, user="alice") as held:
        held.settle(cost=4)
    assert get_manager().balance("team:search").spent == 4
    assert get_manager().balance("org:acme").spent == 4


def test_a_user_of_whom_only_the_team_is_told_has_the_limits_of_such_users(folder: Path) -> None:
    start(TEAMS)
    for user in ("bob", "carol"):
        with pytest.raises(BudgetExceededError, match=user):
            hold(cost=2, user=user).__enter__()
    assert get_manager().balances("team:lab") == []  # which is no such user


def test_the_names_of_teams_are_understood_with_and_without_their_beginning(folder: Path) -> None:
    found = start(
        '[users."a"]\nteam = "x"\n[users."b"]\nteam = "team:x"\n[users."c"]\nbelongs_to = "org:x"\n'
        '[users."d"]\nteam = "y:z"\n[teams."y:z"]\nmonth = 5\n'
    )
    assert [found[user] for user in "abcd"] == ["team:x", "team:x", "org:x", "team:y:z"]


def test_the_same_stated_twice_is_stated_once(folder: Path) -> None:
    assert start('[users."a"]\nteam = "x"\n[teams."x"]\nmembers = ["a", "a"]\n')["a"] == "team:x"


def test_an_operators_change_stays_until_the_file_is_edited(folder: Path) -> None:
    start(TEAMS)
    get_manager().assign("alice", None)
    get_manager().assign("bob", "org:acme")
    found = start(TEAMS)
    assert (found["alice"], found["bob"]) == (None, "org:acme")
    found = start(TEAMS.replace('["alice", "bob"]', '["bob"]') + 'members = ["alice"]\n')
    assert (found["alice"], found["bob"]) == ("team:lab", "org:acme")
    start(TEAMS)
    get_manager().delete_user("alice")
    get_manager().balances("alice")
    assert start(TEAMS)["alice"] == "team:search"


def test_an_edited_file_turns_teams_upside_down(folder: Path) -> None:
    found = start('[teams."a"]\nbelongs_to = "b"\n[teams."b"]\nbelongs_to = "c"\n')
    assert found == {"team:a": "team:b", "team:b": "team:c", "team:c": None}
    found = start('[teams."b"]\nbelongs_to = "a"\n[teams."a"]\nbelongs_to = "d"\n')
    assert found == {"team:a": "team:d", "team:b": "team:a", "team:c": None, "team:d": None}


def test_a_contradiction_with_what_the_ledger_knows_tells_the_line(folder: Path) -> None:
    start('[teams."a"]\nbelongs_to = "b"\n')
    error = refusal('[teams."b"]\n\nbelongs_to = "a"\n')
    assert "budgeted.toml, line 3, teams.b.belongs_to" in error
    assert "'team:b' cannot belong to 'team:a', which belongs to 'team:b' in the end" in error


def test_a_team_that_nobody_has_heard_of_is_warned_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    start('[users."a"]\nteam = "serach"\n[teams."search"]\nmembers = ["b"]\n')
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "line 2, users.a.team: nobody has heard of 'team:serach' before" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[users."a"]\nteam = "x"\n[teams."y"]\nmembers = ["a"]\n',
            ["line 4, teams.y.members", "'a' belongs to 'team:y' here, and to 'team:x'", "line 2, users.a.team"],
        ),
        ('[teams."x"]\nmembers = ["a"]\n[teams."y"]\nmembers = ["a"]\n', ["line 4", "line 2", "'a'"]),
        ('[users."a"]\nteam = "x"\nbelongs_to = "y"\n', ["line 3, users.a.belongs_to", "line 2"]),
        ('[teams."x"]\nmembers = ["team:x"]\n', ["line 2", "'team:x' -> 'team:x'"]),
        (
            '[teams."x"]\nbelongs_to = "y"\n[teams."y"]\nbelongs_to = "z"\n[teams."z"]\nbelongs_to = "x"\n',
            ["line 2, teams.x.belongs_to", "'team:x' -> 'team:y' -> 'team:z' -> 'team:x'"],
        ),
        (
            "".join(f'[teams."{number}"]\nbelongs_to = "{number + 1}"\n' for number in range(9)),
            ["line 2", "at most 8 accounts"],
        ),
        ('[teams."x"]\nmembers = "alice"\n', ["line 2", "must be a list of names", "'alice'"]),
        ('[teams."x"]\nmembers = [1]\n', ["line 2", "got 1"]),
        ('[teams."x"]\nmembers = ["svc-*"]\n', ["line 2", "'svc-*' stands for several names"]),
        ('[teams."x"]\nmembers = [""]\n', ["line 2", "''"]),
        ('[users."svc-*"]\nteam = "x"\n', ["line 2", "'svc-*' stands for several names"]),
        ('[users."a"]\nteam = "x*"\n', ["line 2", "'x*'"]),
        ('[users."a"]\nteam = ""\n', ["line 2", "''"]),
        ('[users."a"]\nteam = ["x"]\n', ["line 2", "['x']"]),
        ('[users."a"]\nteam = "team:"\n', ["line 2", "'team:' names no team"]),
        ('[users."a"]\nteams = "x"\n', ["line 2, users.a.teams", "did you mean team?"]),
        ('[teams."x"]\nmember = ["a"]\n', ["line 2, teams.x.member", "did you mean members?"]),
        ('[limits]\nteam = "x"\n', ["line 2, limits.team", "is not known"]),
        ('[default_user_limits."*"]\nteam = "x"\n', ["line 2", "is not known"]),
    ],
)
def test_contradictions_and_mistakes_tell_where_they_stand(folder: Path, text: str, told: list[str]) -> None:
    error = refusal(text)
    for part in ("budgeted.toml", *told):
        assert part in error


def test_config_shows_who_belongs_to_what_and_refuses_what_no_program_would_start_with(folder: Path) -> None:
    Path("budgeted.toml").write_text(TEAMS)
    rows = {one["setting"]: one for one in json.loads(CliRunner().invoke(command, ["config", "--json"]).stdout)}
    search = rows["teams.search"]
    assert search["value"] == "limits = $50/month, members = alice, bob, belongs_to = org:acme"
    assert "line 13" in search["source"]
    Path("budgeted.toml").write_text('[teams."x"]\nbelongs_to = "x"\n')
    failed = CliRunner().invoke(command, ["config"])
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "'team:x' -> 'team:x'" in failed.stderr


def test_the_page_on_teams_shows_a_file_that_is_understood(folder: Path) -> None:
    [shown] = [text for language, text in blocks(ROOT / "docs" / "how-to" / "teams.md") if language == "toml"]
    found = start(shown)
    assert [found[name] for name in ("alice", "carol", "team:search")] == ["team:search", "team:search", "org:acme"]
    assert get_manager().balance("team:search").text == "$50/month"
