"""A ledger that takes slices out of a shared one's limits, and spends them in this process's memory.

A slice is a hold on the shared ledger, by the very route of the calls that it is for, so that it sets their cost aside
where theirs would go, is charged whole if this process dies, and is settled at what they were charged. A call that no
slice has room for goes to the shared ledger itself, as do all of those that cannot be decided here: where there is
little left, with limits in calls or rolling ones, or within what a block has set aside.

Here is the life of a call; when slices come and go is in :mod:`~budgeted.ledger.sliced.coming_and_going`.
"""

from __future__ import annotations

from budgeted.errors import LedgerError, LedgerLockedError
from budgeted.ledger.accounts import account_name
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale
from budgeted.ledger.interface import Granted
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.sliced.coming_and_going import SlicesOut
from budgeted.ledger.sliced.slices import NOTHING, Slice, SlicedCall
from budgeted.ledger.spending_records import Charge, Used

TAKES_TIME = "the shared ledger is to be told, which takes time"


class SlicedLedger(SlicesOut):
    """The verbs of :class:`~budgeted.ledger.interface.Ledger` over slices of a shared ledger.

    Args:
        shared: where the limits are.
        seconds: a clock that only goes forward, for how old slices are.
        later: has something done in the background.
    """

    # -- the life of a hold

    def hold(self, id: str, route: Route, ask: Ask, at: int, timeout: float | None = None) -> Granted | Refused | Stale:
        """Set the call's upper bound aside, in a slice or on every account of its route, or on none.

        Returns:
            The hold; a refusal; or ``STALE`` if the route is not that of the accounts' limits and periods any more.
            The same id again gets the same hold.

        Raises:
            LedgerError: the id was used before, for another call or one that has ended; or as the shared ledger has it.
        """
        slice_ = self._slices.get(route.key)
        if slice_ is not None:
            call = self._take(slice_, id, route, ask, at, timeout)
            if call is not None:
                return call
        if id in self._calls or id in self._ended or id in self._before:
            return self._held_before(id, route, ask, at, timeout)
        if timeout == 0 and self.remote:  # before it counts as a call: it comes again, where it may wait
            raise LedgerLockedError(TAKES_TIME)
        found = self._slice_for(slice_, route, ask, at, timeout)
        if isinstance(found, Stale):
            return found
        call = None if found is None else self._take(found, id, route, ask, at, timeout)
        return call or self._hold_apart(id, route, ask, at, timeout)

    def _take(
        self, slice_: Slice, id: str, route: Route, ask: Ask, at: int, timeout: float | None
    ) -> SlicedCall | None:
        """Set a call's bound aside in a slice; None if that has no room for all that it can use."""
        most, rate, each = ask.most, ask.usd_rate, ask.tokens_rate
        usd = least_usd = ask.usd - (-rate * most // 1000)
        tokens = least_tokens = ask.tokens + each * most
        if not ask.whole:  # as slices.worth() has it, without a call
            least_usd, least_tokens = usd * ask.share if rate else usd, tokens * ask.share if each else tokens
        if route.versions != slice_.route.versions or route.soft is not None or ask.within:
            return None
        call = SlicedCall(id, most, usd, tokens, at, ask, slice_)
        lock = self._lock
        if lock.locked():
            self._line_up(timeout)
        with lock:
            if id in self._calls or id in self._ended or id in self._before:
                return None
            if slice_.closed or slice_.usd < least_usd or slice_.tokens < least_tokens:
                return None
            # No call from here on: a signal's handler comes before or after it.
            slice_.usd -= usd
            slice_.tokens -= tokens
            slice_.open += 1
            self._calls[id] = call
        if (slice_.usd < slice_.low_usd or slice_.tokens < slice_.low_tokens) and not slice_.wanted:
            self._want_another(slice_, ask)
        return call

    def _hold_apart(self, id: str, route: Route, ask: Ask, at: int, timeout: float | None) -> Granted | Refused | Stale:
        """Hold on the shared ledger; where only slices of this process are in the way, without these."""
        self._is_there(id)  # before: it may be made, though no answer comes
        answer = self.shared_ledger.hold(id, route, ask, at, timeout)
        if isinstance(answer, Refused) and answer.reason == "held" and self._out:
            if timeout == 0:
                raise LedgerLockedError(TAKES_TIME)
            if self.give_back(answer.account):
                answer = self.shared_ledger.hold(id, route, ask, at, timeout)
        if isinstance(answer, Refused | Stale):
            self._ended.pop(id, None)
        return answer

    def _held_before(
        self, id: str, route: Route, ask: Ask, at: int, timeout: float | None
    ) -> Granted | Refused | Stale:
        """The answer to a repeated hold."""
        call = self._calls.get(id)
        if call is None and (self._ended.get(id) or self._before.get(id)) is None:
            return self._hold_apart(id, route, ask, at, timeout)
        if call is None:
            msg = f"hold {id!r} has ended; every call needs an id of its own"
            raise LedgerError(msg)
        if call.ask == ask and call.slice.route.legs == route.legs:
            return call
        names = ", ".join(account_name(leg.account) for leg in call.slice.route.legs)
        msg = f"hold {id!r} exists with other amounts, of {names}; every call needs an id of its own"
        raise LedgerError(msg)

    def settle(self, id: str, used: Used, at: int, reason: str = "", timeout: float | None = None) -> bool:
        """Replace a hold by what the call cost. With a ``reason`` the charge is uncertain and stays listed.

        Returns:
            False when no hold or charge of that id is known (any more).

        Raises:
            LedgerError: the hold was settled before, with another figure.
        """
        call = self._calls.get(id)
        if call is None:
            return self._settle_ended(id, used, at, reason, timeout)
        if reason:  # it is listed by its own id, where all look
            return self._charge_apart(call, used, at, reason, timeout)
        slice_: Slice | None = None
        lock = self._lock
        if lock.locked():
            self._line_up(timeout)
        with lock:
            if id in self._calls:  # still, and from here on without a call
                slice_ = call.slice  # not before: it may have been taken along into another one
                call.used, call.ended = used, at
                slice_.usd += call.usd - used.usd
                slice_.tokens += call.tokens - used.input_tokens - used.output_tokens
                slice_.spent += used.usd
                slice_.input_tokens += used.input_tokens
                slice_.output_tokens += used.output_tokens
                slice_.calls += used.calls
                slice_.open -= 1
                self._ended[id] = call
                del self._calls[id]
        if slice_ is None:
            return self._settle_ended(id, used, at, reason, timeout)
        self._has_ended(slice_)
        return True

    def _has_ended(self, slice_: Slice) -> None:
        """A call of a slice has ended."""
        if len(self._ended) >= ended_holds.REMEMBERED:
            self._forget_oldest()
        if slice_.closed and not slice_.open:
            self._later(self.tell_soon)
        elif self.turns.queues and not self._making_way:
            self._making_way = True
            self._later(self._make_way)

    def _charge_apart(self, call: SlicedCall, used: Used, at: int, reason: str, timeout: float | None) -> bool:
        """Charge a call on the shared ledger, by its own id, instead of its slice."""
        if timeout == 0:
            raise LedgerLockedError(TAKES_TIME)
        with self._telling:
            # First there: in between it counts twice, and never not at all.
            if self._hold_by_itself(call):
                return self.shared_ledger.settle(call.id, used, at, reason, timeout)
            if not self._post(call.id, call.slice.route, used, at, reason, timeout):
                return self.settle(call.id, used, at)  # its accounts are gone: where they were, its slice is still held
            self._drop(call, timeout=timeout)
            self._is_there(call.id)
        return True

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:
        """Drop a hold: nothing was spent. Returns False when no such hold is open."""
        call = self._calls.get(id)
        if call is None:
            ended = self._ended.get(id) or self._before.get(id)
            return ended is None and self.shared_ledger.release(id, at, timeout)
        call.ended = at
        return self._drop(call, remember=True, timeout=timeout)

    def _drop(self, call: SlicedCall, *, remember: bool = False, timeout: float | None = None) -> bool:
        """Give back to its slice what a call holds there; False if that was done before."""
        id = call.id
        if self._lock.locked():
            self._line_up(timeout)
        with self._lock:
            if id not in self._calls:
                return False
            slice_ = call.slice
            slice_.usd += call.usd
            slice_.tokens += call.tokens
            slice_.open -= 1
            if remember:
                self._ended[id] = call
            del self._calls[id]
        self._has_ended(slice_)
        return True

    def post(
        self, id: str, route: Route, used: Used, at: int, reason: str = "", timeout: float | None = None
    ) -> bool | Stale:
        """Record a charge that no hold came before, or that of a hold. Never refused for lack of room."""
        known = self._calls.get(id) or self._ended.get(id) or self._before.get(id)
        if known is not None and self.settle(id, used, at, reason, timeout):
            return True
        self._is_there(id)  # before: it may be made, though no answer comes
        return self.shared_ledger.post(id, route, used, at, reason, timeout)

    # -- what has ended

    def _settle_ended(self, id: str, used: Used, at: int, reason: str, timeout: float | None) -> bool:
        call = self._ended.get(id) or self._before.get(id)
        if call is None:
            return id in self._parents or self.shared_ledger.settle(id, used, at, reason, timeout)
        if call.used is None:  # it was dropped, and was charged after all
            if reason:  # from then on the shared ledger knows it
                known = self._post(id, call.slice.route, used, at, reason, timeout)
                self._is_there(id)
                return known
            if timeout == 0 and call.slice.final:
                raise LedgerLockedError(TAKES_TIME)
            return self.correct(id, used, at) is not None
        if reason or call.used == used:  # a guess that comes after the truth, or the same again
            return True
        msg = f"hold {id!r} was settled before with {call.used}; a correction to {used} goes through reconcile()"
        raise LedgerError(msg)

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""
        call = self._ended.get(id) or self._before.get(id)
        return self.shared_ledger.ended(id) if call is None else call.charge

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""
        call = self._ended.get(id) or self._before.get(id)
        if call is None:
            return self.shared_ledger.correct(id, used, at)
        before = call.charge
        if self._lock.locked():
            self._line_up(None)
        with self._lock:
            slice_, was = call.slice, call.used or NOTHING
            told = slice_.final
            if not told:
                # No call from here on: a signal's handler comes before or after it.
                slice_.usd += was.usd - used.usd
                slice_.tokens += was.input_tokens + was.output_tokens - used.input_tokens - used.output_tokens
                slice_.spent += used.usd - was.usd
                slice_.input_tokens += used.input_tokens - was.input_tokens
                slice_.output_tokens += used.output_tokens - was.output_tokens
                slice_.calls += used.calls - was.calls
                call.used = used
        return before if not told or self._correct_told(call, used, at) else None

    def _correct_told(self, call: SlicedCall, used: Used, at: int) -> bool:
        """Correct what the shared ledger was told of a slice; False if it does not know it any more."""
        slice_ = call.slice
        with self._telling:
            self.tell(slice_)  # it may only be about to be
            was = call.used or NOTHING
            spent = slice_.spent + used.usd - was.usd
            sent = slice_.input_tokens + used.input_tokens - was.input_tokens
            received = slice_.output_tokens + used.output_tokens - was.output_tokens
            calls = slice_.calls + used.calls - was.calls
            if self.shared_ledger.correct(slice_.id, Used(spent, sent, received, calls), at) is None:
                return False
            # Afterwards: where that has failed, it is tried again.
            slice_.spent, slice_.input_tokens, slice_.output_tokens, slice_.calls = spent, sent, received, calls
            call.used = used
        return True
