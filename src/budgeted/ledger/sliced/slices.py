"""A slice of what a route's limits have left: one hold on the shared ledger, spent here call by call.

Pure arithmetic: how large a slice should be, what is asked for it, and what is left in it.
"""

from __future__ import annotations

import functools

import msgspec

from budgeted.ledger.admission import Ask
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.memory import change_records
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.spending_records import Charge, Used
from budgeted.limits.limit_ids import unit_of_id

ROUND = 1.0
"""Seconds that a slice is spent for: by then what was spent of it is told, and its rest is back."""

STARTS_AT = 4
"""Calls of a route within a round from which on it gets slices."""

FIRST = 8
"""Calls that a route's first slice is for."""

LEAST = 4
"""Calls below which a slice is not worth having: each goes to the shared ledger instead."""

MOST = 2**20
"""Calls that a slice is for, at most."""

SHARE = 32
"""A slice is at most one part in so many of what its tightest limit has left."""

NOTHING = Used(calls=0)
"""What a call was charged that was dropped."""

DEAREST = 2**43 // 1000
"""Nano-USD of the dearest call that goes into slices, so that every ledger counts them exactly: $8.79."""


UNCOUNTED = 2**62
"""Tokens that are left in a slice of whose limits none counts them."""


class Slice(msgspec.Struct, eq=False):
    """What was held on the shared ledger for calls of one route, and what became of it.

    Args:
        id: of the hold there.
        route: of its calls.
        ask: of a call that it is for.
        size: for how many of these.
        began: when, in seconds by a clock that only goes forward.
        usd: nano-USD that are left for calls.
        tokens: that are left for calls.
        low_usd: nano-USD below which another slice is asked for.
        low_tokens: the same of tokens.
        open: calls in flight.
        closed: whether no call begins in it any more.
        wanted: whether another one is asked for.
        ended: when it was closed.
        spent: nano-USD that its calls were charged.
        input_tokens: that they were charged.
        output_tokens: that they were charged.
        calls: how many were charged.
        final: whether the shared ledger is told of it, so that it is charged nothing more here.
    """

    id: str
    route: Route
    ask: Ask
    size: int
    began: float
    usd: int
    tokens: int
    low_usd: int
    low_tokens: int
    open: int = 0
    closed: bool = False
    wanted: bool = False
    ended: float = 0.0
    spent: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    final: bool = False

    @property
    def used(self) -> Used:
        """What its calls were charged."""
        return Used(self.spent, self.input_tokens, self.output_tokens, self.calls)

    def size_used(self) -> int:
        """For how many calls like the one that it is for it has served; rounded up."""
        usd, tokens = worth(self.ask)
        parts = [self.calls + self.open] if not (usd or tokens) else []
        if usd:
            parts.append(-((self.usd - usd * self.size) // usd))
        if tokens and self.low_tokens:
            parts.append(-((self.tokens - tokens * self.size) // tokens))
        return max(parts)

    def pays(self, account: str) -> bool:
        """Whether an account pays for its calls."""
        return any(leg.account == account for leg in self.route.legs)


class SlicedCall(msgspec.Struct, eq=False):
    """A call in a slice: what it holds there, and what it was charged.

    Args:
        id: of the hold.
        granted: output tokens that it may ask for.
        usd: nano-USD that it holds.
        tokens: that it holds.
        at: when it began, in unix seconds.
        ask: what it may need.
        slice: which it is in.
        used: what it was charged; None before, and where it was dropped.
        ended: when, in unix seconds.
    """

    id: str
    granted: int
    usd: int
    tokens: int
    at: int
    ask: Ask
    slice: Slice
    used: Used | None = None
    ended: int = 0

    @property
    def record(self) -> Held:
        """It as the shared ledger would have recorded it."""
        return change_records.held(self.id, self.at, self.granted, self.ask, self.slice.route.raw)

    @property
    def charge(self) -> Charge:
        """What became of it."""
        route = self.slice.route
        names = tuple([leg.account for leg in route.legs])
        used = self.used or Used()
        return Charge(self.id, self.at, self.ended, names, route.provider, route.model, used, self.usd, "")


class Demand(msgspec.Struct):
    """How often calls take a route.

    Args:
        since: when the round began in which they are counted, in seconds.
        calls: how many went to the shared ledger in it.
        size: for how many calls its next slice is.
        apart_until: when slices are asked for again, as too little was left.
        asking: one object per thread that wants to ask for a slice; that of the first one does.
    """

    since: float = 0.0
    calls: int = 0
    size: int = FIRST
    apart_until: float = 0.0
    asking: list[object] = []

    def wants_slice(self, now: float) -> bool:
        """Count a call, and say whether there are enough of them for a slice."""
        if now - self.since >= ROUND:
            self.since, self.calls = now, 0
        self.calls += 1
        return self.calls >= STARTS_AT and now >= self.apart_until


def worth(ask: Ask) -> tuple[int, int]:
    """Nano-USD and tokens that have to be there for a call to get all that it can use: as the decision has it."""
    usd, tokens = ask.usd_for(ask.most), ask.tokens_for(ask.most)
    if not ask.whole:
        usd, tokens = usd * ask.share if ask.usd_rate else usd, tokens * ask.share if ask.tokens_rate else tokens
    return usd, tokens


def fits(route: Route, ask: Ask) -> bool:
    """Whether a call may be made in a slice, as its limits count nothing but USD and tokens, in periods that end."""
    return (
        route.soft is None
        and not ask.within
        and worth(ask)[0] < DEAREST
        and all(_may_be_sliced(limit) for leg in route.legs for limit, _, _ in leg.limits)
    )


@functools.lru_cache(maxsize=4096)
def _may_be_sliced(limit: str) -> bool:
    return unit_of_id(limit) in ("usd", "tokens") and "/rolling-" not in limit


def asked_for(ask: Ask, size: int) -> Ask:
    """What the shared ledger is asked for a slice for so many calls: no more than a share of what is left.

    Who dies with it is charged all of it.
    """
    usd, tokens = worth(ask)
    most = min(size, 2**50 // (SHARE * max(usd, tokens, 1)))
    return Ask(0, usd * 1000, 0, tokens, 1, most, whole=False, uncertain_output=most, share=SHARE, floor=1)


def slice_of(id: str, route: Route, ask: Ask, size: int, now: float) -> Slice:
    """A slice that was held for so many calls."""
    usd, tokens = worth(ask)
    if not any(unit_of_id(limit) == "tokens" for leg in route.legs for limit, _, _ in leg.limits):
        # Nobody counts them. USD are counted even so: who dies with the slice is charged no less than was spent.
        return Slice(id, route, ask, size, now, usd * size, UNCOUNTED, usd * size // 4, 0)
    return Slice(id, route, ask, size, now, usd * size, tokens * size, usd * size // 4, tokens * size // 4)
