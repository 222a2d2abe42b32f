"""One limit of a block's cap: its running numbers in this process, and what of it other processes have taken."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from budgeted.ledger.accounts import CALLS, INPUT_TOKENS, OUTPUT_TOKENS, USD, Slot
from budgeted.ledger.limit_conversion import counts, ledger_unit
from budgeted.ledger.spending_records import Used
from budgeted.limits.limit import Limit
from budgeted.wire.normalized_request import Request

NO_END = 2**62
"""The end of what has no periods; and an amount that is no limit."""


class CapSlot(Slot, gc=False):
    """One limit of a cap. All that changes does so under ``caps_lock``.

    Its ``held`` is added up where a call is admitted.

    Args:
        counted: the limit, where it does not count all calls in USD.
        holds: what is held of it, by the open call: what is given back or charged by its call can be so but once,
            however often an exception of a signal's handler has it repeated.
        ended: calls that have ended.
        refused: calls that were refused, of the slot in USD that every block has.
        clamped: calls whose output was capped so that they fit, of the same.
        before_sharing: holds that were open when the rest of it came to be kept in the ledger; None while it is not.
        rest: what the ledger has of it, since it is kept there.
        elsewhere: what other processes have taken of it.
        earlier: what was taken of it here before its present period began, where it has periods.
        aside: limits of blocks inside whose room is set aside of it.
    """

    counted: Limit | None = None
    holds: dict[int, int] = msgspec.field(default_factory=dict)
    ended: int = 0
    before_sharing: dict[int, int] | None = None
    rest: int = 0
    elsewhere: int = 0
    earlier: int = 0
    aside: tuple[CapSlot, ...] = ()
    refused: int = 0
    clamped: int = 0

    @property
    def for_all_models(self) -> bool:
        """Whether it counts calls of all models."""
        return self.counted is None or self.counted.models is None

    def counts(self, request: Request) -> bool:
        """Whether it counts a call. Those of tools have no tokens, and are counted apart."""
        return self.counted is None or counts(self.counted, request.provider, request.model)

    @property
    def taken(self) -> int:
        """What was spent and is held of it in this process."""
        return self.spent + sum(self.holds.values())

    @property
    def on_hold(self) -> int:
        """What calls hold of it, and blocks inside have set aside."""
        return sum(self.holds.values()) + sum(one.room for one in self.aside)

    @property
    def room(self) -> int:
        """What its own block may still spend, and blocks inside, as far as this process knows."""
        return max(0, self.amount - self.elsewhere - self.taken)

    @property
    def left(self) -> int:
        """The same without what blocks inside have set aside."""
        return max(0, self.amount - self.elsewhere - self.spent - self.on_hold)

    def on_hold_for(self, others: Collection[CapSlot]) -> int:
        """What is on hold, but for what is set aside for calls that are made inside some others."""
        aside = sum(one.room for one in self.aside if all(one is not other for other in others))
        return sum(self.holds.values()) + aside

    def settle(self, call: int, cost: int) -> None:
        """Replace a call's hold by what it used: once, however often it is tried."""
        # Nothing is called from here on, so that no signal's handler runs in between.
        if call in self.holds:
            self.spent += cost
            self.ended += 1
            del self.holds[call]
        if self.before_sharing and call in self.before_sharing:
            self.rest += max(0, self.before_sharing.pop(call) - cost)

    def give_back(self, call: int) -> None:
        """Hold nothing more for a call, which is not sent."""
        self.holds.pop(call, None)
        if self.before_sharing:
            self.rest += self.before_sharing.pop(call, 0)

    def charge(self, call: int, amount: int) -> None:
        """Charge so much, or less than nothing, for a call beside what it holds."""
        self.spent += amount
        if self.before_sharing and call in self.before_sharing:
            self.rest = max(0, self.rest - amount)

    def share(self) -> None:
        """Have the ledger keep what is left of it. What was spent and is held by now is no part of that."""
        self.before_sharing = dict(self.holds)
        self.rest = max(0, self.amount - self.taken)

    def learn(self, slot: Slot, *, shared: bool) -> None:
        """Learn what the ledger has taken of it, spent and held, by whomever.

        Args:
            slot: the limit as the ledger has it, in its present period.
            shared: whether only the rest of it is kept there.
        """
        mine, taken = self.taken, slot.spent + slot.held
        if shared:
            mine -= self.amount - self.rest
        elif slot.start < self.start:
            return  # somebody has read it before its period began, and tells of it after others
        else:
            self.amount = slot.amount
        if slot.start > self.start:
            self.start, self.earlier = slot.start, mine
        if self.counted is None or self.counted.period is None or not self.counted.period.rolling:
            taken = max(taken, mine - self.earlier)  # it may have been read before what was taken here
        self.elsewhere = taken - mine  # less than nothing, as much as was taken here in earlier periods


def cap_slot(limit: Limit) -> CapSlot:
    """The running numbers of a limit that has just begun."""
    return CapSlot(limit.id, ledger_unit(limit.unit), limit.amount, 0, NO_END, counted=limit)


def used_of(unit: int, used: Used | None) -> int:
    """What a call has used of a unit; None of a call that has used nothing.

    Example:
        >>> used_of(TOKENS, Used(7_000, 100, 20)), used_of(CALLS, None)
        (120, 0)
    """
    if used is None:
        return 0
    if unit == USD:
        return used.usd
    if unit == CALLS:
        return 1
    return (unit != OUTPUT_TOKENS and used.input_tokens) + (unit != INPUT_TOKENS and used.output_tokens)
