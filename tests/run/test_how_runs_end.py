"""``budgeted run``: the program's exit code is its own, signals reach it, and what cannot be limited is not started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from running import COMMAND, Run, table

from budgeted.cli.command_group import budgeted
from budgeted.cli.run_program import STARTUP
from budgeted.cli.started_command import unmetered_reason

WAITS = """
import signal, sys, time
def stop(number, frame):
    sys.exit(40 + number)
signal.signal(getattr(signal, sys.argv[1]), stop)
print("ready", flush=True)
while True:
    time.sleep(60)
"""

REFUSED = "import budgeted; budgeted.hold(cost=1).__enter__()"

GROUP = f"""
import asyncio
async def one():
    {REFUSED}
async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(one())
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "code"),
    [
        (REFUSED, 87),
        (f"import sys; sys.excepthook = lambda *error: None; {REFUSED}", 87),
        (GROUP, 87),
        (f"try: {REFUSED}\nexcept Exception as error: raise RuntimeError('as libraries do') from error", 87),
        (f"try: {REFUSED}\nexcept Exception: raise RuntimeError('with nothing to do with it') from None", 1),
        (f"try: {REFUSED}\nexcept Exception: raise SystemExit(1)", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
    ],
)
def test_the_exit_code_tells_a_refusal_else_what_the_program_said(run: Run, program: str, code: int) -> None:
    assert run("--cap", "0.5", "--", "python", "-c", program).returncode == code


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_reach_the_program(name: str, environment: dict[str, str]) -> None:
    command = [*COMMAND, "--", sys.executable, "-c", WAITS, name]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    number = getattr(signal, name)
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 40 + number
    assert "total" in told


@pytest.mark.slow
def test_a_sitecustomize_that_is_there_is_run_as_well_and_what_is_not_python_is_told_of(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the other one')")
    done = run("--", "sh", "-c", "python -c 'import sys; print(sys.path[:2])'; exit 3", PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    assert done.stdout.splitlines()[-2:] == ["the other one", str(["", str(tmp_path)])]
    assert "sh is not Python, and only Python is metered" in done.stderr
    assert "no limit is named, so nothing is refused" in done.stderr
    assert "nothing was metered" not in done.stderr


@pytest.mark.slow
def test_python_in_which_nothing_can_be_metered_is_not_started(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "budgeted.py").write_text("import not_installed_here")
    done = run("--", "env", f"PYTHONPATH={STARTUP}:{tmp_path / 'other'}", "python", "-c", "print('started')")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not_installed_here" in done.stderr
    assert "nothing was metered: no Python program was started" in done.stderr


@pytest.mark.slow
def test_python_that_keeps_the_metering_away_is_told_of(run: Run) -> None:
    done = run("--", "python", "-I", "-c", "print('on its own')")
    assert done.stdout == "on its own\n"
    assert "Python is started with -I, which keeps the metering away: nothing is metered" in done.stderr
    assert table(done)["refused"] == ["0"]
    child = "import subprocess, sys; subprocess.run([sys.executable, '-W', 'ignore', '-E', '-c', ''])"
    assert "Python is started with -E, so nothing that it spends is metered" in run("--", "python", "-c", child).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--limit", "ten"], 2, "--limit: cannot read the limit 'ten'"),
        (["--limit", "-5"], 2, "amount is negative"),
        (["--cap", "many"], 2, "cap"),
        (["--cap", "nan"], 2, "cap"),
        (["--user", ""], 2, "user '' is empty"),
        (["--user", "$5"], 2, "would bill a user of that name"),
        (["--ledger", "memory://"], 2, "a ledger in memory is nobody else's"),
        (["--ledger", "gopher://x"], 2, "gopher"),
        (["--project", "a\nb"], 2, "control characters"),
        (["--limt", "5"], 2, "No such option"),
    ],
)
def test_a_start_that_makes_no_sense_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(budgeted, ["run", *arguments, "--", "touch", "started"])
    assert (done.exit_code, os.path.exists("started")) == (code, False), done.stderr
    assert told in done.stderr


def test_a_command_that_is_not_there_ends_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("")
    assert CliRunner().invoke(budgeted, ["run", "--", "no-such-program"]).exit_code == 127
    assert CliRunner().invoke(budgeted, ["run", "--", "./text"]).exit_code == 126
    Path("budgeted.toml").write_text("max_buget = 5")
    done = CliRunner().invoke(budgeted, ["run", "--", "touch", "started"])
    assert (done.exit_code, os.path.exists("started")) == (2, False)
    assert "did you mean max_budget?" in done.stderr


@pytest.mark.parametrize(
    ("command", "first_line", "told"),
    [
        (["python3.12", "-m", "agent", "-I"], "", None),
        (["/usr/bin/python", "-c", "-S"], "", None),
        (["python", "-X", "-I", "agent.py"], "", None),
        (["python", "-Wignore", "-BI", "agent.py"], "", "-I"),
        (["python", "-uE", "agent.py"], "", "-E"),
        (["python", "-S"], "", "-S"),
        (["tool"], "#!/venv/bin/python", None),
        (["tool"], "#!/usr/bin/env -S python3 -E", "-E"),
        (["tool"], "#!/bin/sh\n'''exec' '/a long/bin/python3' \"$0\" \"$@\"", None),
        (["tool"], "#!/usr/bin/node", "tool is not Python"),
        (["tool"], "\x7fELF", "tool is not Python"),
    ],
)
def test_what_is_metered_of_a_command_is_known_by_its_line_and_its_file(
    tmp_path: Path, command: list[str], first_line: str, told: str | None
) -> None:
    file = tmp_path / "tool"
    file.write_text(first_line)
    found = unmetered_reason(command, str(file), gateway=False)
    assert (found is None) == (told is None)
    assert told is None or told in (found or "")
