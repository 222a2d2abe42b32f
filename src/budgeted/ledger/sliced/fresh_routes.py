"""The route of a charge whose accounts' limits have changed since: by the limits and periods that they have now."""

from __future__ import annotations

from collections.abc import Callable

from budgeted.ledger.accounts import Account
from budgeted.ledger.cost_routing import Leg, Route


def fresh(route: Route, read: Callable[[str], Account | None]) -> Route | None:
    """The route of a charge, among the limits that its accounts have now; None if none of these is there.

    Args:
        route: as it was.
        read: gives an account as it is.
    """
    legs, versions = [], []
    for leg in route.legs:
        account = read(leg.account)
        if account is None:
            continue
        begun = {slot.limit: (slot.start, slot.end) for slot in account.slots}
        # A period that has ended is not reopened.
        limits = [(id, *max((start, end), begun[id])) for id, start, end in leg.limits if id in begun]
        legs.append(Leg(leg.account, tuple(limits)))
        versions.append(account.version)
    return Route.make(legs, versions, route.day, route.provider, route.model) if legs else None
