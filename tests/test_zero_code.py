"""``opentelemetry-instrument python app.py``: limits and metrics by environment variables alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from budgeted.integrations.otel import BudgetedInstrumentor
from budgeted.manager.environment import from_environment
from budgeted.testing import SimulatedProvider

APP = """
import openai
client = openai.OpenAI(max_retries=0)
for number in range(3):
    try:
        client.chat.completions.create(
            model="gpt-5-mini", max_completion_tokens=100, messages=[{"role": "user", "content": "Hello!"}]
        )
        print("answered")
    except Exception as error:
        print(type(error).__module__, type(error).__name__)
"""


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        simulated.reply(output_tokens=90)
        yield simulated


def run(provider: SimulatedProvider, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "app.py").write_text(APP, encoding="utf-8")
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": provider.openai_url,
        "OPENAI_API_KEY": "none",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "console",
        **variables,
    }
    command = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, str(folder / "app.py")]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
@pytest.mark.sdk
def test_an_application_that_knows_nothing_of_it_is_held_to_its_limit_and_measured(
    provider: SimulatedProvider, tmp_path: Path
) -> None:
    done = run(provider, tmp_path, BUDGETED_MAX_BUDGET="$0.0005/day", BUDGETED_PROJECT_NAME="shop")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith(("{", " ", "}"))]
    assert said == ["answered", "answered", "budgeted.errors BudgetExceededError"]
    assert len(provider.bill) == 2
    for shown in ('"budgeted.spend"', '"budgeted.remaining"', '"shop"', str(float(provider.billed_usd()))):
        assert shown in done.stdout


@pytest.mark.slow
@pytest.mark.sdk
def test_without_variables_nothing_is_touched(provider: SimulatedProvider, tmp_path: Path) -> None:
    done = run(provider, tmp_path, OTEL_METRICS_EXPORTER="none")
    assert done.stdout.splitlines() == ["answered"] * 3
    assert not (tmp_path / "budgeted-home").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BUDGETED_MAX_BUDGET", "ten dollars", "'ten dollars'"),
        ("BUDGETED_MAX_BUGET", "$10", "write BUDGETED_MAX_BUDGET"),
        ("BUDGETED_LEDGER", "gopher://x", "gopher"),
        ("BUDGETED_LEDGER", "~nobody-here/spend", "a home that nobody knows"),
    ],
)
def test_an_application_whose_limits_cannot_be_kept_is_not_started(
    provider: SimulatedProvider, tmp_path: Path, variable: str, value: str, said: str
) -> None:
    done = run(provider, tmp_path, OTEL_METRICS_EXPORTER="none", **{variable: value})
    assert done.returncode != 0
    assert said in done.stderr
    assert "answered" not in done.stdout
    assert provider.requests == []


def test_nothing_whatever_starts_an_application_without_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(environment: object) -> None:
        raise RuntimeError(environment is os.environ)

    monkeypatch.setattr("budgeted.integrations.otel.from_environment", burst)
    with pytest.raises(SystemExit, match="the application was not started"):
        BudgetedInstrumentor().instrument()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_budget", "$10/day + 60 calls/minute", "$10/day + 60 calls/minute"),
        ("alerts", "0.5, 0.9", (0.5, 0.9)),
        ("fallback", "gpt-5-mini,gpt-5-nano", ("gpt-5-mini", "gpt-5-nano")),
        ("wait", "2.5", 2.5),
        ("min_output_tokens", "512", 512),
        ("semconv", "True", True),
        ("metric_users", "true", True),
        ("metric_users", "hash", "hash"),
        ("metric_users", "top 20", "top 20"),
        ("metric_users", "alice, bob", ["alice", "bob"]),
        ("on_exceed", " raise ", "raise"),
    ],
)
def test_each_setting_has_a_variable(name: str, text: str, value: Any) -> None:
    assert from_environment({f"BUDGETED_{name.upper()}": text}) == {name: value}


def test_what_is_empty_or_somebody_elses_is_no_setting() -> None:
    others = {"BUDGETED_WAIT": " ", "BUDGETED_HOME": "/x", "BUDGETED_TOKEN": "t", "MY_BUDGETED_WAIT": "3", "PATH": "/"}
    assert from_environment(others) == {}


def test_variables_that_nothing_reads_are_warned_of_with_what_was_meant(caplog: pytest.LogCaptureFixture) -> None:
    others = {"BUDGETED_TOKENS": "t", "BUDGETED_COLOUR": "red", "BUDGETED_HOST": "::1", "BUDGETED_LEGDER": " "}
    assert from_environment(others) == {}
    assert caplog.messages == [
        "budgeted: BUDGETED_TOKENS is not known; did you mean BUDGETED_TOKEN?",
        "budgeted: BUDGETED_COLOUR is not known; nothing reads it",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LIMIT", "MAX_BUDGET"),
        ("LIMITS", "MAX_BUDGET"),
        ("MAX_USD", "MAX_BUDGET"),
        ("USER_LIMITS", "DEFAULT_USER_LIMITS"),
    ],
)
def test_a_limit_by_another_name_is_refused_with_ours(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"BUDGETED_{name} is not known; write BUDGETED_{meant}"):
        from_environment({f"BUDGETED_{name}": "$5"})


def test_what_another_package_calls_a_setting_is_warned_of_with_our_name(caplog: pytest.LogCaptureFixture) -> None:
    assert from_environment({"BUDGETED_TIMEOUT": "3"}) == {}
    assert caplog.messages == ["budgeted: BUDGETED_TIMEOUT is not known; did you mean BUDGETED_WAIT?"]


def test_the_commands_variable_for_the_project_counts_unless_there_is_the_other() -> None:
    assert from_environment({"BUDGETED_PROJECT": "shop"}) == {"project_name": "shop"}
    both = {"BUDGETED_PROJECT": "shop", "BUDGETED_PROJECT_NAME": "app"}
    assert from_environment(both) == {"project_name": "app"}


@pytest.mark.parametrize(
    ("name", "text"), [("WAIT", "soon"), ("ALERTS", "0.8;1"), ("SEMCONV", "maybe"), ("MIN_OUTPUT_TOKENS", "1.5")]
)
def test_values_that_make_no_sense_are_quoted(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"BUDGETED_{name}='{text}'"):
        from_environment({f"BUDGETED_{name}": text})
