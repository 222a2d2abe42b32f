"""The route of a charge whose accounts' limits have changed since: by those of its limits that they still have."""

from __future__ import annotations

from collections.abc import Callable

from budgeted.ledger.accounts import Account
from budgeted.ledger.cost_routing import Leg, Route


def fresh(route: Route, read: Callable[[str], Account | None]) -> Route | None:
    """The route of a charge, among the limits that its accounts have now; None if none of its accounts is there.

    Args:
        route: as it was.
        read: gives an account as it is.
    """
    legs, versions = [], []
    for leg in route.legs:
        account = read(leg.account)
        if account is None:
            continue
        begun = {slot.limit: slot.start for slot in account.slots}
        # A period that has ended is left alone, and the one after it is not charged for it.
        limits = [one for one in leg.limits if one[0] in begun and begun[one[0]] <= one[1]]
        legs.append(Leg(leg.account, tuple(limits)))
        versions.append(account.version)
    return Route.make(legs, versions, route.day, route.provider, route.model) if legs else None


def has_ended(route: Route, at: float) -> bool:
    """Whether one of the periods that a call was to be counted in is over, in unix seconds."""
    return any(end <= at for leg in route.legs for _, _, end in leg.limits)
