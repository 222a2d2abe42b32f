"""Guarded calls per second of eight threads, next to one: the lock must not eat what threads bring."""

from __future__ import annotations

import tempfile
import threading
from typing import Any

from benchmarks.guarded_call import call_times, check, guarded
from benchmarks.measuring import ROUNDS, line, together
from budgeted import BudgetManager

CALLS = 20_000


def rate(complete: Any, threads: int) -> float:
    """Calls per second of so many threads together, in the best of several rounds."""
    rates = []
    for _ in range(ROUNDS):
        gate = threading.Barrier(threads + 1)

        def run(gate: threading.Barrier = gate) -> None:
            gate.wait()
            call_times(complete, CALLS // threads)

        crew = [threading.Thread(target=run) for _ in range(threads)]
        rates.append(CALLS / together(crew, gate))
    return max(rates)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, ledger in (("memory", "memory://"), ("journal", folder)):
            with BudgetManager(name, max_budget=10**6, ledger=ledger) as manager:
                complete = guarded(manager)
                check(manager, complete)
                one, eight = rate(complete, 1), rate(complete, 8)
                made, held = manager.report(by="model")["gpt-4o-mini"].calls, manager.balance().held
                assert made == 2 * ROUNDS * CALLS + 1, f"{made} calls are recorded"
                assert held == 0, f"{held} USD are still held"
            line(f"{name}: one thread", f"{one:,.0f}/s")
            line(f"{name}: eight threads", f"{eight:,.0f}/s", f"{eight / one:.2f} of one thread (aim: at least 0.7)")
