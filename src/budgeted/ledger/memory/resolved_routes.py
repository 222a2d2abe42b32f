"""Routes whose accounts and limits were looked up: the objects that a call is counted on."""

from __future__ import annotations

import copy

import msgspec

from budgeted.ledger.accounts import USD, Account, Slot
from budgeted.ledger.cost_routing import decode_route
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.route_sums import RouteSums, items_behind
from budgeted.ledger.spending_records import Charge, Used
from budgeted.ledger.whole_content import OpenHold


def in_flight_of(held: Held) -> OpenHold:
    """A hold as every ledger lists it among all that it knows."""
    day, provider, model, legs = decode_route(held.route)
    return OpenHold(held.id, held.at, held.usd, held.tokens, held.guess, day, provider, model, legs)


class BoundRoute(msgspec.Struct, eq=False, gc=False):
    """A route as a state sees it: the objects to count on, looked up once.

    ``generation`` is the state's: in a later one the objects may not be the right ones any more. ``usd``, ``tokens``
    and ``calls`` are those of ``slots`` that were in the route's periods when the state's ``periods`` was this one's;
    ``live`` tells that these are all.
    """

    # Not in the collector's care, as nothing that such objects refer to refers back: there are thousands of them.
    generation: int
    raw: msgspec.Raw
    names: tuple[str, ...]
    accounts: tuple[Account, ...]
    versions: tuple[int, ...]
    slots: tuple[tuple[Slot, int, int], ...]
    payers: tuple[str, ...]
    sums: RouteSums
    periods: int = -1
    live: bool = False
    usd: tuple[Slot, ...] = ()
    tokens: tuple[Slot, ...] = ()
    calls: tuple[Slot, ...] = ()

    def meet(self, periods: int) -> None:
        """See which slots are in the route's periods."""
        live = [slot for slot, start, _ in self.slots if slot.start == start]
        # By unit, so that a hold or a charge need not ask each limit what it counts.
        self.usd, self.tokens, self.calls = (tuple(slot for slot in live if slot.unit == unit) for unit in range(3))
        self.live = len(live) == len(self.slots)
        self.periods = periods

    def past(self, periods: int) -> bool:
        """Whether one of the route's periods is over."""
        self.meet(periods)
        return any(slot.start > start for slot, start, _ in self.slots)

    def behind(self, last: Slot | None) -> BoundRoute:
        """What of it comes behind a slot, in the order of counting; all of it if that is None."""
        rest = copy.copy(self)
        left = items_behind((*self.usd, *self.tokens, *self.calls), last)
        rest.usd, rest.tokens, rest.calls = (tuple(slot for slot in left if slot.unit == unit) for unit in range(3))
        return rest


def charge_of(ended: Ended) -> Charge:
    """What became of a hold, as others see it."""
    _, provider, model, legs = decode_route(ended.route)
    return Charge(
        id=ended.id,
        opened=ended.opened,
        at=ended.at,
        accounts=tuple([leg.account for leg in legs]),
        provider=provider,
        model=model,
        used=ended.used or Used(),
        held=ended.held,
        reason=ended.reason,
    )


def slot_of(account: Account, limit: str, start: int, end: int) -> Slot:
    """An account's limit; what is not there is stood in for."""
    for slot in account.slots:
        if slot.limit == limit:
            return slot
    return Slot(limit, USD, 0, start, end)


def with_later_limits(bound: BoundRoute, at: int) -> BoundRoute:
    """The route of a charge made at that time, with the limits that came later and counted it."""
    known = [slot for slot, _, _ in bound.slots]
    later = tuple(
        (slot, slot.start, slot.end)
        for account in bound.accounts
        for slot in account.slots
        if 0 <= slot.since <= bound.sums.day and slot.start <= at < slot.end and all(slot is not one for one in known)
    )
    if not later:
        return bound
    wider = copy.copy(bound)
    wider.slots += later
    # Never a state's own number: it is sorted by unit again before anything is counted on it.
    wider.periods = -1
    return wider
