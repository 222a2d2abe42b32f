"""Calls of two processes on one ledger, which go on while its server dies, and what they were billed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from ledgers import ALICE, AT, cost, give, route, usd

from budgeted.errors import LedgerCorruptError, LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.spending_records import Used

AnyLedger: TypeAlias = RedisLedger | HTTPLedger

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a call must have come through."""

LIMIT = 2**52


def never(is_so: object, text: str) -> None:
    """Raise if something is so."""
    if is_so:
        raise AssertionError(text)


class Load:
    """Calls of two processes, two at a time each: held and settled, given back, or posted.

    Args:
        ledgers: of the two processes.
        rng: what all randomness comes of.

    Attributes:
        spent: nano-USD that the calls were billed.
        calls: how many were.
        refused: ledgers that said that their balances are gone.
    """

    def __init__(self, ledgers: Sequence[AnyLedger], rng: random.Random) -> None:
        self.ledgers = ledgers
        for name in (GLOBAL, ALICE):
            give(self.ledgers[0], name, usd(LIMIT))
            for ledger in ledgers:
                ledger.read(name)  # who has seen nothing yet cannot miss it
        self.spent = self.calls = self.done = 0
        self.refused: set[AnyLedger] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(ledger, random.Random(rng.random())))
            for ledger in self.ledgers
            for _ in range(2)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, calls: int) -> None:
        """Until so many calls more have been made."""
        self.until(lambda due=self.done + calls: self.done >= due)  # type: ignore[misc]

    def until(self, true: Callable[[], bool]) -> None:
        """Until something is so."""
        due = time.monotonic() + PATIENCE
        while not true() and not self._errors:
            never(time.monotonic() > due, f"nothing goes on after {self.done} calls")
            time.sleep(0.002)

    def stop(self) -> None:
        """Let the calls that are under way end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _work(self, ledger: AnyLedger, rng: random.Random) -> None:
        try:
            while not self._stop.is_set():
                self._call(ledger, rng)
                self.done += 1
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._errors.append(error)

    def _call(self, ledger: AnyLedger, rng: random.Random) -> None:
        kind, used = rng.random(), Used(rng.randint(1, 9), 1, 1)
        if kind < 0.2:
            self._post(ledger, ledger.new_id(), used)
        else:
            id = self._hold(ledger)
            if kind < 0.4:
                self._insist(ledger, lambda: ledger.release(id, AT))
                return
            # Whose hold is unknown is charged by its route, as every call's is.
            if not self._insist(ledger, lambda: ledger.settle(id, used, AT)):
                self._post(ledger, id, used)
        with self._lock:
            self.spent += used.usd
            self.calls += 1

    def _hold(self, ledger: AnyLedger) -> str:
        while True:
            where = self._insist(ledger, lambda: route(ledger, GLOBAL, ALICE))
            id = ledger.new_id()
            try:
                held = ledger.hold(id, where, cost(9), AT)
            except (LedgerUnavailableError, LedgerCorruptError) as error:
                self._wait_after(ledger, error)
                continue
            never(isinstance(held, Refused), f"a call was refused: {held}")
            if not isinstance(held, Stale):
                return id

    def _post(self, ledger: AnyLedger, id: str, used: Used) -> None:
        while True:
            where = self._insist(ledger, lambda: route(ledger, GLOBAL, ALICE))
            if self._insist(ledger, lambda where=where: ledger.post(id, where, used, AT)) is True:  # type: ignore[misc]
                return

    def _insist(self, ledger: AnyLedger, verb: Callable[[], T]) -> T:
        while True:
            try:
                return verb()
            except (LedgerUnavailableError, LedgerCorruptError) as error:
                self._wait_after(ledger, error)

    def _wait_after(self, ledger: AnyLedger, error: Exception) -> None:
        if isinstance(error, LedgerCorruptError):
            self.refused.add(ledger)
        if self._errors:
            raise self._errors[0]
        time.sleep(0.01)
