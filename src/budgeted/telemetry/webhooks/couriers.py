"""Who sends events out of the process: one courier for each destination, in a thread that lives while there are any.

What a destination does not take is sent again after ever longer pauses, for up to a day, and after its process has
ended by the next one (:mod:`budgeted.telemetry.webhooks.waiting_files`). No call waits for any of that, and the end of
a process no longer than :data:`EXIT_SECONDS`.
"""

from __future__ import annotations

import atexit
import collections
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from budgeted.errors import LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.default_place import default_directory
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.limits.trusted_clock import is_system_clock
from budgeted.system import jitter
from budgeted.system.forks import at_fork
from budgeted.telemetry import counters
from budgeted.telemetry.events import Event
from budgeted.telemetry.genai_conventions import version
from budgeted.telemetry.log_throttling import say
from budgeted.telemetry.webhooks import requests
from budgeted.telemetry.webhooks.destinations import BY_DEFAULT, Destination
from budgeted.telemetry.webhooks.messages import body_of
from budgeted.telemetry.webhooks.requests import Answer
from budgeted.telemetry.webhooks.signatures import HEADER, Secret, signature
from budgeted.telemetry.webhooks.waiting_files import Waiting, WaitingFiles

MOST_WAITING: Final = 1_000
"""Events that wait for one destination. Those that come while as many wait are dropped, which is said once; of kinds
that are sent only where they are asked for, and may come by the thousand, half as many."""

GIVEN_UP_SECONDS: Final = 86_400.0
"""How long an event is sent again."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
"""Seconds between two attempts; each pause is twice as long as the one before."""

IDLE_SECONDS: Final = 10.0
"""How long a courier's thread waits for the next event before it ends."""

EXIT_SECONDS: Final = 2.0
"""How long a process that ends waits for its couriers."""

KEPT: Final = frozenset({"alert", "stopped", "resumed"})
"""Kinds of events that are kept on the disk: a call that asked is gone with its process."""

_LOOK_SECONDS: Final = 0.02
"""How often a clock is looked at that somebody sets by hand."""


class Courier:
    """Sends events to one destination, one after the other. Nothing that takes events over takes a lock.

    Args:
        destination: where to.
        secret: by which they are signed, or None.
        clock: returns unix seconds.
        files: where they outlive this process; None for nowhere.

    Attributes:
        dropped: how many events the destination never got, and never will.
        failures: how many attempts have failed since the last answer that settled something.
    """

    def __init__(
        self, destination: Destination, secret: Secret | None, clock: Callable[[], float], files: WaitingFiles | None
    ) -> None:
        self.destination = destination
        self._secret = secret
        self._clock = clock
        # A wall clock may be set back for hours.
        self._timer = time.monotonic if is_system_clock(clock) else clock
        self._longest_look = LONGEST_PAUSE if is_system_clock(clock) else _LOOK_SECONDS
        self._files = files
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._waiting: collections.deque[Waiting] = collections.deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = [True]  # popped by whoever starts the thread
        self._said: set[str] = set()
        self.failures = 0
        self._resumes = 0.0
        self._leaving = False
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many events the destination has not taken."""
        return len(self._waiting)

    # -- in

    def send(self, event: Event) -> None:
        """Have an event sent soon."""
        if len(self._waiting) >= (MOST_WAITING if event.kind in BY_DEFAULT else MOST_WAITING // 2):
            self._drop("dropped")
            self._say_once("takes too few: %d events wait, and further ones are dropped", len(self._waiting))
            return
        id = secrets.token_hex(16)
        body = body_of(event, id, self.destination).decode()
        self.take(self._kept(event, Waiting(id, self.destination.id, self._clock(), body)))

    def take(self, waiting: Waiting) -> None:
        """Have sent soon what waits."""
        self._waiting.append(waiting)
        self._bell.put(None)
        if self._idle:
            self._start()

    def _kept(self, event: Event, waiting: Waiting) -> Waiting:
        if self._files is None or event.kind not in KEPT:
            return waiting
        try:
            return self._files.keep(waiting)
        except OSError as error:
            problem = error.strerror or type(error).__name__
            self._say_once(
                "has events that wait in memory alone, as none can be kept in %s: %s", self._files.folder, problem
            )
            return waiting

    # -- out

    def _start(self) -> None:
        try:
            self._idle.pop()
        except IndexError:
            return
        try:
            threading.Thread(target=self._run, name="budgeted-webhook", daemon=True).start()
        except RuntimeError:  # the interpreter is going down
            self._idle.append(True)

    def _run(self) -> None:
        try:
            while self._waiting or self._rings(IDLE_SECONDS):
                if not self._go_on():
                    break
        finally:  # a clock of the application's may raise, and the next event is to find a thread all the same
            self._idle.append(True)
        if self._waiting and not self._leaving:  # since just now
            self._start()

    def _go_on(self) -> bool:
        """Take the next step. Returns whether there is to be another one."""
        left = self._resumes - self._timer()
        if not self._waiting:
            return True
        if left > 0 and not self._leaving:
            self._rings(min(left, self._longest_look))
            return True
        return self._deliver(self._waiting[0]) or not self._leaving

    def _rings(self, seconds: float) -> bool:
        try:
            self._bell.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    def _deliver(self, waiting: Waiting) -> bool:
        """Send an event. Returns whether it need not be sent again."""
        if self._clock() - waiting.at > GIVEN_UP_SECONDS:
            self._drop("dropped")
            self._say_once("has not taken an event for a day: it is given up, as are all that wait as long")
            self._ended()
            return True
        answer: Answer | None = None
        try:
            answer = ask(self.destination, self._secret, waiting.id, waiting.body.encode())
            problem = f"HTTP {answer.status}"
        except Exception as error:  # noqa: BLE001 - whatever it is, others wait behind this one
            problem = requests.problem_of(error)
        if answer is not None and not answer.may_change:
            self._answered(answer)
            self._ended()
            return True
        self._put_off(problem, None if answer is None else answer.retry_after)
        return False

    def _answered(self, answer: Answer) -> None:
        """A destination has taken an event, or never will."""
        self.failures = 0
        if answer.taken:
            counters.sent(self._host, "taken")
            # Not while one of them is put off over and over, which would be said between any two others.
            if len(self._waiting) == 1 and self._said:
                self._said.clear()
                self._say(logging.INFO, "takes events again")
            return
        self._drop("refused")
        hint = "; the answer points elsewhere, which is not followed" if 300 <= answer.status < 400 else ""
        self._say_once("refuses events with HTTP %d, and is not sent them again%s", answer.status, hint)

    def _drop(self, outcome: str) -> None:
        self.dropped += 1
        # Beside: this may be a finaliser, which must not wait for the counters' lock.
        background_worker.enqueue(lambda: counters.sent(self._host, outcome))

    @property
    def _host(self) -> str:
        return self.destination.parts.hostname or ""

    def _put_off(self, problem: str, retry_after: float | None) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures, 20))
        # At random: processes that lost the same destination do not all come back at the same instant.
        pause *= jitter.between(0.5, 1.0)
        self._resumes = self._timer() + min(max(pause, retry_after or 0.0), GIVEN_UP_SECONDS)
        self.failures += 1
        self._waiting.rotate(-1)  # one that is refused for what it says must not keep the others
        self._say_once("does not take events (%s); they are sent again for up to a day", problem)

    def _ended(self) -> None:
        waiting = self._waiting[0]
        if waiting.owner and self._files is not None:
            self._files.drop(waiting)
        self._waiting.popleft()  # last: who sees that nothing waits may end, and what its file has would be sent again

    def _say_once(self, what: str, *args: object) -> None:
        """Say what is wrong with a destination, once until it takes an event again."""
        if what not in self._said:
            self._said.add(what)
            self._say(logging.WARNING, what + " (said once)", *args)

    def _say(self, level: int, what: str, *args: object) -> None:
        say(level, "budgeted: alerts_to: %s " + what, (self.destination, *args), {})

    # -- ends

    def hurry(self) -> None:
        """Try once more, now: the process ends."""
        self._leaving = True
        self._bell.put(None)
        if self._idle and self._waiting:
            self._start()

    @property
    def at_work(self) -> bool:
        """Whether it sends, and has not given up for this process."""
        return bool(self._waiting) and not self._idle

    def tell_rest(self) -> None:
        """Say what the destination has not taken."""
        self._leaving = False
        left = list(self._waiting)
        kept = sum(bool(waiting.owner) for waiting in left)
        if left or self.dropped:
            text = "has not taken %d events; %d wait for the next process, and others are lost"
            self._say(logging.WARNING, text, len(left) + self.dropped, kept)

    def forget(self) -> None:
        """Leave what waits to the parent, in a forked child, which has none of its threads."""
        self._begin()


def ask(destination: Destination, secret: Secret | None, id: str, body: bytes) -> Answer:
    """Send a body to a destination, once.

    Args:
        destination: where to.
        secret: by which it is signed, or None.
        id: of the event, which stays the same however often it is sent.
        body: of the request.

    Returns:
        What came back.

    Raises:
        OSError, HTTPException: nothing answered; see :func:`~budgeted.telemetry.webhooks.requests.post`.
    """
    headers = {
        "User-Agent": f"budgeted/{version()}",
        "Content-Type": "application/json",
        "Budgeted-Event-Id": id,
        "Idempotency-Key": id,
    }
    if secret is not None:
        # Anew for each attempt, by the clock that the receiver has, too: an old one would be refused there.
        headers[HEADER] = signature(body, secret.value, int(time.time()))
    return requests.post(destination.parts, body, headers)


class Outlet(NamedTuple):
    """Where and how events leave the process.

    Args:
        destinations: each once.
        secret: by which events are signed, or None.
        clock: returns unix seconds.
        project: the namespace in the ledger.
        place: where the ledger is, without credentials; None for one that ends with its process, as events do then.
    """

    destinations: tuple[Destination, ...]
    secret: Secret | None
    clock: Callable[[], float]
    project: str
    place: str | None


class Webhooks:
    """Sends events to the destinations of one manager.

    Args:
        outlet: where and how.

    Attributes:
        couriers: one for each destination, by its id.
    """

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self._files = _files_of(outlet)
        self.couriers = {one.id: Courier(one, outlet.secret, outlet.clock, self._files) for one in outlet.destinations}
        self._look_for_left()

    def _look_for_left(self) -> None:
        if self._files is not None:
            background_worker.later(self)

    def tell(self, event: Event, told: set[str]) -> None:
        """Have an event sent to each destination that wants it. Alerts are not: they are claimed one by one.

        Args:
            event: what happened.
            told: ids of destinations that know of it already; those which are sent it are added.
        """
        for id, courier in self.couriers.items():
            if id not in told and event.kind != "alert" and event.kind in courier.destination.kinds:
                told.add(id)
                self.send(id, event)

    def send(self, id: str, event: Event) -> None:
        """Have an event sent to one destination, by its id. It is on the disk then, if it is kept there."""
        self.couriers[id].send(event)
        if event.kind in KEPT:  # others come up in finalisers, too
            self._look_for_left()  # of processes that have ended since

    @property
    def for_alerts(self) -> list[str]:
        """The ids of those destinations that want to know of shares of limits that are reached."""
        return [id for id, courier in self.couriers.items() if "alert" in courier.destination.kinds]

    def upkeep(self) -> None:
        """Take over what processes have left that are gone."""
        if self._files is not None:
            room = MOST_WAITING - max(courier.waiting for courier in self.couriers.values())
            since = self.outlet.clock() - GIVEN_UP_SECONDS
            for waiting in self._files.take_over(frozenset(self.couriers), since, room):
                self.couriers[waiting.to].take(waiting)


def _files_of(outlet: Outlet) -> WaitingFiles | None:
    """Where events outlive this process; None where their ledger does not, or for a user without a home."""
    if outlet.place is None:
        return None
    try:
        return WaitingFiles(default_directory(), outlet.project, outlet.place)
    except LedgerError:
        return None


_all: WeakRegistry[Courier] = WeakRegistry()


def finish(seconds: float = EXIT_SECONDS) -> bool:
    """Have what waits sent once more, for a moment, and say what is left.

    Args:
        seconds: the longest to wait.

    Returns:
        Whether all of it was taken.
    """
    couriers = _all.alive()
    if not couriers:
        return True
    background_worker.drain()  # who has reached a share of a limit may not have been told of yet
    for courier in couriers:
        courier.hurry()
    deadline = time.monotonic() + seconds
    while any(courier.at_work for courier in couriers) and time.monotonic() < deadline:
        time.sleep(0.005)
    for courier in couriers:
        courier.tell_rest()
    return not any(courier.waiting for courier in couriers)


def _after_fork() -> None:
    for courier in _all.alive():
        courier.forget()


at_fork(after_in_child=_after_fork)
atexit.register(finish)
