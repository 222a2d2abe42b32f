"""Agents and SDKs in other languages, behind a gateway: refused with the reason shown, or charged what was billed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import claude_agent_sdk
import pytest
from node_packages import Done, Programs, module

from budgeted import BudgetManager
from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.slow, pytest.mark.sdk]

BUNDLED = Path(claude_agent_sdk.__file__).with_name("_bundled") / "claude"

EXCEEDED = "budget_exceeded"

CLAUDE = ("-p", "Hello!", "--model", "claude-sonnet-4-5")
CODEX = ("exec", "--skip-git-repo-check", "-m", "gpt-5-mini", "Hello!")


@pytest.fixture
def asked(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[Asked]:
    yield Asked(manager, provider)
    manager.set_limits(None, "$20")


class Asked:
    """What was sent to the provider, billed and charged since this was made."""

    def __init__(self, manager: BudgetManager, provider: SimulatedProvider) -> None:
        self.manager, self.provider = manager, provider
        self.bill, self.requests, self.spent = len(provider.bill), len(provider.requests), self._spent()

    def _spent(self) -> int:
        return round(self.manager.balance().spent * 1e9)

    def with_next_to_nothing(self) -> None:
        self.manager.set_limits(None, f"${self.manager.balance().spent + 0.001:.9f}")

    def agree(self, calls: int) -> None:
        assert self.provider.wait_idle()
        billed = self.provider.bill[self.bill :]
        assert len(billed) == calls
        assert self._spent() - self.spent == sum(call.nano_usd for call in billed) > 0
        assert self.manager.uncertain() == []

    def nothing_was_sent(self) -> None:
        assert [one.path for one in self.provider.requests[self.requests :] if one.method == "POST"] == []
        assert self._spent() == self.spent


def claude(programs: Programs, url: str, program: str) -> Done:
    return programs.run(program, *CLAUDE, ANTHROPIC_BASE_URL=url)


@pytest.mark.parametrize("program", ["claude", str(BUNDLED)], ids=["of npm", "of claude-agent-sdk"])
def test_claude_code_is_charged_what_it_is_billed_and_shows_why_it_is_refused(
    programs: Programs, url: str, asked: Asked, program: str
) -> None:
    done = claude(programs, url, program)
    assert done.returncode == 0, done
    asked.agree(calls=1)
    asked = Asked(asked.manager, asked.provider)
    asked.with_next_to_nothing()
    done = claude(programs, url, program)
    assert done.returncode == 1
    assert "API Error: 402 " in done.stdout
    assert "this call for claude-sonnet-4-5 may need" in done.stdout
    asked.nothing_was_sent()


def test_codex_is_charged_what_it_is_billed_and_shows_why_it_is_refused(
    programs: Programs, url: str, asked: Asked
) -> None:
    options = ("-c", f'openai_base_url="{url}/v1"')
    done = programs.run("codex", *options, *CODEX)
    assert done.returncode == 0, done.stderr
    asked.agree(calls=1)
    asked = Asked(asked.manager, asked.provider)
    asked.with_next_to_nothing()
    done = programs.run("codex", *options, *CODEX)
    assert done.returncode == 1
    assert "this call for gpt-5-mini may need" in done.stderr
    assert "Reconnecting" not in done.stderr
    asked.nothing_was_sent()


@pytest.mark.parametrize(
    ("script", "forms", "errors"),
    [
        (
            "ask_openai.mjs",
            5,
            {"RateLimitError": (429, "budget_exceeded"), "BadRequestError": (400, "budget_exceeded")},
        ),
        ("ask_anthropic.mjs", 2, {"PaymentRequiredError": (402, None)}),
    ],
    ids=["openai", "anthropic"],
)
def test_the_sdks_of_node_are_charged_what_they_are_billed_and_raise_their_own_error(
    programs: Programs, url: str, asked: Asked, script: str, forms: int, errors: dict[str, tuple[int, str | None]]
) -> None:
    variables = {"OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url, "NODE_PACKAGES": f"{programs.packages}/"}
    done = programs.run("node", module(script), **variables)
    assert [line for line in map(json.loads, done.stdout.splitlines()) if "error" in line] == [], done.stderr
    asked.agree(calls=forms)
    asked = Asked(asked.manager, asked.provider)
    asked.manager.set_limits(None, f"${asked.manager.balance().spent:.9f}")
    told = list(map(json.loads, programs.run("node", module(script), **variables).stdout.splitlines()))
    assert len(told) == forms
    for line in told:
        assert errors.get(line["error"]) == (line["status"], line.get("code")), line
        assert "the global budget has $0.00 left" in line["message"]
    asked.nothing_was_sent()
