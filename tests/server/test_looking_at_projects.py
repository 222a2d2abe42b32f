"""What the server tells of its projects: which there are, how each stands, and what goes on in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from clocks import NOON
from serving import READER, TOKEN, Asking, Serving

from budgeted import BudgetExceededError, BudgetManager

HOSTILE = ['"; DROP TABLE <script>', "a/../b", "\N{PILE OF POO}", "shop"]


def make(ask: Asking, *names: str) -> None:
    for name in names:
        assert ask("PUT", "/v1/limits", {"limits": ["$1"]}, params={"project": name}).status_code == 200


def test_projects_are_listed_in_order_and_in_pages(ask: Asking) -> None:
    assert ask("GET", "/v1/projects").json() == []
    make(ask, *HOSTILE, "shop-2", "default")
    every = sorted([*HOSTILE, "shop-2", "default"])
    assert ask("GET", "/v1/projects", token=READER).json() == every
    assert ask("GET", "/v1/projects", params={"prefix": "shop"}).json() == ["shop", "shop-2"]
    first = ask("GET", "/v1/projects", params={"count": 4}).json()
    assert first + ask("GET", "/v1/projects", params={"after": first[-1]}).json() == every
    assert ask("GET", "/v1/projects", token=None).status_code == 401
    assert ask("GET", "/v1/projects", params={"count": 0}).status_code == 422


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_projects_that_nobody_has_asked_for_yet_are_listed(tmp_path: Path, kind: str) -> None:
    where = {"journal": str(tmp_path / "kept"), "sqlite": f"sqlite:///{tmp_path}/spend.db"}[kind]
    with BudgetManager("shop", ledger=where, max_budget=1):
        pass
    with Serving(ledger=where) as serving, Asking(serving.url) as ask:
        assert ask("GET", "/v1/projects").json() == ["shop"]


def test_a_ledger_that_cannot_tell_its_projects_says_so(tmp_path: Path) -> None:
    nothing = "postgresql+psycopg://user@127.0.0.1:1/app"
    with Serving(ledger=nothing) as serving, Asking(serving.url) as ask:
        answer = ask("GET", "/v1/projects")
        assert answer.status_code == 409
        assert "cannot be told" in answer.json()["error"]["message"]


def test_the_command_lists_the_projects_of_a_server(
    ask: Asking, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(ask, *HOSTILE)
    command = [sys.executable, "-m", "budgeted.cli", "projects", "--ledger", serving.url, "--json"]
    for token in (TOKEN, READER):
        monkeypatch.setenv("BUDGETED_TOKEN", token)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == sorted(HOSTILE)
    monkeypatch.setenv("BUDGETED_TOKEN", "another")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be told" in done.stderr


@pytest.mark.parametrize("path", ["/v1/status", "/v1/activity"])
def test_looking_makes_no_project_and_takes_no_query(tmp_path: Path, ask: Asking, path: str) -> None:
    assert ask("GET", path, params={"project": "misspelt"}, token=READER).status_code == 200
    assert ask("GET", "/v1/projects").json() == []
    assert ask("GET", path, params={"user": "alice"}).status_code == 422
    assert ask("GET", path, token=None).status_code == 401


def test_a_project_without_limits_stands_as_what_it_has_spent(ask: Asking) -> None:
    found = ask("GET", "/v1/status").json()
    assert (found["project"], found["spent_today"], found["accounts"], found["complete"]) == ("default", 0, [], True)
    [balance] = found["balances"]
    assert (balance["limit"], balance["remaining"]) == (None, None)


def test_what_other_processes_do_is_told(tmp_path: Path) -> None:
    bob = HOSTILE[0]
    with (
        Serving(ledger=str(tmp_path), clock=lambda: NOON) as serving,
        Asking(serving.url) as ask,
        BudgetManager("default", ledger=serving.url, clock=lambda: NOON, wait=0, on_exceed="raise") as manager,
    ):
        manager.set_limits(bob, "$1/day", "3 calls/minute")
        with manager.hold(cost=0.25, user=bob) as held:
            with pytest.raises(BudgetExceededError), manager.hold(cost=0.80, user=bob):
                pass
            manager.activity()  # which tells the others what this process knows
            found = ask("GET", "/v1/activity").json()
            stands = ask("GET", "/v1/status").json()
            held.release()
        [call] = found["in_flight"]
        assert (call["accounts"], call["held"]) == (["global", bob], 0.25)
        [refused] = found["refusals"]
        told = {"account": bob, "limit": "$1/day", "requested": 0.8, "remaining": 0.75, "reason": "held"}
        assert {name: refused[name] for name in told} == told
        assert (found["waiting"], found["refused_today"]) == ([], 1)
        assert (stands["calls_in_flight"], stands["held"]) == (1, 0.25)
        assert [one["name"] for one in stands["accounts"]] == [bob]
        assert ask("GET", "/v1/activity").json()["in_flight"] == []
