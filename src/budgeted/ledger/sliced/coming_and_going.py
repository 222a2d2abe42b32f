"""When slices come and go: asked for as calls come, renewed each round, given back when idle, near the end, or closing.

How they end, and what the shared ledger is told of them, is in :mod:`~budgeted.ledger.sliced.going`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable

from budgeted.errors import LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale
from budgeted.ledger.network_ledger import DIED, RemoteLedger
from budgeted.ledger.sliced.fresh_routes import has_ended
from budgeted.ledger.sliced.going import SlicesTold, is_away
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
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.system.forks import at_fork

logger = logging.getLogger("budgeted")

LONG = 10.0
"""Seconds after its slice was closed that a call in flight is held on the shared ledger by itself."""

MOST_DEMANDS = 10_000
"""Routes whose calls are counted."""


class SlicesOut(SlicesTold):
    """The slices that a process has out, without the verbs of calls.

    Args:
        shared: where the limits are.
        seconds: a clock that only goes forward, for how old slices are.
        later: has something done in the background.
    """

    def _begin(self) -> None:
        super()._begin()
        _ledgers.add(self)

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
        id, me = self.new_id(), threading.Event()
        try:
            demand.asking.append(me)
            if demand.asking[0] is not me:
                return None
            there = self._slices.get(route.key)
            if there is not seen and there is not None:
                return there
            self._asking[id] = me, threading.get_ident()
            if self._closing:  # looked at afterwards: whoever closes waits for this one, or it does not begin
                return None
            return self._asked(id, demand, seen, route, ask, at, timeout)
        finally:
            me.set()
            self._asking.pop(id, None)
            with contextlib.suppress(ValueError):
                demand.asking.remove(me)

    def _asked(
        self, id: str, demand: Demand, seen: Slice | None, route: Route, ask: Ask, at: int, timeout: float | None
    ) -> Slice | Stale | None:
        try:
            held = self.shared_ledger.hold(id, route, asked_for(ask, demand.size), at, timeout)
            if self._closing:
                self._drop_asked(id, at)
                return None
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
                self._give_up(id, at, timeout)
            return None
        except LedgerError:  # nothing was held, or the shared ledger gives it back
            raise
        except BaseException:  # of a signal's handler: it may be held, and nobody would give it back
            if id in self._out:
                self._wanted()
            elif self._closing:
                self._drop_asked(id, at)
            else:
                self._later(functools.partial(self._give_up, id, at))
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
        self._wanted()
        return slice_

    def _wanted(self) -> None:
        """Have slices looked after, by this ledger even if nobody else knows it any more."""
        _with_slices.add(self)
        background_worker.wanted(self)

    def _take_along(self, call: SlicedCall, before: Slice, slice_: Slice) -> None:
        """Have a call in flight be one of another slice, if that has room."""
        with self._lock:
            # No call in here: a signal's handler comes before or after it. A slice that is closed may be told already.
            room = not slice_.closed and slice_.usd >= call.usd and slice_.tokens >= call.tokens
            if room and call.id in self._calls:
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

    # -- each round

    def upkeep(self) -> float | None:
        """Renew the slices that are used, give back those that are not, and tell what has ended."""
        now = self._seconds()
        for slice_ in list(self._out.values()):
            if not self._done(functools.partial(self._look_after, slice_, now)):
                break
        else:
            self._done(self._sweep_calls)
        if self._out:
            return background_worker.PERIOD
        _with_slices.discard(self)
        if self._out:  # meanwhile
            self._wanted()
        return None

    def _done(self, step: Callable[[], object]) -> bool:
        """Do something with the shared ledger. False if that is away, and nothing more is to be tried in this round."""
        try:
            step()
        except LedgerError as error:
            if is_away(error):  # its own upkeep says so
                return False
            logger.warning("budgeted: upkeep of %r failed: %s", self, error)
        return True

    def _look_after(self, slice_: Slice, now: float) -> None:
        if not slice_.closed and now - slice_.began >= ROUND:
            self._renew_slice(slice_, now)
        elif slice_.closed and slice_.open and now - slice_.ended >= LONG:
            self._hold_by_themselves(slice_)
        if slice_.closed and not slice_.open:
            self.tell(slice_)

    def _renew_slice(self, slice_: Slice, now: float) -> None:
        """Have a slice be followed by one for as many calls as are in flight, and were charged in this round."""
        demand = self._demand(slice_.route.key)
        used = slice_.size_used()
        demand.size = max(FIRST, min(used + used // 4, MOST))
        over = has_ended(slice_.route, self.clock())
        if over or not slice_.calls or self.turns.queues or now < demand.apart_until:
            self._close(slice_)
            return
        if not isinstance(self._ask(demand, slice_, slice_.route, slice_.ask, int(self.clock())), Slice):
            self._close(slice_)

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
        self._closing = True
        self._wait_for_asked()
        with contextlib.suppress(LedgerError):  # then the slices are charged whole once this process's lease runs out
            self.give_back()
            for call in list(self._calls.values()):  # which cannot be held by themselves
                self._charge_guess(call, int(self.clock()), DIED)
            self._tell_all()
        self.shared_ledger.close()
        _with_slices.discard(self)

    def _wait_for_asked(self) -> None:
        """Have no slice come once all are given back."""
        for id, (answered, thread) in list(self._asking.items()):
            if thread != threading.get_ident():
                answered.wait(background_worker.LONGEST)
            else:  # a signal's handler closes, and its thread would wait for itself
                self._drop_asked(id, int(self.clock()))

    def _drop_asked(self, id: str, at: int) -> None:
        """Give back a slice that is not begun, if it was made."""
        with contextlib.suppress(LedgerError):
            self.shared_ledger.release(id, at)


_with_slices: set[SlicesOut] = set()
"""Those that have something to give back: they are kept until that is done, and dropped slices would be charged."""

_ledgers: WeakRegistry[SlicesOut] = WeakRegistry()


def _after_fork_in_child() -> None:
    _with_slices.clear()
    for ledger in _ledgers.alive():
        ledger._forked()  # noqa: SLF001


def _at_exit() -> None:
    for ledger in _ledgers.alive():
        with contextlib.suppress(LedgerError):
            ledger.close()


# Imported behind the shared ledgers: in a child they are made anew first, at the end of a process closed last.
at_fork(after_in_child=_after_fork_in_child)
background_worker.close_at_exit(_at_exit)
