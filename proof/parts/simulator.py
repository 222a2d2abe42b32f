"""A journal shared by processes on a simulated machine: torn writes, failed syncs, kills, power cuts, older files.

Each case is a machine with a disk, a clock and two to four processes, of which one runs at a time; a seed says which,
and what goes wrong at which system call. In the end somebody opens the ledger, and every hold has to be what was
acknowledged of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from ledgers import route
from plain_model import require

from budgeted.errors import LedgerCorruptError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import ledger as journal
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.journal.repair import repair
from budgeted.ledger.spending_records import Used
from proof.simulation import network, system
from proof.simulation.books import Books, check_reopened
from proof.simulation.life import DIRECTORY, Life
from proof.simulation.world import Faults, Killed, World
from proof.trial import Case, Trial

SHORT, LONG = 15.0, 180.0

KILLS = ["kill -9", "torn write", "SIGSTOP"]
CALLS = ["open", "read", "write", "ftruncate", "listdir", "unlink", "rename", "mmap"]
ERRORS = ["short write", "failed fsync", *(f"failed {call}" for call in CALLS)]
DAMAGE = ["older files", "removed files", "misdirected write", "lost write"]
SUBJECTS = {
    "kills": KILLS,
    "errors": [*ERRORS, *KILLS],
    # Not both: who is killed while it gets over a failed sync leaves lines that no later sync writes.
    "power": ["power cut", *KILLS],
    "power-and-disk": ["power cut", *ERRORS],
    "damage": [*DAMAGE, "kill -9"],
}
NETWORK = [
    "lost request",
    "late request",
    "repeated request",
    "refused connection",
    "lost reply",
    "torn reply",
    "gateway error",
    "gateway error after it was done",
    "server restart",
    "kill -9",
]
RATES = [0.0003, 0.001, 0.004, 0.015]


def run(trial: Trial) -> None:
    """Simulate machines until the time is up, a share for each kind of faults."""
    share = 1 / (len(SUBJECTS) + 1)
    with system.installed():
        for subject in SUBJECTS:
            trial.random_cases(subject, attempt, share)
    with network.installed():
        try_network(trial, share)


def try_network(trial: Trial, share: float) -> None:
    """Simulate networks for a share of the part's time."""
    with closing(asyncio.new_event_loop()) as loop:
        trial.random_cases("network", lambda case: attempt_network(case, loop), share)


def attempt(case: Case) -> None:
    """One machine, from the making of a ledger to its end."""
    Run(case).run()


def attempt_network(case: Case, loop: asyncio.AbstractEventLoop) -> None:
    """One server and its clients."""
    rng = case.rng
    rates = {kind: rng.choice([0.01, 0.05, 0.2]) for kind in rng.sample(NETWORK, rng.randint(1, len(NETWORK)))}
    case.tell(f"rates={rates}")
    simulated = network.Network(rng, Faults(rates, case.fault, case.tell), loop)
    network.on(simulated)
    books = Books(simulated.note, leases=True)
    with listening(books):
        network.run(simulated, books, rng.randint(1, 4))


class Run:
    """A machine with its processes and their books."""

    def __init__(self, case: Case) -> None:
        rng = self.rng = case.rng
        self.case = case
        # Some kinds of faults in each run, so that none hides the others.
        kinds = SUBJECTS[case.subject]
        rates = {kind: rng.choice(RATES) for kind in rng.sample(kinds, rng.randint(1, len(kinds)))}
        self.fsync = rng.choice(["background", "always"])
        self.world = World(rng, Faults(rates, self.fault, case.tell), rng.choice([0.02, 0.1, 0.3]))
        self.books = Books(self.world.note, synced_always=self.fsync == "always")
        self.world.events = {"older files": self.put_back, "removed files": self.remove}
        self.world.on_power_cut = self.books.power_was_cut
        self.lives = rng.randint(2, 4)
        self.again = rng.randint(0, 4)
        self.backup: dict[str, bytes] | None = None
        case.tell(f"fsync={self.fsync} processes={self.lives} rates={rates}")

    def fault(self, kind: str, detail: str) -> None:
        """A fault is injected."""
        if kind in DAMAGE:
            self.books.damaged = True
        self.case.fault(kind, detail)

    def put_back(self) -> None:
        """Somebody puts an older copy of the files in their place."""
        if self.backup is None:
            self.backup = self.world.disk.copy(str(DIRECTORY))
            return
        kept = self.rng.choice([("lock",), ()])
        self.fault("older files", f"but for {kept}")
        self.books.replaced += not kept
        self.world.disk.put_back(str(DIRECTORY), self.backup, kept)

    def remove(self) -> None:
        """Somebody removes the files, or some of them."""
        there = self.world.disk.copy(str(DIRECTORY))
        gone = [name for name in there if self.rng.random() < 0.5] if self.rng.random() < 0.5 else list(there)
        if gone:
            self.fault("removed files", ", ".join(gone))
            self.world.disk.put_back(str(DIRECTORY), {}, tuple(name for name in there if name not in gone))

    def run(self) -> None:
        """Let the processes live, then look at what they leave."""
        system.on(self.world)
        with pytest.MonkeyPatch.context() as patch, listening(self.books):
            patch.setattr(journal, "ROTATE_LINES", self.rng.choice([6, 20, 100_000]))
            try:
                for _ in range(self.lives):
                    self.world.start(self.live)
                self.world.run()
                self.world.alone(self.look)
            finally:
                system.forget_ledgers()

    def live(self) -> None:
        """The life of a process; who is killed is often started again."""
        life = Life(self.world, self.books, self.rng.randint(4, 25), self.fsync)
        try:
            life.live()
        except Killed:
            if self.again > 0:
                self.again -= 1
                self.world.start(self.live)
            raise
        finally:
            if life.ledger is not None:
                self.books.owner_died(life.ledger.owner)
                life.ledger.closed = True

    def look(self) -> None:
        """Open the ledger, and compare it with the books; then it has to go on as ever."""
        books = self.books
        books.highest_limit = max(books.limits, default=0)
        try:
            ledger = JournalLedger(DIRECTORY)
        except LedgerCorruptError as error:
            require(8, books.damaged or self.world.power_cuts > 0, "refused as damaged:", error)
            books.told.append(str(error))
            try:
                repair(DIRECTORY)
            except LedgerCorruptError as nothing_left:
                require(8, books.damaged, "nothing is left:", nothing_left)
                return
            ledger = JournalLedger(DIRECTORY)
        ledger.sweep()
        # Where it cannot be told whether a process lives, its calls are charged when their time has run out.
        self.world.now += 2 * ledger.hold_timeout
        ledger.sweep()
        books.check(ledger)
        other = JournalLedger(DIRECTORY)
        check_reopened(ledger, other)
        if ledger.read(GLOBAL) is not None:
            before = ledger.read(GLOBAL).usd
            other.post(other.new_id(), route(other, GLOBAL), Used(1, 1, 1), 1)
            require(7, ledger.read(GLOBAL).usd == before + 1, "a charge of another process is not seen")
        for one in (ledger, other):
            one.close()


@contextmanager
def listening(books: Books) -> Iterator[None]:
    """Note the errors that are logged, and print none."""
    logger = logging.getLogger("budgeted")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            books.told.append(record.getMessage())

    handler = Handler(logging.ERROR)
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
