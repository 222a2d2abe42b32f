"""What became of holds: uncertain charges until somebody confirms them, the others for a while."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from budgeted.ledger.cost_routing import decode_route
from budgeted.ledger.memory.uncertain_sums import UncertainSums
from budgeted.ledger.spending_records import Used

REMEMBERED = 10_000
"""How many ended holds are remembered at least, to recognise a repeated verb and to correct a charge."""


class Ended(msgspec.Struct, array_like=True, gc=False):
    """A hold that has ended, and what it was charged (None: released). With a reason the charge is uncertain.

    It was opened at ``opened`` for ``held`` nano-USD. The rest of its record is not kept: there are many of these.
    """

    id: str
    opened: int
    held: int
    route: msgspec.Raw
    used: Used | None
    at: int
    reason: str = ""


class Charges:
    """The holds that have ended, by their ids."""

    __slots__ = ("_sums", "before", "latest", "uncertain")

    def __init__(
        self, uncertain: Iterable[Ended] = (), latest: Iterable[Ended] = (), before: Iterable[Ended] = ()
    ) -> None:
        self.uncertain = {one.id: one for one in uncertain}
        # Two generations instead of a queue: dropping the oldest costs nothing per call.
        self.latest = {one.id: one for one in latest}
        self.before = {one.id: one for one in before}
        self._sums: UncertainSums | None = self._summed()

    def __contains__(self, id: str) -> bool:
        return id in self.latest or id in self.before or id in self.uncertain

    def get(self, id: str) -> Ended | None:
        """What became of a hold, or None if it is not known (any more)."""
        return self.uncertain.get(id) or self.latest.get(id) or self.before.get(id)

    def doubtful(self, account: str | None) -> list[Ended]:
        """What nobody has confirmed, the oldest first: all of it, or that of an account and of few others."""
        if account is None:
            return list(self.uncertain.values())
        # Routes are not decoded: there may be many, and one that has the name is nearly always the account's.
        name = msgspec.json.encode(account)
        return [one for one in self.uncertain.values() if name in bytes(one.route)]

    def put(self, one: Ended) -> None:
        """Remember it, instead of what was known before. Doing it twice changes nothing."""
        id = one.id
        if one.reason or id in self.uncertain:
            self._put_uncertain(one)
            if one.reason:
                return
        self.latest[id] = one
        if len(self.latest) >= REMEMBERED:
            self.before, self.latest = self.latest, {}

    def _put_uncertain(self, one: Ended) -> None:
        # Gone meanwhile: what an exception of a signal's handler leaves is summed anew by whoever asks.
        sums, self._sums = self._sums, None
        before = self.uncertain.get(one.id)
        if sums is not None and before is not None:
            sums.take_off(*_summand(before))
        if one.reason:
            self.uncertain[one.id] = one
            if sums is not None:
                sums.add(*_summand(one))
        else:
            # Added before it is taken off: interrupted in between, it is known twice, and never not at all.
            self.latest[one.id] = one
            self.uncertain.pop(one.id, None)
        self._sums = sums

    @property
    def sums(self) -> UncertainSums:
        """What is uncertain, summed."""
        if self._sums is None:
            self._sums = self._summed()
        return self._sums

    def _summed(self) -> UncertainSums:
        sums = UncertainSums()
        for one in self.uncertain.values():
            sums.add(*_summand(one))
        return sums


def _summand(one: Ended) -> tuple[tuple[str, ...], str, int, int]:
    _, _, model, legs = decode_route(one.route)
    return tuple([leg.account for leg in legs]), model, one.opened, one.used.usd if one.used else 0
