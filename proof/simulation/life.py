"""What a simulated process does with a ledger: it makes calls, settles them, and says what it knows."""

from __future__ import annotations

import contextlib
import random
from typing import Any, Protocol

from ledgers import NEVER, cost, route
from plain_model import require

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL, USD, LimitSpec
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.spending_records import Used
from proof.simulation.books import ABSENT, Books, Outcome
from proof.simulation.system import SimulatedPath

DIRECTORY = SimulatedPath("/ledger")

LIMIT = 1000
"""Nano-USD, as long as nobody sets another limit."""

STEPS = {
    "hold": 40,
    "settle": 24,
    "settle_again": 5,
    "release": 8,
    "post": 6,
    "correct": 5,
    "set_limit": 2,
    "work_in_background": 9,
    "flush": 3,
    "sweep": 4,
    "reopen": 2,
}


class Machine(Protocol):
    """What a life is spent on."""

    rng: random.Random
    now: float
    power_cuts: int

    def note(self, what: str) -> None:
        """Note what was learned, for the story of the run."""


class Life:
    """One process's use of the ledger, until its steps are over or it is killed.

    Args:
        world: the machine.
        books: where it says what it knows.
        steps: how many verbs it does.
        fsync: as the ledger takes it.
    """

    def __init__(self, world: Machine, books: Books, steps: int, fsync: str = "background") -> None:
        self.world, self.books, self.steps, self.fsync = world, books, steps, fsync
        self.rng = world.rng
        self.ledger: Any = None
        self.bounds: dict[str, int] = {}
        self.planned: dict[str, tuple[Used, str]] = {}

    def live(self) -> None:
        """Do it all. A ledger that is not available is tried again; one that is refused as damaged is left alone."""
        while self.steps > 0:
            self.step()
        if self.ledger is not None and self.rng.random() < 0.5:
            with contextlib.suppress(LedgerError):
                self.close(self.ledger)

    def step(self) -> None:
        """Do one of the steps, or open the ledger."""
        self.steps -= 1
        replaced = self.books.replaced  # what is replaced in the midst of a verb is seen by the next one
        try:
            if self.ledger is None:
                self.open()
            else:
                getattr(self, self.rng.choices(list(STEPS), list(STEPS.values()))[0])(self.ledger)
            if self.ledger is not None:
                self.books.went_on[self.ledger.owner] = replaced
        except LedgerCorruptError as error:
            require(8, self.books.damaged or self.world.power_cuts > 0, "refused as damaged:", error)
            self.books.told.append(str(error))
            if self.ledger is None or self.rng.random() < 0.5 or not self.repair(self.ledger):
                self.steps = 0
        except LedgerError as error:
            self.world.note(f"error: {error}")

    def open(self) -> None:
        """Open the ledger, and give it its limit if it has none."""
        ledger = JournalLedger(DIRECTORY, fsync=self.fsync)
        ledger.hold_timeout = 1e9
        self.ledger = ledger
        self.books.limits.add(LIMIT)
        ledger.set_limits(GLOBAL, [limit_of(LIMIT)], create=True)
        self.books.limited = True

    def close(self, ledger: Any) -> None:
        """Give the ledger up; what is open is charged by others."""
        self.ledger = None
        self.books.owner_died(ledger.owner)
        self.bounds.clear()
        ledger.close()

    def repair(self, ledger: Any) -> bool:
        """Write back what this process knows. Returns whether it goes on."""
        try:
            ledger.repair()
        except LedgerError as error:
            self.world.note(f"cannot repair: {error}")
            return False
        self.world.note("repaired")
        return True

    # -- the steps

    def hold(self, ledger: Any) -> None:
        id, amount = ledger.new_id(), self.rng.randint(1, 60)
        way = self.way(ledger)
        self.books.may(id, ("open", amount))
        answer = ledger.hold(id, way, cost(amount), int(self.world.now))
        if isinstance(answer, Refused | Stale):
            self.books.is_now(id, ABSENT)
        else:
            self.books.is_now(id, ("open", amount))
            self.bounds[id] = amount

    def way(self, ledger: Any) -> object:
        """The route of a call; an account that has gone with a power cut is made anew."""
        if ledger.read(GLOBAL) is None:
            ledger.set_limits(GLOBAL, [limit_of(LIMIT)], create=True)
        return route(ledger, GLOBAL)

    def settle(self, ledger: Any) -> None:
        if self.bounds:
            id = self.rng.choice(sorted(self.bounds))
            bound = self.bounds[id]
            used = self.rng.choice([0, bound, self.rng.randint(0, bound), bound + self.rng.randint(0, 9)])
            plan = self.planned.setdefault(id, (Used(used, 1, 1), self.rng.choice(["", "", "why not"])))
            self.books.overruns += max(0, plan[0].usd - bound)
            self.settle_as_planned(ledger, id)
            del self.bounds[id]

    def settle_again(self, ledger: Any) -> None:
        if self.planned:
            self.settle_as_planned(ledger, self.rng.choice(sorted(self.planned)))

    def settle_as_planned(self, ledger: JournalLedger, id: str) -> None:
        used, reason = self.planned[id]
        outcome: Outcome = ("uncertain" if reason else "charged", used.usd)
        before = self.books.possible[id]
        self.books.may(id, outcome)
        answer = ledger.settle(id, used, int(self.world.now), reason)
        if answer:
            # A guess that comes after the truth is heard, and changes nothing.
            truth = [one for one in before if one[0] == "charged"] if reason else []
            self.books.is_now(id, outcome, *truth)
        elif not self.books.damaged:
            require(5, ABSENT in before, f"settle was answered with False for {id}, which is one of {before}")
            self.books.is_now(id, ABSENT)

    def release(self, ledger: Any) -> None:
        if self.bounds:
            id = self.rng.choice(sorted(self.bounds))
            before = self.books.possible[id]
            self.books.may(id, ("released", 0))
            if ledger.release(id, int(self.world.now)):
                self.books.is_now(id, ("released", 0), *self._still_on_its_way(id))
            elif not self.books.damaged:
                ended = {outcome for outcome in before if outcome[0] != "open"}
                if self.books.leases:  # it may be the answer to a repetition: that to the first was lost
                    ended.add(("released", 0))
                require(5, bool(ended), f"release was answered with False for {id}, which is open")
                self.books.is_now(id, *ended)
            self.bounds.pop(id)

    def _still_on_its_way(self, id: str) -> list[Outcome]:
        """What a settlement does that a network has kept back, and that comes after what was done since.

        No call releases what it has tried to settle. Whoever does so is charged after all: what was paid for counts.
        """
        if not (self.books.leases and id in self.planned):
            return []
        used, reason = self.planned[id]
        return [("uncertain" if reason else "charged", used.usd)]

    def post(self, ledger: Any) -> None:
        id, used = ledger.new_id(), Used(self.rng.randint(0, 20), 1, 1)
        way = self.way(ledger)
        self.books.overruns += used.usd
        self.books.may(id, ("charged", used.usd))
        if ledger.post(id, way, used, int(self.world.now)) is True:
            self.books.is_now(id, ("charged", used.usd))
            self.planned[id] = used, ""
        else:
            self.books.is_now(id, ABSENT)

    def correct(self, ledger: Any) -> None:
        if self.planned:
            id = self.rng.choice(sorted(self.planned))
            if any(what == "open" for what, _ in self.books.possible[id]):
                return
            before, used = self.books.possible[id], Used(self.rng.randint(0, 60), 1, 1)
            self.books.overruns += used.usd
            self.books.may(id, ("charged", used.usd))
            was = ledger.correct(id, used, int(self.world.now))
            if was is not None:
                self.books.is_now(id, ("charged", used.usd))
                self.planned[id] = used, ""
            elif not self.books.damaged:
                require(5, ABSENT in before, f"a correction of {id}, which is one of {before}, found nothing")

    def set_limit(self, ledger: Any) -> None:
        amount = self.rng.randint(200, 1500)
        self.books.limits.add(amount)
        ledger.set_limits(GLOBAL, [limit_of(amount)])
        self.books.limited = True

    def work_in_background(self, ledger: Any) -> None:
        background_worker.drain()
        ledger.upkeep()

    def flush(self, ledger: Any) -> None:
        before = self.books.sync_began()
        ledger.flush()
        self.books.synced(before)

    def sweep(self, ledger: Any) -> None:
        ledger.sweep()

    def reopen(self, ledger: Any) -> None:
        self.close(ledger)


def limit_of(amount: int) -> LimitSpec:
    return LimitSpec("usd", USD, amount, 0, NEVER, 0)
