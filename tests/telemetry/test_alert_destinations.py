"""Which URLs alerts may be sent to, and that nothing but their hosts is ever shown."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from budgeted import BudgetManager, inject
from budgeted.cli.command_group import budgeted
from budgeted.manager.stated_settings import stated
from budgeted.telemetry.webhooks.signatures import Secret

SLACK = "https://hooks.slack.com/services/T0SECRET/B0SECRET/SECRET"

MISTAKEN = [
    "hooks.slack.com/services/SECRET",
    "SECRET",
    "",
    "ftp://example.com/SECRET",
    "http://example.com/SECRET",
    "http://user:SECRET@example.com/",
    "https:///SECRET",
    "https://example.com:0/SECRET",
    "https://example.com:SECRET/",
    "https://example.com/SECRET SECRET",
    "https://example.com/SECRET\r\nX: y",
    "https://exämple.com/SECRET",
    "https://example.com\\SECRET",
    "https://[SECRET/",
    "http://user:pass@SECRET/SECRET@example.com/",
    "https://example.com/SECRET#SECRET",
    "https://example.com/SECRET#names=SECRET",
    "https://example.com/SECRET#kinds=",
    "https://example.com/SECRET#kinds=alert+overruns",
    "slack+slack+https://example.com/SECRET",
    ["https://example.com/SECRET", "https://example.com/SECRET#names=hash"],
    [f"https://example.com/{number}SECRET" for number in range(21)],
    b"https://example.com/SECRET",
    [b"https://example.com/SECRET"],
    {"url": "https://example.com/SECRET"},
    [{"url": "https://example.com/SECRET"}],
    5,
    True,
]


@pytest.mark.parametrize("given", MISTAKEN, ids=range(len(MISTAKEN)))
def test_what_is_no_url_of_a_hook_is_refused_by_an_error_that_tells_no_secret(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="alerts_to") as refused:
        BudgetManager(ledger="memory://", alerts_to=given)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "value"), [("alerts", SLACK), ("alerts", [SLACK]), ("on_event", SLACK), ("alerts_secret", 5)]
)
def test_a_url_in_the_wrong_place_is_not_quoted_either(setting: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="alerts") as refused:
        BudgetManager(ledger="memory://", **{setting: value})
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("given", ["", " blank", "SECRET\n", "SECRET" * 1000, "SECRET\ud800"])
def test_a_secret_that_cannot_be_meant_is_refused_and_not_quoted(given: str) -> None:
    with pytest.raises(ValueError, match="alerts_secret") as refused:
        BudgetManager(ledger="memory://", alerts_secret=given)
    assert "SECRET" not in str(refused.value)


def test_neither_a_managers_text_nor_what_it_tells_other_programs_holds_secrets(tmp_path: Path) -> None:
    with BudgetManager("told", ledger=tmp_path, alerts_to=SLACK, alerts_secret="SECRET") as manager:  # noqa: S106 - none
        assert "SECRET" not in f"{manager!r}{manager.settings!r}{manager.settings.alerts_to}"
        with manager.budget("alice"):
            text = inject()["budgeted-payers"]
        content = base64.urlsafe_b64decode(text.split(".")[1] + "===")
        assert b"SECRET" not in content
        assert b"slack" not in content
        # A child of this very program goes on with both.
        settings = manager.settings.alerts_to, manager.settings.alerts_secret
        assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own


def config(*args: str) -> str:
    result = CliRunner().invoke(budgeted, [*args], catch_exceptions=False)
    return result.output


def test_no_command_shows_more_of_a_url_than_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUDGETED_HOME", str(tmp_path))
    (tmp_path / "budgeted.toml").write_text(f'alerts_to = ["{SLACK}#names=hash"]\nalerts_secret = "SECRET"\n')
    said = config("config") + config("config", "--json")
    assert "https://hooks.slack.com/..." in said
    assert "***" in said
    monkeypatch.setenv("BUDGETED_ALERTS_TO", f"https://user:SECRET@example.com/SECRET, {SLACK}")
    monkeypatch.setenv("BUDGETED_ALERTS_SECRET", "SECRET")
    for command in ("config", "doctor"):
        told = config(command)
        assert "https://example.com/..., https://hooks.slack.com/..." in told
        said += told
    monkeypatch.setenv("BUDGETED_ALERTS_TO", "example.com/SECRET")
    said += config("config")
    monkeypatch.delenv("BUDGETED_ALERTS_TO")
    monkeypatch.setenv("BUDGETED_ALERTS", SLACK)
    said += config("config")
    (tmp_path / "budgeted.toml").write_text(f'alerts_to = ["{SLACK}')
    said += config("config")
    assert "SECRET" not in said.replace("BUDGETED_ALERTS_SECRET", "")


def test_the_secret_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text("from a file\n")
    monkeypatch.setenv("BUDGETED_ALERTS_SECRET_FILE", str(path))
    with BudgetManager(ledger="memory://", alerts_to=SLACK) as manager:
        assert manager.payer.webhooks is not None
        assert manager.payer.webhooks.outlet.secret == Secret("from a file")
    assert stated().settings["alerts_secret"].value == Secret("from a file")
    monkeypatch.setenv("BUDGETED_ALERTS_SECRET", "another")
    with pytest.raises(ValueError, match="both set"):
        BudgetManager(ledger="memory://", alerts_to=SLACK)
    monkeypatch.delenv("BUDGETED_ALERTS_SECRET")
    for content in (b"", b" \n", b"x" * 5000, b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="BUDGETED_ALERTS_SECRET_FILE"):
            BudgetManager(ledger="memory://", alerts_to=SLACK)
    monkeypatch.setenv("BUDGETED_ALERTS_SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="cannot be read"):
        BudgetManager(ledger="memory://", alerts_to=SLACK)
    BudgetManager(ledger="memory://").close()  # which sends nothing
