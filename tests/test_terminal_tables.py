"""What commands print, on terminals of any width and kind, in pipes, and for programs."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from budgeted import BudgetExceededError, BudgetManager
from budgeted.cli.bars import BLOCKS
from budgeted.cli.command_group import budgeted

COMMAND = str(Path(sys.executable).with_name("budgeted"))
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
AMOUNT = re.compile(r"\$[\d,.]+")

HOSTILE = '"; DROP TABLE accounts <script>alert(1)</script>'
SPENT = {"alice": 4.090123456, "bob": 1204.4913, "=cmd|calc": 0.0213456, HOSTILE: 0.000000001}


@pytest.fixture
def project(budgeted_home: Path) -> None:
    """A project in which users have spent amounts of all sizes."""
    with BudgetManager("default", max_budget="$10000/month") as manager:
        manager.set_limits("alice", "$5/day", "20 calls/day")
        manager.set_limits("bob", "$1,000")
        for user, cost in SPENT.items():
            with manager.budget(user, on_exceed="warn"), manager.hold(cost=cost) as held:
                held.settle(cost=cost)
        manager.stop("bob", "over the top")


def printed(line: str) -> str:
    result = CliRunner().invoke(budgeted, shlex.split(line), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def on_terminal(line: str, columns: int = 100, **environment: str) -> str:
    """What a command writes to a terminal of a width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    command = [COMMAND, *shlex.split(line)]
    settings = {**kept, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings) as process:
        os.close(theirs)
        written = bytearray()
        while part := _read(ours):
            written += part
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody writes there any more
        return b""


def in_pipe(line: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    settings = {**kept, **environment}
    done = subprocess.run([COMMAND, *shlex.split(line)], capture_output=True, text=True, env=settings, check=True)
    return done.stdout


def plain(text: str) -> str:
    return ESCAPE.sub("", text)


# -- for people


def test_amounts_are_rounded_for_a_glance_and_their_points_stand_below_each_other(project: None) -> None:
    lines = printed("users").splitlines()
    spent = [AMOUNT.findall(line)[-1] for line in lines[1:]]
    assert spent == ["$0.000000001", "$0.0213", "$4.09", "$1,204", "$1,209"]
    points = {line.rindex(amount) + f"{amount}.".index(".") for line, amount in zip(lines[1:], spent, strict=True)}
    assert len(points) == 1


def test_amounts_are_written_in_full_where_that_is_asked_for(project: None) -> None:
    told = printed("users --exact")
    assert "$4.090123456" in told
    assert "$1,204.4913" in told
    assert "$1,208.602769057" in told  # all of them together


def test_the_last_row_of_users_is_what_all_calls_cost_once(budgeted_home: Path) -> None:
    with (
        BudgetManager("default") as manager,
        manager.budget("team:search"),
        manager.budget("(everybody)"),
        manager.hold(cost=2) as held,
    ):
        held.settle(cost=2)
    rows = [line.split()[0::2][:2] for line in printed("users").splitlines()[1:]]
    assert [row[0] for row in rows] == ["(everybody)", "team:search", "((everybody))"]
    assert printed("users").splitlines()[-1].split()[2] == "$2.00"
    assert "((everybody))" not in printed("users --prefix team")


@pytest.mark.slow
def test_a_terminal_shows_bars_and_what_colours_mean(project: None) -> None:
    told = on_terminal("status", 130)
    lines = {line.split()[0]: line for line in told.splitlines() if line.strip()}
    assert BLOCKS.spent in lines["alice"]
    assert "\x1b[38;5;179m" in lines["alice"]  # nearly used up
    assert "\x1b[38;5;167m" in lines["bob"]  # used up
    assert re.search(r"bob is stopped: over the top", plain(told))
    assert "alert(1)" in plain(told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "colour"),
    [({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"TERM": "xterm"}, True), ({}, True)],
)
def test_who_wants_no_colours_gets_none(project: None, environment: Mapping[str, str], colour: bool) -> None:
    told = on_terminal("balance alice", **environment)
    assert bool(re.search(r"\x1b\[(3|9)\d|\x1b\[38", told)) == colour
    assert BLOCKS.spent in told  # bars can be read without


@pytest.mark.slow
def test_a_pipe_gets_no_colours_unless_they_are_forced(project: None) -> None:
    assert "\x1b" not in in_pipe("balance alice")
    assert "\x1b[33m" in in_pipe("balance alice", FORCE_COLOR="1", TERM="xterm", COLUMNS="100")  # amber is no red


@pytest.mark.slow
@pytest.mark.parametrize("columns", [200, 100, 80, 60, 40, 25, 12])
@pytest.mark.parametrize("line", ["status", "users --exact", "accounts", "report"])
def test_no_width_breaks_an_amount_or_is_passed(project: None, line: str, columns: int) -> None:
    told = plain(on_terminal(line, columns))
    whole = set(AMOUNT.findall(printed(line)))
    shown = AMOUNT.findall(told)
    assert shown
    assert set(shown) <= whole
    longest = max(map(len, shown))
    sentences = ("default at", "today", "uncertain", "bob is stopped")  # which a terminal wraps
    lines = [len(text) for text in told.splitlines() if not text.startswith(sentences)]
    assert max(lines) <= max(columns, longest)


@pytest.mark.slow
def test_a_narrow_terminal_says_which_columns_it_leaves_out(project: None) -> None:
    told = plain(on_terminal("accounts --prefix alice", 60))
    assert told.splitlines()[0].split() == ["user", "limit", "used", "spent", "remaining"]
    assert "without held, resets, as the terminal is narrow" in told


@pytest.mark.slow
def test_one_very_long_name_takes_no_column_from_others(project: None) -> None:
    with BudgetManager("default") as manager, manager.hold(cost=1, user="long " * 40) as held:
        held.settle(cost=1)
    told = plain(on_terminal("status", 80))
    [head] = [line.split() for line in told.splitlines() if line.startswith("account")]
    assert {"account", "used", "spent", "left"} <= set(head)
    assert "".join(told.split()).count("long") == 40


@pytest.mark.slow
def test_a_refusal_is_told_whole_however_narrow_the_terminal_is(project: None) -> None:
    with BudgetManager("default") as manager:
        with pytest.raises(BudgetExceededError):
            manager.hold("gpt-5-mini", "hello", 50_000_000, user="alice").__enter__()
        manager.activity()
    lines = plain(on_terminal("status", 40)).splitlines()
    [first] = [at for at, line in enumerate(lines) if line.startswith("refused ") and "ago" in line]
    assert all(line.startswith("  ") and len(line) <= 40 for line in lines[first + 1 :])
    assert "$0.91 left of $5/day" in " ".join(line.strip() for line in lines[first:])


def test_terminals_that_cannot_write_blocks_get_plain_bars(project: None) -> None:
    assert "####" in in_pipe("status", PYTHONIOENCODING="ascii")


def test_status_says_what_was_spent_today_and_who_is_nearest_a_limit(project: None) -> None:
    lines = printed("status").splitlines()
    assert lines[0].startswith("default at ")
    assert lines[1] == "today: $1,209 in 4 calls"
    names = [line.split()[0] for line in lines if "$" in line and not line.startswith("today")]
    assert names[:3] == ["(everybody)", "bob", "alice"]
    assert "more users have more left" in printed("status --count 1")


def test_status_of_a_project_without_anything_says_so(budgeted_home: Path) -> None:
    BudgetManager("default").close()
    assert printed("status") == "nothing recorded yet\n"


# -- for programs


@pytest.mark.parametrize(
    ("line", "head"),
    [
        ("status", "account,limit,unit,spent,held,remaining,exhausted_at,resets_at"),
        ("balance alice", "limit,unit,spent,held,remaining,resets_at"),
        ("accounts", "user,limit,unit,spent,held,remaining,resets_at"),
        ("users", "user,limits,spent_usd,team,stopped"),
        ("uncertain", "id,charged_at,users,model,cost_usd,reason"),
        ("report", "user,spent_usd,calls,input_tokens,output_tokens,uncertain_usd"),
        ("limits show alice", "limit,unit,amount,resets_at"),
        ("limits set '$6/day' alice", "limit,unit,spent,held,remaining,resets_at"),
        ("top-up alice 1", "limit,unit,spent,held,remaining,resets_at"),
        ("reset alice", "limit,unit,spent,held,remaining,resets_at"),
        ("projects", "project"),
        ("price gpt-5-mini", "tokens,usd_per_million"),
        ("suggest", "account,limit,reason"),
        ("keys list", "id,user,name,limits,spent,models,created,expires,state"),
        ("verify", "problem"),
        ("doctor", "package,version,state"),
        ("config", "setting,value,from"),
    ],
)
def test_whatever_lists_something_does_so_for_programs(project: None, line: str, head: str) -> None:
    rows = CliRunner().invoke(budgeted, [*shlex.split(line), "--csv"])
    assert rows.stdout.splitlines()[0] == head, rows.output
    json.loads(CliRunner().invoke(budgeted, [*shlex.split(line), "--json"]).stdout)


def test_amounts_for_programs_are_exact_and_names_are_no_formulas(project: None) -> None:
    rows = {row[0]: row for row in csv.reader(io.StringIO(printed("users --csv")))}
    assert {name.removeprefix("'"): float(rows[name][2]) for name in rows if name != "user"} == SPENT
    assert "'=cmd|calc" in rows
    assert rows[HOSTILE][2] == "0.000000001"
    told = {one["name"]: one["spent"] for one in json.loads(printed("users --json"))}
    assert told == SPENT


def test_every_row_for_programs_says_whose_it_is(project: None) -> None:
    rows = list(csv.reader(io.StringIO(printed("accounts --prefix alice --csv"))))
    assert [row[:3] for row in rows[1:]] == [["alice", "$5/day", "usd"], ["alice", "20 calls/day", "calls"]]


def test_uncertain_charges_are_added_up_and_written_in_full(budgeted_home: Path) -> None:
    with BudgetManager("default") as manager:
        for cost in (0.100000001, 0.25):
            with pytest.raises(TimeoutError), manager.hold(cost=cost, user="bob"):
                raise TimeoutError
    lines = printed("uncertain").splitlines()
    assert "$0.100000001" in lines[1]
    assert lines[-1].split() == ["(total)", "$0.350000001", "2", "charges"]


def test_status_tells_of_calls_that_were_refused_and_are_in_flight(budgeted_home: Path) -> None:
    with BudgetManager("default", default_user_limits="$1") as manager:
        with pytest.raises(BudgetExceededError):
            manager.hold(cost=2, user=HOSTILE).__enter__()
        with manager.hold(cost=0.25, user="alice") as held:
            manager.activity()  # tells the ledger what this process knows
            lines = printed("status").splitlines()
            told = json.loads(printed("status --json"))
            held.release()
    assert "refused today: 1 call" in lines
    assert "in flight: 1 call, $0.25 held" in lines
    assert any(line.startswith("in flight ") and "alice" in line for line in lines[4:])
    assert any(line.startswith("refused ") and f"{HOSTILE}  needs $2.00, $1.00 left of $1" in line for line in lines)
    assert [one["account"] for one in told["activity"]["refusals"]] == [HOSTILE]
