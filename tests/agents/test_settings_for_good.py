"""``budgeted claude-code`` and ``budgeted codex``: with what they print, the real agents pay as a user."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from node_packages import Programs

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.testing import SimulatedProvider

MODELS = {"claude-code": "claude-sonnet-4-5", "codex": "gpt-5-mini"}


def command(*words: str) -> Result:
    return CliRunner().invoke(budgeted, words)


@pytest.mark.slow
@pytest.mark.sdk
@pytest.mark.parametrize(
    ("agent", "file", "words"),
    [
        ("claude-code", ".claude/settings.json", ("claude", "-p", "Hello!")),
        ("codex", "codex/config.toml", ("codex", "exec", "--skip-git-repo-check", "Hello!")),
    ],
)
def test_an_agent_with_the_settings_is_charged_as_its_user(
    programs: Programs,
    url: str,
    manager: BudgetManager,
    provider: SimulatedProvider,
    agent: str,
    file: str,
    words: tuple[str, ...],
) -> None:
    before = len(provider.bill)
    place = programs.home / file
    place.parent.mkdir(exist_ok=True)
    place.write_text(command(agent, "--gateway", url, "--settings-only").stdout)
    try:
        done = programs.run(words[0], *words[1:-1], "--model", MODELS[agent], words[-1])
    finally:
        place.unlink()
    assert done.returncode == 0, done
    [billed] = provider.bill[before:]
    assert round(manager.balance(agent).spent * 1e9) == billed.nano_usd


def test_the_limit_is_set_and_what_to_do_is_told(budgeted_home: Path) -> None:
    done = command("claude-code", "--limit", "$10/day", "--user", "me")
    assert '"ANTHROPIC_CUSTOM_HEADERS": "x-budgeted-user: me"' in done.stdout
    assert "me may spend $10/day from now on" in done.stdout
    assert "budgeted gateway --open" in done.stdout
    with BudgetManager("default") as manager:
        assert manager.balance("me").text == "$10/day"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--limit", "ten"], "cannot read the limit 'ten'"),
        (["--user", "$5"], "'$5' is a limit"),
        (["--user", "zoë"], "in ASCII alone"),
        (["--gateway", "gw"], "--gateway must be an address such as http://127.0.0.1:8788, got 'gw'"),
        (["--gateway", "https://gw.corp"], "wants a key"),
        (["--key", "sk-secret"], "a key is bk- with letters and digits behind it"),
        (["--key", "bk-abc", "--limit", "$5"], "were told when it was made"),
    ],
)
@pytest.mark.parametrize("agent", ["claude-code", "codex"])
def test_what_makes_no_sense_sets_and_prints_nothing(agent: str, options: list[str], told: str) -> None:
    done = command(agent, *options)
    assert (done.exit_code != 0, done.stdout) == (True, "")
    assert told in " ".join(done.stderr.split())
    assert "secret" not in done.stderr
