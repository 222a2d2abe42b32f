"""The ledger in this process's memory, under one lock; the file ledger adds a journal to it."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from budgeted.errors import LedgerError, LedgerLockedError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import Account, Amendment, LimitSpec
from budgeted.ledger.admission import Ask, Refused, admit
from budgeted.ledger.cost_routing import STALE, Route, Stale
from budgeted.ledger.interface import PAGE, in_flight, page_of, spent_most_of
from budgeted.ledger.lock_waiting import seen_free
from budgeted.ledger.memory import change_records, fork_safety
from budgeted.ledger.memory.change_records import (
    Amended,
    Deleted,
    Held,
    LimitsSet,
    PeriodsSet,
    Posted,
    Record,
    Released,
    Restored,
    Settled,
    WasReset,
    is_reservation,
)
from budgeted.ledger.memory.content_of_state import content_of, copied
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.resolved_routes import BoundRoute, charge_of
from budgeted.ledger.memory.state import MOST_UNFOLDED, State
from budgeted.ledger.spending_records import Charge, RollupRow, UncertainPage, Used
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.ledger.whole_content import Content

LOCK_SECONDS = 10.0
"""How long a verb waits for the ledger's lock before it gives up."""


class MemoryLedger:
    """Balances in memory: the verbs of :class:`~budgeted.ledger.interface.Ledger`, each under one lock.

    Every verb decides, hands the decision to :meth:`_append`, and applies it. Nothing is kept when the process ends.
    """

    place: str | None = None
    remote = False
    at_hand = True
    shared = False
    closed = False
    poll: float | None = None

    def __init__(self, *, kept: bool = False, synced_always: bool = False) -> None:
        # Looked at by each verb, so they are the object's own: a class's attributes take longer to find.
        self._kept = kept  # elsewhere than in this process's memory
        self._synced_always = synced_always
        self.clock: Callable[[], float] = time.time
        self.hold_timeout = 900.0
        self._state = State()
        self._begin()
        fork_safety.ledgers.add(self)

    def _begin(self) -> None:
        """What belongs to this process alone: it is made anew in a forked child."""
        self.turns = WaitQueues()
        self.owner = secrets.token_hex(5)
        # The next number is taken in one step of the interpreter: threads need no lock for it.
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._watched = False
        self._vouched: dict[str, float] = {}

    def new_id(self) -> str:
        """A hold id: this process's name and a number."""
        return f"{self.owner}.{next(self._numbers)}"

    def is_free(self) -> bool:
        """Whether no thread is at it just now. One may come the next moment."""
        return not self._lock.locked()

    # -- the life of a hold

    def hold(  # noqa: C901 - every call comes by: without another call
        self, id: str, route: Route, ask: Ask, at: int, timeout: float | None = None
    ) -> Held | Refused | Stale:
        """Set the call's upper bound aside on every account of its route, or on none.

        Returns:
            The hold; a refusal; or :data:`STALE` if the route is not that of the accounts' limits and periods any
            more. The same id again gets the same hold.

        Raises:
            LedgerError: the id was used before, for another call or one that has ended.
        """
        lock = self._lock
        if lock.locked():
            self._line_up(timeout)
        with lock:
            if self._kept:
                self._enter(timeout)
            try:
                state = self._state
                if state.knows(id):
                    return self._held_before(id, route, ask)
                # As state.bound() has it: nearly always one look-up is enough, without a call.
                bound = state.bounds.get(route.key)
                if bound is None or bound.versions != route.versions:
                    bound = state.bound(route)
                    if bound is None:
                        return STALE
                # Where no period has begun since, the route was found to be in its periods before.
                if (bound.periods != state.periods or not bound.live) and bound.past(state.periods):
                    return STALE
                if bound.special or ask.within:
                    held = self._decide_apart(id, bound, ask, at, route.soft)
                    if isinstance(held, Refused):
                        return held
                else:
                    granted = admit(ask, bound.slots, route.soft, bound.payers)
                    if isinstance(granted, Refused):
                        return granted
                    held = change_records.held(id, at, granted, ask, bound.raw)
                # Kept first, then applied: a crash in between leaves a decision that is replayed.
                if self._kept:
                    self._append(held)
                if not bound.live:
                    state.meet(bound)
                if held.__class__ is Held:
                    state.open(held, bound)
                else:
                    state.open_apart(held, bound)
            finally:
                if self._kept:
                    self._exit()
        # Outside the lock: one sync serves all threads that have appended meanwhile.
        if self._synced_always:
            self._sync_written()
        if not self._watched:
            self.watch()
        return held

    def _decide_apart(
        self, id: str, bound: BoundRoute, ask: Ask, at: int, soft: tuple[bool, ...] | None
    ) -> Held | Refused:
        """Decide about a call with limits that few have, or within a reservation."""
        reserved, slots = self._state.decided(bound, ask, at)
        granted = admit(ask, slots, soft, bound.payers)
        if isinstance(granted, Refused):
            return granted
        return change_records.held_in_parts(id, at, granted, ask, bound.raw, reserved)

    def settle(self, id: str, used: Used, at: int, reason: str = "", timeout: float | None = None) -> bool:
        """Replace a hold by what the call cost. With a ``reason`` the charge is uncertain and stays listed.

        Returns:
            False when no hold or charge of that id is known (any more).

        Raises:
            LedgerError: the hold was settled before, with another figure.
        """
        lock = self._lock
        if lock.locked():
            self._line_up(timeout)
        with lock:
            if self._kept:
                self._enter(timeout, closely=False)
            try:
                state = self._state
                entry = state.holds.get(id)
                if entry is None:
                    return self._settle_ended(id, used, at, reason)
                if self._kept:
                    self._append(Settled(id, at, used, reason))
                state.close(entry, at, used, reason)
                if len(state.charged) >= MOST_UNFOLDED:
                    state.fold()
            finally:
                if self._kept:
                    self._exit()
        if self._synced_always:
            self._sync_written()
        if self.turns.queues:
            self.turns.freed(entry[1].names)
        return True

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:  # noqa: ARG002 - the verbs are alike
        """Drop a hold: nothing was spent. Returns False when no such hold is open."""
        lock = self._lock
        if lock.locked():
            self._line_up(timeout)
        with lock:
            self._enter(timeout, closely=False)
            try:
                state = self._state
                entry = state.holds.get(id)
                if entry is None:
                    return False
                self._append(Released(id))
                state.release(id)
            finally:
                self._exit()
        if self._synced_always:
            self._sync_written()
        if self.turns.queues:
            self.turns.freed(entry[1].names)
        return True

    def post(
        self, id: str, route: Route, used: Used, at: int, reason: str = "", timeout: float | None = None
    ) -> bool | Stale:
        """Record a charge that no hold came before, or that of a hold. Never refused for lack of room.

        Returns:
            True, or :data:`STALE` as :meth:`hold`.
        """
        with self._entered(timeout) as state:
            if id in state.holds:
                self._do(Settled(id, at, used, reason))
            elif id in state.charges:
                self._settle_ended(id, used, at, reason)
            else:
                bound = state.bound(route)
                if bound is None or bound.past(state.periods):
                    return STALE
                self._do(Posted(id, at, used, bound.raw, reason))
        return True

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""
        with self._entered() as state:
            ended = state.charges.get(id)
            return None if ended is None else charge_of(ended)

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""
        with self._entered() as state:
            ended = state.charges.get(id)
            if ended is None:
                return None
            before = charge_of(ended)
            if ended.used != used or ended.reason:
                self._do(Settled(id, at, used))
            return before

    def _held_before(self, id: str, route: Route, ask: Ask) -> Held:
        """The answer to a repeated hold."""
        entry = self._state.holds.get(id)
        if entry is None:
            msg = f"hold {id!r} has ended; every call needs an id of its own"
            raise LedgerError(msg)
        before, bound = entry
        # A limit that came later may have changed the hold's route, but not who pays.
        if change_records.is_same(before, ask) and bound.names == tuple(leg.account for leg in route.legs):
            return before
        msg = f"hold {id!r} exists with other amounts; every call needs an id of its own"
        raise LedgerError(msg)

    def _settle_ended(self, id: str, used: Used, at: int, reason: str) -> bool:
        ended = self._state.charges.get(id)
        if ended is None:
            return False
        if ended.used == used and bool(ended.reason) == bool(reason):
            return True
        if ended.used is not None and not ended.reason:
            if reason:  # a guess that comes after the truth
                return True
            msg = f"hold {id!r} was settled before with {ended.used}; a correction to {used} goes through reconcile()"
            raise LedgerError(msg)
        self._do(Settled(id, at, used, reason))
        return True

    # -- accounts

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        with self._entered() as state:
            found = state.accounts.find(account)
            return None if found is None else copied(found, state.held_by(account))

    def read_limits(self, account: str) -> Account | None:
        """The same without what it holds, and with what it was charged in all some calls ago.

        Every new user's first call asks: without going through all calls in flight.
        """
        lock = self._lock
        if lock.locked():
            self._line_up(None)
        with lock:
            try:
                self._enter(None)
                try:
                    found = self._state.accounts.find(account)
                    return None if found is None else copied(found, 0)
                finally:
                    self._exit()
            except BaseException:  # as in _entered(), without what that takes to enter
                self._let_in()
                raise

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone."""
        with self._entered() as state:
            if (create and account in state.accounts) or state.same_limits(account, limits, explicit=explicit):
                return
            self._do(LimitsSet(account, explicit, tuple(limits)))
        self.turns.wake_all()

    def reset(self, account: str, at: int) -> None:
        """Forget what an account has spent; open holds stay."""
        with self._entered() as state:
            if account in state.accounts:
                self._do(WasReset(account, at))
        self.turns.wake_all()

    def set_periods(self, account: str, limits: Sequence[LimitSpec]) -> int:
        """Put limits of an account that have begun a later period back into these. Returns how many there were."""
        with self._entered() as state:
            found = state.accounts.find(account)
            starts = {slot.limit: slot.start for slot in found.slots} if found is not None else {}
            later = sum(starts.get(spec.limit, spec.start) > spec.start for spec in limits)
            if later:
                self._do(PeriodsSet(account, tuple(limits)))
        self.turns.wake_all()
        return later

    def amend(self, account: str, change: Amendment) -> bool:
        """Change something of an account besides its limits; it comes into being if it is not there.

        Returns:
            False where a limit that is to be raised is not there, or has begun a later period: nothing was changed.
        """
        with self._entered() as state:
            if not state.may_amend(account, change):
                return False
            self._do(Amended(account, change))
        self.turns.wake_all()
        return True

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""
        with self._entered() as state:
            if account in state.accounts:
                self._do(Deleted(account))
        self.turns.wake_all()

    def restore(
        self, accounts: Sequence[Account], rows: Sequence[RollupRow], charges: Sequence[tuple[Charge, Route]]
    ) -> None:
        """Take over accounts, rows and uncertain charges of another ledger, instead of those of the same names.

        Nothing is counted: the numbers are taken as they are. Repeating it changes nothing.

        Raises:
            LedgerError: one of the accounts has calls in flight.
        """
        ended = tuple(
            Ended(one.id, one.opened, one.held, route.raw, one.used, one.at, one.reason) for one, route in charges
        )
        with self._entered() as state:
            held = state.held()
            for account in accounts:
                if account.held or account.id in held:
                    raise in_flight(account.id)
            self._do(Restored(tuple(accounts), tuple(rows), ended))
        self.turns.wake_all()

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:
        """Accounts in order of their ids: those with a prefix, behind ``after``, at most ``count``."""
        found: list[Account] = []
        while count > 0:
            # A page at a time: nobody waits while a million are copied.
            with self._entered() as state:
                names = state.order.page(prefix, after, min(count, PAGE))
                held = state.held()
                page = [state.accounts.find(name) for name in names]
                found += [copied(account, held.get(account.id, 0)) for account in page if account is not None]
            if len(names) < PAGE:
                break
            after = names[-1]
            count -= PAGE
        return found

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""
        if account is not None:
            with self._entered() as state:
                return [msgspec.structs.replace(row) for row in state.reports.of(account, since)]
        with self._entered() as state:
            days = sorted(day for day in state.reports.days if day >= since)
        found: list[RollupRow] = []
        for day in days:
            for rows in self._rows_on(day):
                found += rows
        return found

    def spent_most(self, day: int, count: int) -> list[str]:
        """The users that were charged most on a day, the dearest first."""
        found: list[tuple[str, int]] = []
        for rows in self._rows_on(day):
            least = found[-1][1] if found and len(found) == count else 0
            some = [*found, *spent_most_of(rows, count, least)]
            found = sorted(some, key=lambda one: (-one[1], one[0]))[:count]
        return [account for account, _ in found]

    def _rows_on(self, day: int) -> Iterator[list[RollupRow]]:
        """The report's rows of a day, those of some accounts at a time: nobody waits while a million are copied."""
        with self._entered() as state:
            names = state.reports.accounts(day)
        for i in range(0, len(names), PAGE):
            with self._entered() as state:
                rows = state.reports.on(day, names[i : i + PAGE])
            yield rows

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""
        with self._entered() as state:
            charges = state.charges.doubtful(None)
        return [charge_of(ended) for ended in charges]  # beside the lock: there may be many

    def uncertain_page(self, account: str | None = None, first: int = 0, count: int = 50) -> UncertainPage:
        """Some of them, of an account or of all, from the one with a number on, and what all of these come to."""
        with self._entered() as state:
            found = state.charges.doubtful(account)
        if account is not None:
            return page_of(map(charge_of, found), account, first, count)
        usd = sum(one.used.usd for one in found if one.used is not None)
        return UncertainPage(len(found), usd, [charge_of(ended) for ended in found[first : first + count]])

    def uncertain_sums(self, wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, int]]:
        """Nano-USD per model that nobody confirmed, of an account's calls opened in a time, for each wanted one."""
        with self._entered() as state:
            sums = state.charges.sums
            return [sums.of(account, start, end) for account, start, end in wanted]

    def open_holds(self) -> list[Held]:
        """The holds of calls in flight, of all processes."""
        with self._entered() as state:
            return [held for held, _ in state.holds.values()]

    def everything(self) -> Content:
        """All that it knows, as it is at one instant, though calls go on."""
        with self._entered() as state:
            return content_of(state)

    def damage(self) -> list[str]:
        """Nothing: it is kept in no file, or checked as it is read."""
        return []

    # -- upkeep

    def sweep(self) -> int:
        """Charge the holds that nobody has heard of for ``hold_timeout`` seconds, and those of processes that died.

        Returns:
            How many holds were ended.
        """
        at = int(self.clock())
        oldest = at - self.hold_timeout
        freed: set[str] = set()
        swept = 0
        with self._entered() as state:
            dead = self._dead_owners()
            # A copy: each hold that is charged leaves the dictionary.
            for id, (held, bound) in list(state.holds.items()):
                if held.at <= oldest and not is_reservation(held):
                    reason = f"unheard of for {self.hold_timeout:g} seconds"
                elif dead and id.partition(".")[0] in dead:
                    reason = "the process died"
                else:
                    continue
                self._do(Released(id) if held.guess is None else Settled(id, at, held.guess, reason))
                freed.update(bound.names)
                swept += 1
        self._bury(dead)
        if freed and self.turns.queues:
            self.turns.freed(freed)
        return swept

    def renew(self, owner: str, seconds: float) -> None:
        """Count the process that makes ids of this owner as alive for so long: it speaks to this one.

        Args:
            owner: what its holds' ids have before the first dot.
            seconds: from now; a later word replaces this one, and 0 says that it has gone.
        """
        self._vouched[owner] = time.monotonic() + seconds

    def idle(self) -> bool:
        """Whether no verb is under way in this process: asked where this very thread may be in one."""
        return not self._lock.locked() and not self.turns.busy()

    def watch(self) -> None:
        """Have holds looked after from now on, as somebody waits for them."""
        self._watched = True
        background_worker.wanted(self)

    def upkeep(self) -> float | None:
        """Look after holds that nobody ends, as long as there are any open."""
        # Before the look: a hold that is made meanwhile asks for the next one itself.
        self._watched = False
        if not self._state.holds:
            return None
        self._watched = True
        self.sweep()
        return background_worker.PERIOD

    def repair(self) -> int:
        """Nothing to do: nothing but this process's end takes anything from memory. Returns 0."""
        return 0

    def flush(self) -> None:
        """Nothing to do: memory keeps nothing."""

    def close(self) -> None:
        """Nothing to do: memory keeps nothing."""

    # -- the critical section

    @contextmanager
    def _entered(self, timeout: float | None = None) -> Iterator[State]:
        """The critical section of the verbs that are not on a call's path."""
        if self._lock.locked():
            self._line_up(timeout)
        with self._lock:
            try:
                self._enter(timeout)
                try:
                    state = self._state
                    state.fold()
                    yield state
                finally:
                    self._exit()
            except BaseException:  # of a signal's handler, perhaps, just as others were to be let in
                self._let_in()
                raise
        if self._synced_always:
            self._sync_written()
        if not self._watched and state.holds:
            self.watch()  # others' holds too: whoever looks is alive, and charges those of the dead

    def _line_up(self, timeout: float | None) -> None:
        """Wait until the lock is free, or raise.

        Taking it is left to ``with``, which no signal's handler can interrupt between taking and giving back. Who
        comes in between has a deadline as well, so that this one is passed by little.
        """
        allowed = LOCK_SECONDS if timeout is None else timeout
        if not seen_free(self._lock, allowed):
            raise self._locked(allowed)

    def _locked(self, allowed: float) -> LedgerLockedError:
        return LedgerLockedError(f"the ledger's lock was not free within {allowed:g} seconds")

    # -- what the file ledger does differently

    def _enter(self, timeout: float | None, *, closely: bool = True) -> None:
        """See what other processes have done, and ``closely`` whether what is kept elsewhere still stands there."""

    def _exit(self) -> None:
        """Let other processes in."""

    def _let_in(self) -> None:
        """Let other processes in and do nothing else, where they may be in already."""

    def _append(self, record: Record) -> None:
        """Keep a decision before it is applied and acknowledged."""

    def _do(self, record: Record) -> None:
        self._append(record)
        self._state.apply(record)

    def _sync_written(self) -> None:
        """Have everything written on the disk before it is acknowledged."""

    def _dead_owners(self) -> frozenset[str]:
        now = time.monotonic()
        # A copy: renew() adds to it without the lock.
        return frozenset(owner for owner, until in list(self._vouched.items()) if until < now)

    def _bury(self, dead: frozenset[str]) -> None:
        """Forget owners whose holds were all charged."""
        for owner in dead:
            self._vouched.pop(owner, None)
