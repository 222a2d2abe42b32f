"""Guarded calls per second of several processes that share a ledger, and whether the sum is exact."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

from benchmarks.guarded_call import call_times, guarded
from benchmarks.measuring import line, together
from budgeted import BudgetManager

PROCESSES = 8
WARM_UP = 10


def work(where: str, calls: int, gate: Any, processor: Any) -> None:
    with BudgetManager("shared", ledger=where) as manager:
        complete = guarded(manager)
        call_times(complete, WARM_UP)
        gate.wait()
        before = time.process_time()
        call_times(complete, calls)
        with processor:
            processor.value += time.process_time() - before


def work_together(what: str, where: str, calls: int, aim: str = "") -> None:
    """Have the processes make so many calls each, all charged to the global account and one user."""
    context = multiprocessing.get_context("spawn")
    with BudgetManager("shared", max_budget=10**6, ledger=where):
        pass
    gate = context.Barrier(PROCESSES + 1)
    processor = context.Value("d", 0.0)
    crew = [context.Process(target=work, args=(where, calls, gate, processor)) for _ in range(PROCESSES)]
    seconds = together(crew, gate)
    with BudgetManager("shared", ledger=where) as manager:
        made, held = manager.report(by="model")["gpt-4o-mini"].calls, manager.balance().held
    expected = PROCESSES * (calls + WARM_UP)
    assert made == expected, f"{made} calls are recorded of {expected}"
    assert held == 0, f"{held} USD are still held"
    each = processor.value / (PROCESSES * calls) * 1e6
    note = f"exact; {each:,.0f} us of a processor each {aim}".rstrip()
    line(f"{what}: {PROCESSES} processes together", f"{PROCESSES * calls / seconds:,.0f}/s", note)
