"""Guarded calls per second of the threads and of the tasks of one process, on a ledger behind a network.

Their verbs go with few round trips; next to that, in turn, each with a round trip of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.guarded_call import MESSAGES, call_times, guarded, response
from benchmarks.measuring import line, together
from budgeted import BudgetManager
from budgeted.ledger.combined_calls import Combiner

THREADS, TASKS = 32, 500
CALLS = 3_000
ROUNDS = 3


def in_threads(complete: Any, calls: int) -> float:
    """Calls per second of threads."""
    gate = threading.Barrier(THREADS + 1)

    def run() -> None:
        gate.wait()
        call_times(complete, calls // THREADS)

    return calls // THREADS * THREADS / together([threading.Thread(target=run) for _ in range(THREADS)], gate)


def in_tasks(complete: Any, calls: int) -> float:
    """Calls per second of the tasks of one event loop."""

    async def run() -> None:
        for _ in range(calls // TASKS):
            await complete("gpt-4o-mini", MESSAGES, max_tokens=100)

    async def all_of_them() -> float:
        started = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(run())
        return calls // TASKS * TASKS / (asyncio.get_running_loop().time() - started)

    return asyncio.run(all_of_them())


def guarded_coroutine(manager: BudgetManager) -> Any:
    """A decorated coroutine function."""
    answer = response()

    @manager.budgeted("alice")
    async def complete(model: str, messages: list[dict[str, str]], max_tokens: int | None = None) -> Any:
        return answer

    return complete


def compare_combined(
    what: str, where: str, calls: int = CALLS, of: Callable[[Any], Any] = lambda ledger: ledger, at_once: int = 10**6
) -> None:
    """Have threads and tasks make their calls, combined and one by one in turn, and see that all were counted.

    Args:
        what: the ledger, for people.
        where: its URL.
        calls: how many each crew makes in a round.
        of: what of a ledger has its combiner.
        at_once: round trips that may be under way at a time where they are made one by one.
    """
    with BudgetManager("combined", max_budget=10**6, ledger=where) as manager:
        functions, coroutines = guarded(manager), guarded_coroutine(manager)
        call_times(functions, 10)
        ledger = of(manager.ledger)
        ways = {"combined": ledger._together, "one by one": Combiner(ledger._together._run, 1, at_once=at_once)}
        crews: dict[str, Callable[[], float]] = {
            f"{THREADS} threads": lambda: in_threads(functions, calls),
            f"{TASKS} tasks": lambda: in_tasks(coroutines, calls),
        }
        rates: dict[tuple[str, str], float] = {}
        made = 10
        for _ in range(ROUNDS):
            for way, ledger._together in ways.items():
                for crew, run in crews.items():
                    rates[crew, way] = max(run(), rates.get((crew, way), 0.0))
                made += calls // THREADS * THREADS + calls // TASKS * TASKS
        ledger._together = ways["combined"]
        counted, held = manager.report(by="model")["gpt-4o-mini"].calls, manager.balance().held
    assert counted == made, f"{counted} of {made} calls were counted"
    assert not held, f"{held} is held still"
    for crew in crews:
        combined, single = rates[crew, "combined"], rates[crew, "one by one"]
        line(f"{what}: {crew}, each verb with a round trip", f"{single:,.0f}/s", "exact")
        line(f"{what}: {crew}, combined", f"{combined:,.0f}/s", f"exact; {combined / single:.2f} times that (aim: 2)")
