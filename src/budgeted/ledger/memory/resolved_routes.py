"""Routes whose accounts and limits were looked up: the objects that a call is counted on."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import msgspec

from budgeted.ledger import limit_terms
from budgeted.ledger.accounts import CALLS, Account, Slot, Terms
from budgeted.ledger.cost_routing import decode_route
from budgeted.ledger.memory.change_records import Held, parts_of
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.route_sums import RouteSums, items_behind
from budgeted.ledger.spending_records import Charge, Used
from budgeted.ledger.whole_content import OpenHold


def in_flight_of(held: Held) -> OpenHold:
    """A hold as every ledger lists it among all that it knows."""
    day, provider, model, legs = decode_route(held.route)
    return OpenHold(held.id, held.at, held.usd, held.tokens, held.guess, day, provider, model, legs, parts_of(held))


class BoundRoute(msgspec.Struct, eq=False, gc=False):
    """A route as a state sees it: the objects to count on, looked up once.

    ``generation`` is the state's: in a later one the objects may not be the right ones any more. ``usd``, ``tokens``
    and ``calls`` are those of ``slots`` that were in the route's periods when the state's ``periods`` was this one's,
    and ``others`` those of other units and those that roll; ``live`` tells that these are all. ``special`` tells
    that an amount of one of them may change with the time, or that more has to be known of a hold than what most count;
    ``stood_in_for`` that one is no limit that its account has.
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
    others: tuple[Slot, ...] = ()
    special: bool = False
    stood_in_for: bool = False

    def meet(self, periods: int) -> None:
        """See which slots are in the route's periods."""
        live = [slot for slot, start, _ in self.slots if slot.start == start]
        self.sort(live)
        self.live = len(live) == len(self.slots)
        self.periods = periods

    def past(self, periods: int) -> bool:
        """Whether one of the route's periods is over."""
        self.meet(periods)
        # A limit that is in no other period than the route's has begun none that comes later.
        return not self.live and any(slot.start > start for slot, start, _ in self.slots)

    def behind(self, last: Slot | None) -> BoundRoute:
        """What of it comes behind a slot, in the order of counting; all of it if that is None."""
        rest = copy.copy(self)
        rest.sort(items_behind((*self.usd, *self.tokens, *self.calls, *self.others), last))
        return rest

    def sort(self, slots: Iterable[Slot]) -> None:
        """Have these be counted on."""
        # By unit, so that a hold or a charge need not ask each limit what it counts.
        by_unit: tuple[list[Slot], list[Slot], list[Slot]] = [], [], []
        others = []
        for slot in slots:
            if self.special and is_apart(slot):
                others.append(slot)
            else:
                by_unit[slot.unit].append(slot)
        self.usd, self.tokens, self.calls = map(tuple, by_unit)
        self.others = tuple(others)


def is_apart(slot: Slot) -> bool:
    """Whether a limit is counted apart from most: it rolls, or has a unit that few have."""
    return slot.unit > CALLS or (slot.terms is not None and slot.terms.window > 0)


def held_apart(held: Held, bound: BoundRoute) -> list[tuple[Slot, int, int, Terms | None]]:
    """The limits that are counted apart, each with what a hold is of it, and what is spent of it by then."""
    parts = parts_of(held)
    return [(slot, parts[slot.unit], *limit_terms.at_time(slot, held.at)) for slot in bound.others]


def charged_apart(
    ended: Ended, bound: BoundRoute, closing: Held | None, used: Used, calls: int, charged: tuple[int, int] | None
) -> list[tuple[Slot, int, int, Terms | None]]:
    """The limits that are counted apart, each with what a hold that ends was of it, and what is spent of it then."""
    tokens = used.input_tokens + used.output_tokens
    more = (used.usd, tokens, calls, used.input_tokens, used.output_tokens)
    parts = (0,) * len(more) if closing is None else parts_of(closing)
    return [
        (slot, parts[slot.unit], *limit_terms.charged(slot, ended.at, more[slot.unit], charged))
        for slot in bound.others
    ]


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


def slot_of(account: Account, limit: str) -> Slot | None:
    """An account's limit of that id."""
    for slot in account.slots:
        if slot.limit == limit:
            return slot
    return None


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
    wider.special = True  # these may be what the route's own are not
    return wider
