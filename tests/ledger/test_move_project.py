"""Moving a project into every kind of ledger, and out of it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ledgers import ALICE, AT, BOB, calls, charge, check, give, hold, spent, tokens, usd

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.errors import LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.move_project import content, migrate
from budgeted.ledger.opening import exists
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger
from budgeted.ledger.urls import public


@pytest.fixture
def filled() -> MemoryLedger:
    """A ledger with limits of every unit, charges of some days and models, an uncertain one, and many users."""
    source = MemoryLedger()
    source.clock = lambda: 0.0
    give(source, GLOBAL, usd(10_000, "usd"), calls(500, 0, 2 * AT))
    give(source, ALICE, usd(1000, "usd/month", AT - 5, AT + 100), tokens(500))
    give(source, BOB)
    for number in range(1100):
        source.set_limits(f"u:{number:05}", [usd(number)], explicit=False)
    for amount in range(1, 30):
        charge(source, amount, GLOBAL, ALICE, model=f"m{amount % 3}", day=20_000 + amount % 5)
    charge(source, 7, GLOBAL, BOB, model="m\N{PILE OF POO}")
    doubtful = hold(source, 20, GLOBAL, ALICE, id="x.1")
    source.settle(doubtful.id, Used(11, 3, 4), AT, "timed out")
    return source


def test_a_project_goes_into_every_ledger_and_comes_out_as_it_was(filled: MemoryLedger, ledger: Any) -> None:
    taken = migrate(filled, ledger)
    assert len(taken.accounts) == 1103
    check(ledger)
    back = MemoryLedger()
    migrate(ledger, back)
    assert [*content(back).comparable()] == [*content(filled).comparable()] == [*taken.comparable()]


def test_what_was_moved_is_charged_and_corrected_as_before(filled: MemoryLedger, ledger: Any) -> None:
    migrate(filled, ledger)
    for one in (filled, ledger):
        charge(one, 5, GLOBAL, ALICE, model="m1")
        one.correct("x.1", Used(1, 1, 1), AT)
    assert spent(ledger, ALICE, "usd/month") == spent(filled, ALICE, "usd/month")
    assert [*content(ledger).comparable()] == [*content(filled).comparable()]
    check(ledger)


def test_an_uncertain_charge_of_a_user_who_was_deleted_since_is_moved(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    for name in (ALICE, BOB):
        give(ledger, name, usd(100))
    for id, payers in (("x.1", (GLOBAL, ALICE)), ("x.2", (BOB,))):
        hold(ledger, 20, *payers, id=id)
        ledger.settle(id, Used(11, 3, 4), AT, "timed out")
    ledger.delete(ALICE)
    ledger.delete(BOB)
    back = MemoryLedger()
    migrate(ledger, back)
    assert [*content(back).comparable()] == [*content(ledger).comparable()]
    back.correct("x.1", Used(1, 3, 4), AT)
    assert spent(back) == 1
    check(back)


def test_a_model_of_a_very_long_name_is_moved_on_and_on(ledger: Any, directory: Path) -> None:
    give(ledger, GLOBAL, usd(100))
    charge(ledger, 7, GLOBAL, model="m" * 500)
    charge(ledger, 8, GLOBAL, model="m" * 501)
    doubtful = hold(ledger, 20, GLOBAL, id="x.1", model="m" * 500)
    ledger.settle(doubtful.id, Used(11, 3, 4), AT, "timed out")
    database, back = SQLLedger(f"sqlite:///{directory}-2.db"), MemoryLedger()
    migrate(ledger, database)
    migrate(database, back)
    for one in (ledger, database, back):
        one.correct("x.1", Used(1, 3, 4), AT)
        assert sorted(row.usd for row in one.rollups()) == [8, 8]
    database.close()


def test_calls_in_flight_are_moved_from_no_ledger(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    hold(ledger, 10, GLOBAL)
    target = MemoryLedger()
    with pytest.raises(LedgerError, match="1 calls are in flight"):
        migrate(ledger, target)
    assert target.accounts() == []


# -- by the command


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(budgeted, [str(arg) for arg in args], catch_exceptions=False)
    return result.exit_code, result.output


def test_a_misspelt_project_is_refused_and_nothing_is_made_at_either_end(
    place: tuple[str, str], tmp_path: Path
) -> None:
    where, name = place
    wrong, new = name + "x", tmp_path / "new"
    told = f"there is no project {wrong!r} in {public(where)}; "
    for there in (False, True):
        code, output = run("migrate", where, new, "--project", wrong)
        assert code == 1
        assert told in output
        assert (name in re.split("[ ,;]+", output)) == there
        if not there:
            BudgetManager(name, ledger=where, max_budget=5).close()
    assert not new.exists()
    if not where.startswith("http"):  # what a server of ours has, nobody can look up without opening it
        assert (exists(where, name), exists(where, wrong)) == (True, False)
        assert told in run("balance", "--ledger", where, "--project", wrong)[1]
    code, output = run("migrate", where, new, "--project", name)
    assert code == 0
    assert "all are equal" in output
