"""Guarded calls per second of eight processes with slices of one limit in Redis, and how much of it they spend."""

from __future__ import annotations

import logging
import multiprocessing
from typing import Any

from benchmarks.crew import PROCESSES, work_together
from benchmarks.guarded_call import MESSAGES, guarded
from benchmarks.measuring import line, together
from benchmarks.redis_ledger import server
from budgeted import BudgetExceededError, BudgetManager

CALLS = 50_000
LIMIT = 0.40  # USD; a call costs $0.0000075, and holds ten times as much


def spend(url: str, gate: Any) -> None:
    """Make calls until one is refused."""
    logging.getLogger("budgeted").setLevel(logging.ERROR)
    with BudgetManager("fleet", ledger=url) as manager:
        complete = guarded(manager)
        gate.wait()
        try:
            while True:
                complete("gpt-4o-mini", MESSAGES, max_tokens=100)
        except BudgetExceededError:
            pass


def spend_all(url: str) -> None:
    """Have the processes make calls until each is refused."""
    context = multiprocessing.get_context("spawn")
    with BudgetManager("fleet", max_budget=LIMIT, ledger=url) as manager:
        gate = context.Barrier(PROCESSES + 1)
        together([context.Process(target=spend, args=(url, gate)) for _ in range(PROCESSES)], gate)
        balance, row = manager.balance(), manager.report(by="model")["gpt-4o-mini"]
    assert balance.spent == row.spent <= LIMIT, (balance, row)
    assert round(row.calls * 0.0000075, 9) == round(row.spent, 9), row
    assert not balance.held, balance
    line(f"of a limit of ${LIMIT:.2f} they spent", f"{balance.spent / LIMIT:.2%}", "when each had been refused; exact")


def main() -> None:
    logging.getLogger("budgeted").setLevel(logging.ERROR)  # that the limit will be used up is known
    with server() as url:
        work_together("slices of one Redis", f"{url}?slice=auto", CALLS, "(aim: at least 100,000)")
        spend_all(f"{url}?slice=auto")
