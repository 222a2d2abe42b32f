"""Limits that code declares, beside those that an operator sets, on every ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis_server
from ledgers import finish, opened, python, together
from servers import project

from budgeted import BudgetManager, LedgerError
from budgeted.ledger.accounts import GLOBAL, USD, LimitSpec
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.move_project import migrate
from budgeted.manager import declarations, declared_limits
from budgeted.manager.declarations import Declaration
from budgeted.manager.running_program import Program, this_program


@pytest.fixture
def operator(ledger: Any) -> Iterator[BudgetManager]:
    """Who looks at a project and changes it, and declares nothing."""
    with BudgetManager("tests", ledger=ledger) as made:
        yield made


def declared(ledger: Any, limit: str) -> str:
    """The limit that counts after a program has declared this one."""
    manager = BudgetManager("tests", ledger=ledger, max_budget=limit)
    return " + ".join(balance.text or "" for balance in manager.balances())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    return [text for text in found if "the limit of project" in text]


TELLING = """
import msgspec
from budgeted.manager.running_program import this_program
print(msgspec.json.encode(this_program()).decode())
"""


@pytest.fixture(scope="module")
def ended() -> Program:
    """A process that has ended."""
    [told] = finish(python(TELLING))
    return msgspec.json.decode(told, type=Program)


@pytest.mark.usefixtures("operator")
def test_a_changed_declaration_counts_and_says_nothing_of_its_own_program(
    ledger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert declared(ledger, "$1/day") == "$1/day"
    assert declared(ledger, "$2/day + 60 calls/minute") == "$2/day + 60 calls/minute"
    assert declared(ledger, "$1/month") == "$1/month"
    assert warnings(caplog) == []


def test_the_same_declaration_leaves_an_operators_change_alone(
    ledger: Any, operator: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    declared(ledger, "$1/day + 60 calls/minute")
    operator.set_limits(None, "$5/day")
    assert declared(ledger, "60 calls/minute + $1/day") == "$5/day"
    assert warnings(caplog) == []
    assert declared(ledger, "$2/day") == "$2/day"
    assert "$5/day, which was set by an operator or an earlier release, counts no more" in warnings(caplog)[0]


def test_a_new_amount_keeps_what_was_spent(ledger: Any, operator: BudgetManager) -> None:
    declared(ledger, "$1/day")
    with operator.hold(cost=0.75) as held:
        held.settle(cost=0.75)
    declared(ledger, "$2/day")
    assert operator.balance().spent == 0.75


def test_no_limit_can_be_declared_and_taken_back(ledger: Any, operator: BudgetManager) -> None:
    declared(ledger, "$1/day")
    BudgetManager("tests", ledger=ledger, max_budget=())
    assert operator.balances() == []
    assert declared(ledger, "$1/day") == "$1/day"


def test_limits_of_before_there_were_declarations_are_replaced_and_told_of(
    ledger: Any, operator: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    operator.set_limits(None, "$1/day")
    assert declared(ledger, "$1/day") == "$1/day"
    assert warnings(caplog) == []
    ledger.delete(next(one.id for one in declarations.read(ledger, GLOBAL)))
    assert declared(ledger, "$9/day") == "$9/day"
    [told] = warnings(caplog)
    assert "is now $9/day" in told
    assert "$1/day, which was set by an operator or an earlier release" in told


def test_a_declared_limit_comes_back_where_its_account_was_deleted(ledger: Any, operator: BudgetManager) -> None:
    declared(ledger, "$1/day")
    ledger.delete(GLOBAL)
    assert declared(ledger, "$1/day") == "$1/day"
    assert operator.balance().limit == 1


def test_nobody_who_looks_at_users_finds_declarations(ledger: Any, operator: BudgetManager) -> None:
    declared(ledger, "$1/day")
    operator.set_limits("alice", "$1")
    assert [one.name for one in operator.accounts()] == ["alice"]
    assert operator.get_users() == ["alice"]
    assert operator.report() == {}
    assert operator.repair_periods() == 0


@pytest.mark.usefixtures("operator")
def test_declarations_move_with_their_project(ledger: Any, caplog: pytest.LogCaptureFixture) -> None:
    declared(ledger, "$1/day")
    with BudgetManager("tests", ledger=MemoryLedger()) as moved:
        migrate(ledger, moved.ledger, overwrite=True)
        moved.set_limits(None, "$5/day")
        assert declared(moved.ledger, "$1/day") == "$5/day"
        assert declared(moved.ledger, "$2/day") == "$2/day"
    assert len(warnings(caplog)) == 1


def unfinished(ledger: Any, limit: LimitSpec, program: Program) -> None:
    """A process that has declared a limit, and not yet put it in place."""
    assert declarations.make(ledger, GLOBAL, 1, Declaration(((limit.limit, limit.amount),), program, 0))


@pytest.mark.usefixtures("operator")
def test_what_a_process_that_died_did_not_put_in_place_is_put_there(ledger: Any, ended: Program) -> None:
    unfinished(ledger, LimitSpec("usd/day", USD, 10**9, 0, 1), ended)
    assert declared(ledger, "$1/day") == "$1/day"


def test_a_process_that_does_not_go_on_is_waited_for_with_patience_and_replaced(
    ledger: Any, operator: BudgetManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(declared_limits, "PATIENCE", 0.01)
    slow = msgspec.structs.replace(this_program(), name="slow.py", pid=4711, boot="", host="elsewhere")
    unfinished(ledger, LimitSpec("usd/day", USD, 10**9, 0, 1), slow)
    assert declared(ledger, "$2/day") == "$2/day"
    assert "by 'slow.py' (process 4711 on 'elsewhere'), which may still run" in warnings(caplog)[0]
    assert operator.balance().limit == 2


def test_a_limit_that_the_ledger_does_not_take_is_not_declared() -> None:
    with BudgetManager("tests", ledger=redis_server.new_ledger()) as operator:
        declared(operator.ledger, "$1/day")
        with pytest.raises(LedgerError, match="too large for Redis"):
            declared(operator.ledger, "$10_000_000/day")
        operator.set_limits(None, "$5/day")
        assert declared(operator.ledger, "$1/day") == "$5/day"


def test_declarations_of_processes_that_ended_are_dropped_and_others_are_kept_up_to_a_number(
    ledger: Any, operator: BudgetManager, ended: Program
) -> None:
    declared(ledger, "$1/day")
    elsewhere = [Program("x.py", pid, "elsewhere", "", "", 0) for pid in range(40)]
    for at, program in enumerate([ended, *elsewhere]):
        declarations.share(ledger, GLOBAL, 1, Declaration((("usd", 1),), program, at))
    declared(ledger, "$2/day")
    kept = [one.declaration.program for one in declarations.read(ledger, GLOBAL)]
    assert ended not in kept
    assert len(kept) == 1 + declared_limits.MOST_KEPT
    assert elsewhere[-1] in kept
    assert operator.balance().limit == 2


RACE = """
import logging, sys
from budgeted import BudgetManager, LedgerError
told = []
logging.getLogger("budgeted").addFilter(lambda record: told.append(record.getMessage()) or False)
print("ready", flush=True)
input()
with BudgetManager(sys.argv[2], ledger=sys.argv[1], max_budget=sys.argv[3]):
    print(*(text for text in told if "the limit of project" in text), sep=";")
    print("declared", flush=True)
    input()
"""


@pytest.mark.slow
def test_of_processes_that_declare_at_once_the_last_one_tells_and_both_are_named_to_the_next(
    place: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    declared_at_once(*place, caplog)


@pytest.mark.slow
def test_so_it_is_in_a_directory(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    declared_at_once(str(directory), project(), caplog)


def declared_at_once(where: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    processes = [python(RACE, where, name, limit) for limit in ("$1/day", "$2/day")]
    together(*processes)
    told = []
    for process in processes:
        assert process.stdout is not None
        told.append(process.stdout.readline().strip())
        assert process.stdout.readline() == "declared\n"
    assert sorted(map(bool, told)) == [False, True], told
    with BudgetManager(name, ledger=opened(where, name)) as manager:
        assert manager.balance().text == ("$1/day" if told[0] else "$2/day")
    with BudgetManager(name, ledger=opened(where, name), max_budget="$3/day") as manager:
        assert manager.balance().text == "$3/day"
    [message] = warnings(caplog)
    for process, limit in zip(processes, ("$1/day", "$2/day"), strict=True):
        assert f"(process {process.pid} on " in message
        assert f"{limit}, declared at " in message
        assert process.stdin is not None
        process.stdin.write("\n")
    finish(*processes)
