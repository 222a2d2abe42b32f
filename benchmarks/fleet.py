"""A thousand hosts that spend slices of one limit, in simulated time: what the server is asked, and what lies idle.

Each host is a ledger with slices over one in memory, which stands for the server and counts what it is asked. A clock
that the simulation turns says how old slices are. Hosts make calls at rates of their own, a few at most of them, and
calls end some seconds later.
"""

from __future__ import annotations

import heapq
import random
import unittest.mock
from collections.abc import Callable
from typing import Any

from benchmarks.measuring import line
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL, USD, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.ledger.spending_records import Used

HOSTS = 1000
LIMIT = 60 * 10**9  # nano-USD
HELD = Used(500_000, 1000, 1000)  # what a call may cost: $0.0005
AT = 1_800_000_000
NEVER = 2**62


class Server(MemoryLedger):
    """A ledger that counts what it is asked."""

    asked = 0

    def hold(self, *args: Any, **more: Any) -> Any:
        self.asked += 1
        return super().hold(*args, **more)

    def settle(self, *args: Any, **more: Any) -> bool:
        self.asked += 1
        return super().settle(*args, **more)

    def release(self, *args: Any, **more: Any) -> bool:
        self.asked += 1
        return super().release(*args, **more)


class Fleet:
    """The hosts, their clock, and what is to be done at which time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.number = 0
        self.server = Server()
        self.server.clock = lambda: AT + self.now
        self.server.set_limits(GLOBAL, [LimitSpec("usd", USD, LIMIT, 0, NEVER)])
        version = self.server.accounts()[0].version
        self.route = Route.make([Leg(GLOBAL, (("usd", 0, NEVER),))], [version], 20_000, "openai", "gpt-5-mini")
        self.hosts = [SlicedLedger(self.server, seconds=lambda: self.now, later=self.soon) for _ in range(HOSTS)]
        self.rates = [self.chance.choice([0.1, 1.0, 5.0, 20.0]) for _ in self.hosts]
        self.served = self.refused = self.in_flight = 0

    def soon(self, job: Callable[[], object]) -> None:
        """Do it a millisecond later."""
        self.at(0.001, job)

    def at(self, seconds: float, job: Callable[[], object]) -> None:
        self.number += 1
        heapq.heappush(self.events, (self.now + seconds, self.number, lambda: job() and None))

    def call(self, host: int) -> None:
        """A host makes a call, and the next one at its rate."""
        self.at(self.chance.expovariate(self.rates[host]), lambda: self.call(host))
        ledger = self.hosts[host]
        ask = Ask(HELD.usd, uncertain_output=0)
        held = ledger.hold(ledger.new_id(), self.route, ask, int(AT + self.now))
        if isinstance(held, Refused):
            self.refused += 1
            return
        self.served, self.in_flight = self.served + 1, self.in_flight + HELD.usd
        used = Used(self.chance.randrange(50_000, HELD.usd), 100, 100)
        self.at(self.chance.uniform(0.5, 4.0), lambda: self.end(ledger, held.id, used))

    def end(self, ledger: SlicedLedger, id: str, used: Used) -> None:
        self.in_flight -= HELD.usd
        ledger.settle(id, used, int(AT + self.now))

    def upkeep(self, host: int) -> None:
        self.at(background_worker.PERIOD, lambda: self.upkeep(host))
        self.hosts[host].upkeep()

    def run(self, seconds: float) -> None:
        """Let simulated time pass."""
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _, job = heapq.heappop(self.events)
            job()
        self.now = until


def report(fleet: Fleet) -> None:
    """Say what each part of the limit's life costs."""
    for host in range(HOSTS):
        fleet.at(fleet.chance.random(), lambda host=host: fleet.call(host))
        fleet.at(fleet.chance.random(), lambda host=host: fleet.upkeep(host))
    fleet.run(5)
    asked, served, stranded = fleet.server.asked, fleet.served, []
    for _ in range(5):
        fleet.run(1)
        held = fleet.server.read(GLOBAL).slots[0].held
        stranded.append(held - fleet.in_flight)
    calls, messages = fleet.served - served, fleet.server.asked - asked
    line(f"{HOSTS} hosts make", f"{calls / 5:,.0f} calls/s", "of 0.1, 1, 5 or 20 a second each, 0.5 to 4 s long")
    line("which ask the server", f"{messages / 5:,.0f}/s", f"{messages / calls:.2f} per call; without slices 2")
    line("lies idle in slices", f"{max(stranded) / LIMIT:.2%}", "of the limit, at most")
    while not fleet.refused:
        fleet.run(1)
    fleet.run(10)
    slot = fleet.server.read(GLOBAL).slots[0]
    assert slot.spent + slot.held <= LIMIT, slot
    line(
        "of the limit is spent 10 s after the first refusal",
        f"{slot.spent / LIMIT:.3%}",
        "the rest as calls in flight end",
    )


def main() -> None:
    # Their upkeep is simulated, too.
    with unittest.mock.patch.object(background_worker, "wanted"):
        report(Fleet(1))
