"""A coding agent that is started as a program of its own inside a block is told of: nothing of it is metered here."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from budgeted import BudgetManager, hold
from budgeted.providers import unmetered_programs
from budgeted.providers.unmetered_programs import agent_in


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(unmetered_programs, "_told", set())
    with BudgetManager(ledger="memory://") as made:
        yield made


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that are called as coding agents are, and do nothing."""
    for name in ("claude", "codex"):
        program = tmp_path / name
        program.write_text(f"#!{sys.executable}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "budgeted"]


def test_an_agent_in_a_block_is_told_of_once(
    manager: BudgetManager, bin_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "budgeted"), manager.budget("alice"):
        for _ in range(2):
            subprocess.run(["claude", "-p", "hello"], check=True)  # noqa: S607 - as its users do
        assert len(told(caplog)) == 1
        assert "claude is started in a block" in told(caplog)[0]
        assert "gateway" in told(caplog)[0]
        subprocess.run("codex exec hello", shell=True, check=True)  # noqa: S602, S607 - as above
    assert "codex is started" in told(caplog)[1]


def test_an_agent_that_a_coroutine_starts_is_told_of(
    manager: BudgetManager, bin_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with manager.budget("alice"):
            process = await asyncio.create_subprocess_exec(str(bin_folder / "codex"), "exec")
            await process.wait()

    with caplog.at_level(logging.WARNING, "budgeted"):
        asyncio.run(main())
    assert "codex is started in a block" in told(caplog)[0]


def test_an_agent_outside_every_block_and_other_programs_are_nobodys_business(
    manager: BudgetManager, bin_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "budgeted"):
        subprocess.run(["claude"], check=True)  # noqa: S607 - as above
        with manager.budget("alice"):
            subprocess.run([sys.executable, "-c", "", "claude"], check=True)
    assert told(caplog) == []


def test_an_agent_that_somebody_holds_for_is_not_told_of(
    manager: BudgetManager, bin_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "budgeted"), manager.budget("alice"):
        with hold(cost=1) as held:
            subprocess.run(["claude"], check=True)  # noqa: S607 - as above
            held.settle(cost=0.5)
        # As the Claude Agent SDK starts it, whose hook holds.
        environment = {**os.environ, "CLAUDE_CODE_ENTRYPOINT": "sdk-py"}
        subprocess.run(["claude"], check=True, env=environment)  # noqa: S607 - as above
    assert told(caplog) == []


@pytest.mark.parametrize(
    ("command", "agent"),
    [
        (["claude"], "claude"),
        (["/usr/local/bin/aider", "--model", "x"], "aider"),
        ([Path("/opt/codex.exe")], "codex"),
        (("npx", "-y", "@anthropic-ai/claude-code@latest", "-p", "x"), "claude"),
        (["env", "A=1", "gemini"], "gemini"),
        (["uvx", "--from", "aider-chat", "aider"], "aider"),
        (["python3.12", "-m", "aider"], "aider"),
        (["bash", "-lc", "cd x && CI=1 cursor-agent -p 'do it'"], "cursor-agent"),
        ("echo hi; goose run", "goose"),
        ("cat notes | opencode run", "opencode"),
        (b"opencode run", "opencode"),
        ("git commit -m 'claude'", None),
        (["git", "log", "--author", "claude"], None),
        (["python", "tool.py", "codex"], None),
        ("cat claude", None),
        ("echo 'it", None),
        ("", None),
        ([], None),
        ([b"\xff", 5], None),
        (None, None),
    ],
)
def test_an_agent_is_known_by_where_a_command_stands(command: object, agent: str | None) -> None:
    assert agent_in(command) == agent
