"""Charges that a ledger does not take: kept, told with their figures, and posted exactly once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis_server
from clocks import Clock
from ledgers import python
from outages import KINDS, REMOTE, Outage, place
from servers import project as new_project

from budgeted import BudgetManager
from budgeted.errors import LedgerCorruptError, LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.spill_file import FOLDER


@pytest.fixture
def project() -> str:
    return new_project()


@pytest.fixture(params=["memory", *KINDS])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outage]:
    """A place of each kind, and memory."""
    if request.param == "memory":
        yield Outage("memory://", contextlib.nullcontext, None)
    else:
        with place(request.param, tmp_path) as made:
            yield made


@pytest.fixture(params=KINDS)
def outage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """A place of each kind that can be away."""
    monkeypatch.setattr("budgeted.ledger.memory.ledger.LOCK_SECONDS", 0.05)
    monkeypatch.setattr("budgeted.ledger.journal.ledger.LOCK_SECONDS", 0.05)
    with place(request.param, tmp_path) as made:
        yield made


def kept_files(home: Path) -> list[Path]:
    """The files in which charges wait."""
    found = (home / FOLDER).iterdir() if (home / FOLDER).is_dir() else ()
    return sorted(one for one in found if not one.name.endswith((".lock", ".damaged")))


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


def test_what_was_charged_while_the_ledger_was_away_is_posted_by_the_next_process(
    outage: Outage, project: str, budgeted_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = outage.manager(project, max_budget=10, on_ledger_error="allow", metric_users=True)
    begun, through = first.hold(cost=0.5, user="alice"), first.hold(cost=2, user="bob")
    begun.__enter__()
    with outage.away(project):
        through.__enter__()
        begun.settle(cost=0.25)
        through.settle(cost=1)
        [file] = kept_files(budgeted_home)
        with pytest.raises(LedgerUnavailableError, match=r"2 charges of \$1\.25 wait in "):
            first.flush()
        first.close()
    told = [one.getMessage() for one in caplog.records if "wait in" in one.getMessage()]
    assert any("2 charges of $1.25" in text and str(file) in text for text in told), told
    assert any("$0.25" in text and begun.id in text and "alice" in text for text in errors(caplog)), errors(caplog)
    with outage.manager(project) as second:
        assert second.balance().spent == 1.25
        assert {user: row.spent for user, row in second.report().items()} == {"alice": 0.25, "bob": 1.0}
        assert second.uncertain() == []
        assert second.ledger.open_holds() == []
        assert kept_files(budgeted_home) == []
    with outage.manager(project) as third:
        assert third.balance().spent == 1.25


def test_the_process_itself_posts_them_once_its_ledger_is_back(
    outage: Outage, project: str, budgeted_home: Path
) -> None:
    with outage.manager(project, max_budget=10) as manager:
        for _ in range(3):
            with manager.hold(cost=1) as held, outage.away(project):
                held.settle(cost=0.25)
        assert manager.balance().spent == 0.75
        manager.flush()
        assert kept_files(budgeted_home) == []


def test_the_file_is_its_owners_alone_and_names_no_credentials(
    outage: Outage, project: str, budgeted_home: Path
) -> None:
    manager = outage.manager(project, max_budget=10)
    held = manager.hold(cost=1, user="alice")
    held.__enter__()
    with outage.away(project):
        held.settle(cost=0.5)
        [file] = kept_files(budgeted_home)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert file.name.startswith(project)
        [line] = file.read_text().splitlines()
        record = json.loads(line[9:])
        assert (record["id"], record["accounts"], record["used"][0]) == (held.id, ["g", "u:alice"], 500_000_000)
    manager.close()


@pytest.mark.parametrize("error", [LedgerCorruptError("damaged"), LedgerError("odd"), RuntimeError("a driver's bug")])
def test_a_charge_that_ends_in_any_error_is_kept_and_told(
    anywhere: Outage,
    project: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> bool:
        raise error

    with anywhere.manager(project, max_budget=10) as manager:
        with monkeypatch.context() as patched, manager.hold(cost=1, user="alice") as held:
            patched.setattr(manager.ledger, "settle", fail)
            if isinstance(error, LedgerError):
                held.settle(cost=0.75)
            else:  # it might as well come of a signal's handler: the caller gets it
                with pytest.raises(type(error)):
                    held.settle(cost=0.75)
                with contextlib.suppress(type(error)):
                    background_worker.drain()
        manager.flush()
        assert manager.balance().spent == 0.75
        assert manager.uncertain() == []
        told = errors(caplog)[0]
        assert "$0.75" in told
        assert held.id in told
        assert "alice" not in told  # metric_users is off


def test_a_hold_that_its_ledger_has_forgotten_is_charged_all_the_same(
    anywhere: Outage, project: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    monkeypatch.setattr(ended_holds, "REMEMBERED", 3)
    with anywhere.manager(project, max_budget=100, on_uncertain="release", hold_timeout=60, clock=clock) as manager:
        with manager.hold(cost=1, user="alice") as held:
            clock.now += 100
            forget(manager, held.id)
            held.settle(cost=0.75)
        balance = manager.balance("alice")
        assert (balance.spent, manager.report()["alice"].spent, manager.uncertain()) == (0.75, 0.75, [])
        assert [held.id in text and "$0.75" in text for text in errors(caplog)] == [True]


def forget(manager: BudgetManager, id: str) -> None:
    """Have a hold swept, and forgotten under calls that cost nothing."""
    ledger: Any = manager.ledger
    owner = id.partition(".")[0]
    if owner != ledger.owner:
        ledger.renew(owner, 0)  # its process has died
    ledger.sweep()
    clock = ledger.clock
    for _ in range(30):
        with manager.hold(cost=1) as other:
            other.settle(cost=0)
    if hasattr(ledger, "prune"):
        ledger.clock = lambda: clock() + 10**6
        ledger.prune()
        ledger.clock = clock
    assert ledger.ended(id) is None


@pytest.mark.parametrize("kind", REMOTE)
def test_what_was_not_answered_and_is_not_known_any_more_is_listed_as_uncertain(
    kind: str, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """It may have been charged, and forgotten since."""
    monkeypatch.setattr(ended_holds, "REMEMBERED", 3)
    settings: dict[str, Any] = {"on_uncertain": "release", "hold_timeout": 60, "clock": clock}
    with place(kind, tmp_path) as outage:
        first = outage.manager(project, max_budget=100, **settings)
        with first.hold(cost=1, user="alice") as held, outage.away(project):
            held.settle(cost=0.75)
            first.close()
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("BUDGETED_HOME", str(tmp_path / "another host"))
            clock.now += 100
            with outage.manager(project, **settings) as second:
                forget(second, held.id)
        with outage.manager(project, **settings) as third:
            [charge] = third.uncertain()
            assert (charge.id, charge.cost, third.balance().spent) == (held.id, 0.75, 0.75)
            assert "may have been charged and forgotten" in charge.reason


def test_a_call_that_ends_after_its_manager_was_closed_is_charged(
    outage: Outage, project: str, budgeted_home: Path
) -> None:
    first = outage.manager(project, max_budget=10)
    with first.hold(cost=1, user="alice") as held:
        first.close()
        held.settle(cost=0.25)
    assert len(kept_files(budgeted_home)) == 1
    with outage.manager(project) as second:
        assert (second.balance().spent, second.uncertain()) == (0.25, [])


def test_without_a_disk_all_figures_are_told_and_closing_raises(
    outage: Outage, project: str, budgeted_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    budgeted_home.write_text("no folder")
    manager = outage.manager(project, max_budget=10)
    with manager.hold(cost=1, user="alice") as held, outage.away(project):
        held.settle(cost=0.25)
        text = next(text for text in errors(caplog) if held.id in text)
        assert all(part in text for part in ("$0.25", "'alice'", "cannot be written"))
        with pytest.raises(LedgerUnavailableError, match=r"1 charge of \$0\.25 .* nor written"):
            manager.close()
    budgeted_home.unlink()
    manager.close()  # which writes it now
    with outage.manager(project) as second:
        assert second.balance().spent == 0.25


def test_what_waits_in_memory_alone_is_posted_too(outage: Outage, project: str, budgeted_home: Path) -> None:
    budgeted_home.write_text("no folder")
    with outage.manager(project, max_budget=10) as manager:
        with manager.hold(cost=1) as held, outage.away(project):
            held.settle(cost=0.25)
        assert manager.balance().spent == 0.25
        manager.flush()


PROGRAM = """
    import os, sys
    from budgeted import BudgetManager
    from budgeted.ledger.journal import ledger as journal
    from budgeted.ledger.memory import ledger as memory
    journal.LOCK_SECONDS = memory.LOCK_SECONDS = 0.1
    where, project, home = sys.argv[1:]
    os.environ["BUDGETED_HOME"] = home
    manager = BudgetManager(project, max_budget=10, ledger=where, on_ledger_error="allow")
    manager.ledger.deadline = 0.2
    held, other = manager.hold(cost=1, user="alice"), manager.hold(cost=1, user="bob")
    held.__enter__()
    print("ready", flush=True)
    sys.stdin.readline()
    other.__enter__()
    held.settle(cost=0.25)
    other.settle(cost=0.5)
    print("charged", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_a_process_that_ends_or_is_killed_loses_no_charge(
    outage: Outage, project: str, killed: bool, budgeted_home: Path
) -> None:
    with python(PROGRAM, outage.where, project, os.environ["BUDGETED_HOME"], stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        with outage.away(project):
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "charged\n"
            if killed:
                process.send_signal(signal.SIGKILL)
            else:
                process.stdin.close()
            told = process.stderr.read()
            assert process.wait() == (-signal.SIGKILL if killed else 0)
            [file] = kept_files(budgeted_home)
            assert (f"2 charges of $0.75 wait in {file}" in told) == (not killed)
    with outage.manager(project) as manager:
        assert (manager.balance().spent, manager.uncertain()) == (0.75, [])
        assert {user: row.spent for user, row in manager.report().items()} == {"alice": 0.25, "bob": 0.5}


def test_a_reported_call_is_kept_and_not_charged_twice(outage: Outage, project: str) -> None:
    response = {"id": "r-1", "model": "gpt-5-mini", "usage": {"prompt_tokens": 1000, "completion_tokens": 1000}}
    with outage.manager(project, max_budget=10) as manager:
        manager.set_limits("alice", "$5")
        with outage.away(project), pytest.raises(LedgerUnavailableError, match="report it once"):
            manager.update_cost("alice", response)
        cost = manager.balance("alice").spent
        assert cost == 0.00225
        manager.update_cost("alice", response)
        assert (manager.balance("alice").spent, manager.balance().spent) == (cost, cost)


@pytest.mark.parametrize("first", ["released", "estimated"])
def test_an_answer_that_comes_late_is_kept_while_the_ledger_is_away(outage: Outage, project: str, first: str) -> None:
    with outage.manager(project, max_budget=10) as manager:
        with manager.hold(cost=1, user="alice") as held:
            if first == "released":
                held.release()
        with outage.away(project):
            held.settle(cost=0.25)
        held.settle(cost=0.25)
        assert (manager.balance().spent, manager.uncertain()) == (0.25, [])


def test_an_answer_that_comes_late_is_charged_though_its_hold_was_given_back(anywhere: Outage, project: str) -> None:
    with anywhere.manager(project, max_budget="$10 + 5 calls") as manager:
        with manager.hold(cost=1, user="alice") as held:
            held.release()
        held.settle(cost=0.25)
        held.settle(cost=0.25)
        assert [one.spent for one in manager.balances()] == [0.25, 1]


def test_a_late_answer_that_nothing_was_spent_replaces_what_was_charged_for_want_of_news(
    anywhere: Outage, project: str, clock: Clock
) -> None:
    with anywhere.manager(project, max_budget=10, hold_timeout=60, clock=clock) as manager:
        with manager.hold(cost=1) as held:
            clock.now += 100
            manager.ledger.sweep()
            assert [one.cost for one in manager.uncertain()] == [1]
            held.release()
        assert (manager.uncertain(), manager.balance().spent) == ([], 0)


def test_keyed_blocks_of_another_process_are_charged(outage: Outage, project: str) -> None:
    first = outage.manager(project, max_budget=10)
    with first.budget("alice", cap=5, key="nightly"), first.hold(cost=1) as held, outage.away(project):
        held.settle(cost=0.25)
        first.close()
    with outage.manager(project) as second:
        with second.budget("alice", cap=5, key="nightly"), second.hold(cost=1) as other:
            other.settle(cost=0.5)
        account = second.ledger.read("b:nightly")
        assert account is not None
        assert account.usd == 750_000_000


def test_what_an_invoice_has_confirmed_meanwhile_stands(
    outage: Outage,
    project: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings: dict[str, Any] = {"hold_timeout": 60, "clock": clock}
    first = outage.manager(project, max_budget=100, **settings)
    with first.hold(cost=1) as held, outage.away(project):
        held.settle(cost=0.75)
        first.close()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("BUDGETED_HOME", str(tmp_path / "another host"))
        clock.now += 100
        with outage.manager(project, **settings) as second:
            second.ledger.renew(held.id.partition(".")[0], 0)  # the first one has died
            second.ledger.sweep()
            second.reconcile(held.id, cost=0.5)
    with outage.manager(project, **settings) as third:
        assert (third.balance().spent, third.uncertain()) == (0.5, [])
        third.flush()
    assert any("was confirmed as $0.50 meanwhile" in one.getMessage() for one in caplog.records)


@pytest.mark.parametrize("kind", ["journal", "sqlite", "redis"])
def test_a_call_in_flight_while_its_ledger_is_lost_is_charged_once_it_was_written_back(
    kind: str, project: str, tmp_path: Path, budgeted_home: Path
) -> None:
    with place(kind, tmp_path) as outage, outage.manager(project, max_budget=10) as manager:
        with manager.hold(cost=1, user="alice") as first:
            first.settle(cost=0.5)
        with manager.hold(cost=1, user="alice") as held:
            lose(kind, project, tmp_path)
            held.settle(cost=0.25)
        with pytest.raises(LedgerCorruptError):
            manager.balance()
        manager.repair()
        manager.flush()
        assert (manager.balance().spent, manager.uncertain(), manager.ledger.open_holds()) == (0.75, [], [])
        assert kept_files(budgeted_home) == []


def lose(kind: str, project: str, folder: Path) -> None:
    """Take a ledger away from under a process."""
    if kind == "journal":
        shutil.rmtree(folder / "spend")
    elif kind == "sqlite":
        (folder / "spend.db").unlink()
    else:
        with redis_server.shared().client() as client:
            for key in client.scan_iter(f"budgeted:{{{project}}}*"):
                client.delete(key)
