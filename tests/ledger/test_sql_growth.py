"""Ledgers in a database stay as fast with a million accounts, and with many charges that nobody confirmed."""

# ruff: noqa: S608 - the names are ours
from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import ALICE, AT, charge, give, hold, usd
from servers import postgres_url, project

from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.sql.ledger import SQLLedger

ACCOUNTS, CHARGES = 60_000, 40_000
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """With so many accounts, and so many uncertain charges of the global one."""
    url = f"sqlite:///{tmp_path_factory.mktemp('l')}/ledger.db" if request.param == "sqlite" else postgres_url()
    made: Any = SQLLedger(url, "p", prefix=project().replace("-", "_") + "_")
    give(made, GLOBAL, usd(10**15))
    give(made, ALICE, usd(10**15))
    one = hold(made, 7, GLOBAL, ALICE)
    made.settle(one.id, one.guess, AT, "cut off")
    hold(made, 7, GLOBAL, ALICE)
    fill(made)
    yield made
    made.close()


def fill(ledger: Any) -> None:
    named = {name: table.name for name, table in vars(ledger._database.tables).items() if isinstance(table, sa.Table)}
    many = {
        "accounts": (ACCOUNTS, "'p', 'u:' || i, 1, 0, 0, '[]', 0, 0, 0, 0, NULL, 0, 0, '', ''"),
        "holds": (
            CHARGES,
            f"'p', 'many.' || i, 'many', {AT} + i / 100, 0, 7, 0, NULL, route, {AT} + i / 100, used, 'cut off', 0, ''",
        ),
        "reports": (ACCOUNTS, "'p', 20000, 'u:' || i, 'p', 'm', 1, 7, 1, 1, 0"),
    }
    for name, (count, values) in many.items():
        source = f"n, {named['holds']} WHERE reason = 'cut off'" if name == "holds" else "n"
        run(ledger, f"{NUMBERS.format(count)} INSERT INTO {named[name]} SELECT {values} FROM {source}")
    doubts = named["doubts"]
    many_of = f"FROM {named['holds']} WHERE id LIKE 'many.%'"
    for name in (GLOBAL, ALICE):  # as each charge adds itself
        hours = f"SELECT project, '{name}', 'm', opened / 3600, count(*) * 7 {many_of}"
        add = f"ON CONFLICT (project, account, model, hour) DO UPDATE SET usd = {doubts}.usd + excluded.usd"
        run(ledger, f"INSERT INTO {doubts} {hours} GROUP BY project, opened / 3600 {add}")
    run(ledger, "ANALYZE")


def run(ledger: Any, statement: str, given: Any = ()) -> list[Any]:
    def work(driver: Any) -> list[Any]:
        found = driver.execute(statement, given or None) if ledger.remote else driver.execute(statement, given)
        return list(found.fetchall()) if "EXPLAIN" in statement else []

    found: list[Any] = ledger._database.run(work, time.monotonic() + 120)
    return found


def plan(ledger: Any, statement: str, **given: Any) -> str:
    """How the database goes about a statement."""
    explain = "EXPLAIN " if ledger.remote else "EXPLAIN QUERY PLAN "
    return "\n".join(str(row[-1]) for row in run(ledger, explain + statement, {"project_": "p"} | given))


def statements(ledger: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    sql, now = ledger._sql, {"now": float(AT), "timeout": 900.0}
    return {
        "accounts of a call": sql.lock_accounts([GLOBAL, ALICE]),
        "holds of calls": sql.lock_holds(["many.7", "many.8"]),
        "an account": (sql.read_account, {"id_": ALICE}),
        "a hold": (sql.read_hold, {"id_": "many.7"}),
        "where an owner stands": (sql.standing, {"owner_": "o"}),
        "open holds": (sql.open_holds, {}),
        "holds that nobody ends": (sql.abandoned, now),
        "one of them": (sql.still_abandoned, now | {"id_": "many.7"}),
        "holds to be dropped": (
            sql.list_old_holds,
            {"now": None, "seconds": 3600.0, "remembered": 10_000, "count": 1000},
        ),
        "ids of those that were": (sql.find_ended, {"owner_": "o", "number": 7}),
        "sums of what is uncertain": (sql.sum_doubts, {"account_": GLOBAL, "first": 0, "behind": 2**40}),
        "uncertain charges of a time": (sql.doubtful_holds, {"first": AT, "behind": AT + 3}),
        "the first and last day of the reports": (sql.report_days, {}),
        "reports to be dropped": (sql.prune_reports, {"before": 19_600}),
        "the report of an account": (sql.account_reports, {"account_": "u:7", "since": 0}),
        "a page of accounts": (
            sql.list_accounts,
            {"prefix": "b:", "behind": "b;", "after": "", "length": 2, "count": 1000},
        ),
    }


@pytest.mark.slow
def test_no_verb_goes_through_all_rows(ledger: Any) -> None:
    tables = ledger._database.tables
    for what, (statement, given) in statements(ledger).items():
        found = plan(ledger, statement, **given)
        for table in (tables.accounts, tables.holds, tables.reports):
            assert f"SCAN {table.name}" not in found, (what, found)
            assert f"Seq Scan on {table.name}" not in found, (what, found)


@pytest.mark.slow
@pytest.mark.parametrize("time", [(0, 2**62), (AT, AT + 1), (AT - AT % 3600, AT + 3600), (AT + 7, AT + 1000), (0, AT)])
def test_sums_of_what_is_uncertain_are_those_of_all_charges(ledger: Any, time: tuple[int, int]) -> None:
    charge(ledger, 1, GLOBAL, ALICE)
    start, end = time
    mine = [one.used.usd for one in ledger.uncertain() if start <= one.opened < end]
    assert len(mine) < CHARGES + 2
    found = ledger.uncertain_sums([(GLOBAL, *time), (ALICE, *time), ("u:nobody", *time)])
    assert found == [{"m": sum(mine)} if mine else {}] * 2 + [{}]
