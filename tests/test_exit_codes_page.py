"""The page of exit codes has those that commands tell of in their help."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from page_examples import ROOT

from budgeted.cli import long_work, run_program, verify_and_repair
from budgeted.cli.command_group import budgeted

PAGE = ROOT / "docs" / "reference" / "exit-codes.md"


@pytest.fixture(scope="module")
def codes() -> dict[str, set[str]]:
    """The codes on the page by command, those of every command by an empty name."""
    found: dict[str, set[str]] = {"": set()}
    commands = [""]
    for row in re.findall(r"^\| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        cells = [cell.strip() for cell in f" {row}".split(" | ")]
        commands = re.findall(r"`([a-z- ]+)`", cells[0]) or commands
        for command in commands if len(cells) == 3 else [""]:
            found.setdefault(command, set()).update(re.findall(r"^\d+$", cells[-2]))
    return found


def every_command(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for one in group.list_commands(context):
        command = group.get_command(context, one)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{name}{one} ")
        else:
            yield f"{name}{one}", command


def test_what_a_command_says_of_its_exit_code_is_on_the_page(codes: dict[str, set[str]]) -> None:
    told = {}
    for name, command in every_command(budgeted):
        sentences = re.findall(r"[Ee]xit code:? (.*)", " ".join((command.help or "").split()))
        if sentences:
            told[name] = set(re.findall(r"(?:^|\. )(\d+)", sentences[0]))
    assert len(told) > 8
    missing = {}
    for name, said in told.items():
        there = codes[""] & {"0"} | codes.get(name, set()) | codes.get(f"{name} --check", set())
        missing[name] = said - there
    assert {name: said for name, said in missing.items() if said} == {}


def test_codes_that_mean_something_of_their_own_are_those_of_the_code(codes: dict[str, set[str]]) -> None:
    assert str(verify_and_repair.DAMAGED) in codes["verify"]
    assert str(long_work.INTERRUPTED) in codes[""]
    of_run = (run_program.REFUSED, run_program.NOT_STARTED, run_program.NOT_FOUND, run_program.NOT_EXECUTABLE)
    assert {str(code) for code in of_run} == codes["run"] == codes["codex"]


def test_every_command_of_the_page_is_one(codes: dict[str, set[str]]) -> None:
    names = {name for name, _ in every_command(budgeted)}
    assert (
        sorted(name.removesuffix(" --check") for name in codes if name and name.partition(" -")[0] not in names) == []
    )
