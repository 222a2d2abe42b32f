"""Several processes make calls of every kind for a while: the books are the bill, and nothing grows.

Threads, tasks, streams, calls by hand, limits that change and resets, on a journal, SQLite and Redis, against providers
that fail, drop and hang; one process is killed half-way and another takes its place. At the end the charges that are
certain are no more than the bill, all charges are no less, and no call is open.
"""

from __future__ import annotations

import os
import random
import selectors
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import redis_server
from servers import project

from budgeted import BudgetManager
from budgeted.ledger.accounts import GLOBAL
from budgeted.testing import Reply, SimulatedProvider
from proof import ROOT
from proof.soak.worker import Place, Sample, Task, Trouble
from proof.trial import Case, Trial

SHORT, LONG = 25.0, 1800.0

WORKERS = 2
STARTING = 6.0
"""Seconds that a process needs to begin, and that are left at the end to look at the books."""

ROTATE_LINES = 1_000
MOST_JOURNAL = 4 * 1024 * 1024
"""Bytes of a journal's files: a few segments of so many lines, and two snapshots."""

UNCERTAIN = 1024
"""Bytes that each charge which nobody has confirmed may take, in a journal's files and in a process: these are kept."""

GROWN = Sample(kilobytes=12_000, descriptors=12, threads=4)
"""By how much a process may take up more at the end than in the middle."""

FAULTS: dict[str, Reply | None] = {
    "status 500": Reply(status=500),
    "status 429": Reply(status=429),
    "connection refused": Reply(refuse=True),
    "connection dropped": Reply(drop=True),
    "answer cut off": Reply(drop_after=2),
    "error in a stream": Reply(error_after=2),
    "broken JSON": Reply(malformed_after=1),
    "no usage": Reply(usage=None),
    "hanging": Reply(hang=True),
}


def run(trial: Trial) -> None:
    """One long case."""
    if trial.wants("soak"):
        trial.each_case("soak", [None], lambda case, _: soak(case, trial))


def soak(case: Case, trial: Trial) -> None:
    """Have all of it work, and look at what came of it."""
    with ExitStack() as stack:
        sites = [stack.enter_context(SimulatedProvider(seed=case.number)) for _ in ("journal", "sqlite", "redis")]
        places = places_of(case.directory, [site.url for site in sites], trial)
        releasing = stack.enter_context(Releasing(sites))
        for site in sites:
            site.reply(releasing.answerer(case))
        workers = Workers(case, places, trial.left - 2 * STARTING)
        workers.run()
        releasing.stop()
        uncertain = 0
        for place, site in zip(places, sites, strict=False):
            assert site.wait_idle(20), place.kind
            uncertain += books_are_the_bill(place, site, case, trial)
        for kind, count in releasing.faults.items():
            trial.fault(kind, count)
        workers.look(uncertain)


def places_of(directory: Path, urls: list[str], trial: Trial) -> list[Place]:
    """The ledgers, each with its own provider."""
    ledgers = {"journal": str(directory / "journal"), "sqlite": f"sqlite:///{directory}/soak.db"}
    try:
        ledgers["redis"] = f"{redis_server.shared().url}"
    except pytest.skip.Exception as reason:
        trial.left_out(f"redis: {reason}")
    name = project()
    return [
        Place(kind, where, url, str(directory / f"{kind} by hand"), name)
        for (kind, where), url in zip(ledgers.items(), urls, strict=False)
    ]


class Releasing:
    """Providers fail at random, and what hangs goes on after a while."""

    def __init__(self, sites: list[SimulatedProvider]) -> None:
        self._sites = sites
        self._stopped = threading.Event()
        self.faults: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._release, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let all that hangs go on, from now on at once."""
        self._stopped.set()
        self._thread.join()
        for site in self._sites:
            site.release()

    def _release(self) -> None:
        while not self._stopped.wait(0.7):
            for site in self._sites:
                site.release()

    def answerer(self, case: Case) -> Any:
        """A function from a request to what is answered."""
        rng = random.Random(case.rng.getrandbits(32))

        def answer(_: object) -> Reply:
            if rng.random() < 0.75:
                return Reply(output_tokens=rng.randrange(1, 300), latency=rng.random() * 0.02)
            kind = rng.choice(list(FAULTS))
            self.faults[kind] += 1
            return FAULTS[kind] or Reply()

        return answer


class Workers:
    """The processes, one of which is killed half-way."""

    def __init__(self, case: Case, places: list[Place], seconds: float) -> None:
        self.case, self.places, self.seconds = case, places, max(seconds, 4.0)
        self.samples: dict[int, list[Sample]] = {}
        self.trouble: list[str] = []
        self._rest: dict[int, bytes] = {}
        self._began: dict[int, float] = {}
        self._largest = 0

    def run(self) -> None:
        """Have them work until they are done."""
        running = [self._start(self.seconds) for _ in range(WORKERS)]
        victim = self._start(self.seconds)
        with selectors.DefaultSelector() as news:
            for process in (*running, victim):
                news.register(process.stdout, selectors.EVENT_READ, process)  # type: ignore[arg-type]
            while news.get_map():
                for key, _ in news.select(0.5):
                    if not self._read(key.data):
                        news.unregister(key.fileobj)
                self._look_at_journal()
                half = self._began.get(victim.pid, time.monotonic()) + self.seconds / 2
                if victim not in running and time.monotonic() >= half:
                    victim.kill()
                    self.case.fault("kill -9")
                    running.append(victim)
                    another = self._start(self.seconds / 2)
                    running.append(another)
                    news.register(another.stdout, selectors.EVENT_READ, another)  # type: ignore[arg-type]
        endings = [process.wait(60) for process in running]
        assert sorted(endings) == [-9, *[0] * (len(endings) - 1)], endings

    def _start(self, seconds: float) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "proof.soak.worker"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        task = Task(self.case.rng.getrandbits(32), seconds, ROTATE_LINES, self.places)
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        process.stdin.close()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.stdout is not None
        data = os.read(process.stdout.fileno(), 1 << 16)
        *lines, rest = (self._rest.get(process.pid, b"") + data).split(b"\n")
        self._rest[process.pid] = rest
        for line in lines:
            told = msgspec.json.decode(line, type=Sample | Trouble)
            if isinstance(told, Trouble):
                self.trouble.append(told.text)
            else:
                self._began.setdefault(process.pid, time.monotonic())
                self.samples.setdefault(process.pid, []).append(told)
        return bool(data)

    def _look_at_journal(self) -> None:
        directory = Path(self.places[0].ledger)
        size = 0
        for path in directory.rglob("*"):
            try:
                size += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:  # dropped meanwhile
                continue
        self._largest = max(self._largest, size)

    def look(self, uncertain: int) -> None:
        """Nothing unexpected was raised, and nothing has grown since all had begun, but for uncertain charges."""
        assert not self.trouble, self.trouble[:5]
        kept = uncertain * UNCERTAIN
        assert self._largest <= MOST_JOURNAL + kept, f"the journal's files were {self._largest:,} bytes"
        for samples in self.samples.values():
            if len(samples) < 12:
                continue
            middle, end = samples[len(samples) // 2 : len(samples) * 3 // 4], samples[len(samples) * 3 // 4 : -1]
            for name in Sample.__struct_fields__:
                before, after = (statistics.median(getattr(one, name) for one in some) for some in (middle, end))
                self.case.tell(f"{name}: {before:,.0f}, then {after:,.0f}")
                most = getattr(GROWN, name) + (kept // 1024 if name == "kilobytes" else 0)
                assert after - before <= most, f"{name} grew from {before:,.0f} to {after:,.0f}"


def books_are_the_bill(place: Place, site: SimulatedProvider, case: Case, trial: Trial) -> int:
    """Certain charges are no more than the bill, all charges are no less, and no call is open.

    Returns:
        How many charges are uncertain.
    """
    with BudgetManager(place.project, ledger=place.ledger) as manager:
        ledger = manager.ledger
        ledger.hold_timeout = 0.0
        ledger.clock = lambda: time.time() + 3600
        for owner in {held.id.partition(".")[0] for held in ledger.open_holds()}:
            ledger.renew(owner, 0)  # all have ended, and the lease of the one that was killed goes on
        ledger.sweep()
        manager.flush()
        assert not ledger.open_holds(), "calls are still open"
        books = sum(row.usd for row in ledger.rollups(0, GLOBAL))
        uncertain = sum(one.used.usd for one in ledger.uncertain())
        doubtful = len(ledger.uncertain())
    by_hand = Path(place.by_hand)
    bill = site.billed_nano() + sum(map(int, by_hand.read_text().split()) if by_hand.exists() else ())
    calls = len(site.requests)
    trial.case(f"{place.kind}, calls", calls)
    case.tell(f"{place.kind}: {calls} calls, bill {bill}, books {books}, of these uncertain {uncertain} in {doubtful}")
    assert calls > 10, f"{place.kind}: only {calls} calls were made"
    assert books >= bill, f"{place.kind}: {bill - books} nano-USD of the bill are in no book"
    assert books - uncertain <= bill, f"{place.kind}: {books - uncertain - bill} nano-USD are certain, and not billed"
    return doubtful
