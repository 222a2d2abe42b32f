"""What became of holds: uncertain charges until somebody confirms them, the others for a while."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

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

    __slots__ = ("before", "latest", "uncertain")

    def __init__(
        self, uncertain: Iterable[Ended] = (), latest: Iterable[Ended] = (), before: Iterable[Ended] = ()
    ) -> None:
        self.uncertain = {one.id: one for one in uncertain}
        # Two generations instead of a queue: dropping the oldest costs nothing per call.
        self.latest = {one.id: one for one in latest}
        self.before = {one.id: one for one in before}

    def __contains__(self, id: str) -> bool:
        return id in self.latest or id in self.before or id in self.uncertain

    def get(self, id: str) -> Ended | None:
        """What became of a hold, or None if it is not known (any more)."""
        return self.uncertain.get(id) or self.latest.get(id) or self.before.get(id)

    def put(self, one: Ended) -> None:
        """Remember it, instead of what was known before. Doing it twice changes nothing."""
        id = one.id
        if one.reason:
            self.uncertain[id] = one
            return
        # Added before it is taken off: interrupted in between, it is known twice, and never not at all.
        self.latest[id] = one
        if id in self.uncertain:
            del self.uncertain[id]
        if len(self.latest) >= REMEMBERED:
            self.before, self.latest = self.latest, {}
