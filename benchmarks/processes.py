"""Guarded calls per second of eight processes on one journal, and whether the sum is exact."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from typing import Any

from benchmarks.guarded_call import call_times, guarded
from benchmarks.measuring import line
from budgeted import BudgetManager

PROCESSES = 8
CALLS = 5_000


def work(folder: str, gate: Any) -> None:
    with BudgetManager("shared", ledger=folder) as manager:
        complete = guarded(manager)
        call_times(complete, 10)
        gate.wait()
        call_times(complete, CALLS)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with BudgetManager("shared", max_budget=10**6, ledger=folder):
            pass
        gate = context.Barrier(PROCESSES + 1)
        crew = [context.Process(target=work, args=(folder, gate)) for _ in range(PROCESSES)]
        for one in crew:
            one.start()
        gate.wait()
        started = time.perf_counter()
        for one in crew:
            one.join()
        seconds = time.perf_counter() - started
        with BudgetManager("shared", ledger=folder) as manager:
            row = manager.report(by="model")["gpt-4o-mini"]
            calls, held = row.calls, manager.balance().held
    expected = PROCESSES * (CALLS + 10)
    exact = "exact" if calls == expected and held == 0 else f"NOT EXACT: {calls} of {expected}, held {held}"
    line(f"{PROCESSES} processes together", f"{PROCESSES * CALLS / seconds:,.0f}/s", f"{exact} (aim: at least 15,000)")
