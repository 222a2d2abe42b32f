"""What a call in a slice costs, how many eight processes make of one limit in Redis, and how much of it they spend.

A slice is spent in its process's memory, so that calls per second are bound by the processors: that many times what one
of them makes alone. Whole guarded calls are counted, and holds and settlements without the rest of a call.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

from benchmarks.crew import PROCESSES, work_together
from benchmarks.guarded_call import MESSAGES, call_times, guarded
from benchmarks.measuring import in_turn, line, together
from benchmarks.redis_ledger import server
from benchmarks.verbs import ASK, AT, USED, a_route
from budgeted import BudgetExceededError, BudgetManager
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.opening import open_ledger

CALLS = 50_000
VERBS = 300_000
LIMIT = 0.40  # USD; a call costs $0.0000075, and holds ten times as much


def held_and_settled(ledger: Ledger, route: Route) -> Callable[[], None]:
    """What a call asks of a ledger."""

    def call() -> None:
        id = ledger.new_id()
        ledger.hold(id, route, ASK, AT)
        ledger.settle(id, USED, AT)

    return call


def compare(url: str) -> None:
    """Say what a call costs a process that is alone, in a slice and in memory."""
    ledgers = [MemoryLedger(), open_ledger(url, "alone", fsync="background")]
    memory, sliced = in_turn(*[held_and_settled(one, a_route(one)) for one in ledgers])
    line("a hold and its settlement in memory", f"{memory:.2f} us")
    line("in a slice", f"{sliced:.2f} us", f"{sliced / memory:.2f} times")
    with (
        BudgetManager("memory", max_budget=10**6, ledger="memory://") as first,
        BudgetManager("one", max_budget=10**6, ledger=url) as second,
    ):
        whole = [guarded(first), guarded(second)]
        memory, sliced = in_turn(*[lambda one=one: call_times(one, 1) for one in whole])
    line("a guarded call in memory", f"{memory:.2f} us")
    line(
        "in a slice",
        f"{sliced:.2f} us",
        f"{sliced / memory:.2f} times; {1e6 / sliced:,.0f}/s for each of {os.cpu_count()} processors",
    )
    for ledger in ledgers:
        ledger.close()


def hold_and_settle(url: str, route: Route, gate: Any) -> None:
    """Have the ledger count so many calls, without making any."""
    ledger = open_ledger(url, "verbs", fsync="background")
    call = held_and_settled(ledger, route)
    gate.wait()
    for _ in range(VERBS):
        call()
    ledger.close()


def hold_and_settle_together(url: str) -> None:
    """Have the processes do that at once."""
    context = multiprocessing.get_context("spawn")
    ledger = open_ledger(url, "verbs", fsync="background")
    route = a_route(ledger)
    gate = context.Barrier(PROCESSES + 1)
    crew = [context.Process(target=hold_and_settle, args=(url, route, gate)) for _ in range(PROCESSES)]
    seconds = together(crew, gate)
    account = ledger.read(GLOBAL)
    ledger.close()
    assert account is not None
    assert (account.calls, account.usd, account.held) == (PROCESSES * VERBS, PROCESSES * VERBS * USED.usd, 0), account
    line(f"holds and settlements of {PROCESSES} processes together", f"{PROCESSES * VERBS / seconds:,.0f}/s", "exact")


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
    with server() as redis:
        url = f"{redis}?slice=auto"
        compare(url)
        hold_and_settle_together(url)
        work_together("slices of one Redis", url, CALLS, "(aim: at least 100,000)")
        spend_all(url)
