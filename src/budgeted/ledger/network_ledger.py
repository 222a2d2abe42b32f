"""What ledgers that other hosts use too have in common: a lease per process, deadlines, errors that name the host.

A server that has gone back to an earlier state is noticed by its count of a process's verbs, and told what it lacks:
see :mod:`~budgeted.ledger.acknowledged_verbs`.

Nobody can see from afar whether a process lives. So each one renews a lease, and the holds of one whose lease has run
out are charged by whoever is alive: by :meth:`RemoteLedger.sweep`, once, and only if nobody has ended them meanwhile.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import Account
from budgeted.ledger.acknowledged_verbs import AcknowledgedVerbs, WentBackError
from budgeted.ledger.interface import is_closed, page_of, spent_most_of, sums_of
from budgeted.ledger.memory.change_records import Change
from budgeted.ledger.spending_records import Charge, RollupRow, UncertainPage
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.limits.trusted_clock import is_system_clock
from budgeted.system.clocks import boot_time
from budgeted.system.forks import at_fork

T = TypeVar("T")

logger = logging.getLogger("budgeted")

DEADLINE = 5.0
"""Seconds within which a server must have answered, unless a verb's ``timeout`` says otherwise."""

READING_SECONDS = 600.0
"""Seconds within which all that a ledger knows must have been read."""

LEASE = 30.0
"""Seconds after which a process that was not heard of is taken for dead."""

POLL = 0.5
"""Seconds at most between two tries of a call that waits for calls of other hosts."""

MOST_DOUBTFUL = 10_000
"""Holds without an answer that are kept in mind while the server is away. Older ones end when they run out."""

DIED = "the process died"
"""Why a hold of a process without a lease was charged."""


MOST_STEPS_BACK = 3
"""How often one verb has a server told what it lacks: it may go back meanwhile."""


BACKWARDS = "it is in an earlier state, as of a backup"
"""Why a ledger's balances are not those that it had."""

REPAIR_SECONDS = 60.0
"""Seconds that writing back what a server lacks may take."""


class Standing(NamedTuple):
    """How a server stands to what this process knows.

    Attributes:
        verbs: how many of this process it has done; 0 if it knows nothing of it.
        gone: why this cannot be the ledger that was opened, such as "its tables were emptied"; "" if it is.
    """

    verbs: int
    gone: str = ""


class RemoteLedger:
    """Base of the ledgers behind a network. A subclass adds the verbs of :class:`~budgeted.ledger.interface.Ledger`.

    Each verb does its work inside ``with self._verb(timeout) as deadline``; :meth:`hold` calls :meth:`_check_in` first,
    within the same deadline. A subclass also says how a lease is kept (:meth:`_renew_by`) and how holds that nobody
    will end are charged (:meth:`sweep`), and leaves its connections to the parent in a forked child (:meth:`_forked`).

    Args:
        where: host and port, as errors name them; no credentials.
        errors: the driver's exceptions that mean that the server did not do what it was asked.
        secret: words that no error may show, such as the password.

    Attributes:
        lease: seconds that a renewed lease lasts.
        deadline: seconds that a verb may take.
        poll: seconds at most between two tries of a call that waits.
    """

    remote = True
    at_hand = False  # where it is remote
    shared = True
    closed = False
    lease = LEASE
    deadline = DEADLINE
    poll: float | None = POLL

    def __init__(
        self, where: str, errors: tuple[type[Exception], ...] = (OSError,), secret: Sequence[str] = ()
    ) -> None:
        self.where = where
        self.place: str | None = where
        self.clock: Callable[[], float] = time.time
        self.hold_timeout = 900.0
        self._errors = errors
        self._secret = [word for word in secret if word]
        self._begin()
        _ledgers.add(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.where!r})"

    def _begin(self) -> None:
        """What belongs to this process alone: it is made anew in a forked child."""
        self.turns = WaitQueues()
        self.owner = secrets.token_hex(5)
        self._prefix = self.owner + "."
        # The next number is taken in one step of the interpreter: threads need no lock for it.
        self._numbers = itertools.count(1)
        # Bounded: a server that is away for long must not fill the memory of those that wait for it.
        self._doubtful: collections.deque[tuple[str, int]] = collections.deque(maxlen=MOST_DOUBTFUL)
        self._watched = False
        self._beat_due = self._lease_due = 0.0
        self._leaving = False
        self._told = AcknowledgedVerbs()
        # Reentrant: a signal's handler may use the ledger while its thread posts again.
        self._posting_again = threading.RLock()
        self._giving_back = threading.RLock()

    def _forked(self) -> None:
        """What a forked child does first."""
        self._begin()

    def new_id(self) -> str:
        """A hold id: this process's name and a number."""
        return f"{self._prefix}{next(self._numbers)}"

    # -- verbs that all of them do alike

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:
        """Drop a hold: nothing was spent."""
        raise NotImplementedError

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        raise NotImplementedError

    def read_limits(self, account: str) -> Account | None:
        """The same, as calls are planned by it: none of them keeps less of an account at hand."""
        return self.read(account)

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""
        raise NotImplementedError

    def spent_most(self, day: int, count: int) -> list[str]:
        """The users that were charged most on a day, the dearest first."""
        return [account for account, _ in spent_most_of((row for row in self.rollups(day) if row.day == day), count)]

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""
        raise NotImplementedError

    def uncertain_page(self, account: str | None = None, first: int = 0, count: int = 50) -> UncertainPage:
        """Some of them, of an account or of all, from the one with a number on, and what all of these come to."""
        return page_of(self.uncertain(), account, first, count)

    def uncertain_sums(self, wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, int]]:
        """Nano-USD per model that nobody confirmed, of an account's calls opened in a time, for each wanted one."""
        return sums_of(self.uncertain(), wanted) if wanted else []

    # -- around the verbs

    @contextmanager
    def _verb(self, timeout: float | None = None) -> Iterator[float]:
        """Around a verb's work. Yields the ``time.monotonic()`` by which the server must have answered.

        Raises:
            LedgerError: the ledger is closed.
            LedgerLockedError: ``timeout`` is 0, and a network cannot be used without waiting.
            LedgerUnavailableError: the server did not do what it was asked.
        """
        if self.closed:
            raise is_closed(f"at {self.where}")
        allowed = self.deadline if timeout is None else timeout
        if not allowed and self.remote:
            msg = f"the ledger at {self.where} is reached over a network, which takes time"
            raise LedgerLockedError(msg)
        try:
            yield time.monotonic() + allowed
        except WentBackError as error:  # where nothing could be posted again
            raise self._lost(str(error) or BACKWARDS, str(self._told.missing(0))) from error
        except self._errors as error:
            raise self._unavailable(error, allowed) from error
        if not self._watched:  # not before it has answered once: nothing is there to be looked after
            self.watch()

    @contextmanager
    def _given_back(self, id: str, at: int) -> Iterator[None]:
        """Around a hold. One whose answer never came may have been made: it is given back when the server answers."""
        try:
            yield
        except LedgerUnavailableError as error:
            self._doubt(id, at, error)
            raise

    def _doubt(self, id: str, at: int, error: LedgerUnavailableError | None = None) -> None:
        """Have a hold given back that nobody counts on, though the server may have made it, or may make it yet."""
        if isinstance(error, LedgerLockedError):  # nothing was asked for
            return
        self._doubtful.append((id, at))
        if len(self._doubtful) == 1:  # looked at afterwards: who gives others back sees this one, too
            background_worker.retry(self._give_back)

    def _give_back(self) -> None:
        # One thread at a time: nobody takes for done what another one is at, and may put back.
        with self._giving_back:
            while self._doubtful and not self.closed:
                try:
                    one = self._doubtful.popleft()
                except IndexError:  # what was the last one ran out meanwhile
                    return
                try:
                    self.release(*one)
                except LedgerError:
                    # In its place again, for the next try.
                    self._doubtful.appendleft(one)
                    raise

    def _unavailable(self, error: Exception, allowed: float) -> LedgerError:
        if isinstance(error, TimeoutError):
            return LedgerUnavailableError(f"the ledger at {self.where} did not answer within {allowed:g} seconds")
        reason = " ".join(str(error).split()) or type(error).__name__
        for word in self._secret:
            reason = reason.replace(word, "***")
        return LedgerUnavailableError(f"the ledger at {self.where} is not available: {reason}")

    def _server_time(self) -> float | None:
        """None: the server's clock tells what time it is. One that was injected, as in tests, goes before it."""
        return None if is_system_clock(self.clock) else self.clock()

    # -- a server that went back to an earlier state, or is another

    def _in_step(self, verb: Callable[[], T], deadline: float) -> T:
        """Do a verb; where the server lacks what it has acknowledged, post that again first.

        Args:
            verb: it raises :class:`WentBackError` before it does anything.
            deadline: by ``time.monotonic()``.

        Raises:
            LedgerCorruptError: the server's state is another one, or so old that nobody knows what it lacks.
        """
        for step in range(MOST_STEPS_BACK):
            try:
                return verb()
            except WentBackError as error:
                self._post_again(deadline)
                if str(error) and step:  # there was nothing to be posted that would have helped
                    raise
        msg = f"the ledger at {self.where} goes back to earlier states again and again"
        raise LedgerUnavailableError(msg)

    def _post_again(self, deadline: float, *, repair: bool = False) -> int:
        """Have the server do again what it lacks, in one thread, while others wait. Returns how many changes that was.

        Args:
            deadline: by ``time.monotonic()``. What is left then is done by the next verb.
            repair: True to go on with a server that lacks more than this process knows.
        """
        if not self._posting_again.acquire(timeout=max(0.0, deadline - time.monotonic())):
            msg = f"the ledger at {self.where} is being told what it lacks by another thread"
            raise LedgerLockedError(msg)
        try:
            if self._leaving:  # what is missing is this process's count, which goes with its lease
                raise is_closed(f"at {self.where}")
            standing = self._standing(deadline)
            missing = self._told.missing(standing.verbs)
            if not repair and (standing.gone or missing.forgotten):
                raise self._lost(standing.gone or BACKWARDS, str(missing))
            done = 0
            if repair or standing.verbs < self._told.sent():
                text = (
                    "budgeted: the ledger at %s lacks what it has acknowledged: %s; what is known of it is posted again"
                )
                # Of a count that is lower where nothing is missing, nobody needs to hear.
                logger.log(logging.ERROR if missing or standing.gone else logging.INFO, text, self.where, missing)
                self._told.go_back(standing.verbs, limits_too=True)
            # Before the rest, as charges need their accounts.
            if self._told.limits_due:
                done += self._write_limits_back(deadline, gone=bool(standing.gone))
                self._told.limits_due = False
            while (change := self._told.next_again()) is not None:
                self._told.done_again(change, self._do_again(change, deadline))
                done += 1
            if repair:
                self._told.give_up_forgotten()
            return done
        finally:
            self._posting_again.release()

    def _lost(self, what: str, missing: str) -> LedgerCorruptError:
        return LedgerCorruptError(
            f"the balances at {self.where} are gone: {what}. Known to be missing: {missing}. Put the data back, or "
            f"have programs that run write back what they know by manager.repair(); until then calls are refused"
        )

    def repair(self) -> int:
        """Write back what this process knows and the server lacks: limits, charges and open holds, each once.

        What nobody knows any more is given up: afterwards calls go on with what is there.

        Returns:
            How many changes the server was told again; 0 if it lacks nothing.

        Raises:
            LedgerUnavailableError: it did not answer.
        """
        with self._verb(REPAIR_SECONDS) as deadline:
            standing = self._standing(deadline)
            if not standing.gone and not self._told.missing(standing.verbs):
                return 0
            return self._post_again(deadline, repair=True)

    def _standing(self, deadline: float) -> Standing:  # noqa: ARG002 - others ask their server
        """How the server stands to this process. One that counts no verbs lacks none."""
        return Standing(self._told.sent())

    def _write_limits_back(self, deadline: float, *, gone: bool) -> int:
        """Give accounts that lack them the limits that this process knows of. Returns how many.

        Args:
            deadline: by ``time.monotonic()``.
            gone: whether all is gone, and what there is of this process's ledger is to be made anew.
        """
        raise NotImplementedError

    def _do_again(self, change: Change, deadline: float) -> int:
        """Have the server make a change that it lacks, unless it knows its id; returns its count of our verbs then."""
        raise NotImplementedError

    # -- the lease

    def renew(self, owner: str, seconds: float, timeout: float | None = None) -> None:
        """Count an owner (what its holds' ids begin with) as alive for so many seconds from now; 0: as gone."""
        with self._verb(timeout) as deadline:
            self._renew_by(owner, seconds, deadline)

    def _renew_by(self, owner: str, seconds: float, deadline: float) -> None:
        raise NotImplementedError

    def _check_in(self, deadline: float) -> None:
        """Have a lease before a hold is made: without one it would pass for a dead process's."""
        if boot_time() >= self._lease_due:
            self._renew(deadline)

    def _renew(self, deadline: float) -> None:
        # From before the request: the server counts from when it gets it, so that the lease ends here first.
        began = boot_time()
        self._renew_by(self.owner, self.lease, deadline)
        self._lease_due = began + self.lease / 2

    def sweep(self) -> int:
        """Charge the holds that nobody has heard of for ``hold_timeout`` seconds, and those of processes that died.

        Returns:
            How many holds were ended.
        """
        raise NotImplementedError

    def damage(self) -> list[str]:
        """Nothing: its server looks after its files."""
        return []

    # -- upkeep

    def watch(self) -> None:
        """Renew the lease, and look after holds that nobody ends, from now on until the ledger is closed."""
        self._watched = True
        background_worker.wanted(self)

    def upkeep(self) -> float | None:
        """Renew the lease when it is time, and charge what nobody ends; more often while calls wait for it."""
        try:
            self._beat()
        except LedgerError:
            if not (self.closed or self._leaving):  # such as meanwhile
                raise
        return None if self.closed else background_worker.PERIOD

    def _beat(self) -> None:
        """What is due in the background."""
        if boot_time() >= self._beat_due:
            try:
                if self._lease_due or self._told.sent():  # who has done nothing yet needs none
                    with self._verb() as deadline:
                        self._renew(deadline)
                self.sweep()
            finally:  # from its end on: a server that does not answer is not waited for all the time
                self._beat_due = boot_time() + self.lease / 6
        elif self.turns.queues:
            self.sweep()

    def idle(self) -> bool:
        """False: a network is never for a finaliser."""
        return False

    def flush(self) -> None:
        """Do what was put off. What the server acknowledged is as durable as the server makes it."""
        background_worker.drain()

    def sync_always(self) -> None:
        """Nothing: how durable what it acknowledges is, the server says."""

    def close(self) -> None:
        """Flush, and give up the lease: holds still open are charged by the next process that looks."""
        if self.closed:
            return
        try:
            self.flush()
            if self._lease_due or self._told.sent():
                self._leaving = True  # first: the background thread may look in between
                with contextlib.suppress(LedgerError):  # then it runs out
                    self.renew(self.owner, 0)
        finally:
            self.closed = True
            self._disconnect()
            self.turns.wake_all()

    def _disconnect(self) -> None:
        """Close the connections."""


_ledgers: WeakRegistry[RemoteLedger] = WeakRegistry()


def _open_ledgers() -> list[RemoteLedger]:
    return [ledger for ledger in _ledgers.alive() if not ledger.closed]


def _after_fork_in_child() -> None:
    for ledger in _open_ledgers():
        # The child has a name and a lease of its own, and must not speak over its parent's connections.
        ledger._forked()  # noqa: SLF001


def _at_exit() -> None:
    for ledger in _open_ledgers():
        with contextlib.suppress(LedgerError):
            ledger.close()


at_fork(after_in_child=_after_fork_in_child)
background_worker.close_at_exit(_at_exit)
