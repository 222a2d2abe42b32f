"""The help of commands: each has an example that works, and is listed under what it is for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from budgeted.cli.command_group import SECTIONS, budgeted
from budgeted.cli.help_examples import EXAMPLES, commands_in

COMMANDS = dict(commands_in(budgeted))

HARMLESS = {"limits set", "price", "config", "dashboard grafana", "completion", "help", "estimate", "import"}
"""Whose examples are run; those of the others are only read."""


@pytest.fixture
def folder(budgeted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_registered: None) -> Path:
    """Where the files that examples name are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").write_text('{"model": "gpt-5-mini", "messages": [], "max_completion_tokens": 500}')
    (tmp_path / "user_cost.json").write_text('{"alice": {"total_budget": 5, "current_cost": 0.5}}')
    return tmp_path


def words_of(example: str) -> list[str]:
    """The words behind ``budgeted``, without what the shell does with the output."""
    found = re.search(r"budgeted ([^>)]*)", example)
    assert found is not None
    return shlex.split(found[1])


def read(words: list[str]) -> click.Context:
    """Have the commands take a line apart, and run nothing."""
    ctx = click.Context(budgeted, info_name="budgeted")
    while isinstance(ctx.command, click.Group) and words:
        name, *words = words
        ctx = ctx.command.commands[name].make_context(name, [*words], parent=ctx)
    return ctx


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_shows_an_example_of_itself(words: str, folder: Path) -> None:
    shown = CliRunner().invoke(budgeted, ["help", *words.split()], catch_exceptions=False).stdout
    assert shown == CliRunner().invoke(budgeted, [*words.split(), "--help"]).stdout
    for example in EXAMPLES[words]:
        assert example in shown
        line = words_of(example)
        assert " ".join(line).startswith(words)
        with read(line) as ctx:  # at whose end the files that it has opened are closed
            assert ctx.command_path.startswith(f"budgeted {words}")
        if words in HARMLESS:
            result = CliRunner().invoke(budgeted, line, catch_exceptions=False)
            assert result.exit_code == 0, result.output


def test_every_command_is_listed_under_what_it_is_for() -> None:
    shown = CliRunner().invoke(budgeted, ["--help"]).stdout
    for heading, commands in SECTIONS.items():
        section = shown.partition(f"\n{heading}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines()] == [command.name for command in commands]
    assert {command.name for commands in SECTIONS.values() for command in commands} == set(budgeted.commands)


def test_help_of_a_command_that_there_is_not_names_it() -> None:
    result = CliRunner().invoke(budgeted, ["help", "limits", "nope"])
    assert result.exit_code == 2
    assert "there is no command 'limits nope'" in result.stderr
