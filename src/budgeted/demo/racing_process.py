"""One process of the race: threads that make its calls, and a line on standard output for each that is through."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from budgeted.demo.guards import by_budgets, by_counter
from budgeted.demo.planned_calls import PlannedCall, Race, Send

MADE, REFUSED = b"made", b"refused"
GAVE_UP: Final = 3
"""The exit code of a process whose race was left."""


def main(send: Send, arguments: list[str]) -> None:
    """Make the calls of one process, as its parent has started it.

    Args:
        send: the client.
        arguments: the race as JSON, and which start this is.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    race = msgspec.json.decode(arguments[0], type=Race)
    guard = (by_budgets if race.ledger else by_counter)(race, send)
    line_up = threading.Barrier(race.threads)

    def run(calls: list[PlannedCall]) -> None:
        line_up.wait()
        for call in calls:
            word = MADE if guard(call) else REFUSED
            os.write(1, b"%s %d\n" % (word, call.number))  # one write, so that threads do not mix their lines

    calls = list(race.calls_of(int(arguments[1])))
    with ThreadPoolExecutor(race.threads) as pool:
        list(pool.map(run, [calls[thread :: race.threads] for thread in range(race.threads)]))


def _end_with_parent() -> None:
    """Standard input comes from the parent, and closes with it, however that ends."""
    while os.read(0, 1):  # not by `sys.stdin`, whose lock the interpreter wants when it ends
        pass
    os._exit(GAVE_UP)
