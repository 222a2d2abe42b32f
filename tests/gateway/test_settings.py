"""How a gateway is set up: by ``[gateway]`` of the settings file, then variables, then options; with clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from budgeted import Limit
from budgeted.cli.command_group import budgeted
from budgeted.gateway.settings import GatewaySettings, KeyDefaults, ListenSettings, UpstreamSettings
from budgeted.gateway.stated_gateway import StatedGateway, stated_gateway
from budgeted.manager.environment import GATEWAY_SETTINGS

FILE = """
[gateway]
host = "::1"
port = 9000
free = "all"
headers = true
max_body = 1000
connect_seconds = 2
silence_seconds = 30.5
models = ["gpt-5*", "claude-*"]
trusted_proxies = "10.0.0.0/8"
metrics_token = "very-secret"

[gateway.upstreams]
openai = "http://127.0.0.1:9/v1"
vllm = { url = "http://10.0.0.7:8000/v1", key_env = "VLLM", headers = { X-Team = "hidden-too" } }
anthropic = { key_env = "VLLM" }

[gateway.keys]
limit = ["$5/day", "60 calls/minute"]
expires = "30d"
models = "gpt-5*"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUDGETED_CONFIG", raising=False)
    return tmp_path / "budgeted.toml"


def stated(text: str, file: Path, options: dict[str, object] | None = None, **environment: str) -> StatedGateway:
    file.write_text(text, encoding="utf-8")
    return stated_gateway({"VLLM": "key", "BUDGETED_CONFIG": str(file), **environment}, options)


def problem(text: str, file: Path, options: dict[str, object] | None = None, **environment: str) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its text is what each test looks at
        stated(text, file, options, **environment)
    return str(raised.value)


def test_all_is_read_from_the_file(file: Path) -> None:
    found = stated(FILE, file)
    assert found.settings == GatewaySettings(
        upstreams={
            "openai": "http://127.0.0.1:9/v1",
            "vllm": UpstreamSettings("http://10.0.0.7:8000/v1", "VLLM", {"X-Team": "hidden-too"}),
            "anthropic": UpstreamSettings("https://api.anthropic.com", "VLLM"),
        },
        models=("gpt-5*", "claude-*"),
        free="all",
        headers=True,
        max_body=1000,
        connect_seconds=2.0,
        silence_seconds=30.5,
        metrics_token="very-secret",  # noqa: S106 - which is looked for in what is shown
    )
    assert found.listening == ListenSettings(host="::1", port=9000, trusted_proxies=("10.0.0.0/8",))
    assert found.keys == KeyDefaults(
        limit=Limit.parse_all("$5/day + 60 calls/minute"), expires="30d", models=("gpt-5*",)
    )


def test_a_project_states_it_in_its_pyproject(file: Path) -> None:
    project = file.with_name("pyproject.toml")
    project.write_text("[tool.budgeted.gateway]\nport = 9001\n", encoding="utf-8")
    assert stated_gateway({}).listening.port == 9001


def test_options_win_over_variables_and_these_over_the_file(file: Path) -> None:
    variables = {
        "BUDGETED_GATEWAY_PORT": "9002",
        "BUDGETED_GATEWAY_FREE": "few",
        "BUDGETED_GATEWAY_HEADERS": "no",
        "BUDGETED_GATEWAY_MODELS": "o4-mini, gpt-4*",
        "BUDGETED_GATEWAY_UPSTREAMS": "openai=http://127.0.0.1:10/v1, groq=http://127.0.0.1:11/v1",
    }
    options = {"port": 9003, "open": None, "upstreams": ("groq=http://127.0.0.1:12/v1",)}
    found = stated(FILE, file, options, **variables)
    assert found.listening.port == 9003
    assert (found.settings.free, found.settings.headers, found.settings.models) == ("few", False, ("o4-mini", "gpt-4*"))
    assert found.settings.upstreams["openai"] == "http://127.0.0.1:10/v1"
    assert found.settings.upstreams["groq"] == "http://127.0.0.1:12/v1"
    assert "vllm" in found.settings.upstreams
    assert found.sources["port"] == "--port"
    assert found.sources["free"] == "BUDGETED_GATEWAY_FREE"
    assert found.sources["upstreams.groq"] == "--upstream"
    assert found.sources["connect_seconds"] == f"{file}, line 8, gateway.connect_seconds"


def test_every_setting_is_a_variable_and_no_other_is() -> None:
    names = {*GatewaySettings.__struct_fields__, *ListenSettings.__struct_fields__}
    assert set(GATEWAY_SETTINGS) == names


WRONG = {
    "port = 70000": ("gateway.port", "70000", "65535"),
    'port = "80"': ("gateway.port", "'80'"),
    "port = true": ("gateway.port", "True"),
    'prot = "80"': ("gateway.prot", "did you mean port?"),
    'openai = "https://api.openai.com/v1"': ("gateway.openai", "[gateway.upstreams] openai"),
    'open = "yes"': ("gateway.open", "'yes'"),
    'free = "most"': ("gateway.free", "'most'", "'few', 'all'"),
    "max_body = 0": ("gateway.max_body", "0"),
    "silence_seconds = -1": ("gateway.silence_seconds", "-1"),
    "silence_seconds = inf": ("gateway.silence_seconds", "inf"),
    "silence_seconds = nan": ("gateway.silence_seconds", "nan"),
    'connect_seconds = "10"': ("gateway.connect_seconds", "'10'"),
    "models = [1]": ("gateway.models", "1"),
    "models = { a = 1 }": ("gateway.models", "patterns of models"),
    'models = [""]': ("gateway.models", "''"),
    'host = "http://127.0.0.1"': ("gateway.host", "'http://127.0.0.1'", "without a port"),
    'host = ""': ("gateway.host",),
    "workers = 0": ("gateway.workers", "0"),
    "max_connections = 1.5": ("gateway.max_connections", "1.5"),
    'trusted_proxies = ["10.0.0.0/33"]': ("gateway.trusted_proxies", "'10.0.0.0/33'"),
    'upstreams = "openai"': ("gateway.upstreams", "[gateway.upstreams]", "'openai'"),
    "upstreams.openai = 1": ("gateway.upstreams.openai", "https://api.openai.com/v1", "1"),
    'upstreams.openai = "api.openai.com"': ("gateway.upstreams.openai", "'api.openai.com'"),
    'upstreams.openai = "https://api.openai.com/v1 "': ("gateway.upstreams.openai", "'https://api.openai.com/v1 '"),
    'upstreams.OpenAI = "https://api.openai.com/v1"': ("gateway.upstreams.OpenAI", "small letters"),
    'upstreams.v1 = "https://api.openai.com/v1"': ("gateway.upstreams.v1", "another name"),
    'upstreams.metrics = "https://api.openai.com/v1"': ("gateway.upstreams.metrics", "another name"),
    "upstreams.vllm = { key_env = 'VLLM' }": ("gateway.upstreams.vllm", "has no url"),
    "upstreams.openai = { urls = 'https://x' }": ("gateway.upstreams.openai.urls", "did you mean url?"),
    "upstreams.openai = { headers = { host = 'a' } }": ("gateway.upstreams.openai", "'host'"),
    "upstreams.openai = { headers = { x-team = 1 } }": ("gateway.upstreams.openai.headers", "x-team"),
    "keys = 1": ("gateway.keys", "[gateway.keys]", "1"),
    "keys.limits = '$5'": ("gateway.keys.limits", "did you mean limit?"),
    "keys.limit = '$5/fortnite'": ("gateway.keys.limit", "$5/fortnite"),
    "keys.expires = 30": ("gateway.keys.expires", "30"),
    "keys.expires = 'soon'": ("gateway.keys.expires", "'soon'"),
    "keys.models = 5": ("gateway.keys.models", "5"),
}


@pytest.mark.parametrize("line", WRONG)
def test_what_makes_no_sense_is_told_with_its_place_and_its_value(line: str, file: Path) -> None:
    told = problem(f"[gateway]\n{line}\n", file)
    assert told.startswith(f"{file}, line 2, ")
    for part in WRONG[line]:
        assert part in told


def test_a_gateway_that_is_no_table_is_told(file: Path) -> None:
    assert problem("gateway = 8788\n", file).startswith(f"{file}, line 1, gateway: must be a table")


def test_a_variable_or_an_option_that_makes_no_sense_is_named() -> None:
    none = {"BUDGETED_CONFIG": "/dev/null"}
    for variable, value in (("PORT", "http"), ("HEADERS", "maybe"), ("MAX_BODY", "1e6"), ("UPSTREAMS", "openai")):
        with pytest.raises(ValueError, match=f"BUDGETED_GATEWAY_{variable}: .*{value}"):
            stated_gateway({**none, f"BUDGETED_GATEWAY_{variable}": value})
    with pytest.raises(ValueError, match=r"--port: .*99999"):
        stated_gateway(none, {"port": 99999})
    with pytest.raises(ValueError, match=r"--upstream: must be like openai=https://.*, got 'openai'"):
        stated_gateway(none, {"upstreams": ("openai",)})


SECRETS = (
    "[gateway]\nmetrics_token = 'very secret'",
    "[gateway.upstreams]\nopenai = 'https://me:very-secret@api.openai.com/v1'",
    "[gateway.upstreams]\nopenai = 'https://api.openai.com/v1?key=very-secret'",
    "[gateway.upstreams]\nopenai = { key_env = 'sk-very-secret' }",
    "[gateway.upstreams]\nopenai = { headers = { x-key = 'very-secret\\u00e4' } }".replace(
        "'very-secret\\u00e4'", '"very-secret\\u00e4"'
    ),
)


@pytest.mark.parametrize("text", SECRETS)
def test_no_error_shows_a_secret(text: str, file: Path) -> None:
    told = problem(text, file)
    assert "very" not in told
    assert "line 2" in told


def test_settings_show_no_secrets_where_they_are_printed(file: Path) -> None:
    found = stated(FILE, file)
    assert "very-secret" not in repr(found)
    assert "hidden-too" not in repr(found)


def config(**environment: str) -> dict[str, tuple[str, str]]:
    done = CliRunner().invoke(budgeted, ["config", "--json"], env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return {row["setting"]: (row["value"], row["source"]) for row in rows}


def test_config_shows_what_is_stated_without_secrets(file: Path) -> None:
    file.write_text(FILE, encoding="utf-8")
    found = config(VLLM="key", BUDGETED_GATEWAY_PORT="9004")
    assert found["gateway.port"] == ("9004", "BUDGETED_GATEWAY_PORT")
    assert found["gateway.models"] == ("gpt-5*, claude-*", f"{file}, line 10, gateway.models")
    assert found["gateway.metrics_token"][0] == "***"
    assert found["gateway.keys.limit"][0] == "$5/day + 60 calls/minute"
    assert found["gateway.upstreams.openai"][0] == "http://127.0.0.1:9/v1"
    assert found["gateway.upstreams.vllm"][0] == "http://10.0.0.7:8000/v1, key_env = VLLM, headers = X-Team"
    assert "very-secret" not in str(found)
    assert "hidden-too" not in str(found)


def test_config_refuses_what_a_gateway_would_refuse(file: Path) -> None:
    file.write_text("[gateway]\nprot = 1\n", encoding="utf-8")
    done = CliRunner().invoke(budgeted, ["config"])
    assert done.exit_code == 1
    assert "did you mean port?" in done.output


def test_a_misspelt_variable_is_told(file: Path) -> None:
    done = CliRunner().invoke(budgeted, ["config"], env={"BUDGETED_GATEWAY_PROT": "1"})
    assert "did you mean BUDGETED_GATEWAY_PORT?" in done.output


def test_new_keys_have_what_is_stated_for_them_where_nothing_else_is_said(file: Path) -> None:
    file.write_text(FILE, encoding="utf-8")

    def created(*options: str) -> dict[str, Any]:
        done = CliRunner().invoke(budgeted, ["keys", "create", "alice", "--json", *options], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    usual = created()
    assert [one["text"] for one in usual["limits"]] == ["$5/day", "60 calls/minute"]
    assert (usual["models"], usual["expires"] is None) == (["gpt-5*"], False)
    other = created("--limit", "$1/day", "--model", "o4-mini", "--expires", "never")
    assert [one["text"] for one in other["limits"]] == ["$1/day"]
    assert (other["models"], other["expires"]) == (["o4-mini"], None)
