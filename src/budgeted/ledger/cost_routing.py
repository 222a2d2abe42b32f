"""Where a call's cost goes: which limits of which accounts, in which of their periods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import Account


class Leg(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One account on a call's route.

    Args:
        account: its id: ``g``, ``u:USER``, ``b:KEY`` or ``t:NAME=VALUE``.
        limits: those that count this call: each limit's id, and its period's start and end in unix seconds.
    """

    account: str
    limits: tuple[tuple[str, int, int], ...]


decode_route = msgspec.json.Decoder(tuple[int, str, str, tuple[Leg, ...]]).decode
"""Day, provider, model and legs of a route's encoded form."""


class Route(msgspec.Struct, frozen=True, gc=False):
    """Where a call's cost goes: the accounts, their limits, and the day, provider and model it is reported under.

    A client computes it once per payer, model and period. ``key`` and ``raw`` are its encoded form, which the journal
    keeps.
    ``versions`` are the accounts' versions it was computed from. ``soft`` marks limits, in order over all legs,
    that are counted but refuse nothing (``on_exceed="warn"``). ``around``, for ledgers with a clock of their own, has
    for each limit, in the same order, the start of the period before and the end of the period after: see
    :func:`period_at`.
    """

    legs: tuple[Leg, ...]
    versions: tuple[int, ...]
    day: int
    provider: str
    model: str
    key: bytes
    raw: msgspec.Raw
    soft: tuple[bool, ...] | None = None
    around: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def make(
        cls,
        legs: Sequence[Leg],
        versions: Sequence[int],
        day: int,
        provider: str,
        model: str,
        soft: Sequence[bool] = (),
        around: Sequence[tuple[int, int]] = (),
    ) -> Route:
        """Build a route and its encoded form."""
        try:
            key = msgspec.json.encode((day, provider, model, legs))
        except UnicodeEncodeError:  # models are called as whoever asks calls them, and no ledger keeps lone surrogates
            model = model.encode("utf-8", "backslashreplace").decode()
            key = msgspec.json.encode((day, provider, model, legs))
        return cls(
            tuple(legs),
            tuple(versions),
            day,
            provider,
            model,
            key,
            msgspec.Raw(key),
            tuple(soft) if any(soft) else None,
            tuple(around) or None,
        )


def period_at(now: float, limit: tuple[str, int, int], around: tuple[int, int]) -> tuple[int, int]:
    """The period of a limit that the server's clock is in, among those that a client's calendar offers.

    A ledger with ``around`` holds a call in that period, whatever the client's clock says; except that a limit which
    has seen a later period stays in that one (``slot.start`` is larger than the start returned): no clock reopens
    a period. Charges without a hold (:meth:`Ledger.post`) may come late, and keep the route's own periods.

    Args:
        now: the server's clock, in unix seconds.
        limit: the limit as the route has it: its id, start and end of the period by the client's clock.
        around: the start of the period before that one, and the end of the period after it.

    Returns:
        Start and end of the period.

    Raises:
        LedgerError: ``now`` is in none of the three: one of the clocks is wrong.
    """
    _, start, end = limit
    before, after = around
    if start <= now < end:
        return start, end
    if before <= now < start:
        return before, start
    if end <= now < after:
        return end, after
    skew = start - now if now < start else now - end
    msg = (
        f"the ledger's clock is more than {skew:.0f} seconds {'behind' if now < start else 'ahead of'} this host's, so "
        f"that the period of a limit cannot be told; set the clocks (unix time {now:.0f} there)"
    )
    raise LedgerError(msg)


def at_server_time(route: Route, accounts: Mapping[str, Account], now: float) -> Route:
    """A route in the periods that the server's clock says, as :func:`period_at` has it; the same if they are its own.

    Args:
        route: as a client sent it, with ``around``.
        accounts: those of its accounts that are there.
        now: the server's clock, in unix seconds.

    Raises:
        LedgerError: one of the clocks is wrong.
    """
    around = iter(route.around or ())
    legs = []
    for leg in route.legs:
        account = accounts.get(leg.account)
        begun = {slot.limit: (slot.start, slot.end) for slot in account.slots} if account is not None else {}
        limits = []
        for limit in leg.limits:
            period = period_at(now, limit, next(around))
            limits.append((limit[0], *max(period, begun.get(limit[0], period))))
        legs.append(Leg(leg.account, tuple(limits)))
    if tuple(legs) == route.legs:
        return route
    return Route.make(legs, route.versions, route.day, route.provider, route.model, route.soft or ())


class Stale(msgspec.Struct, frozen=True, gc=False):
    """The route does not fit the ledger's accounts any more: compute it again."""


STALE = Stale()
