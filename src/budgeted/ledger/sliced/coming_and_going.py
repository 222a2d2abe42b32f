"""When slices come and go: asked for as calls come, renewed each round, given back when idle, near the end, or closing.

Whatever is told the shared ledger is idempotent by the slice's id, and tried again each round until it was told.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import threading
from collections.abc import Callable

import msgspec

from budgeted.errors import LedgerError, LedgerLockedError
from budgeted.ledger import background_worker
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.ledger import LOCK_SECONDS
from budgeted.ledger.memory.lock_waiting import seen_free
from budgeted.ledger.network_ledger import RemoteLedger
from budgeted.ledger.sliced.fresh_routes import fresh
from budgeted.ledger.sliced.passed_on import PassedOn
from budgeted.ledger.sliced.slices import (
    FIRST,
    LEAST,
    MOST,
    ROUND,
    Demand,
    Slice,
    SlicedCall,
    asked_for,
    fits,
    slice_of,
)
from budgeted.ledger.spending_records import Used
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.system.clocks import boot_time
from budgeted.system.forks import at_fork

LONG = 10.0
"""Seconds after its slice was closed that a call in flight is held on the shared ledger by itself."""

MOST_DEMANDS = 10_000
"""Routes whose calls are counted."""


class SlicesOut(PassedOn):
    """The slices that a process has out, without the verbs of calls.

    Args:
        shared: where the limits are.
        seconds: a clock that only goes forward, for how old slices are.
        later: has something done in the background.
    """

    def __init__(
        self,
        shared: Ledger,
        *,
        seconds: Callable[[], float] = boot_time,
        later: Callable[[Callable[[], object]], None] = background_worker.enqueue,
    ) -> None:
        super().__init__(shared)
        self._seconds, self._later = seconds, later
        self._begin()
        _ledgers.add(self)

    def _begin(self) -> None:
        """What belongs to this process alone: it is made anew in a forked child."""
        self.turns = self.shared_ledger.turns
        self._lock = threading.Lock()
        self._slices: dict[bytes, Slice] = {}
        """Those in which calls begin, by their routes."""
        self._out: dict[str, Slice] = {}
        """All of which the shared ledger is still to be told, by their ids."""
        self._calls: dict[str, SlicedCall] = {}
        self._ended: dict[str, SlicedCall] = {}
        self._before: dict[str, SlicedCall] = {}
        self._demands: dict[bytes, Demand] = {}
        self._parents: frozenset[str] = frozenset()
        """Calls of the process that this one was forked from, which has their slices."""
        self._making_way = False

    def _forked(self) -> None:
        parents = self._parents.union(self._calls)
        self._begin()
        self._parents = parents

    def _line_up(self, timeout: float | None) -> None:
        """Wait until the lock is free, or raise: who has it may be the very thread that a signal's handler stopped."""
        allowed = LOCK_SECONDS if timeout is None else timeout
        if not seen_free(self._lock, allowed):
            raise LedgerLockedError(f"the ledger's lock was not free within {allowed:g} seconds")

    # -- coming

    def _slice_for(
        self, seen: Slice | None, route: Route, ask: Ask, at: int, timeout: float | None
    ) -> Slice | Stale | None:
        """A slice for a call that the one it has seen has no room for; None where it is to go without."""
        if self.turns.queues or not fits(route, ask):  # who waits gets what comes back first
            return None
        demand = self._demand(route.key)
        now = self._seconds()
        enough = demand.wants_slice(now)
        if not (enough or (seen is not None and now >= demand.apart_until)):
            return None
        if seen is not None and not seen.closed:
            demand.size = max(FIRST, min(2 * seen.size_used(), MOST))
        return self._ask(demand, seen, route, ask, at, timeout)

    def _demand(self, key: bytes) -> Demand:
        demand = self._demands.get(key)
        if demand is None:
            if len(self._demands) >= MOST_DEMANDS:
                self._demands = {}
            demand = self._demands[key] = Demand()
        return demand

    def _ask(
        self, demand: Demand, seen: Slice | None, route: Route, ask: Ask, at: int, timeout: float | None = None
    ) -> Slice | Stale | None:
        """Ask the shared ledger for a slice instead of the one that was seen; one thread at a time does."""
        me = object()
        try:
            demand.asking.append(me)
            if demand.asking[0] is not me:
                return None
            there = self._slices.get(route.key)
            if there is not seen and there is not None:
                return there
            return self._asked(demand, seen, route, ask, at, timeout)
        finally:
            with contextlib.suppress(ValueError):
                demand.asking.remove(me)

    def _asked(
        self, demand: Demand, seen: Slice | None, route: Route, ask: Ask, at: int, timeout: float | None
    ) -> Slice | Stale | None:
        id = self.new_id()
        try:
            held = self.shared_ledger.hold(id, route, asked_for(ask, demand.size), at, timeout)
            if isinstance(held, Stale):
                if seen is not None and seen.route.versions == route.versions:
                    self._close(seen)
                return held
            if not isinstance(held, Refused) and held.granted >= LEAST:
                return self._begun(slice_of(id, route, ask, held.granted, self._seconds()), seen)
            demand.apart_until = self._seconds() + ROUND
            demand.size = FIRST
            self._close(seen)
            if not isinstance(held, Refused):
                self.shared_ledger.release(id, at, timeout)
            return None
        except LedgerError:  # nothing was held, or the shared ledger gives it back
            raise
        except BaseException:  # of a signal's handler: it may be held, and nobody would give it back
            if id not in self._out:
                self._later(functools.partial(self.shared_ledger.release, id, at))
            raise

    def _begun(self, slice_: Slice, seen: Slice | None) -> Slice:
        """Have calls begin in a slice from now on; those in flight in the one before it are taken along."""
        with self._lock:
            self._out[slice_.id] = slice_
            self._slices[slice_.route.key] = slice_
        self._close(seen)
        for call in [] if seen is None or not seen.open else list(self._calls.values()):
            if call.slice is seen:
                self._take_along(call, seen, slice_)
        background_worker.wanted(self)
        return slice_

    def _take_along(self, call: SlicedCall, before: Slice, slice_: Slice) -> None:
        """Have a call in flight be one of another slice, if that has room."""
        with self._lock:
            if call.id in self._calls and slice_.usd >= call.usd and slice_.tokens >= call.tokens:
                # No call from here on: a signal's handler comes before or after it.
                before.usd += call.usd
                before.tokens += call.tokens
                before.open -= 1
                slice_.usd -= call.usd
                slice_.tokens -= call.tokens
                slice_.open += 1
                call.slice = slice_

    def _want_another(self, slice_: Slice, ask: Ask) -> None:
        """Ask for another slice in the background, before one is spent."""
        slice_.wanted = True
        self._later(functools.partial(self._replace, slice_, ask))

    def _replace(self, slice_: Slice, ask: Ask) -> None:
        demand = self._demand(slice_.route.key)
        if slice_.closed or self.turns.queues or self._seconds() < demand.apart_until:
            return
        demand.size = max(FIRST, min(2 * slice_.size_used(), MOST))
        with contextlib.suppress(LedgerError):  # its calls find out
            self._ask(demand, slice_, slice_.route, ask, int(self.clock()))

    # -- going

    def _close(self, slice_: Slice | None) -> None:
        """Have no more calls begin in a slice."""
        if slice_ is None:
            return
        with self._lock:
            if not slice_.closed:
                slice_.ended = self._seconds()
                slice_.closed = True
            if self._slices.get(slice_.route.key) is slice_:
                del self._slices[slice_.route.key]
        if not slice_.open:
            self._later(self.tell_soon)

    def tell_soon(self) -> None:
        """Tell the shared ledger of slices that are spent or given back. What cannot be told now is at each round."""
        with contextlib.suppress(LedgerError):
            self._tell_all()

    def _tell_all(self) -> int:
        told = 0
        for slice_ in list(self._out.values()):
            if slice_.closed and not slice_.open:
                self.tell(slice_)
                told += 1
        return told

    def tell(self, slice_: Slice) -> None:
        """Settle a slice at what its calls were charged, or drop it. Repeating it changes nothing."""
        with self._lock:
            if slice_.told is None:
                slice_.told = slice_.used
            used = slice_.told
        if slice_.id not in self._out:
            return
        at = int(self.clock())
        if not used.calls and not used.usd:
            self._drop_slice(slice_, at)
        elif not self.shared_ledger.settle(slice_.id, used, at):
            self._post(slice_.id, slice_.route, used, at, "")
        self._out.pop(slice_.id, None)

    def _drop_slice(self, slice_: Slice, at: int) -> None:
        if not self.shared_ledger.release(slice_.id, at):
            charge = self.shared_ledger.ended(slice_.id)  # as nobody had heard of it, perhaps
            if charge is not None and charge.reason:
                self.shared_ledger.settle(slice_.id, Used(calls=0), at)

    def _post(self, id: str, route: Route, used: Used, at: int, reason: str, timeout: float | None = None) -> bool:
        """Charge the shared ledger, by the limits that the route's accounts have now. False if they are all gone."""
        found: Route | None = route
        while found is not None:
            answer = self.shared_ledger.post(id, found, used, at, reason, timeout)
            if not isinstance(answer, Stale):
                return answer
            found = fresh(route, self.shared_ledger.read)
        return False

    def give_back(self, account: str | None = None) -> int:
        """Give back what is out of an account's limits, or of all of them; calls in flight keep theirs.

        Returns:
            How many slices were given back.
        """
        for slice_ in list(self._slices.values()):
            if account is None or slice_.pays(account):
                self._close(slice_)
        return self._tell_all()

    def _make_way(self) -> None:
        """Give back what is out of limits that calls of this process wait for."""
        self._making_way = False
        with contextlib.suppress(LedgerError):
            for account in list(self.turns.queues):
                self.give_back(account)

    # -- each round

    def upkeep(self) -> float | None:
        """Renew the slices that are used, give back those that are not, and tell what has ended."""
        now = self._seconds()
        with contextlib.suppress(LedgerError):  # the shared ledger's own upkeep says so
            for slice_ in list(self._out.values()):
                if not slice_.closed and now - slice_.began >= ROUND:
                    self._renew_slice(slice_, now)
                elif slice_.closed and slice_.open and now - slice_.ended >= LONG:
                    self._hold_by_themselves(slice_)
            self._tell_all()
            self._sweep_calls()
        return background_worker.PERIOD if self._out else None

    def _renew_slice(self, slice_: Slice, now: float) -> None:
        """Have a slice be followed by one for as many calls as are in flight, and were charged in this round."""
        demand = self._demand(slice_.route.key)
        used = slice_.size_used()
        demand.size = max(FIRST, min(used + used // 4, MOST))
        if not slice_.calls and slice_.open and now - slice_.began < LONG:
            return  # nothing is to be told, and what is in flight may end soon
        if not slice_.calls or self.turns.queues or now < demand.apart_until:
            self._close(slice_)
            return
        if not isinstance(self._ask(demand, slice_, slice_.route, slice_.ask, int(self.clock())), Slice):
            self._close(slice_)

    def _hold_by_themselves(self, slice_: Slice) -> None:
        """Hold the calls that are in flight in a slice on the shared ledger, so that its rest can be given back."""
        for call in [one for one in list(self._calls.values()) if one.slice is slice_]:
            ask = msgspec.structs.replace(call.ask, least=call.granted, most=call.granted, whole=True)
            answer = self.shared_ledger.hold(call.id, slice_.route, ask, call.at)
            if isinstance(answer, Stale):
                route = fresh(slice_.route, self.shared_ledger.read)
                answer = answer if route is None else self.shared_ledger.hold(call.id, route, ask, call.at)
            if isinstance(answer, Stale | Refused):
                continue  # it stays where it is
            if not self._drop(call):  # it has ended meanwhile
                self.shared_ledger.release(call.id, call.at)

    def _drop(self, call: SlicedCall, *, remember: bool = False) -> bool:
        """Give back to its slice what a call holds there; False if that was done before."""
        raise NotImplementedError

    def sweep(self) -> int:
        """Charge the holds that nobody has heard of for ``hold_timeout`` seconds, and those of processes that died.

        Returns:
            How many holds were ended.
        """
        return self.shared_ledger.sweep() + self._sweep_calls()

    def _sweep_calls(self) -> int:
        at = int(self.clock())
        old = [one for one in list(self._calls.values()) if one.at <= at - self.hold_timeout]
        for call in old:
            guess = call.ask.guess(call.granted)
            if guess is None:
                self._drop(call, remember=True)
            elif self._post(call.id, call.slice.route, guess, at, f"unheard of for {self.hold_timeout:g} seconds"):
                self._drop(call)
        return len(old)

    def flush(self) -> None:
        """Tell the shared ledger what was spent, and give back all slices; make it durable there."""
        self.give_back()
        self.shared_ledger.flush()

    def sync_always(self) -> None:
        """Have the shared ledger sync each verb."""
        if isinstance(self.shared_ledger, RemoteLedger):
            self.shared_ledger.sync_always()

    def close(self) -> None:
        """Give all slices back, and give up the shared ledger: what is in flight is charged by whoever looks next."""
        if self.closed:
            return
        with contextlib.suppress(LedgerError):  # then the slices are charged whole once this process's lease runs out
            self.give_back()
            for slice_ in list(self._out.values()):
                self._hold_by_themselves(slice_)
            self._tell_all()
        self.shared_ledger.close()


_ledgers: WeakRegistry[SlicesOut] = WeakRegistry()


def _after_fork_in_child() -> None:
    for ledger in _ledgers.alive():
        ledger._forked()  # noqa: SLF001


def _at_exit() -> None:
    for ledger in _ledgers.alive():
        with contextlib.suppress(LedgerError):
            ledger.close()


# Behind the shared ledgers', which are imported before: in a child they are made anew first, at the end closed last.
at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
