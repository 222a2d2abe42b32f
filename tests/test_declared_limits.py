"""Limits that programs declare, in processes of their own: restarted, edited, side by side, and with an operator."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import logging, sys
from budgeted import configure

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
print(configure(max_budget=sys.argv[1]).balance().text, flush=True)
sys.stdin.read()
"""


class Person:
    """Somebody with scripts that name no project, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "BUDGETED_HOME": str(folder / "home")}
        self.running: list[subprocess.Popen[str]] = []

    def start(self, script: str, limit: str, folder: Path | None = None) -> subprocess.Popen[str]:
        """Start a script that declares a limit, and goes on until its input ends."""
        path = self.folder / script
        path.write_text(SCRIPT)
        program = [str(path)] if script.endswith(".py") else ["-c", SCRIPT]
        pipe = subprocess.PIPE
        command, environment = [sys.executable, *program, limit], self.environment
        process = subprocess.Popen(
            command, cwd=folder or self.folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self.running.append(process)
        return process

    def run(self, script: str, limit: str, folder: Path | None = None) -> tuple[str, str]:
        """Have a script declare a limit and end: the limit that counts then, and what was logged."""
        return tuple(one.strip() for one in self.start(script, limit, folder).communicate(timeout=60))

    def command(self, *words: str) -> None:
        command = [sys.executable, "-m", "budgeted", *words]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True, capture_output=True, timeout=60)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    made = Person(tmp_path)
    yield made
    for process in made.running:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_scripts_that_name_no_project_are_told_of_each_other(person: Person) -> None:
    agent = person.start("agent.py", "$1/day")
    assert first_line(agent) == "$1/day"
    limit, told = person.run("nightly.py", "$100/day")
    nightly = person.running[-1]
    assert limit == "$100/day"
    assert told.startswith("WARNING budgeted: the limit of project 'default' is now $100/day, as ")
    assert told.count("\n") == 0
    for script, process in (("nightly.py", nightly), ("agent.py", agent)):
        assert f"{str(person.folder / script)!r} (process {process.pid} on {os.uname().nodename!r})" in told
    assert "$1/day, declared at 20" in told
    assert "which is running" in told
    assert "project_name='nightly' instead of 'default'" in told
    agent.kill()
    agent.communicate()
    limit, told = person.run("agent.py", "$1/day")
    assert limit == "$1/day"
    assert f"{str(person.folder / 'nightly.py')!r} (process {nightly.pid} on " in told
    assert "which has ended" in told


def test_an_operators_limit_outlives_a_restart_and_ends_when_the_code_is_edited(person: Person) -> None:
    assert person.run("agent.py", "$1/day") == ("$1/day", "")
    person.command("limits", "set", "$5/day", "--project", "default")
    limit, told = person.run("agent.py", "$1/day")
    assert limit == "$5/day"
    assert told.startswith("INFO budgeted: the limit of project 'default' is $5/day, as an operator has set it")
    limit, told = person.run("agent.py", "$2/day")
    assert limit == "$2/day"
    assert "$5/day, which was set by an operator or an earlier release, counts no more" in told
    limit, told = person.run("agent.py", "$3/day")
    assert (limit, told) == ("$3/day", "INFO budgeted: the limit of project 'default' is now $3/day; it was $2/day")


def test_an_edited_program_beside_an_older_process_of_it_says_so(person: Person) -> None:
    assert first_line(person.start("agent.py", "$1/day")) == "$1/day"
    limit, told = person.run("agent.py", "$2/day")
    assert limit == "$2/day"
    assert told.startswith("WARNING")
    assert "end the older process" in told


def test_what_runs_in_two_folders_by_one_command_is_two_programs(person: Person, tmp_path: Path) -> None:
    for folder in ("web", "batch"):
        (tmp_path / folder).mkdir()
    assert person.run("python", "$1/day", tmp_path / "web") == ("$1/day", "")
    _, told = person.run("python", "$2/day", tmp_path / "batch")
    assert f"{sys.executable} in {tmp_path / 'web'}" in told
    assert told.startswith("WARNING")
