"""What slices have in common with who takes them: when they end, and what the shared ledger is told of them then.

Whatever it is told is idempotent by the slice's id, and tried again each round until it was told.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Route, Stale
from budgeted.ledger.interface import Ledger
from budgeted.ledger.lock_waiting import seen_free
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.memory.ledger import LOCK_SECONDS
from budgeted.ledger.network_ledger import DIED
from budgeted.ledger.sliced.fresh_routes import fresh, has_ended
from budgeted.ledger.sliced.passed_on import PassedOn
from budgeted.ledger.sliced.slices import NOTHING, Demand, Slice, SlicedCall
from budgeted.ledger.spending_records import Used
from budgeted.system.clocks import boot_time

logger = logging.getLogger("budgeted")


class SlicesTold(PassedOn):
    """The slices that a process has out, and how they end.

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

    def _begin(self) -> None:
        """What belongs to this process alone: it is made anew in a forked child."""
        self.turns = self.shared_ledger.turns
        self._lock = threading.Lock()
        # Of who tells the shared ledger of slices, or of calls in them. Reentrant: a signal's handler may, too.
        self._telling = threading.RLock()
        self._slices: dict[bytes, Slice] = {}
        """Those in which calls begin, by their routes."""
        self._out: dict[str, Slice] = {}
        """All of which the shared ledger is still to be told, by their ids."""
        self._calls: dict[str, SlicedCall] = {}
        self._ended: dict[str, SlicedCall | None] = {}
        """Those that have ended lately; None for a call that the shared ledger knows by its own id."""
        self._before: dict[str, SlicedCall | None] = {}
        self._vouched: dict[str, float] = {}
        """Until when others are alive that speak to this process, by their owners."""
        self._demands: dict[bytes, Demand] = {}
        self._parents: frozenset[str] = frozenset()
        """Calls of the process that this one was forked from, which has their slices."""
        self._asking: dict[str, tuple[threading.Event, int]] = {}
        """Slices that the shared ledger is asked for just now: what tells that it has answered, and whose thread."""
        self._making_way = False
        self._closing = False

    def _forked(self) -> None:
        parents = self._parents.union(self._calls)
        self._begin()
        self._parents = parents

    def _line_up(self, timeout: float | None) -> None:
        """Wait until the lock is free, or raise: who has it may be the very thread that a signal's handler stopped."""
        allowed = LOCK_SECONDS if timeout is None else timeout
        if not seen_free(self._lock, allowed):
            raise LedgerLockedError(f"the ledger's lock was not free within {allowed:g} seconds")

    def idle(self) -> bool:
        """Whether no lock that a verb takes is held, by this thread or another: a finaliser may call one then."""
        return not self._lock.locked() and super().idle()

    # -- going

    def _close(self, slice_: Slice | None) -> None:
        """Have no more calls begin in a slice."""
        if slice_ is None:
            return
        now, key = self._seconds(), slice_.route.key
        with self._lock:  # no call in here: a signal's handler comes before or after it
            if not slice_.closed:
                slice_.ended = now
                slice_.closed = True
            if key in self._slices and self._slices[key] is slice_:
                del self._slices[key]
        if not slice_.open:
            self._later(self.tell_soon)

    def tell_soon(self) -> None:
        """Tell the shared ledger of slices that are spent or given back. What cannot be told now is at each round."""
        with contextlib.suppress(LedgerError):
            self._tell_all()

    def _tell_all(self) -> int:
        told: int = 0
        failed: LedgerError | None = None
        for slice_ in list(self._out.values()):
            if slice_.closed and not slice_.open:
                try:
                    self.tell(slice_)
                    told += 1
                except LedgerError as error:
                    if is_away(error):
                        raise
                    failed = error  # of this one
        if failed is not None:
            raise failed
        return told

    def tell(self, slice_: Slice) -> None:
        """Settle a slice at what its calls were charged, or drop it. Repeating it changes nothing."""
        with self._telling:
            with self._lock:
                slice_.final = True
            if slice_.id not in self._out:
                return
            at = int(self.clock())
            if not slice_.calls and not slice_.spent:
                self._drop_slice(slice_, at)
            elif not self._settle_slice(slice_, at):
                self._post(slice_.id, slice_.route, slice_.used, at, "")
            self._out.pop(slice_.id, None)

    def _settle_slice(self, slice_: Slice, at: int) -> bool:
        try:
            return self.shared_ledger.settle(slice_.id, slice_.used, at)
        except LedgerError as error:
            if is_away(error):
                raise
            # Somebody has put it right as one of a process that died, which had but slept, and knows what was spent.
            logger.warning("budgeted: %s; it is corrected to %s, which this process has spent", error, slice_.used)
            return self.shared_ledger.correct(slice_.id, slice_.used, at) is not None

    def _drop_slice(self, slice_: Slice, at: int) -> None:
        if not self.shared_ledger.release(slice_.id, at):
            charge = self.shared_ledger.ended(slice_.id)  # as nobody had heard of it, perhaps
            if charge is not None and charge.reason:
                self.shared_ledger.settle(slice_.id, NOTHING, at)

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
        """Give back what is out of an account's limits, or of all of them; calls in flight are held by themselves.

        Returns:
            How many slices were given back.
        """
        for slice_ in list(self._out.values()):
            if account is None or slice_.pays(account):
                self._close(slice_)
                self._hold_by_themselves(slice_)
        return self._tell_all()

    def _make_way(self) -> None:
        """Give back what is out of limits that calls of this process wait for."""
        self._making_way = False
        with contextlib.suppress(LedgerError):
            for account in list(self.turns.queues):
                self.give_back(account)

    # -- calls that go on without a slice

    def _hold_by_themselves(self, slice_: Slice) -> None:
        """Hold the calls that are in flight in a slice on the shared ledger, so that its rest can be given back."""
        if slice_.open:
            for call in self._calls_in(slice_):
                if not self._hold_by_itself(call):
                    return  # nor can the others be

    def _hold_by_itself(self, call: SlicedCall) -> bool:
        """Hold a call that is in flight on the shared ledger; False where it is to stay in its slice.

        There it counts as it should where limits have changed or a period has ended since, or nothing more has room.
        """
        route = call.slice.route
        if has_ended(route, self.clock()):
            return False
        ask = msgspec.structs.replace(call.ask, least=call.granted, most=call.granted, whole=True)
        with self._telling:
            if call.id not in self._calls:
                return True
            if isinstance(self.shared_ledger.hold(call.id, route, ask, call.at), Stale | Refused):
                return False
            if self._drop(call):
                self._is_there(call.id)
            else:  # it has ended meanwhile
                self._give_up(call.id, call.at)
        return True

    def _give_up(self, id: str, at: int, timeout: float | None = None) -> None:
        """Drop a hold on the shared ledger that nobody ends, now or once it can be reached."""
        try:
            self.shared_ledger.release(id, at, timeout)
        except LedgerError:
            background_worker.retry(functools.partial(self.shared_ledger.release, id, at))

    def _calls_in(self, slice_: Slice) -> list[SlicedCall]:
        return [one for one in list(self._calls.values()) if one.slice is slice_]

    def _is_there(self, id: str) -> None:
        """Note that the shared ledger knows a call by its own id."""
        if len(self._ended) >= ended_holds.REMEMBERED:
            self._forget_oldest()
        self._before.pop(id, None)
        self._ended[id] = None

    def _forget_oldest(self) -> None:
        ended = self._ended
        with self._lock:  # no call in here
            if self._ended is ended:
                self._before, self._ended = ended, {}

    def _drop(self, call: SlicedCall, *, remember: bool = False, timeout: float | None = None) -> bool:
        """Give back to its slice what a call holds there; False if that was done before."""
        raise NotImplementedError

    def renew(self, owner: str, seconds: float) -> None:
        """Count a process that speaks to this one, by the owner in its holds' ids, as alive for so long."""
        self._vouched[owner] = self._seconds() + seconds
        super().renew(owner, seconds)

    def sweep(self) -> int:
        """Charge the holds that nobody has heard of for ``hold_timeout`` seconds, and those of processes that died.

        Returns:
            How many holds were ended.
        """
        return self.shared_ledger.sweep() + self._sweep_calls()

    def _sweep_calls(self) -> int:
        at, now = int(self.clock()), self._seconds()
        # A copy: renew() adds to it without a lock.
        dead = {owner for owner, until in list(self._vouched.items()) if until <= now}
        ended = 0
        for call in list(self._calls.values()):
            if call.id.partition(".")[0] in dead:
                self._charge_guess(call, at, DIED)
            elif call.at <= at - self.hold_timeout:
                self._charge_guess(call, at, f"unheard of for {self.hold_timeout:g} seconds")
            else:
                continue
            ended += 1
        for owner in dead:
            self._vouched.pop(owner, None)
        return ended

    def _charge_guess(self, call: SlicedCall, at: int, reason: str) -> None:
        """End a call that nobody says the cost of."""
        guess = call.ask.guess(call.granted)
        if guess is None:
            self._drop(call, remember=True)
            return
        with self._telling:
            if call.id in self._calls:
                self._post(call.id, call.slice.route, guess, at, reason)
                if self._drop(call):
                    self._is_there(call.id)


def is_away(error: LedgerError) -> bool:
    """Whether a ledger does nothing at all, rather than not this one thing."""
    return error.closed or isinstance(error, LedgerUnavailableError | LedgerCorruptError)
