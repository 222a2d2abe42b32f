"""Commands that make, list, revoke and replace keys of a gateway."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from key_requests import bearer, caller, refused
from page_examples import ROOT, blocks

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.gateway.key_callers import KeyCallers

PAGE = ROOT / "docs" / "how-to" / "gateway-keys.md"


def run(line: str, *, code: int = 0) -> Result:
    """Run a command line of ``budgeted keys``, quoted as in a shell."""
    result = CliRunner().invoke(budgeted, ["keys", *shlex.split(line)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def printed(line: str) -> Any:
    return json.loads(run(f"{line} --json").stdout)


def made(line: str) -> str:
    """The key that a command line prints."""
    return run(line).stdout.strip()


# -- making


def test_a_key_that_is_printed_is_good_at_a_gateway_of_the_same_project(budgeted_home: Path) -> None:
    text = made(
        "create alice --limit '$5/day' --limit '60 calls/minute' --user-limit 9 --model 'gpt-5*' --model o4-mini"
    )
    with BudgetManager("default") as manager:
        found = caller(KeyCallers(manager), bearer(text))
        assert (found.user, found.models) == ("alice", ("gpt-5*", "o4-mini"))
        assert [one.text for one in manager.balances(f"tag:gateway-key={found.key}")] == ["$5/day", "60 calls/minute"]
        assert [one.text for one in manager.balances("alice")] == ["$9"]
    with BudgetManager("other") as manager:
        assert refused(KeyCallers(manager), bearer(text)).status == 401


def test_of_a_key_standard_output_has_the_key_alone_and_no_file_has_it(budgeted_home: Path) -> None:
    result = run("create alice --name laptop")
    assert re.fullmatch(r"bk-[a-z2-7]{60,}\n", result.stdout)
    assert "gateway.secret" in result.stderr
    assert "BUDGETED_SECRET" in result.stderr
    assert "gateway.secret" not in run("create alice").stderr
    kept = b"".join(path.read_bytes() for path in budgeted_home.rglob("*") if path.is_file())
    assert b"alice" in kept
    assert result.stdout[3:20].encode() not in kept


def test_as_json_a_key_comes_with_all_that_is_listed_of_it(budgeted_home: Path) -> None:
    told = printed("create alice --limit '$5/day' --name laptop --expires 2031-01-31")
    text = told.pop("key")
    assert text.startswith("bk-")
    assert told["expires"] == "2031-02-01T00:00:00Z"  # whose last day is the one that was named
    assert printed(f"show {told['id']}") == printed(f"show {text}") == told
    assert printed("list") == [told]


def test_a_secret_of_the_environment_signs_keys_and_none_is_made(
    budgeted_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUDGETED_SECRET", "k" * 32)
    text = made("create alice")
    with BudgetManager("default") as manager:
        assert caller(KeyCallers(manager, {"BUDGETED_SECRET": "k" * 32}), bearer(text)).user == "alice"
        assert "no keys yet" in refused(KeyCallers(manager, {}), bearer(text)).text
    assert not (budgeted_home / "gateway.secret").exists()
    monkeypatch.setenv("BUDGETED_SECRET", "hunter2")
    assert "Warning: BUDGETED_SECRET has 7 characters" in run("create alice").stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("create '$5/day'", "name a user"),
        ("create alice --limit /day", "single quotes"),
        ("create alice --limit '$5/dya'", "did you mean '$5/day'"),
        ("create alice --user-limit five", "'five'"),
        ("create alice --expires 3x", "'3x'"),
        ("create alice --expires 0d", "'0d'"),
        ("create alice --expires ''", "''"),
        ("create alice --expires 2027-02-30", "'2027-02-30'"),
        ("create alice --expires 2020-01-01", "that is past"),
        ("create alice --expires '5h rolling'", "'5h rolling'"),
        ("create alice --expires 99999999999999999999d", "99999999"),
        ("create alice --model 'gpt-5,o4'", "'gpt-5,o4'"),
        ("create ''", "is empty"),
        ("create tag:a=b", "is a tag"),
        ("create alice --ledger memory://", "ends with this command"),
        ("create alice --timezone Europe/Berln", "Europe/Berlin"),
        ("list --json --csv", "two formats"),
    ],
)
def test_what_makes_no_sense_is_refused_and_quoted(budgeted_home: Path, line: str, told: str) -> None:
    result = CliRunner().invoke(budgeted, ["keys", *shlex.split(line)])
    assert result.exit_code in (1, 2)
    assert told in result.stderr
    assert "Traceback" not in result.output
    assert "bk-" not in result.output


def test_a_secret_that_others_may_read_signs_no_key(budgeted_home: Path) -> None:
    made("create alice")
    (budgeted_home / "gateway.secret").chmod(0o644)
    assert "chmod 600" in run("create alice", code=1).stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2031-01-31", "2031-01-31T23:00:00Z"),
        ("2031-01-31T12:00", "2031-01-31T11:00:00Z"),
        ("2031-01-31T12:00Z", "2031-01-31T12:00:00Z"),
        ("2031-01-31 12:00+05:00", "2031-01-31T07:00:00Z"),
    ],
)
def test_days_end_and_moments_are_told_in_the_time_zone_that_is_named(
    budgeted_home: Path, text: str, expected: str
) -> None:
    told = printed(f"create alice --timezone Europe/Berlin --expires '{text}'")
    with BudgetManager("default") as manager:
        assert manager.ledger.read(f"t:gateway-key={told['id']}") is not None
    assert printed("list")[0]["expires"] == expected


# -- listing


def test_before_any_key_is_made_that_is_said(budgeted_home: Path) -> None:
    assert "nothing recorded yet" in run("list").stdout
    made("create alice")
    assert run("list --user bob").stdout == "bob has no keys; `budgeted keys create` makes one\n"


def test_a_spreadsheet_computes_nothing_of_a_list(budgeted_home: Path) -> None:
    made("create '=1+1' --name '@x, y'")
    head, line = csv.reader(run("list --csv").stdout.splitlines())
    assert head[:3] == ["id", "user", "name"]
    assert line[1:3] == ["'=1+1", "'@x, y"]


def test_a_terminal_is_told_nothing_by_names(budgeted_home: Path) -> None:
    key = printed("create 'al\u202eice' --name '\u2067x'")
    for line in ("list", f"show {key['id']}", f"revoke {key['id']} --reason 'a\x1b[31mb'", "list"):
        assert not re.search("[\x1b\u202e\u2067]", run(line).output)


# -- revoking


def test_a_key_is_revoked_by_its_id_or_itself_and_restored(budgeted_home: Path) -> None:
    text = made("create alice --name laptop")
    key = printed(f"show {text}")["id"]
    assert f"key {key} (laptop) is revoked: leaked" in run(f"revoke {text} --reason leaked").stdout
    with BudgetManager("default") as manager:
        assert "leaked" in refused(KeyCallers(manager), bearer(text)).text
    assert run(f"restore {key}").stdout == f"key {key} (laptop) is active\n"
    assert "is not revoked" in run(f"restore {key}", code=1).stderr
    new = made(f"rotate {key}")
    with BudgetManager("default") as manager:
        assert caller(KeyCallers(manager), bearer(new)).user == "alice"
        assert "replaced" in refused(KeyCallers(manager), bearer(text)).text


@pytest.mark.parametrize("command", ["show", "revoke", "restore", "rotate"])
def test_an_unknown_key_is_refused_and_hardly_quoted(budgeted_home: Path, command: str) -> None:
    key = printed("create alice --name laptop")["id"]
    assert f"did you mean {key}, which is called 'laptop'" in run(f"{command} laptop", code=1).stderr
    foreign = "bk-" + "q" * 90
    result = run(f"{command} {foreign}", code=1)
    assert "bk-qqqqq..." in result.stderr
    assert "bk-qqqqqq" not in result.stderr


# -- the page


def steady(text: str, ids: list[str]) -> str:
    for pattern, same in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d\+00:00", "DAY"),
        (r"bk-[a-z2-7]{60,}", "KEY"),
        ("|".join(ids) or "ID", "ID"),
        (r"[ \t]+", " "),
    ):
        text = re.sub(pattern, same, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def test_every_command_of_the_page_prints_what_it_shows(budgeted_home: Path) -> None:
    shown = [text for language, text in blocks(PAGE) if language == "console"]
    ids: list[str] = []
    for part in "".join(shown).split("$ budgeted keys ")[1:]:
        line, _, expected = part.partition("\n")
        result = run(line.replace("ID", ids[0] if ids else ""))
        ids = [key["id"] for key in printed("list")]
        pattern = ".*".join(map(re.escape, steady(expected, []).split("...")))
        assert re.fullmatch(pattern, steady(result.output, ids), re.DOTALL), result.output
