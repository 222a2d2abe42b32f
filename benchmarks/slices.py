"""Guarded calls per second of eight processes that take slices out of a limit in Redis, until it is used up.

Each process has a journal of its own, as if it were a host, and asks Redis twice per slice instead of twice per call.
"""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
from typing import Any

from benchmarks.guarded_call import MESSAGES, guarded
from benchmarks.measuring import line, together
from benchmarks.redis_ledger import server
from budgeted import BudgetExceededError, BudgetManager

PROCESSES = 8
LIMIT, SLICE = 0.40, 0.01  # USD; a call costs $0.0000075


def work(url: str, folder: str, gate: Any) -> None:
    logging.getLogger("budgeted").setLevel(logging.ERROR)
    with BudgetManager("fleet", ledger=url) as shared, BudgetManager("host", ledger=folder) as local:
        complete = guarded(local)
        gate.wait()
        try:
            while True:
                spend_slice(shared, local, complete)
        except BudgetExceededError:
            pass


def spend_slice(shared: BudgetManager, local: BudgetManager, complete: Any) -> None:
    with shared.hold(cost=SLICE) as taken, local.budget(cap=SLICE, on_exceed="raise") as block:
        try:
            while True:
                complete("gpt-4o-mini", MESSAGES, max_tokens=100)
        except BudgetExceededError:
            pass
        finally:
            taken.settle(cost=block.spent + block.held)


def main() -> None:
    logging.getLogger("budgeted").setLevel(logging.ERROR)  # that the limit will be used up is known
    context = multiprocessing.get_context("spawn")
    with server() as url, tempfile.TemporaryDirectory() as folder:
        with BudgetManager("fleet", max_budget=LIMIT, ledger=url) as shared:
            gate = context.Barrier(PROCESSES + 1)
            hosts = [f"{folder}/{number}" for number in range(PROCESSES)]
            crew = [context.Process(target=work, args=(url, host, gate)) for host in hosts]
            seconds = together(crew, gate)
            balance = shared.balance()
        calls, spent = 0, 0.0
        for host in hosts:
            with BudgetManager("host", ledger=host) as local:
                row = local.report(by="model")["gpt-4o-mini"]
                calls, spent = calls + row.calls, spent + row.spent
    assert abs(balance.spent - spent) < 1e-9, f"{balance}, while the hosts have spent {spent}"
    assert balance.held == 0, balance
    assert balance.spent <= LIMIT, balance
    line(f"{PROCESSES} processes with slices of ${SLICE} of one Redis", f"{calls / seconds:,.0f}/s", "exact")
    line(f"of a limit of ${LIMIT:.2f} they spent", f"{balance.spent / LIMIT:.2%}", "when each had been refused")
