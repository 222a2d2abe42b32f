"""Commands that take long: interrupted anywhere they say how things stand, and doing it again completes them."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from interrupting import Strike

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.ledger.move_project import content
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.whole_content import Content

ACCOUNTS = 30
STRIKES = 6


def run(*args: object) -> Result:
    return CliRunner().invoke(budgeted, [str(arg) for arg in args], catch_exceptions=False)


@pytest.fixture
def ledger(budgeted_home: Path) -> Path:
    """A project with accounts, report rows and an uncertain charge."""
    place = budgeted_home / "from"
    with BudgetManager("default", ledger=place, max_budget="$100/day", default_user_limits="$1/day") as manager:
        for number in range(ACCOUNTS):
            with manager.hold(cost=0.25, user=f"user-{number}") as held:
                held.settle(cost=0.25)
        manager.hold(cost=0.5, user="user-0").__enter__().__exit__(TimeoutError, TimeoutError(), None)
    return place


def steady(exported: bytes) -> bytes:
    """An export without its forecasts, which are others a moment later."""
    return re.sub(rb'"exhausted_at":"[^"]*"', b"", exported)


def known(place: object) -> Content:
    opened = open_ledger(str(place), "default", fsync="background")
    try:
        return content(opened)
    finally:
        opened.close()


def strikes(*args: object) -> list[int]:
    """Bytecodes of a command's run, of all of its length, drawn from a seed."""
    counted = Strike(10**12)
    with counted.armed():
        assert run(*args).exit_code == 0
    drawn = random.Random(7)
    part = counted.passed // STRIKES
    return [drawn.randrange(1 + part * at, 1 + part * (at + 1)) for at in range(STRIKES)]


def interrupted(number: int, *args: object) -> Result:
    """A command that Ctrl-C interrupts at a bytecode, or that has ended before that."""
    with Strike(number).armed():
        result = run(*args)
    if result.exit_code:
        assert result.exit_code == 130, result.output
        [said] = result.stderr.splitlines()
        assert re.match(r"Interrupted: .*(again|start)", said)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_a_move_that_is_interrupted_anywhere_is_completed_by_the_same_command(
    scheme: str, ledger: Path, tmp_path: Path
) -> None:
    wanted = known(ledger)
    for number in strikes("migrate", ledger, f"{scheme}{tmp_path / 'counted'}"):
        target = f"{scheme}{tmp_path / str(number)}"
        interrupted(number, "migrate", ledger, target)
        assert run("migrate", ledger, target).exit_code == 0
        assert list(known(target).comparable()) == list(wanted.comparable())
        assert list(known(ledger).comparable()) == list(wanted.comparable())


@pytest.mark.slow
def test_a_backup_that_is_interrupted_leaves_a_whole_file_or_none(ledger: Path, tmp_path: Path) -> None:
    for number in strikes("backup", tmp_path / "counted", "--ledger", ledger):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = folder / "b"
        result = interrupted(number, "backup", file, "--ledger", ledger)
        assert [path.name for path in folder.iterdir()] in ([], ["b"])
        if file.exists():
            assert not result.exit_code or "remove it" in result.stderr
            assert run("restore", file, "--ledger", folder / "again").exit_code == 0


@pytest.mark.slow
def test_a_backup_that_is_put_back_in_part_is_completed_by_the_same_command(ledger: Path, tmp_path: Path) -> None:
    wanted, file = known(ledger), tmp_path / "b"
    assert run("backup", file, "--ledger", ledger).exit_code == 0
    for number in strikes("restore", file, "--ledger", tmp_path / "counted"):
        target = tmp_path / str(number)
        interrupted(number, "restore", file, "--ledger", target)
        assert run("restore", file, "--ledger", target).exit_code == 0
        assert list(known(target).comparable()) == list(wanted.comparable())


@pytest.mark.slow
def test_budgets_that_are_taken_over_in_part_are_by_the_same_command(budgeted_home: Path, tmp_path: Path) -> None:
    records = {
        f"user-{number}": {"total_budget": 5, "current_cost": 0.5, "model_cost": {"m": 0.5}} for number in range(9)
    }
    file = tmp_path / "user_cost.json"
    file.write_text(json.dumps(records))
    for number in strikes("import", file, "--ledger", tmp_path / "counted"):
        target = tmp_path / str(number)
        interrupted(number, "import", file, "--ledger", target)
        assert run("import", file, "--ledger", target).exit_code == 0
        spent = json.loads(run("accounts", "--ledger", target, "--json").stdout)
        assert {one["name"]: one["spent"] for one in spent} == dict.fromkeys(records, 0.5)


@pytest.mark.slow
def test_an_export_to_a_file_is_whole_or_the_file_is_as_it_was(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "books.jsonl"
    command = ("export", "--ledger", ledger, "--output", file)
    points = strikes(*command)
    whole = steady(file.read_bytes())
    assert whole == steady(run("export", "--ledger", ledger).stdout_bytes)
    for number in points:
        file.write_bytes(b"before")
        result = interrupted(number, *command)
        assert steady(file.read_bytes()) == (b"before" if result.exit_code else whole)
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["books.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["verify", "repair"])
def test_a_ledger_that_was_being_looked_through_is_as_it_was(command: str, ledger: Path) -> None:
    wanted = known(ledger)
    for number in strikes(command, "--ledger", ledger):
        interrupted(number, command, "--ledger", ledger)
        assert list(known(ledger).comparable()) == list(wanted.comparable())


def test_a_file_of_an_export_that_cannot_be_written_is_named(ledger: Path, tmp_path: Path) -> None:
    result = run("export", "--ledger", ledger, "--output", tmp_path / "missing" / "books.jsonl")
    assert result.exit_code == 1
    assert "books.jsonl cannot be written: No such file or directory" in result.stderr


def shown(ledger: Path, tmp_path: Path, **environment: str) -> tuple[str, str]:
    """What a backup writes to standard output, and what it draws on a terminal as standard error."""
    terminal, theirs = pty.openpty()
    command = [Path(sys.executable).with_name("budgeted"), "backup", tmp_path / "b", "--ledger", ledger]
    settings = {**os.environ, "TERM": "xterm", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=settings, text=True) as process:
        os.close(theirs)
        drawn = b""
        try:
            while read := os.read(terminal, 4096):
                drawn += read
        except OSError:  # nobody has it open any more
            pass
        os.close(terminal)
        printed, _ = process.communicate(timeout=60)
    return printed, drawn.decode()


@pytest.mark.slow
def test_on_a_terminal_it_is_seen_how_far_it_is_and_what_is_piped_stays_clean(ledger: Path, tmp_path: Path) -> None:
    printed, drawn = shown(ledger, tmp_path)
    assert printed.startswith("default is in ")
    assert "\x1b" not in printed
    assert "reading" in drawn


@pytest.mark.slow
def test_a_terminal_that_can_only_print_gets_no_bars(ledger: Path, tmp_path: Path) -> None:
    assert shown(ledger, tmp_path, TERM="dumb")[1] == ""
