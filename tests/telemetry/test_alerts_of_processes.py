"""Alerts of processes that share a ledger: sent once, by whichever is there, and by another one if that dies."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forking import forked
from hook_server import Hook, until

from budgeted import BudgetManager
from budgeted.telemetry.webhooks.waiting_files import FOLDER

PROGRAM = """
import sys, threading
from budgeted import BudgetManager
ledger, url, user, calls, wait = sys.argv[1:]
manager = BudgetManager("shop", ledger=ledger, default_user_limits="$1/day", alerts=0.8, alerts_to=url.split())
for _ in range(int(calls)):
    with manager.hold(cost=0.1, user=user) as held:
        held.settle(cost=0.1)
print("spent", any(thread.name == "budgeted-webhook" for thread in threading.enumerate()), flush=True)
if wait:
    sys.stdin.read()
"""


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDGETED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ledger(home: Path, tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def started(ledger: Path, url: str, user: str, calls: int = 9, wait: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(ledger), url, user, str(calls), wait]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


def left_of(home: Path) -> list[Path]:
    return sorted(path for path in (home / FOLDER).glob("*/*") if path.suffix == ".json")


def manager_of(ledger: Path, hook: Hook, **settings: Any) -> BudgetManager:
    return BudgetManager(
        "shop", ledger=ledger, default_user_limits="$1/day", alerts=0.8, alerts_to=hook.url, **settings
    )


def test_two_processes_that_spend_together_send_one_alert(ledger: Path, hook: Hook, home: Path) -> None:
    both = [started(ledger, hook.url, "alice", 5) for _ in range(2)]
    for one in both:
        finished(one)
    assert hook.next().json["account"] == "alice"
    assert hook.got.empty()
    assert list((home / FOLDER).glob("*/*")) == []


def test_a_process_that_knows_no_url_takes_no_alert_from_one_that_does(ledger: Path, hook: Hook, home: Path) -> None:
    out, _ = finished(started(ledger, "", "alice"))
    assert out == "spent False\n"
    assert not (home / FOLDER).exists()
    with manager_of(ledger, hook) as manager:
        with manager.hold(cost=0.01, user="alice") as held:
            held.settle(cost=0.01)
        assert hook.next().json["spent"] == 0.91


def test_what_a_killed_process_has_not_sent_the_next_one_sends_as_the_same_event(
    ledger: Path, hook: Hook, home: Path
) -> None:
    hook.answers = ["hang"]
    process = started(ledger, hook.url, "alice", wait="wait")
    first = hook.next()
    with manager_of(ledger, hook) as living:
        with living.hold(cost=0.9, user="bob") as held:
            held.settle(cost=0.9)
        assert hook.next().json["account"] == "bob"
        until(lambda: len(left_of(home)) == 1)  # the other one is at it still
        process.kill()
        process.communicate(timeout=60)
    assert "SECRET" not in "".join(path.read_text() for path in left_of(home))
    with manager_of(ledger, hook):
        assert hook.next().id == first.id
        until(lambda: left_of(home) == [])
    assert hook.got.empty()


def test_a_process_whose_hook_hangs_ends_in_time_and_leaves_its_alert_to_the_next(
    ledger: Path, hook: Hook, home: Path
) -> None:
    hook.answers = ["hang"]
    process = started(ledger, hook.url, "alice")
    assert process.stdout is not None
    assert process.stdout.readline() == "spent True\n"
    begun = time.monotonic()
    _, err = finished(process)
    assert time.monotonic() - begun < 8  # 2 and those of a busy machine, and not the 10 of a request
    assert "has not taken 1 events; 1 wait for the next process" in err
    assert "SECRET" not in err
    first = hook.next()
    finished(started(ledger, hook.url, "bob", 1))
    assert hook.next().id == first.id
    assert left_of(home) == []


def test_what_goes_elsewhere_is_left_to_who_knows_where(ledger: Path, hook: Hook, home: Path) -> None:
    other = Hook()
    other.behaves = hook.behaves = lambda _: 500
    finished(started(ledger, f"{hook.url} {other.url}", "alice"))
    assert len(left_of(home)) == 2
    other.behaves = hook.behaves = lambda _: 200
    with manager_of(ledger, hook):
        until(lambda: len(left_of(home)) == 1)
        finished(started(ledger, other.url, "bob", 1))  # while the first one lives
    assert left_of(home) == []
    other.close()


def test_what_is_too_old_or_damaged_is_not_sent(
    ledger: Path, hook: Hook, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook.behaves = lambda _: 500
    finished(started(ledger, hook.url, "alice"))
    (path,) = left_of(home)
    text = path.read_text()
    hook.behaves, hook.got = lambda _: 200, queue.Queue()
    for damaged in ("", text[:20], text.replace('"at":', '"at":-'), text.replace('"id":"', '"id":"../../x')):
        path.write_text(damaged)
        path.with_name(path.name.split(".")[0] + ".lock").touch()
        with manager_of(ledger, hook):
            until(lambda: list(path.parent.iterdir()) == [])
    assert caplog.text.count("too old or damaged") == 4
    assert hook.got.empty()


def test_a_forked_child_sends_its_own_and_leaves_its_parents_alone(
    ledger: Path, hook: Hook, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [500]
    with manager_of(ledger, hook) as manager:

        def spend(user: str) -> None:
            with manager.hold(cost=0.9, user=user) as held:
                held.settle(cost=0.9)

        def child() -> int:
            assert manager.payer.webhooks is not None
            (courier,) = manager.payer.webhooks.couriers.values()
            assert courier.waiting == 0
            spend("bob")
            until(lambda: courier.waiting == 0)
            return os.getpid()

        spend("alice")
        first = hook.next()
        # It is being said just now: a child that is forked meanwhile has a log file whose lock nobody ever gives back.
        until(lambda: "does not take events" in caplog.text)
        assert int(forked(child)) != os.getpid()
        sent = {got.json["account"]: got.id for got in (hook.next(), hook.next())}
        assert sent.keys() == {"alice", "bob"}
        assert sent["alice"] == first.id
        until(lambda: left_of(home) == [])
        assert hook.got.empty()


def test_where_nothing_can_be_kept_alerts_are_sent_all_the_same(
    ledger: Path, hook: Hook, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / FOLDER).write_text("no folder")
    with manager_of(ledger, hook) as manager, manager.hold(cost=0.9, user="alice") as held:
        held.settle(cost=0.9)
    assert hook.next().json["account"] == "alice"
    assert "wait in memory alone" in caplog.text
