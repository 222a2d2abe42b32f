"""A program whose environment says who pays: its calls are theirs, or refused where nobody can pay by it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from budgeted import BudgetManager, inject

pytestmark = pytest.mark.slow


def spent(manager: BudgetManager) -> dict[str, float]:
    report = manager.report("user")
    return {user: row.spent for user, row in report.items() if user != report.rest}


PROGRAM = """
import budgeted
manager = budgeted.get_manager()
try:
    with budgeted.budget("inner"), budgeted.hold(cost=1) as held:
        held.settle(cost=1)
    print(manager.project_name, "paid")
except budgeted.BudgetError as error:
    print(type(error).__name__, error)
"""


def run(environment: dict[str, str], program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)


@pytest.fixture
def environment() -> dict[str, str]:
    return dict(os.environ)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[BudgetManager]:
    """A manager by the clock that programs have as well."""
    with BudgetManager("app", ledger=tmp_path / "ledger") as made:
        yield made


def test_a_program_goes_on_for_whoever_started_it(parent: BudgetManager, environment: dict[str, str]) -> None:
    with parent.budget("alice", cap=1.5):
        inject(environment)
        assert run(environment).stdout == "app paid\n"
        assert "a cap of $" in run(environment).stdout
    assert spent(parent) == {"alice": 1, "inner": 1}


def test_a_program_has_the_settings_that_count(tmp_path: Path, environment: dict[str, str]) -> None:
    settings: dict[str, Any] = {"timezone": "Asia/Tokyo", "default_user_limits": {"inn*": "$0.50/day", "*": ()}}
    made = BudgetManager("app", ledger=tmp_path / "ledger", on_exceed="raise", wait=float("inf"), **settings)
    with made, made.budget("alice"):
        inject(environment)
    assert "user 'inner' has $0.50 left of $0.50/day" in run(environment).stdout
    told = run(environment, "import budgeted; s = budgeted.get_manager().settings; print(s.timezone, s.on_exceed)")
    assert told.stdout == "Asia/Tokyo raise\n"


def test_configure_in_a_program_keeps_the_ledger_and_the_payers(
    parent: BudgetManager, environment: dict[str, str]
) -> None:
    with parent.budget("alice"):
        inject(environment)
    assert run(environment, f"import budgeted; budgeted.configure(wait=1)\n{PROGRAM}").stdout == "app paid\n"
    assert spent(parent) == {"alice": 1, "inner": 1}


def test_threads_of_a_program_pay_as_well(parent: BudgetManager, environment: dict[str, str]) -> None:
    with parent.budget("alice"):
        inject(environment)
    program = """
import _thread, threading, budgeted
done = threading.Event()
def work():
    with budgeted.hold(cost=1) as held:
        held.settle(cost=1)
    done.set()
_thread.start_new_thread(work, ())
done.wait(20)
"""
    run(environment, program)
    assert spent(parent) == {"alice": 1}


def test_all_calls_of_a_program_are_refused_where_its_environment_is_wrong(
    parent: BudgetManager, environment: dict[str, str]
) -> None:
    with parent.budget("alice"):
        inject(environment)
    environment["BUDGETED_PAYERS"] = environment["BUDGETED_PAYERS"][:-3]
    done = run(environment)
    assert done.stdout.startswith("LedgerError budgeted-payers=")
    assert "all calls of this process are refused" in done.stderr


def test_a_program_of_a_ledger_in_memory_is_refused_and_told(environment: dict[str, str]) -> None:
    with BudgetManager("app", ledger="memory://") as made, made.budget("alice"):
        inject(environment)
    assert "set BUDGETED_LEDGER" in run(environment).stdout


def test_a_password_is_never_carried(environment: dict[str, str], tmp_path: Path) -> None:
    with BudgetManager("app", ledger=f"sqlite:///{tmp_path}/spend.db?timeout=5") as made, made.budget("alice"):
        told = json.loads(base64.urlsafe_b64decode(inject()["budgeted-payers"].split(".")[1] + "=="))
        assert told["payers"][0]["ledger"] is None
        inject(environment)
    assert "set BUDGETED_LEDGER" in run(environment).stdout
    environment["BUDGETED_LEDGER"] = f"sqlite:///{tmp_path}/spend.db"
    assert run(environment).stdout == "app paid\n"
    environment["BUDGETED_LEDGER"] = f"sqlite:///{tmp_path}/another.db"
    assert "is of another ledger than BUDGETED_LEDGER names" in run(environment).stdout


def test_a_program_without_a_manager_gets_that_of_a_signed_carrier(
    parent: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import json, sys, budgeted
try:
    with budgeted.extract(json.loads(sys.stdin.readline())), budgeted.hold(cost=1) as held:
        held.settle(cost=1)
except budgeted.CarrierError as error:
    print(error)
"""

    def told() -> str:
        with parent.budget("alice"):
            carrier = json.dumps(dict(inject()))
        command = [sys.executable, "-c", program]
        return subprocess.run(
            command, env={**os.environ}, input=carrier, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    assert "of which there is no manager here" in told()
    monkeypatch.setenv("BUDGETED_SECRET", "a secret")
    assert told() == ""
    assert spent(parent) == {"alice": 1}


@pytest.mark.parametrize(
    "made",
    ['budgeted.configure(project_name="own", {})', 'budgeted.BudgetManager("own", {})'],
    ids=["configured", "made"],
)
def test_a_program_with_a_project_of_its_own_is_charged_there_and_to_whoever_started_it(
    parent: BudgetManager, environment: dict[str, str], made: str
) -> None:
    program = f"""
import budgeted
manager = {made.format('ledger="memory://", max_budget=3')}
def spend(usd):
    with budgeted.hold(cost=usd) as held:
        held.settle(cost=usd)
spend(1)
with budgeted.budget("inner"):
    spend(1)
for usd in (2, 1):
    try:
        spend(usd)
    except budgeted.BudgetExceededError as error:
        print(error.account_kind, error.limit)
print(budgeted.get_manager() is manager, manager.report("user")["inner"].spent, manager.balance().spent)
"""
    with parent.budget("alice", cap=2.5):
        inject(environment)
    assert run(environment, program).stdout == "block a cap of $2.50\nblock a cap of $2.50\nTrue 1.0 2.0\n"
    assert spent(parent) == {"alice": 2}
    with parent.budget("alice", cap=10):
        inject(environment)
    assert run(environment, program).stdout == "global $3\nTrue 1.0 3.0\n"


def test_a_program_that_makes_a_manager_of_the_same_project_pays_once(
    parent: BudgetManager, environment: dict[str, str], tmp_path: Path
) -> None:
    program = f"""
import budgeted
manager = budgeted.BudgetManager("app", ledger={str(tmp_path / "ledger")!r}, default_user_limits={{"inner": "$2"}})
def spend(usd, user):
    with budgeted.budget(user), budgeted.hold(cost=usd) as held:
        held.settle(cost=usd)
for usd, user in ((1, None), (1, "inner"), (2, "inner"), (5, None)):
    try:
        spend(usd, user)
    except budgeted.BudgetExceededError as error:
        print(error.account_kind, error.limit)
"""
    with parent.budget("alice", cap=6):
        inject(environment)
    assert run(environment, program).stdout == "user $2\nblock a cap of $6\n"
    assert spent(parent) == {"alice": 2, "inner": 1}
    assert parent.balance().spent == 2


def test_what_variables_state_beside_the_payers_holds_in_a_program(
    parent: BudgetManager, environment: dict[str, str]
) -> None:
    with parent.budget("alice"):
        inject(environment)
    program = "import budgeted; print(budgeted.get_manager().settings.metric_users('alice'))"
    assert run({**environment, "BUDGETED_METRIC_USERS": "true"}, program).stdout == "alice\n"
