"""``budgeted alerts test`` sends a message to each hook, and says what came back, but none of its URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hook_server import Hook, closed_port

from budgeted.cli.command_group import budgeted
from budgeted.integrations.webhooks import verify


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUDGETED_HOME", str(tmp_path))
    monkeypatch.setenv("BUDGETED_PROJECT", "shop")
    hook = Hook()
    yield hook
    hook.close()


def run(*options: str) -> Result:
    return CliRunner().invoke(budgeted, ["alerts", "test", *options], catch_exceptions=False)


def test_each_url_is_sent_a_test_that_is_signed(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETED_ALERTS_TO", f"{hook.url}, slack+{hook.url}/2")
    monkeypatch.setenv("BUDGETED_ALERTS_SECRET", "a key")
    done = run()
    assert done.exit_code == 0
    assert done.output.count("200 ok") == 2
    plain, slack = hook.next(), hook.next()
    assert (plain.json["project"], plain.json["reason"]) == ("shop", "a test of alerts_to")
    assert slack.json["text"] == "shop: alert: the global budget: a test of alerts_to"
    assert all(verify(got.body, got.headers["Budgeted-Signature"], "a key") for got in (plain, slack))
    assert "SECRET" not in done.output


def test_what_does_not_arrive_is_told_and_the_exit_code_says_so(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.answers = [404, "close"]
    closed = f"http://127.0.0.1:{closed_port()}/SECRET"
    monkeypatch.setenv("BUDGETED_ALERTS_TO", f"{hook.url},{hook.url}/2,{closed},{hook.url}/3")
    done = run("--json")
    assert done.exit_code == 1
    told = json.loads(done.output)
    assert [one["taken"] for one in told] == [False, False, False, True]
    assert [one["answer"] for one in told] == [
        "404",  # whose text has the path
        "RemoteDisconnected",
        "ConnectionRefusedError: Connection refused",
        "200 ok",
    ]
    assert "SECRET" not in done.output


def test_where_no_url_is_stated_it_says_how(hook: Hook) -> None:
    done = run()
    assert done.exit_code == 1
    assert "BUDGETED_ALERTS_TO" in done.output
