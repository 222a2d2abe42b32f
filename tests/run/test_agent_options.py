"""What ``budgeted run`` adds to the command lines of agents, by what their own files and options say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from budgeted.cli.agent_options import AgentOptions
from budgeted.cli.run_addresses import RunAddresses

GATEWAY = "http://127.0.0.1:1/run-x"
COMPRESSION = "features.enable_request_compression=false"


class Home:
    """An empty home, in which agents have files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"HOME": str(folder)}

    def put(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def led(self, *words: str) -> tuple[list[str], dict[str, str], AgentOptions]:
        """A command line as it is run, where requests go on to, and the options."""
        addresses = RunAddresses(self.variables, "http://127.0.0.1:1/run-known", GATEWAY)
        options = AgentOptions(self.variables, self.folder, addresses)
        return options.command(words), addresses.upstreams, options


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


CODEX = ["-c", COMPRESSION, "-c", f'openai_base_url="{GATEWAY}/openai/v1"']


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["codex"], ["exec", "Hello!"]),
        (["/usr/local/bin/codex"], []),
        (["npx", "-y", "@openai/codex@latest"], ["exec", "-c", "model=gpt-5"]),
        (["env", "A=1", "timeout", "60", "codex"], ["exec", "--", "-c", "openai_base_url=x"]),
    ],
)
def test_codex_gets_its_options_wherever_it_stands(home: Home, before: list[str], after: list[str]) -> None:
    assert home.led(*before, *after)[0] == [*before, *CODEX, *after]


@pytest.mark.parametrize("words", [["-c", "{}"], ["--config", "{}"], ["--config={}"], ["-c{}"]])
def test_an_address_among_codexs_options_becomes_the_gateways(home: Home, words: list[str]) -> None:
    words = [word.format('openai_base_url="https://llm.corp/v1"') for word in words]
    found, upstreams, _ = home.led("codex", *words, "exec")
    assert f'openai_base_url="{GATEWAY}/openai-' in found[-2]
    assert "https://llm.corp/v1" in upstreams.values()
    assert "llm.corp" not in " ".join(found)


def test_codex_of_a_subscriber_goes_on_to_where_subscribers_go(home: Home) -> None:
    home.put(".codex/auth.json", json.dumps({"OPENAI_API_KEY": None, "tokens": {"access_token": "any"}}))
    found = home.led("codex")[0]
    assert COMPRESSION in found
    assert found[-1] == f'openai_base_url="{GATEWAY}/chatgpt"'
    home.variables["CODEX_API_KEY"] = "any"
    assert home.led("codex")[0] == ["codex", *CODEX]


def test_providers_of_codexs_own_come_to_the_gateway_or_are_told_of(home: Home) -> None:
    home.put(
        ".codex/config.toml",
        '[model_providers.mine]\nbase_url = "https://llm.corp/v1"\n[model_providers."a.b"]\nbase_url = "https://x/v1"\n'
        '[model_providers.bad]\nbase_url = "https://me:secret@x/v1"\n',
    )
    found, upstreams, options = home.led("codex")
    assert "https://llm.corp/v1" in upstreams.values()
    assert any(word.startswith(f'model_providers.mine.base_url="{GATEWAY}') for word in found)
    assert [note.partition(":")[0] for note in options.notes["codex"]] == [
        "what Codex sends by model_providers.a.b.base_url is not metered",
        "what Codex sends by model_providers.bad.base_url is not metered",
    ]
    assert "secret" not in str(options.notes)


@pytest.mark.parametrize("text", ["", "{", "[]", "model_providers = 1", '{"env": [1]}', '{"env": {"A": null}}', "\x00"])
def test_files_that_make_no_sense_change_nothing(home: Home, text: str) -> None:
    for name in (".codex/config.toml", ".codex/auth.json", ".claude/settings.json", "given.json"):
        home.put(name, text)
    assert home.led("codex")[0] == ["codex", *CODEX]
    assert home.led("claude", "-p", "Hello!")[0] == ["claude", "-p", "Hello!"]
    assert home.led("claude", "--settings", "not-there.json")[0] == ["claude", "--settings", "not-there.json"]


def test_claude_codes_settings_lead_to_the_gateway_and_keep_what_else_they_say(home: Home) -> None:
    home.put(".claude/settings.json", json.dumps({"env": {"ANTHROPIC_BASE_URL": "https://llm.corp", "OTHER": 1}}))
    home.put("given.json", json.dumps({"model": "opus", "env": {"MORE": "2"}}))
    for words in (["--settings", "given.json"], ["--settings=given.json"]):
        found, upstreams, _ = home.led("claude", "-p", "Hello!", *words)
        [name] = [name for name, url in upstreams.items() if url == "https://llm.corp"]
        assert found[:2] == ["claude", "--settings"]
        assert json.loads(found[2]) == {
            "model": "opus",
            "env": {"MORE": "2", "ANTHROPIC_BASE_URL": f"{GATEWAY}/{name}"},
        }
        assert found[3:] == ["-p", "Hello!"]


@pytest.mark.parametrize(("variable", "place"), [("VERTEX", "Google's Vertex AI"), ("BEDROCK", "Amazon Bedrock")])
def test_where_claude_code_sends_that_no_gateway_reaches_is_told_of(home: Home, variable: str, place: str) -> None:
    home.put(".claude/settings.local.json", json.dumps({"env": {f"CLAUDE_CODE_USE_{variable}": "1"}}))
    [note] = home.led("claude")[2].notes["claude"]
    assert f"CLAUDE_CODE_USE_{variable} has Claude Code send to {place}" in note


def test_bedrock_is_reached_where_its_region_is_known(home: Home) -> None:
    home.variables |= {"AWS_REGION": "eu-central-1", "CLAUDE_CODE_USE_BEDROCK": "1"}
    _, upstreams, options = home.led("claude")
    assert "https://bedrock-runtime.eu-central-1.amazonaws.com" in upstreams.values()
    assert options.notes["claude"] == []


def test_other_programs_run_as_they_are_given(home: Home) -> None:
    for words in (["node", "agent.js"], ["python", "codex.py"], ["sh", "-c", "codex exec"], ["grep", "-c", "codex"]):
        assert home.led(*words)[0] == words
