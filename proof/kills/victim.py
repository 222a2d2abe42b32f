"""Processes that work on a ledger until they are struck: forked, one a case, from one that has all modules loaded.

A command is a line of JSON, an :class:`Attack`; the answer is a line of JSON, a list of :class:`Ending`. Each victim
says of every verb that it tries it, and then that it was acknowledged or refused; what it said last was under way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from ledgers import ALICE, AT, canonical, cost, replayed, route, usd

from budgeted.errors import LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import ledger as journal
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger
from proof.kills import shim

LIMIT = 10**6
"""Of the global account, in nano-USD."""

LINES = 9
"""Lines of a journal's segment."""

TRIES = 6
"""How often a verb that is refused is tried again."""


_snapshots: list[Callable[[], None]] = []
"""Snapshots that are to be written: after each verb, so that a victim's calls are the same each time."""


class Strike(msgspec.Struct):
    """Where a victim is struck: at its call of this number, in a mode of :data:`shim.MODES`, with this error."""

    number: int = -1
    mode: str = "count"
    error: int = 0


class Attack(msgspec.Struct):
    """Victims that work at once on the ledger in a directory."""

    directory: str
    workload: str
    strikes: list[Strike]


class Ending(msgspec.Struct):
    """How a victim ended.

    Attributes:
        status: of ``os.waitpid``.
        said: its lines.
        calls: the kinds of its calls, if it came to its end.
        trouble: what should not have come up, if something did.
    """

    status: int
    said: list[list[str]]
    calls: str = ""
    trouble: str = ""


class Victim:
    """The process that works.

    Args:
        directory: the ledger's.
        pipe: where it says what it does.
        weapon: what strikes it.
        alone: whether no other works on the ledger.
    """

    def __init__(self, directory: Path, pipe: int, weapon: shim.Shim, *, alone: bool) -> None:
        self.directory = directory
        self._weapon = weapon
        self._alone = alone
        self._pipe = pipe
        self.ledger: Any = None

    def say(self, *words: object) -> None:
        """Tell who watches."""
        os.write(self._pipe, ("\t".join(map(str, words)) + "\n").encode())

    @contextmanager
    def trying(self, *what: object) -> Iterator[None]:
        """Say that something is tried, and what became of it."""
        self.say("try", *what)
        try:
            yield
        except LedgerError as error:
            self.say("refused", *what, str(error).replace("\n", " "))
        else:
            self.say("done", *what)

    def insist(self, verb: Callable[[], object], *what: object) -> None:
        """Do something that may be repeated, until it is done."""
        for _ in range(TRIES):
            done = False
            with self.trying(*what):
                verb()
                done = True
            while _snapshots:
                _snapshots.pop()()
            if done:
                return
        msg = f"{what} is refused again and again"
        raise AssertionError(msg)

    # -- the life of calls

    def open(self, make: Callable[[], Any]) -> None:
        """Open a ledger, and set limits."""

        def opening() -> None:
            self.ledger = make()

        self.insist(opening, "open")
        self.insist(lambda: self.ledger.set_limits(GLOBAL, [usd(LIMIT)], explicit=True), "limits")
        self.insist(lambda: self.ledger.set_limits(ALICE, [usd(LIMIT // 2)], explicit=True), "limits")

    def hold(self, amount: int) -> str:
        """Hold; returns the id. What was refused is held again under another."""
        id = ""

        def holding() -> None:
            nonlocal id
            id = self.ledger.new_id()
            where = route(self.ledger, GLOBAL, ALICE)
            with self.trying("hold", id, amount):
                self.ledger.hold(id, where, cost(amount), AT)
                return
            raise LedgerError

        self.insist(holding, "call")
        return id

    def work(self, rounds: int) -> None:
        """Calls with each kind of end."""
        for number in range(rounds):
            amount = 10 + number
            id = self.hold(amount)
            self.insist(lambda id=id, n=amount - 3: self.ledger.settle(id, Used(n), AT), "settle", id, amount - 3)
            if number % 3 == 0:
                id = self.hold(50)
                self.insist(lambda id=id: self.ledger.release(id, AT), "release", id, 0)
            if number % 3 == 1:
                id = self.ledger.new_id()
                self.insist(lambda id=id: self._post(id), "post", id, 7)
            if number % 3 == 2:
                id = self.hold(40)
                self.insist(lambda id=id: self.ledger.settle(id, Used(33), AT, "timed out"), "settle", id, 33)
            self.insist(self.ledger.flush, "flush")
        self.hold(5)

    def end(self) -> None:
        """Close, and see that what it knew is what the files say."""
        known = canonical(self.ledger._state) if isinstance(self.ledger, JournalLedger) else b""
        self.insist(self.ledger.close, "close")
        self.say("calls", self._weapon.calls())
        self._weapon.arm("/none", -1, "count", 0)
        if self._alone and known:
            assert known == replayed(self.directory), "it knew something else than its files say"

    def _post(self, id: str) -> None:
        self.ledger.post(id, route(self.ledger, GLOBAL), Used(7), AT)


# -- workloads


def _journal(victim: Victim) -> None:
    victim.open(lambda: JournalLedger(victim.directory))
    victim.work(5)
    victim.end()


def _journal_synced(victim: Victim) -> None:
    victim.open(lambda: JournalLedger(victim.directory, fsync="always"))
    victim.work(3)
    victim.end()


def _repair(victim: Victim) -> None:
    """Lose the journal, and write it back."""
    victim.open(lambda: JournalLedger(victim.directory))
    victim.work(1)
    victim.say("lost")
    for path in victim.directory.glob("journal-*"):
        with contextlib.suppress(OSError):
            path.rename(path.with_name(f".lost-{path.name}"))
        if path.exists():  # it was this call that was struck
            path.unlink()
    victim.insist(victim.ledger.repair, "repair")
    victim.work(1)
    victim.end()


def _sqlite(victim: Victim) -> None:
    victim.open(lambda: SQLLedger(f"sqlite:///{victim.directory}/ledger.db", fsync="always"))
    victim.work(2)
    victim.end()


WORKLOADS: dict[str, Callable[[Victim], None]] = {
    "journal": _journal,
    "journal, fsync": _journal_synced,
    "journal, repair": _repair,
    "sqlite": _sqlite,
}


# -- the process that they are forked from


def main() -> None:
    """Answer commands until there are none."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL + 1)
    background_worker.PERIOD = 1e6
    journal.ROTATE_LINES = LINES
    journal._in_a_thread = _snapshots.append
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        attack = msgspec.json.decode(line, type=Attack)
        endings = _attack(attack)
        data = msgspec.json.encode(endings) + b"\n"
        while data:
            data = data[os.write(answers, data) :]


def _attack(attack: Attack) -> list[Ending]:
    reading: list[tuple[int, int]] = []
    gate, go = os.pipe()
    for strike in attack.strikes:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)
            os.close(go)
            for other, _ in reading:
                os.close(other)
            os.read(gate, 1)  # all begin at once
            _be_victim(attack, strike, write)
        os.close(write)
        reading.append((read, pid))
    os.close(gate)
    os.close(go)
    return [_ending(*one) for one in reading]


def _be_victim(attack: Attack, strike: Strike, pipe: int) -> None:
    weapon = shim.loaded()
    victim = Victim(Path(attack.directory), pipe, weapon, alone=len(attack.strikes) == 1)
    signal.alarm(60)
    try:
        weapon.arm(attack.directory, strike.number, strike.mode, strike.error)
        WORKLOADS[attack.workload](victim)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        import traceback

        victim.say("trouble", "".join(traceback.format_exception(error)).replace("\n", "\r"))
    finally:
        os._exit(0)


def _ending(read: int, pid: int) -> Ending:
    data = b""
    while chunk := os.read(read, 1 << 16):
        data += chunk
    os.close(read)
    _, status = os.waitpid(pid, 0)
    ending = Ending(status, [])
    for line in data.decode().splitlines():
        words = line.split("\t")
        if words[0] == "calls":
            ending.calls = words[1]
        elif words[0] == "trouble":
            ending.trouble = words[1].replace("\r", "\n")
        else:
            ending.said.append(words)
    return ending


if __name__ == "__main__":
    main()
