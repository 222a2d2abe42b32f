"""Holds that set aside what the calls of a block hold, and those calls' holds, which draw on them."""

from __future__ import annotations

import msgspec

from budgeted.ledger import limit_terms
from budgeted.ledger.accounts import Slot
from budgeted.ledger.admission import Ask
from budgeted.ledger.memory.bound_accounts import BoundAccounts
from budgeted.ledger.memory.change_records import Held, HeldInParts, is_reservation, parts_of
from budgeted.ledger.memory.resolved_routes import BoundRoute
from budgeted.ledger.spending_records import Used


class Reservations(BoundAccounts):
    """Open holds, some of which are reservations. The caller holds the ledger's lock.

    ``periods`` grows with every period that begins.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holds: dict[str, tuple[Held, BoundRoute]] = {}
        self.periods = 0

    def reservation(self, id: str) -> tuple[Held, BoundRoute] | None:
        """A reservation that is open, and its route."""
        entry = self.holds.get(id)
        return entry if entry is not None and is_reservation(entry[0]) else None

    def decided(
        self, bound: BoundRoute, ask: Ask, at: int
    ) -> tuple[tuple[int, int] | None, list[tuple[Slot, int, int]]]:
        """What a call may draw on, and the limits as they are for it.

        Returns:
            Nano-USD and tokens of the reservation that the call is made in, None if there is none that is open and
            covers no account but the call's; and the limits at its time, without what is reserved for it.
        """
        slots = [(limit_terms.as_of(slot, start, end, at), start, end) for slot, start, end in bound.slots]
        entry = self.reservation(ask.within)
        if entry is None or not set(entry[1].names) <= set(bound.names):
            return None, slots
        held, around = entry
        reserved = parts_of(held)
        counted = {
            (payer, slot.limit, start) for payer, (slot, start, _) in zip(around.payers, around.slots, strict=True)
        }
        for payer, (slot, start, _) in zip(bound.payers, slots, strict=True):
            if (payer, slot.limit, start) in counted and slot.start == start:
                slot.held -= reserved[slot.unit]
        return (held.usd, held.tokens), slots

    def draw(self, id: str, usd: int, tokens: int) -> None:
        """Take nano-USD and tokens out of a reservation, if it is open; less than nothing gives back."""
        entry = self.reservation(id)
        if entry is None:
            return
        held, bound = entry
        if bound.generation != self._generation:
            bound = self.bind(bytes(held.route))
        if bound.periods != self.periods:
            bound.meet(self.periods)
        left = msgspec.structs.replace(held, usd=max(0, held.usd - usd), tokens=max(0, held.tokens - tokens))
        before, after = parts_of(held), parts_of(left)
        slots = [
            (slot, slot.held + after[slot.unit] - before[slot.unit])
            for slot in (*bound.usd, *bound.tokens, *bound.others)
        ]
        self.holds[id] = left, bound
        for slot, amount in slots:
            slot.held = amount

    def give_back(self, held: Held, used: Used) -> None:
        """A call has ended: what it took out of a reservation and did not use goes back there."""
        if not isinstance(held, HeldInParts):
            return
        usd, tokens = held.drawn
        self.draw(held.within, used.usd - usd, used.input_tokens + used.output_tokens - tokens)
