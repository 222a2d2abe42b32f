"""Charges that a ledger could not take: kept on the disk, and posted as soon as it takes them, by who is there then.

A charge waits in memory no longer than it takes to write it to the project's :class:`SpillFile`. From there it is
posted by this process, or by the next one that opens the ledger, exactly once: by its id. Where the disk refuses as
well, it stays in memory, and every record of the log that tells of it has all of its figures.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.default_place import default_directory
from budgeted.ledger.interface import Ledger
from budgeted.ledger.spill_file import Found, Progress, SpillFile, Unposted
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.metering import ledger_hold
from budgeted.money import format_usd
from budgeted.payers.payer_interface import Group, Payer
from budgeted.system.forks import at_fork
from budgeted.telemetry import call_reporting
from budgeted.telemetry.log_throttling import say

BATCH = 20
"""Charges between two notes, on the disk, of how far posting has come: as many are in doubt if it is killed."""

TURN_SECONDS = 5.0
"""How long who wants to know the balances waits for another process that posts what waits."""


class KeptCharges(background_worker.Retried):
    """What one ledger could not take of one project's charges.

    Args:
        payer: whose charges they are.
        ledger: which is to take them.
        project: their namespace in the ledger.

    Attributes:
        file: where they outlive this process; None where the ledger itself does not.
    """

    def __init__(self, payer: Payer, ledger: Ledger, project: str) -> None:
        self.ledger = ledger
        self.project = project
        place = ledger.place
        self._payer = payer
        self._refused: set[str] = set()
        self._nowhere = ""
        self._begin()
        self.file = None if place is None else self._file_for(place)
        _all.add(self)

    def _file_for(self, place: str) -> SpillFile | None:
        """The file for a ledger at a place; None for a user without a home, whose ledger is on a server."""
        try:
            return SpillFile(default_directory(), self.project, place)
        except LedgerError as error:
            self._nowhere = str(error)
            return None

    def _begin(self) -> None:
        # Appending to a deque takes no lock that a finaliser could find taken by its own thread.
        self._pending: collections.deque[Unposted] = collections.deque()
        self._problem: Exception | None = None
        self._writing = threading.Lock()
        # Reentrant: a signal's handler that flushes while this thread posts must not wait for itself.
        self._posting = threading.RLock()

    @property
    def waiting(self) -> int:
        """How many charges wait."""
        return len(self.unposted())

    def unposted(self) -> list[Unposted]:
        """The charges that wait: of this process and, where they are on the disk, of those before it."""
        pending = list(self._pending)
        with contextlib.suppress(OSError):
            pending += self._read().waiting.values()
        return pending

    def waits(self) -> bool:
        """Whether any charges wait."""
        return bool(self._pending) or (self.file is not None and self.file.exists())

    def left(self) -> bool:
        """Whether something came up since it was tried."""
        return any(one.id not in self._refused for one in list(self._pending))

    # -- in

    def keep(self, charge: Unposted, error: Exception) -> None:
        """Have a charge wait for its ledger. Takes no lock that the caller's thread may have.

        Args:
            charge: what is to be charged.
            error: why the ledger has not taken it.
        """
        self._pending.append(charge)
        background_worker.try_again(self)
        self._write()
        group = Group(self._payer, charge.accounts, ())
        call_reporting.note_kept(group, charge, self._where(), error, lost=bool(self._why_in_memory()))

    def _where(self) -> str:
        why = self._why_in_memory()
        if why:
            return f"in memory alone, as {why}"
        return "in memory" if self.file is None else f"in {self.file.path}"

    def _why_in_memory(self) -> str:
        """Why charges are not on the disk that should be; "" if none is."""
        if self.file is None or self._problem is None:
            return self._nowhere
        return f"{self.file.path} cannot be written ({self._problem})"

    def _write(self) -> None:
        """Write what is in memory alone. If another call does so, that one writes this too, or the next look."""
        if self.file is None or not self._writing.acquire(blocking=False):
            return
        try:
            while self._pending:
                batch = list(self._pending)
                self.file.append(batch)
                for _ in batch:
                    self._pending.popleft()
            self._problem = None
        except OSError as error:
            self._problem = error
        finally:
            self._writing.release()

    # -- out

    def again(self, until: float = math.inf) -> bool:
        """Hand over what waits. Returns whether nothing is left, but for what was refused for good.

        Args:
            until: ``time.monotonic()`` at which nothing more is begun; without it, what was refused is tried, too.
        """
        # In the background it is not tried over and over.
        refused = set() if until == math.inf else self._refused
        with self._posting:
            self._write()
            try:
                through = self._post_file(until, refused)
                return self._post_pending(until, refused) and through
            except LedgerError as error:
                return error.closed and not self._pending
            except OSError:  # what cannot be read or noted now is later
                return False

    def _read(self) -> Found:
        return Found({}) if self.file is None else self.file.read()

    def _post_file(self, until: float, refused: AbstractSet[str]) -> bool:
        """Post what is on the disk, as far as time allows. Returns whether all was tried."""
        file = self.file
        if file is None or not file.exists():
            return True
        with file.taken_up(TURN_SECONDS if until == math.inf else 0) as mine:
            if not mine:  # somebody else is at it; whether he comes to an end is seen later
                return False
            found = file.read()
            run = _Run(file, found, {at: one for at, one in found.waiting.items() if one.id not in refused})
            try:
                while run.left and time.monotonic() < until:
                    self._post_batch(run)
            finally:
                if found.damaged:
                    self._tell_damaged(file, found.damaged)
                run.finish()
            return not run.left

    def _post_batch(self, run: _Run) -> None:
        # The first request to the ledger, so that what is away has nobody take a charge for tried.
        self.ledger.read(next(iter(run.left.values())).accounts[0])
        for begin, charge in run.begin_batch():
            try:
                taken = self._post(charge)
            except LedgerError as error:
                if ledger_hold.may_be_done(error):
                    run.not_answered(begin)
                raise
            run.ended(begin, taken=taken)

    def _post_pending(self, until: float, refused: AbstractSet[str]) -> bool:
        """Post what is in memory alone, from where nobody may write it to the disk meanwhile. The same return."""
        if not self._pending:
            return True
        if not self._writing.acquire(blocking=False):
            return False
        try:
            for charge in [one for one in self._pending if one.id not in refused]:
                if time.monotonic() >= until:
                    return False
                if self._post(charge):
                    self._pending.remove(charge)
        finally:
            self._writing.release()
        return True

    def _post(self, charge: Unposted) -> bool:
        """Have the ledger take a charge. False if it never will.

        Raises:
            LedgerError: it takes nothing at present.
        """
        payer = self._payer
        group = Group(payer, charge.accounts, (payer.policy,) * len(charge.accounts))
        try:
            ledger_hold.settle_or_post(group, self.ledger, charge, int(payer.clock()))
            payer.charged(group, charge.used.usd)
        except (LedgerUnavailableError, LedgerCorruptError):
            raise
        except LedgerError as error:
            if error.closed:
                raise
            known = self.ledger.ended(charge.id)
            if known is not None and not known.reason:
                text = "budgeted: the charge %s was confirmed as %s meanwhile, so that %s is not charged"
                say(logging.WARNING, text, (charge.id, format_usd(known.used.usd), format_usd(charge.used.usd)), {})
                return True
            if charge.id not in self._refused:
                self._refused.add(charge.id)
                text = "budgeted: %s is refused by its ledger for good (%s); reconcile it by hand. It stays %s"
                say(logging.ERROR, text, (call_reporting.all_figures(charge), error, self._where()), {})
            return False
        return True

    # -- told

    def _tell_damaged(self, file: SpillFile, lines: Sequence[bytes]) -> None:
        text = "budgeted: %d lines of %s are damaged; charges that nobody can post. They are kept in %s: %r"
        say(logging.ERROR, text, (len(lines), file.path, file.damaged, lines[0][:200]), {})

    def require_none(self) -> None:
        """Raise if charges wait.

        Raises:
            LedgerUnavailableError: some do; the text says how many, of how much, and where.
        """
        left = self.unposted()
        if left:
            msg = f"{_sum(left)} wait {self._where()} for {self.ledger!r}; they are repeated until it takes them"
            raise LedgerUnavailableError(msg)

    def tell_rest(self) -> None:
        """Say what waits as its manager is closed: by a WARNING what is on the disk, and by an error what is not.

        Raises:
            LedgerUnavailableError: charges are in memory alone, whose end is near.
        """
        if self.file is None and not self._nowhere:  # what is in memory ends with it, balances and all
            return
        with self._posting:  # another thread may be at it
            self._tell_rest()

    def _tell_rest(self) -> None:
        self._write()
        pending, why = list(self._pending), self._why_in_memory()
        for charge in pending:
            text = "budgeted: %s is lost if this process ends now: it was not taken, and %s"
            say(logging.ERROR, text, (call_reporting.all_figures(charge), why), {})
        with contextlib.suppress(OSError):
            written = list(self._read().waiting.values())
            if written and self.file is not None:
                text = "budgeted: %s wait in %s for %r; the next process that opens it takes them up"
                say(logging.WARNING, text, (_sum(written), self.file.path, self.ledger), {})
        if pending:
            msg = (
                f"{_sum(pending)} could not be handed over to {self.ledger!r}, nor written, as {why}: "
                f"{'; '.join(map(call_reporting.all_figures, pending[:10]))}"
            )
            raise LedgerUnavailableError(msg)


class _Run:
    """Posting what a file holds, once from its beginning."""

    def __init__(self, file: SpillFile, found: Found, left: dict[int, Unposted]) -> None:
        self.left = left
        self._file = file
        self._found = found
        self._taken: list[int] = []  # since the last note
        self._noted = False

    def begin_batch(self) -> list[tuple[int, Unposted]]:
        """The next charges. It is noted that a ledger is given them: it may have one of whoever dies over them."""
        batch = list(itertools.islice(self.left.items(), BATCH))
        tried = tuple(begin for begin, charge in batch if not charge.doubtful)
        if tried or self._taken:
            self._file.append([Progress(tuple(self._taken), tried)])
            self._taken, self._noted = [], True
        return batch

    def ended(self, begin: int, *, taken: bool) -> None:
        """A ledger has taken a charge, or never will."""
        del self.left[begin]
        if taken:
            self._taken.append(begin)
            del self._found.waiting[begin]

    def not_answered(self, begin: int) -> None:
        """A ledger may have taken a charge."""
        waiting = self._found.waiting
        waiting[begin] = msgspec.structs.replace(waiting[begin], doubtful=True)

    def finish(self) -> None:
        """Keep what is left, as it is known here: of what was noted as tried, most was not."""
        waiting = self._found.waiting
        if self._noted or self._taken or self._found.damaged or not waiting:
            self._file.finish(self._found, list(waiting.values()))


def _sum(charges: Sequence[Unposted]) -> str:
    count = len(charges)
    return f"{count} charge{'s' * (count != 1)} of {format_usd(sum(charge.used.usd for charge in charges))}"


_all: WeakRegistry[KeptCharges] = WeakRegistry()


def _after_fork() -> None:
    """What waits in memory is the parent's to post."""
    for kept in _all.alive():
        kept._begin()  # noqa: SLF001


def _at_exit() -> None:
    """The same as where a manager is closed, for whoever was not; before the ledgers are."""
    background_worker.drain()
    for kept in _all.alive():
        with contextlib.suppress(LedgerError):
            kept.tell_rest()


at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
