"""Processes killed, or told an error, at every system call on a ledger's files: before, half-way and after it.

Whatever was acknowledged is there afterwards, exactly once; what was under way is there or not, and nothing else is.
The ledger opens without complaint, also for the others that have it open. Journal and SQLite.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from ledgers import ALICE, charge, check, held, spent

from budgeted.errors import LedgerCorruptError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import ledger as journal
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.sql.ledger import SQLLedger
from proof import ROOT
from proof.kills import shim
from proof.kills.victim import LINES, WORKLOADS, Attack, Ending, Strike
from proof.told_log import listening
from proof.trial import Case, Trial

SHORT, LONG = 20.0, 420.0

KILLS, ERRORS = (10, 350), (6, 190)
"""How many of each workload's calls are struck, at most, in the short form and in the long one."""

TOGETHER = 0.15
"""For what share of the time several die at once."""


class Attacker:
    """The process that victims are forked from, from without."""

    def __init__(self, folder: Path) -> None:
        library = shim.build(folder)
        more = {"LD_PRELOAD": str(library)} if library is not None else {}
        path = os.pathsep.join([str(ROOT), *sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "proof.kills.victim"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path} | more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.preloaded = library is not None

    def attack(self, directory: Path, workload: str, *strikes: Strike) -> list[Ending]:
        """Have victims work, and be struck."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(Attack(str(directory), workload, list(strikes))) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=list[Ending])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def run(trial: Trial) -> None:
    """Strike each workload at each of its calls."""
    logger = logging.getLogger("budgeted")
    logger.propagate = False
    background_worker.PERIOD = 1e6  # nothing is swept while it is looked at
    attacker = Attacker(trial.directory)
    if not attacker.preloaded:
        trial.left_out("no C compiler: calls are struck in Python, and SQLite's not at all")
    workloads = [name for name in WORKLOADS if attacker.preloaded or name != "sqlite"]
    with closing(attacker), mock.patch.object(journal, "ROTATE_LINES", LINES):
        for workload in workloads:
            calls = census(trial, attacker, workload)
            kills = [Strike(n, mode) for n, kind in enumerate(calls) for mode in _modes(kind)]
            errors = [Strike(n, "error", error) for n in range(len(calls)) for error in shim.ERRORS]
            for what, attempt, strikes, (short, long) in (
                ("killed", killed, kills, KILLS),
                ("error", told_error, errors, ERRORS),
            ):
                subject = f"{workload}, {what}"
                # Drawn from the seed, so that a case keeps its number.
                random.Random(f"kills {trial.seed} {subject}").shuffle(strikes)
                trial.each_case(subject, strikes[:long], _one(attempt, attacker, workload), short)
        for workload in ("journal", "sqlite"):
            if workload in workloads:
                subject = f"{workload}, several"
                trial.random_cases(subject, lambda case, w=workload: several(case, attacker, w), TOGETHER)


def _one(
    attempt: Callable[[Case, Attacker, str, Strike], None], attacker: Attacker, workload: str
) -> Callable[[Case, Strike], None]:
    return lambda case, strike: attempt(case, attacker, workload, strike)


def _modes(kind: str) -> tuple[str, ...]:
    return ("before", "half", "after") if kind == "w" else ("before", "after")


def census(trial: Trial, attacker: Attacker, workload: str) -> str:
    """The calls of a workload that nobody strikes."""
    directory = trial.directory / f"census {workload}"
    directory.mkdir()
    [ending] = attacker.attack(_place(directory, workload), workload, Strike())
    assert not ending.trouble, ending.trouble
    assert ending.calls, ending
    return ending.calls


def _place(directory: Path, workload: str) -> Path:
    """A journal's directory is made by itself; a database's has to be there."""
    return directory if workload == "sqlite" else directory / "ledger"


def killed(case: Case, attacker: Attacker, workload: str, strike: Strike) -> None:
    """Kill a process at one of its calls."""
    place = _place(case.directory, workload)
    [ending] = attacker.attack(place, workload, strike)
    _tell(case, ending)
    case.fault(f"kill {strike.mode}", f"call {strike.number}")
    assert not ending.trouble, ending.trouble
    assert os.WTERMSIG(ending.status) == signal.SIGKILL, "not killed: the calls are not the same each time"
    with opened(place, workload, may_be_lost=_was_losing(ending)) as ledger:
        if ledger is not None:
            compare(ledger, [ending])


def told_error(case: Case, attacker: Attacker, workload: str, strike: Strike) -> None:
    """Have one of a process's calls answer an error; the process goes on."""
    place = _place(case.directory, workload)
    [ending] = attacker.attack(place, workload, strike)
    _tell(case, ending)
    case.fault(errno.errorcode[strike.error], f"call {strike.number}")
    assert not ending.trouble, ending.trouble
    assert ending.status == 0, "it did not come to its end"
    with opened(place, workload) as ledger:
        assert ledger is not None
        compare(ledger, [ending])


def several(case: Case, attacker: Attacker, workload: str) -> None:
    """Kill several processes that work on the same ledger, each somewhere, while another has it open."""
    place = _place(case.directory, workload)
    with opened(place, workload) as witness:
        assert witness is not None
        strikes = [Strike(case.rng.randrange(220), case.rng.choice(shim.MODES[1:4])) for _ in range(3)]
        for strike in strikes:
            case.fault("kill, several", f"{strike.mode} call {strike.number}")
        endings = attacker.attack(place, workload, *strikes)
        for ending in endings:
            _tell(case, ending)
            assert not ending.trouble, ending.trouble
        witness.sweep()
        if any("limits" in words for ending in endings for words in ending.said if words[0] == "done"):
            mine = charge(witness, 9, GLOBAL)
            endings.append(Ending(0, [["try", "post", mine, "9"], ["done", "post", mine, "9"]]))
        compare(witness, endings)
        with opened(place, workload) as ledger:
            assert ledger is not None
            compare(ledger, endings)


def _was_losing(ending: Ending) -> bool:
    """Whether the files were taken away from it, and not yet written back."""
    said = [words[:2] for words in ending.said]
    return ["lost"] in said and ["done", "repair"] not in said


def _tell(case: Case, ending: Ending) -> None:
    for words in ending.said:
        case.tell("  ".join(words))


@contextlib.contextmanager
def opened(place: Path, workload: str, *, may_be_lost: bool = False) -> Iterator[Any]:
    """The ledger as another process finds it: it opens, and nothing is complained of."""
    ledger: Any = None
    with listening(logging.WARNING) as told:
        try:
            ledger = SQLLedger(f"sqlite:///{place}/ledger.db") if workload == "sqlite" else JournalLedger(place)
        except LedgerCorruptError:
            assert may_be_lost, "what a killed process leaves is refused"
    try:
        assert may_be_lost or not told.texts, f"it is complained of: {told.texts}"
        yield ledger
    finally:
        if ledger is not None:
            ledger.close()


def compare(ledger: Any, endings: list[Ending]) -> None:
    """Books and what victims said: nothing acknowledged is missing, nothing is there twice, sums are right."""
    ledger.sweep()
    tried: dict[str, int] = {}
    done: dict[str, tuple[str, int]] = {}
    last: set[str] = set()
    limits = False
    for ending in endings:
        for what, verb, *rest in (words for words in ending.said if len(words) > 1):
            limits |= what == "done" and verb == "limits"
            if len(rest) < 2:
                continue
            id, amount = rest[0], int(rest[1])
            tried.setdefault(id, amount)
            if what == "done":
                done[id] = verb, amount
                last.discard(id)
            elif what == "try" or verb == "hold":
                last.add(id)
    if not limits and ledger.read(GLOBAL) is None:
        assert not done
        return
    open_ones = {one.id: one.usd for one in ledger.open_holds()}
    total = 0
    for id in tried:
        ended = ledger.ended(id)
        charged = 0 if ended is None or ended.used is None else ended.used.usd
        total += charged
        verb, amount = done.get(id, ("", 0))
        known = id in open_ones or ended is not None
        if verb == "hold" and id not in last:
            assert known, f"the hold {id} is forgotten"
            assert id in open_ones or ended.reason, f"the hold {id} has ended, and nobody ended it"
        elif verb in ("settle", "post") and id not in last:
            assert ended is not None, f"the charge {id} is forgotten"
            assert charged == amount, f"the charge {id} is {charged}, and {amount} was acknowledged"
        elif verb == "release" and id not in last:
            assert id not in open_ones, f"the hold {id} is open again"
            assert charged == 0, f"the hold {id} is charged, and was released"
    assert spent(ledger) == total, f"{spent(ledger)} is spent, and the charges sum up to {total}"
    assert held(ledger) == sum(open_ones.values())
    assert ledger.read(ALICE) is None or held(ledger, ALICE) <= held(ledger)
    check(ledger)
