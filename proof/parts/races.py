"""Free races: threads, tasks, trio, gevent, forks, closed loops, collected generators, and exits with calls open.

Each case makes calls whose cost it knows, on one limit, and breaks them off: by exceptions, cancellations, signals that
come whenever they come, a fork, a loop that is closed, or the end of the process. Afterwards nothing is held, what is
spent is what was told to have been spent, and the limit was passed at no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import logging
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from types import FrameType

from forking import forked
from opentelemetry.context import attach, get_current

from budgeted import BudgetExceededError, BudgetManager
from budgeted.ledger import background_worker
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.metering.manual_hold import Hold
from proof import ROOT
from proof.trial import CannotRun, Case, Trial

SHORT, LONG = 25.0, 120.0

CALL: dict[str, object] = {"model": "gpt-5-mini", "input": "Hi", "max_output_tokens": 200}
COST = Decimal("0.0001")
THREADS, TASKS = 200, 2000


def run(trial: Trial) -> None:
    """Race in every way, one after the other, for as long as there is."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
    rounds = 12 if trial.long else 1
    before = sys.getswitchinterval()
    for race in (threads, tasks, in_trio, in_gevent, forks, closed_loops, collected, exits):
        sys.setswitchinterval(1e-6 if race is threads else before)
        with contextlib.suppress(LeftOut):
            trial.each_case(race.__name__, range(rounds), lambda case, _, race=race: race(case))
    sys.setswitchinterval(before)


class LeftOut(CannotRun):
    """What a race needs is not here."""


def manager(case: Case, **settings: object) -> BudgetManager:
    """A manager with a limit that some calls meet, in memory, on a journal, or with slices of one in memory."""
    ledger = case.rng.choice(["memory://", str(case.directory / "ledger"), SlicedLedger(MemoryLedger())])
    case.tell(f"on {ledger}")
    return BudgetManager(**{"project_name": "races", "ledger": ledger, "max_budget": 5, "wait": 30, **settings})


class Books:
    """What calls told that they have cost, or may have cost at most, in nano-USD."""

    def __init__(self, paying: BudgetManager) -> None:
        self.paying = paying
        self.certain = self.possible = 0
        self._lock = threading.Lock()

    def settle(self, held: Hold) -> None:
        """Settle a call; whoever is struck meanwhile does not know whether it was."""
        nano = round(COST * 10**9)
        with self._lock:
            self.possible += nano
        held.settle(cost=COST)
        with self._lock:
            self.certain += nano

    def settled(self, nano: int) -> None:
        """A call was settled so."""
        with self._lock:
            self.certain += nano
            self.possible += nano

    def balance(self, told: str) -> None:
        """Nothing is held any more, and what is spent is what was told, and what nobody could tell."""
        gc.collect()
        background_worker.drain()
        self.paying.flush()
        ledger = self.paying.ledger
        assert ledger.open_holds() == [], f"held after {told}"
        assert self.paying.balance().held == 0, f"held after {told}"
        assert not ledger.turns.waiting, f"a place in a queue after {told}"
        assert all(slot.held == 0 for account in ledger.accounts() for slot in account.slots), f"held after {told}"
        unknown = sum(round(charge.cost * 1e9) for charge in self.paying.uncertain())
        spent = round(self.paying.balance().spent * 1e9)
        assert self.certain <= spent, f"below the bill after {told}: {spent} of {self.certain}"
        assert spent <= self.possible + unknown, f"above the bill after {told}: {spent}, {self.possible} and {unknown}"
        self._call_further(told)
        self.paying.close()

    def _call_further(self, told: str) -> None:
        """A further call fits, if and only if that much is left."""
        left = self.paying.balance().remaining
        try:
            with self.paying.hold(cost=COST) as further:
                further.settle(cost=COST)
        except BudgetExceededError:
            fits = False
        else:
            fits = True
        assert left is None or fits == (round(left * 1e9) >= round(COST * 10**9)), f"{left} was left after {told}"


class Interrupted(BaseException):
    """What the handler of a signal raises, or a call that breaks off."""


def call(books: Books, chance: random.Random) -> None:
    """One call, which ends in one of the ways that calls end in."""
    block = books.paying.budget(chance.choice(["alice", "bob"]), cap=1)
    with contextlib.suppress(BudgetExceededError, Interrupted), block, books.paying.hold(**CALL) as held:
        ending = chance.random()
        if ending < 0.5:
            books.settle(held)
        elif ending < 0.7:
            held.release()
        elif ending < 0.9:
            raise Interrupted


def threads(case: Case) -> None:
    """Two hundred threads with a switch every microsecond, while signals strike the one that waits for them."""
    books = Books(manager(case))
    seeds = [case.rng.random() for _ in range(THREADS)]
    workers = [
        threading.Thread(target=lambda seed=seed: [call(books, random.Random(f"{seed} {i}")) for i in range(5)])
        for seed in seeds
    ]
    struck, before = 0, get_current()

    def calls() -> None:
        while any(worker.is_alive() for worker in workers):
            with books.paying.budget("alice", cap=1), books.paying.hold(**CALL):
                pass

    def strike(number: int, frame: FrameType | None) -> None:
        # Nothing but the calls is to be struck: a signal may also come while the timer is being set or stopped.
        while frame is not None:
            if frame.f_code is calls.__code__:
                raise Interrupted
            frame = frame.f_back

    handler = signal.signal(signal.SIGALRM, strike)
    chance = random.Random(case.rng.random())
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 2e-3), 0.5)
            try:
                calls()
            except (Interrupted, BudgetExceededError):
                struck += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        attach(before)  # a block that was struck as its end began is still current, as it is of any `with`
    case.trial.fault("a signal", struck)
    for worker in workers:
        worker.join()
    books.balance(f"{THREADS} threads and {struck} signals")


async def call_async(books: Books, chance: random.Random) -> None:
    """One call of a coroutine; whoever has made its task may cancel it."""
    with contextlib.suppress(BudgetExceededError, Interrupted):
        async with books.paying.budget("alice", cap=4), books.paying.hold(**CALL) as held:
            await asyncio.sleep(chance.choice([0, 0, 1e-4]))
            if chance.random() < 0.6:
                books.settle(held)
            elif chance.random() < 0.5:
                raise Interrupted


def tasks(case: Case) -> None:
    """Two thousand tasks at a time, a third of them cancelled whenever that may be."""
    books = Books(manager(case, max_budget="0.2"))

    async def main() -> None:
        made = [asyncio.create_task(call_async(books, random.Random(case.rng.random()))) for _ in range(TASKS)]
        while any(not task.done() for task in made):
            await asyncio.sleep(0)
            for task in case.rng.sample(made, 40):
                if not task.done() and case.rng.random() < 0.3:
                    task.cancel()
                    case.trial.fault("a cancellation")
        await asyncio.gather(*made, return_exceptions=True)

    asyncio.run(main())
    books.balance(f"{TASKS} tasks")


def in_trio(case: Case) -> None:
    """Tasks of trio in scopes that are cancelled."""
    try:
        import trio
    except ImportError:
        case.trial.left_out("trio is not installed")
        raise LeftOut from None
    books = Books(manager(case, max_budget="0.05"))

    async def one(chance: random.Random) -> None:
        with trio.move_on_after(chance.uniform(0, 0.02)), contextlib.suppress(BudgetExceededError):
            async with books.paying.budget("alice"), books.paying.hold(**CALL) as held:
                await trio.sleep(chance.uniform(0, 0.01))
                books.settle(held)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(TASKS // 10):
                nursery.start_soon(one, random.Random(case.rng.random()))

    case.trial.fault("a cancellation", TASKS // 10)
    trio.run(main)
    books.balance("trio's tasks")


IN_GEVENT = """
from gevent import monkey
monkey.patch_all()
import random, sys
sys.path[:0] = {path!r}
import gevent
from budgeted import BudgetManager
from proof.parts.races import Books, call
books = Books(BudgetManager("races", ledger={ledger!r}, max_budget=5, wait=5))
greenlets = [gevent.spawn(call, books, random.Random(f"{seed} {{i}}")) for i in range(300)]
gevent.sleep(0)
for greenlet in greenlets[::3]:
    greenlet.kill(block=False)
gevent.joinall(greenlets)
books.balance("greenlets")
print("well")
"""


def in_gevent(case: Case) -> None:
    """Greenlets, a third of which are killed."""
    if importlib.util.find_spec("gevent") is None:  # it is imported in the other process alone
        case.trial.left_out("gevent is not installed")
        raise LeftOut
    case.trial.fault("a killed greenlet", 100)
    ledger = case.rng.choice(["memory://", str(case.directory / "ledger")])
    assert in_process(IN_GEVENT.format(path=_path(), ledger=ledger, seed=case.rng.random())) == "well"


def in_process(program: str) -> str:
    """Run a program in a process of its own, which must end well; returns what it printed."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def _path() -> list[str]:
    return [str(ROOT), *(one for one in sys.path if one)]


def forks(case: Case) -> None:
    """A fork while calls are open: the child makes calls of its own, and ends none of its parent's."""
    books = Books(manager(case))
    paying = books.paying
    with paying.budget("alice", cap=1) as block, paying.hold(cost="0.5") as held:
        generator = _generated(paying)
        next(generator)

        def child() -> str:
            nonlocal generator
            del generator
            gc.collect()
            with paying.hold(cost=COST) as own:
                own.settle(cost=COST)
            paying.flush()
            return "well"

        case.fault("a fork")
        assert forked(child) == "well"
        assert block.held > 0.5
        held.settle(cost="0.25")
        books.settled(250_000_000)
        list(generator)
    books.settled(round(COST * 10**9) if paying.ledger.shared else 0)
    books.balance("a fork")


def _generated(paying: BudgetManager) -> Iterator[object]:
    @paying.budgeted("alice")
    def answer(model: str, prompt: str, max_output_tokens: int = 200) -> Iterator[object]:
        yield "some text"
        yield "some more"

    return answer("gpt-5-mini", "Hi")


def closed_loops(case: Case) -> None:
    """A loop that is closed while its tasks hold, wait, or read a generator."""
    books = Books(manager(case, max_budget="0.01"))
    paying = books.paying

    @paying.budgeted("alice")
    async def answer(model: str, prompt: str, max_output_tokens: int = 200) -> AsyncIterator[object]:
        yield "some text"
        await asyncio.sleep(60)

    async def read() -> None:
        async for _ in answer("gpt-5-mini", "Hi"):
            pass

    async def hold() -> None:
        async with paying.budget("alice", cap=1), paying.hold(**CALL):
            await asyncio.sleep(60)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    made = [loop.create_task(case.rng.choice([read, hold])()) for _ in range(100)]
    for _ in range(case.rng.randrange(1, 8)):
        loop.call_soon(loop.stop)
        loop.run_forever()
    case.fault("a closed loop")
    loop.close()
    del made
    books.balance("a closed loop")


def collected(case: Case) -> None:
    """Generators and holds that are forgotten at any of their steps, some in cycles."""
    books = Books(manager(case))
    for _ in range(100):
        case.trial.fault("a forgotten call")
        generator = _generated(books.paying)
        for _ in range(case.rng.randrange(3)):
            next(generator)
        held = books.paying.hold(**CALL)
        if case.rng.random() < 0.7:
            held.__enter__()
        if case.rng.random() < 0.5:
            _in_a_cycle(generator, held)
        del generator, held
    books.balance("forgotten generators")


def _in_a_cycle(*kept: object) -> None:
    cycle: list[object] = [*kept]
    cycle.append(cycle)


EXIT = """
import asyncio, contextlib, sys, threading
sys.path[:0] = {path!r}
from budgeted import BudgetManager
from proof.parts.races import CALL, _generated
paying = BudgetManager("races", ledger={ledger!r}, max_budget=5)
generator = _generated(paying)
next(generator)
held = paying.hold(**CALL).__enter__()
ready = threading.Barrier(4)
def hold():
    with paying.hold(**CALL):
        ready.wait()
        threading.Event().wait()
for _ in range(3):
    threading.Thread(target=hold, daemon=True).start()
ready.wait()
async def wait():
    async with paying.hold(**CALL):
        await asyncio.sleep(60)
loop = asyncio.new_event_loop()
task = loop.create_task(wait())
loop.call_soon(loop.call_soon, loop.stop)
loop.run_forever()
"""


def exits(case: Case) -> None:
    """The end of an interpreter whose calls are open: the next process finds them charged all that they held."""
    ledger = case.directory / "ledger"
    case.fault("an exit")
    program = EXIT.format(path=_path(), ledger=str(ledger))
    assert in_process(program) == ""
    paying = BudgetManager("races", ledger=str(ledger))
    paying.ledger.sweep()
    books = Books(paying)
    assert len(paying.uncertain()) == 6, paying.uncertain()
    books.balance("an exit")
