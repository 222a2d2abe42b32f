"""Command lines that make no sense: what is said of them speaks of the command line, quotes it, and is short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted

PYTHON = re.compile(
    r"Traceback|kwargs|=None|manager\.|self\.|BudgetManager|configure\(|set_limits|create_budget|register_price"
    r"|default_user_limits=|\w+\(\)|\b(user|by|since|until|count|cost|days|model|ledger)=|datetime"
)

USAGE = [
    ("balnce", "Did you mean 'balance'?"),
    ("balance --user bob", "without --user, as in `budgeted balance alice`"),
    ("balance alice bob", "unexpected extra argument (bob)"),
    ("balance --jsn", "--json"),
    ("balance --json --csv", "--json and --csv are two formats"),
    ("balance --timezone Mars", "--timezone: there is none called 'Mars'"),
    ("balance ''", "user '' is empty"),
    ("balance 'a\tb'", r"'a\tb' holds control characters"),
    ("accounts --count -1", "--count must be a number from 0"),
    ("accounts --count x", "'--count': 'x'"),
    ("accounts --after ''", "--after '' is empty"),
    ("users --count -5", "--count must be a number from 0"),
    ("users --after 'x\ty'", r"--after 'x\ty'"),
    ("status --count -1", "'--count': -1"),
    ("reconcile", "Missing argument 'CHARGE_ID'"),
    ("reconcile nope", "Missing option '--cost'"),
    ("reconcile nope --cost five", "--cost must be a number of USD"),
    ("reconcile nope --cost -1", "--cost must not be negative, got '-1'"),
    ("price gpt-5 --tier nope", "--tier 'nope' is none that a provider has; write one of annotated, batch"),
    ("suggest --days 1000", "--days must be a number from 1 to 400, got 1000"),
    ("keys create alice --expires tomorrow", "--expires: a key expires after some time such as 30d"),
    ("reset", "name a user, or write --global"),
    ("reset alice --global", "name a user, or write --global"),
    ("report --by customer", "--by 'customer' is not known; write one of 'user'"),
    ("report --by tag:feature=x", "write --by 'tag:feature' for a row of each"),
    ("report --since yesterday", "--since must be a day such as '2026-11-01'; got 'yesterday'"),
    ("report --since 2026-02-30", "got '2026-02-30'"),
    ("report --since 2026-02-02 --until 2026-02-01", "--until '2026-02-01' is before --since '2026-02-02'"),
    ("export --since yesterday", "--since must be a day"),
    ("export --format csv", "write --what report"),
    ("limits set", "give limits such as '$10/day', or --none"),
    ("limits set five", "give limits for 'five' such as '$10/day'"),
    ("limits set '$5/fortnight' alice", "no period 'fortnight'"),
    ("limits set '$1e99' alice", "at most 1,000,000,000 USD; write one such as '$10/day'"),
    ("limits set -5 alice", "'-5' is no amount: none may be negative"),
    ("limits set '$5/day' alice bob", "neither of 'alice' and 'bob' is a limit"),
    ("limits set '$5/day' --user ''", "--user '' is empty"),
    ("limits set --none '$5/day' alice", "or --none"),
    ("limits set '$5' --ledger memory://", "memory:// ends with this command"),
    ("limits sett", "'set'"),
    ("limits unset", "name a user, or write --global"),
    ("top-up alice", "say how much is added for 'alice'"),
    ("top-up alice -5", "'-5' is no amount"),
    ("top-up alice 5 --until tomorrow", '--until must be "period"'),
    ("assign alice", "name a team, such as team:search"),
    ("price", "Missing argument 'MODEL'"),
    ("price gpt-5 --input -1", "'--input': -1"),
    ("price gpt-5 --cached 5", "--cached 5 is a part of --input"),
    ("estimate missing.json", "'missing.json'"),
    ("suggest --days 0", "--days must be a number from 1"),
    ("suggest --percentile nan", "--percentile must be above 0"),
    ("migrate here", "Missing argument 'TO'"),
    ("repair --user bob", "--user goes with --period"),
    ("import missing.json", "'missing.json'"),
    ("keys create '$5/day'", "which is given by --limit '$5/day'"),
    ("keys create alice --limit five", "--limit: cannot read the limit 'five': write one such as '$10/day'"),
    ("keys create alice --user-limit '$5/eon'", "--user-limit: cannot read the limit '$5/eon'"),
    ("keys create ''", "user '' is empty"),
    ("claude-code --limit five", "--limit: cannot read the limit 'five'"),
    ("claude-code --user '$5'", "which is given by --limit '$5'"),
    ("claude-code --gateway ftp://x", "--gateway must be an address"),
    ("codex --limit '$5/eon'", "--limit: cannot read the limit '$5/eon'"),
    ("run --limit five -- true", "--limit: cannot read the limit 'five'"),
    ("gateway --limit five", "--limit: cannot read the limit 'five'"),
    ("gateway --port 99999", "--port must be a whole number from 0 to 65535"),
    ("serve --port x", "'x'"),
]

FAILURES = [
    ("balance alcie", "nobody called 'alcie' is known in project 'default'; did you mean 'alice'?"),
    ("balance bob --project nope", "there is no project 'nope' in"),
    ("balance --ledger mysql://u:secret@h/d", "--ledger 'mysql://...' is not a ledger"),
    ("balance --ledger http://127.0.0.1:1", "127.0.0.1:1 is not available"),
    ("balance '\"; DROP TABLE accounts'", "DROP TABLE accounts"),
    ("balance '<script>alert(1)</script>'", "nobody called '<script>alert"),
    ("reset alcie", "did you mean 'alice'?"),
    ("reconcile nope --cost 1", "no charge 'nope' is known; `budgeted uncertain` lists those"),
    ("limits set '$5/day' tag:feature", '[users."tag:feature=*"] in budgeted.toml'),
    ("limits set '$5/day' '$7/day' alice", "'$5/day' and '$7/day'"),
    ("limits show bob", "nobody called 'bob'"),
    ("top-up alice '5 calls'", "give it one with `budgeted limits set`"),
    ("top-up alice 5/day", "without a period"),
    ("repair --period --user bob", "`budgeted users` lists those who are"),
    ("resume alice", "alice is not stopped; `budgeted users` tells who is"),
    ("price gtp-5", "did you mean 'gpt-5'"),
    ("keys show nope", "a key 'nope' is not known"),
    ("verify --project nope", "there is no project 'nope'"),
    ("backup ./no/such/folder/f", "cannot be written"),
    ("restore missing.backup", "missing.backup cannot be read"),
    ("alerts test", "no alerts_to is stated here"),
]


@pytest.fixture
def project(budgeted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project in which alice has a limit, in a folder with no files."""
    monkeypatch.chdir(tmp_path)
    with BudgetManager("default", max_budget="$10/day") as manager:
        manager.set_limits("alice", "$5/day")


def told(line: str, code: int) -> str:
    """What a command line is answered with, but for how the command is called."""
    result = CliRunner().invoke(budgeted, shlex.split(line), catch_exceptions=False)
    assert result.exit_code == code, result.output
    [error] = [text for text in result.stderr.split("\n") if text.startswith("Error: ")]
    return error


@pytest.mark.parametrize(("line", "expected"), USAGE)
@pytest.mark.usefixtures("project")
def test_a_mistaken_command_line_is_told_in_its_own_words(line: str, expected: str) -> None:
    error = told(line, 2)
    assert expected in error
    assert not PYTHON.search(error), error
    assert len(error) <= 300


@pytest.mark.parametrize(("line", "expected"), FAILURES)
@pytest.mark.usefixtures("project")
def test_what_cannot_be_done_is_told_in_the_same_words(line: str, expected: str) -> None:
    error = told(line, 1)
    assert expected in error
    assert "secret" not in error
    assert not PYTHON.search(error.replace("configure()", "")), error
    assert len(error) <= 300
