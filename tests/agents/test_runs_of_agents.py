"""``budgeted run`` with agents as its program, or started by it: each of their calls is charged once, or refused."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from node_packages import Done, Programs

from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.slow, pytest.mark.sdk]

CLAUDE = ("claude", "-p", "Hello!", "--model", "claude-sonnet-4-5")
CODEX = ("codex", "exec", "--skip-git-repo-check", "-m", "gpt-5-mini", "Hello!")

AGENT_SDK = """
import asyncio
from claude_agent_sdk import ClaudeAgentOptions, query
async def main():
    async for _ in query(prompt="Hello!", options=ClaudeAgentOptions(model="claude-sonnet-4-5", tools=[])):
        pass
asyncio.run(main())
"""


class Runs:
    """Runs agents within limits, against a simulated provider that stands where the real ones would."""

    def __init__(self, programs: Programs, provider: SimulatedProvider) -> None:
        self.programs, self.provider = programs, provider
        self.variables = {
            "ANTHROPIC_BASE_URL": provider.anthropic_url,
            "OPENAI_BASE_URL": provider.openai_url,
        }
        self.before()

    def before(self) -> None:
        self.requests, self.bill = len(self.provider.requests), len(self.provider.bill)

    def run(self, limit: str, *command: str, **variables: str) -> Done:
        home = {"BUDGETED_HOME": str(self.programs.home / f"ledger-{len(self.provider.requests)}-{limit}")}
        words = (sys.executable, "-m", "budgeted", "run", "--limit", limit, "--", *command)
        return self.programs.run(*words, **{**self.variables, **home, **variables})

    def charged(self, done: Done, calls: int = 1) -> None:
        """So many calls were billed, and exactly that was charged."""
        assert done.returncode == 0, done.stderr
        bill = self.provider.bill[self.bill :]
        total = next(line.split() for line in done.stderr.splitlines() if line.startswith("total"))
        assert (total[1], len(bill)) == (str(calls), calls), done.stderr
        assert round(float(total[2].removeprefix("$")) * 1e9) == sum(call.nano_usd for call in bill)
        self.before()

    def refused(self, done: Done) -> None:
        assert done.returncode == 87, done.stderr
        assert "the global budget has $0.001 left of $0.001, and this call for" in done.stdout + done.stderr
        assert [one.path for one in self.provider.requests[self.requests :] if one.method == "POST"] == []


@pytest.fixture
def runs(programs: Programs, provider: SimulatedProvider) -> Runs:
    return Runs(programs, provider)


def codex_settings(runs: Runs, **settings: Any) -> None:
    """Codex knows no variable for an address: its file names the provider that is simulated."""
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
    (runs.programs.home / "codex" / "config.toml").write_text("".join(lines))


def test_claude_code_is_charged_exactly_or_refused(runs: Runs) -> None:
    runs.charged(runs.run("$20", *CLAUDE))
    runs.refused(runs.run("$0.001", *CLAUDE))


def test_claude_code_whose_settings_name_an_address_is_metered_all_the_same(runs: Runs) -> None:
    settings = json.dumps({"env": {"ANTHROPIC_BASE_URL": runs.provider.anthropic_url}})
    folder = runs.programs.home / ".claude"
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(settings)
    try:
        runs.refused(
            runs.run("$0.001", "sh", "-c", "claude -p Hello! --model claude-sonnet-4-5", ANTHROPIC_BASE_URL="")
        )
        runs.charged(runs.run("$20", *CLAUDE, "--settings", settings, ANTHROPIC_BASE_URL=""))
    finally:
        (folder / "settings.json").unlink()


def test_claude_code_on_bedrock_is_metered_in_each_of_its_calls(runs: Runs) -> None:
    """It tries several models first. Their prices in a region are not the simulated provider's."""
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    keys = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    keys |= {"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BEDROCK_BASE_URL": runs.provider.url}
    done = runs.run("$20", *CLAUDE[:-1], model, **keys)
    assert done.returncode == 0, done.stderr
    total = next(line.split() for line in done.stderr.splitlines() if line.startswith("total"))
    assert total[1] == str(len(runs.provider.bill[runs.bill :])) != "0"
    assert total[3] == "$0.00"


def test_codex_is_charged_exactly_or_refused(runs: Runs) -> None:
    codex_settings(runs, openai_base_url=runs.provider.openai_url)
    runs.charged(runs.run("$20", *CODEX))
    runs.refused(runs.run("$0.001", "sh", "-c", "codex exec --skip-git-repo-check -m gpt-5-mini Hello!"))


def test_codex_is_metered_at_a_provider_of_its_own_and_one_of_its_command_line(runs: Runs) -> None:
    mine = f'model_provider = "mine"\n[model_providers.mine]\nname = "mine"\nbase_url = "{runs.provider.openai_url}"\n'
    (runs.programs.home / "codex" / "config.toml").write_text(f'{mine}env_key = "OPENAI_API_KEY"\n')
    runs.charged(runs.run("$20", *CODEX))
    (runs.programs.home / "codex" / "config.toml").write_text("")
    runs.charged(runs.run("$20", *CODEX[:2], "-c", f'openai_base_url="{runs.provider.openai_url}"', *CODEX[2:]))


def test_claude_code_of_pythons_sdk_is_charged_by_its_hook_alone(runs: Runs) -> None:
    runs.charged(runs.run("$20", sys.executable, "-c", AGENT_SDK))
