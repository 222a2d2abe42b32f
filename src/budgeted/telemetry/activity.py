"""Noting which calls are refused, and which wait, so that others can look: on a page, or in a terminal.

What is noted is put into the ledger beside the calls, at most every few seconds, by the background worker. Nothing of
it is promised: a ledger that is away hears of it when it is back, if the process is still there.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import functools
import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from budgeted.errors import BudgetExceededError, LedgerError, Parts
from budgeted.ledger import background_worker
from budgeted.ledger.limit_conversion import day_number
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.limits.periods import Period, window
from budgeted.system.forks import at_fork
from budgeted.telemetry.activity_records import LONGEST, MOST, SILENT_SECONDS, Record, Turned, drop_old, publish

if TYPE_CHECKING:
    from budgeted.ledger.interface import Ledger
    from budgeted.payers.payer_interface import Payer
    from budgeted.telemetry.events import Event

PAUSE = 3.0
"""Seconds between two times that a process tells something."""

DAY = Period(1, "day")

AGAIN = SILENT_SECONDS / 2
"""Seconds after which it tells again of calls that still wait, and of what a ledger did not take."""


class Activity:
    """What one payer's calls in this process do that others may want to see.

    Args:
        payer: whose.
    """

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self._unlock()
        self._begin()
        _all.add(self)

    def _unlock(self) -> None:
        # Reentrant: a signal's handler that flushes while this thread tells must not wait for itself.
        self._publishing = threading.RLock()

    def _begin(self) -> None:
        self._process = secrets.token_hex(6)
        self._refusals: collections.deque[Callable[[], Turned]] = collections.deque(maxlen=MOST)
        self._waiting: dict[int, Turned] = {}
        self._day = (0, 0)  # its begin and end, in unix seconds
        self._refused = 0
        self._changed = self._is_kept = self._was_told = False
        self._due = self._told = 0.0

    def note(self, event: Event) -> None:
        """Note an event, if it is a refusal. Takes no lock: this may be a finaliser."""
        if event.kind == "refused" or (event.kind == "repeated" and event.reason == "refused"):
            self.refused(event.at.timestamp(), functools.partial(turned, event))

    def refused(self, at: float, told: Callable[[], Turned]) -> None:
        """Note that a call was refused. Takes no lock, likewise.

        Args:
            at: when, in unix seconds.
            told: makes what others are told, by and by: of those that come in a flood, only the last are.
        """
        begin, end = self._day
        if not begin <= at < end:
            self._day, self._refused = window(DAY, None, at, self._payer.timezone), 0
        self._refused += 1
        self._refusals.append(told)
        self._changed = True
        if not self._is_kept:
            self._wish()

    def waits(self, call: int, waiting: Turned) -> None:
        """Note that a call waits.

        Args:
            call: any number that is its own.
            waiting: for what.
        """
        self._waiting[call] = waiting
        self._wish()

    def goes_on(self, call: int) -> None:
        """Note that it waits no more."""
        if self._waiting.pop(call, None) is not None:
            self._wish()

    def _wish(self) -> None:
        self._changed = True
        if not self._is_kept:
            self._is_kept = True
            background_worker.enqueue(lambda: background_worker.later(self))

    def upkeep(self) -> float | None:
        """Tell the others, if it is time. Returns the seconds until the next look; None where nothing is to be told."""
        now = time.monotonic()
        if self._waiting and now - self._told >= AGAIN:
            self._changed = True
        if self._changed and now >= self._due:
            self.tell()
            return PAUSE
        if self._changed or self._waiting:
            return max(0.1, self._due - now)
        self._is_kept = False
        # Looked at once more: what was noted meanwhile relied on this.
        return PAUSE if self._is_new() else None

    def _is_new(self) -> bool:
        return self._changed

    @property
    def ledger(self) -> Ledger:
        """Into which it is told."""
        return self._payer.ledger

    def tell(self) -> None:
        """Tell the others now, if there is anything new."""
        with self._publishing:
            # Looked at inside: what another thread is just telling is to be there when this returns.
            if not self._changed:
                return
            self._changed, self._told = False, time.monotonic()
            self._due = self._told + PAUSE
            try:
                self._publish(self._payer.clock())
            except LedgerError:  # not so soon: the worker that tells has calls to settle, too
                self._changed, self._due = True, self._told + AGAIN

    def _publish(self, now: float) -> None:
        waiting = tuple(list(self._waiting.values())[:MOST])
        begin, end = self._day
        day = day_number(begin, self._payer.timezone) if end else 0
        # Listing them is one step of the interpreter: other threads add some meanwhile.
        refusals = tuple([told() for told in list(self._refusals)])
        record = Record(now, day, self._refused, refusals, waiting)
        publish(self._payer.ledger, self._process, record)
        if not self._was_told:
            drop_old(self._payer.ledger, now)
            self._was_told = True

    def end(self) -> None:
        """The process, or its manager, ends: nothing of it waits any more."""
        if self._waiting:
            self._waiting.clear()
            self._changed = True
        self.tell()

    def after_fork(self) -> None:
        """Be the forked child's own."""
        self._unlock()
        self._begin()


def turned(event: Event, *, asks: bool = False) -> Turned:
    """What is told of a call that was refused, or waits.

    Args:
        event: what is in its way.
        asks: whether it waits for somebody to raise the limit.
    """
    return Turned(
        at=event.at.timestamp(),
        account=event.account[:LONGEST],
        kind=event.account_kind,
        limit=event.limit[:LONGEST],
        unit=event.unit,
        model=event.model[:LONGEST],
        requested=event.requested,
        remaining=event.remaining,
        reason=event.reason[:LONGEST],
        asks=asks,
    )


def turned_away(at: float, parts: Callable[[], Parts]) -> Turned:
    """The same of a call that a limit has refused.

    Args:
        at: when, in unix seconds.
        parts: those of the error that it was refused with.
    """
    error = BudgetExceededError(**parts())
    return Turned(
        at=at,
        account=error.account[:LONGEST],
        kind=error.account_kind,
        limit=error.limit[:LONGEST],
        unit=error.unit,
        model=(error.model or "")[:LONGEST],
        requested=error.requested,
        remaining=error.remaining,
        reason=error.reason[:LONGEST],
    )


_all: WeakRegistry[Activity] = WeakRegistry()


def tell_all(ledger: Ledger) -> None:
    """Tell now what is new in this process, of every manager that has this ledger: somebody looks.

    Args:
        ledger: into which it is told.
    """
    for one in _all.alive():
        if one.ledger is ledger:
            one.tell()


def _end() -> None:
    for one in _all.alive():
        with contextlib.suppress(Exception):  # the program ends, and nothing of this is promised
            one.tell()


def _after_fork() -> None:
    for one in _all.alive():
        one.after_fork()


at_fork(after_in_child=_after_fork)
atexit.register(_end)
