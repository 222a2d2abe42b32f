"""The accounts of a state, and the routes whose accounts were looked up: objects as long as calls count on them.

An account that no such route names is kept as bytes. Either is found by its name alone.
"""

from __future__ import annotations

import itertools
import sys

import msgspec

from budgeted.ledger.accounts import CALLS, USD, Account, Slot, overlaps
from budgeted.ledger.cost_routing import Leg, Route, decode_route
from budgeted.ledger.memory.compact_store import CompactStore
from budgeted.ledger.memory.resolved_routes import BoundRoute, slot_of
from budgeted.ledger.memory.route_sums import RouteSums
from budgeted.ledger.memory.sorted_names import SortedNames

MOST_ROUTES = 20_000
"""Routes that are kept looked up."""

FORGOTTEN_AT_A_TIME = 50
"""Routes that are forgotten when there are so many."""

TIDIED_AT_A_TIME = 4
"""Accounts that nobody uses any more that are packed, and routes that are let go of, with each that is looked up."""


class BoundAccounts:
    """Accounts and the routes that calls take to them. The caller holds the ledger's lock."""

    def __init__(self) -> None:
        self.accounts: CompactStore[Account] = CompactStore(_encode, _decode_account)
        self.order = SortedNames()
        """Names of accounts."""
        self.bounds: dict[bytes, BoundRoute] = {}
        self._uses: dict[str, int] = {}
        """How many of these name an account; one that none names is packed."""
        self._dropped: list[dict[bytes, BoundRoute]] = []
        """Routes that were forgotten all at once, and are let go of by and by."""
        self._generation = 0
        self._absent: set[str] = set()
        """Accounts that routes looked up meanwhile name, and that are not there."""

    def fold(self) -> None:
        """Add what was charged to accounts and the report's rows."""
        raise NotImplementedError

    def bound(self, route: Route) -> BoundRoute | None:
        """The objects of a route, or None if it was made from other versions of its accounts than they have now."""
        found = self.bounds.get(route.key)
        if found is None:
            for leg in route.legs:
                if leg.account not in self.accounts:
                    return None
            found = self._bind(route.key, route.day, route.provider, route.model, route.legs)
            if found.stood_in_for:
                self._forget(route.key)
                return None
        return found if found.versions == route.versions else None

    def bind(self, route: bytes) -> BoundRoute:
        """The objects of a route; what is not there is stood in for, since a record is never refused."""
        return self.bounds.get(route) or self._bind(route, *decode_route(route))

    def _bind(self, route: bytes, day: int, provider: str, model: str, legs: tuple[Leg, ...]) -> BoundRoute:
        if len(self.bounds) >= MOST_ROUTES:
            self._forget_oldest_bounds()
        self._tidy_up()
        accounts = tuple([self._used(leg.account) for leg in legs])
        # The accounts' own names: of a million users, each is kept once.
        names = tuple([account.id for account in accounts])
        slots = []
        payers = []
        special = stood_in_for = False
        for account, leg in zip(accounts, legs, strict=True):
            for limit, start, end in leg.limits:
                slot = slot_of(account, limit)
                if slot is None:
                    slot, stood_in_for = Slot(limit, USD, 0, start, end), True
                slots.append((slot, start, end))
                payers.append(account.id)
                special = special or slot.terms is not None or slot.unit > CALLS
        found = self.bounds[route] = BoundRoute(
            self._generation,
            msgspec.Raw(route),
            names,
            accounts,
            tuple([account.version for account in accounts]),
            tuple(slots),
            tuple(payers),
            RouteSums(day, provider, model, (*names, *overlaps(names)), accounts),
            special=special,
            stood_in_for=stood_in_for,
        )
        return found

    def _used(self, name: str) -> Account:
        """An account for a route to count on, until :meth:`_unused`."""
        self._uses[name] = self._uses.get(name, 0) + 1
        account = self.accounts.live.get(name) or self.accounts.use(name)
        if account is None:
            self._absent.add(name)
            return Account(name, 0)
        return account

    def _unused(self, name: str) -> None:
        left = self._uses.get(name, 0) - 1
        if left > 0:
            self._uses[name] = left
        else:
            self._uses.pop(name, None)
            self.accounts.rest(name)

    def _forget_oldest_bounds(self) -> None:
        """Make room for the routes of calls to come, a few at a time: no call waits for thousands to go."""
        self.fold()  # what was charged belongs to the accounts that they name now
        for route in list(itertools.islice(self.bounds, FORGOTTEN_AT_A_TIME)):
            self._forget(route)

    def _forget(self, route: bytes) -> None:
        bound = self.bounds.pop(route)
        bound.generation = -1  # for the open holds that have it
        for name in bound.names:
            self._unused(name)

    def _forget_bounds(self) -> None:
        """Accounts or limits have come or gone: look every route up again when it is needed."""
        # Before they are forgotten: what was charged belongs to the accounts that they name now.
        self.fold()
        self._begin_generation()
        self.accounts.cool()

    def _begin_generation(self) -> None:
        self._generation += 1
        if self.bounds:
            self._dropped.append(self.bounds)
        self.bounds = {}
        self._uses = {}
        self._absent = set()

    def _tidy_up(self) -> None:
        """Pack what nobody uses, and let go of what was forgotten, a little with each route that is looked up."""
        self.accounts.settle(TIDIED_AT_A_TIME)
        if self._dropped:
            old = self._dropped[-1]
            for _ in range(min(len(old), TIDIED_AT_A_TIME)):
                old.popitem()
            if not old:
                self._dropped.pop()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Account).decode


def _decode_account(name: str, data: bytes) -> Account:
    account = _decode(data)
    account.id = name
    for slot in account.slots:
        slot.limit = sys.intern(slot.limit)
    return account
