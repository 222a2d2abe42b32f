"""One background thread per process: what must not be done where it comes up.

Finalisers and signal handlers may interrupt a thread that holds a ledger's lock, so they only enqueue here. Ledgers
have their files synced, dead processes' holds charged, and settlements that a full disk refused repeated here.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from budgeted.errors import LedgerError
from budgeted.ledger.lock_waiting import seen_free
from budgeted.system.forks import at_fork

if TYPE_CHECKING:
    from concurrent.futures import Future

logger = logging.getLogger("budgeted")

PERIOD = 0.5
"""Seconds between two rounds, unless somebody asks for a shorter time."""


LONGEST = 30.0
"""Seconds that work beside a coroutine that has gone is waited for: more than any ledger's deadline."""

T = TypeVar("T")


class Kept(Protocol):
    """Something that wants a regular look."""

    def upkeep(self) -> float | None:
        """Do what is due. Returns the seconds until the next look, or None for no more until :func:`wanted`."""


class _Upkeep:
    def __init__(self) -> None:
        # Appending to a deque and taking from it take no lock that a finaliser could find taken by its own thread.
        self.jobs: collections.deque[Callable[[], object]] = collections.deque()
        # As does this queue: a finaliser may run while its thread is inside another put.
        self.bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        # Reentrant: a signal's handler that flushes while this thread drains must not wait for itself.
        self.doing = threading.RLock()
        # A dict, since its keys can be listed while other threads add to it; a WeakSet's cannot.
        self.kept: dict[weakref.ref[Kept], None] = {}
        self.due: collections.deque[weakref.ref[Kept]] = collections.deque()  # what is left of a round
        self.pause = PERIOD
        self.thread: threading.Thread | None = None
        self.starting = threading.Lock()

    def run(self) -> None:
        due = time.monotonic() + PERIOD
        while True:
            # However many jobs come in, a round is due at its time; and however late it is, some of them are done.
            left = max(0.0, due - time.monotonic())
            with contextlib.suppress(queue.Empty):
                self.bell.get(timeout=left if self.kept or self.due else None)
            self.drain(max(due, time.monotonic() + PERIOD / 5))
            if (self.kept or self.due) and time.monotonic() >= due:
                due = time.monotonic() + self.round()

    def round(self) -> float:
        """Look after what is kept, for a time. Returns the seconds until it goes on."""
        until = time.monotonic() + PERIOD
        if not self.due:
            self.due.extend(one for one in list(self.kept) if not isinstance(one(), Retried))
            self.pause = PERIOD
        while self.due:
            self.look_after(self.due.popleft())
            # A server that does not answer lets each look wait: jobs come in between.
            if self.due and time.monotonic() >= until:
                return 0.0
        # Behind what may have a lease to renew, without which its calls pass for those of a dead process.
        for one in [one for one in list(self.kept) if isinstance(one(), Retried)]:
            self.look_after(one)
            if time.monotonic() >= until:  # those left out are first in the next round
                break
        return self.pause

    def look_after(self, one: weakref.ref[Kept]) -> None:
        kept = one()
        # Taken off before the look, so that a wish that comes up meanwhile is not lost.
        self.kept.pop(one, None)
        if kept is None:
            return
        try:
            wish = _look(kept) if one in _later else kept.upkeep()
        except Exception as error:
            if _closed(error):
                return
            logger.log(
                logging.WARNING if isinstance(error, LedgerError) else logging.ERROR,
                "budgeted: upkeep of %r failed: %s",
                kept,
                error,
                exc_info=not isinstance(error, LedgerError),
            )
            wish = PERIOD
        if wish is not None:
            self.kept[one] = None
            self.pause = min(self.pause, wish)

    def drain(self, until: float = math.inf) -> None:
        # One thread at a time: when this returns, what was enqueued before is done, not merely taken up; unless it
        # was only to be begun until then.
        with self.doing:
            while self.jobs:
                _attempt(self.jobs.popleft())
                if time.monotonic() >= until:
                    return


def _attempt(job: Callable[[], object]) -> None:
    try:
        job()
    except Exception as error:
        if not _closed(error):
            logger.exception("budgeted: what was put off has failed")


def _closed(error: Exception) -> bool:
    """Whether nobody needs to hear of this: what a closed ledger still holds, others charge."""
    return isinstance(error, LedgerError) and error.closed


_upkeep = _Upkeep()


def enqueue(job: Callable[[], object]) -> None:
    """Have something done soon by the background thread. Safe in finalisers and signal handlers: takes no lock."""
    _upkeep.jobs.append(job)
    _upkeep.bell.put(None)


def wanted(kept: Kept) -> None:
    """Have ``kept.upkeep()`` called regularly from now on. Not for finalisers."""
    # Weakly: that it is looked after keeps nothing alive.
    _upkeep.kept[weakref.ref(kept)] = None
    start()
    _upkeep.bell.put(None)


def later(kept: Kept) -> None:
    """Have ``kept.upkeep()`` called at the next round, or by :func:`drain` if that comes first."""
    ref = weakref.ref(kept)
    if ref in _later and ref in _upkeep.kept:  # it is to be called: nobody need be woken to hear that again
        start()
        return
    _later[ref] = None
    wanted(kept)


_later: dict[weakref.ref[Kept], None] = {}


def _look(kept: Kept) -> float | None:
    """Call ``kept.upkeep()``, for which whoever drains meanwhile waits: it may end the process next."""
    under_way = threading.Lock()
    try:
        with under_way:  # which is given back wherever an exception of a signal's handler strikes
            _going_on[under_way] = threading.get_ident()
            return kept.upkeep()
    finally:
        _going_on.pop(under_way, None)


def retry(job: Callable[[], object]) -> None:
    """Repeat a job until it succeeds, or its ledger is closed: a hold that could not be given back yet."""
    try_again(_Job(job))


def try_again(one: Retried) -> None:
    """Have something tried again until it succeeds; it is kept alive as long."""
    _retried.add(one)
    wanted(one)


def goes_on(work: Future[T]) -> None:
    """Have :func:`drain` wait for work in a thread of its own, for which nobody else waits any more.

    Args:
        work: which a ledger's own deadline ends. What is to be done after it was added to it before.
    """
    under_way = threading.Lock()
    under_way.acquire()

    def end(_: object) -> None:
        under_way.release()
        _going_on.pop(under_way, None)

    work.add_done_callback(end)  # not its result: those who wait for that are told before its callbacks run
    _going_on[under_way] = None  # not before: if a signal's handler strikes in between, nobody would end it
    if not under_way.locked():  # it has ended before
        _going_on.pop(under_way, None)


_going_on: dict[threading.Lock, int | None] = {}
"""What is under way that :func:`drain` waits for: a lock that is taken as long, and the thread, which must not wait for
itself; None for any."""


def _wait_for_others() -> None:
    for under_way, thread in list(_going_on.items()):
        # Not for ever: this may be a signal's handler, and the thread that it stopped has a lock.
        if thread != threading.get_ident() and seen_free(under_way, LONGEST):
            _going_on.pop(under_way, None)  # if a signal's handler has struck as it ended, it is still there


class Retried:
    """Something that is tried again until it succeeds, from :func:`try_again` on."""

    @property
    def waiting(self) -> int:
        """How many charges or holds wait for that."""
        return 1

    def again(self, until: float) -> bool:
        """Try again, of several things as many as can be begun until then (``time.monotonic()``).

        Returns:
            Whether nothing is left to be tried.
        """
        raise NotImplementedError

    def upkeep(self) -> float | None:
        """Try again. Returns the seconds until the next time, or None if nothing is left."""
        return self.repeat(time.monotonic() + PERIOD)

    def repeat(self, until: float = math.inf) -> float | None:
        """The same, with another time at which nothing more is begun."""
        if not self.again(until):
            return PERIOD
        _retried.discard(self)
        if not self.left():
            return None
        _retried.add(self)  # what came up meanwhile
        return PERIOD

    def left(self) -> bool:
        """Whether something is there to be tried, after all."""
        return False


class _Job(Retried):
    def __init__(self, job: Callable[[], object]) -> None:
        self.job = job

    def again(self, until: float) -> bool:  # noqa: ARG002 - it is one thing
        try:
            self.job()
        except LedgerError as error:
            if not error.closed:
                return False
            logger.warning("budgeted: what was to be repeated is given up: %s", error)
        return True


_retried: set[Retried] = set()


def start() -> None:
    """Start the thread if it does not run. Called where a call begins, so that :func:`enqueue` need not."""
    if _upkeep.thread is not None:
        return
    # Looked at again under the lock: two threads may have come here at once.
    with _upkeep.starting:
        if _upkeep.thread is None:
            # A daemon: no program waits for it to end, and what is enqueued by then is drained at exit.
            thread = threading.Thread(target=_upkeep.run, name="budgeted-upkeep", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going down; what is enqueued is drained at exit
                return
            _upkeep.thread = thread


def drain() -> None:
    """Do now, in this thread, everything that was enqueued, and try once what was to be repeated.

    What goes on beside a coroutine that has gone is waited for, as is what another thread does for :func:`later`.
    """
    _wait_for_others()  # they may enqueue something
    _upkeep.drain()
    # Copies, and taken off with a default: other threads may drain at the same time.
    for wish in list(_later):
        _later.pop(wish, None)
        kept = wish()
        if kept is not None:
            _look(kept)
    _wait_for_others()  # who have taken some of those wishes
    for one in list(_retried):
        one.repeat()


def refused() -> int:
    """How many charges and holds wait because their ledger could not take them yet."""
    return sum(one.waiting for one in list(_retried))


def _after_fork() -> None:
    # The jobs are the parent's to do, and its thread is not ours. What is to be kept says so again at its next use.
    global _upkeep  # noqa: PLW0603
    _upkeep = _Upkeep()
    _retried.clear()
    _later.clear()
    _going_on.clear()


def close_at_exit(close: Callable[[], object]) -> None:
    """Have something closed where the process ends, after everything that others do then: they write to it.

    What was registered last is closed first: it was imported later, and may write to the others.
    """
    _to_close.append(close)


_to_close: list[Callable[[], object]] = []


def _at_exit() -> None:
    # The thread is a daemon and may have been stopped anywhere: what it has not done is done by who ends the process.
    drain()
    for close in reversed(_to_close):
        _attempt(close)
    # What the thread had just begun to repeat comes to its end: broken off, it would count as perhaps done.
    drain()


at_fork(after_in_child=_after_fork)
# What was registered first is called last, and whoever has something to do then has imported this before.
atexit.register(_at_exit)
