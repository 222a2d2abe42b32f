"""The one decision about money in this package: what a call asks, and who gets how much.

Pure arithmetic: local ledgers call :func:`admit`, remote ones reproduce it, and one test suite holds them all to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from budgeted.ledger.accounts import CALLS, INPUT_TOKENS, USD, Count, Slot
from budgeted.ledger.limit_terms import free_at
from budgeted.ledger.spending_records import Used

MIN_GRANT = 256
"""Output tokens below which a small account cuts no request, unless it asks for fewer: a stump is no answer."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What one call may need: fixed costs, costs per output token, and how much output.

    Args:
        usd: fixed cost in nano-USD.
        usd_rate: pico-USD per granted output token.
        tokens: fixed tokens (the input's bound).
        tokens_rate: tokens per granted output token (the number of choices).
        least: the fewest output tokens worth having.
        most: the most output tokens the call can use.
        whole: True grants ``most`` or nothing.
        uncertain_output: output tokens charged when nobody says what the call cost; -1 charges nothing.
        share: a call that is not granted whole gets at most one part in so many of what is left.
        floor: the fewest output tokens that are worth anything: unless ``least`` is fewer, no account grants less.
        within: the id of the reservation that the call is made in, or "". A hold that says its own id is one: it sets
            aside what calls within it hold, until it is released, and is charged nothing.
    """

    usd: Count = 0
    usd_rate: Count = 0
    tokens: Count = 0
    tokens_rate: Count = 0
    least: Count = 0
    most: Count = 0
    whole: bool = True
    uncertain_output: int = 0
    share: Annotated[int, msgspec.Meta(ge=1)] = 4
    floor: Count = 0
    within: str = ""

    @property
    def costs_nothing(self) -> bool:
        """Whether no answer to it costs money: then no limit of money is in its way, not even one that is overrun."""
        return not (self.usd or self.usd_rate)

    def usd_for(self, output: int) -> int:
        """Nano-USD for that much output, rounded up."""
        return self.usd - (-self.usd_rate * output // 1000)

    def tokens_for(self, output: int) -> int:
        """Tokens for that much output."""
        return self.tokens + self.tokens_rate * output

    def guess(self, output: int) -> Used | None:
        """What a granted hold is charged when nobody says what the call cost; None charges nothing."""
        if self.uncertain_output < 0:
            return None
        assumed = min(self.uncertain_output, output)
        return Used(self.usd - (-self.usd_rate * assumed // 1000), self.tokens, self.tokens_rate * assumed)

    def needs(self, output: int) -> tuple[int, int, int, int, int]:
        """What is needed of each unit, by its number, for that much output."""
        written = self.tokens_rate * output
        return self.usd - (-self.usd_rate * output // 1000), self.tokens + written, 1, self.tokens, written

    def need(self, unit: int, output: int) -> int:
        """What is needed of a unit for that much output."""
        return self.needs(output)[unit]

    def fixed(self, unit: int) -> bool:
        """Whether the output makes no difference to what is needed of a unit."""
        return unit in (CALLS, INPUT_TOKENS) or not (self.usd_rate if unit == USD else self.tokens_rate)

    def affords(self, unit: int, amount: int) -> int:
        """The output tokens that an amount of a unit buys, at most ``most``; -1 when not even the fixed cost fits."""
        if unit == USD:
            rest, rate = (amount - self.usd) * 1000, self.usd_rate
        else:
            rest, rate = amount - self.need(unit, 0), 0 if self.fixed(unit) else self.tokens_rate
        if rest < 0:
            return -1
        return min(rest // rate, self.most) if rate else self.most


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A refusal: which limit of which account has no room, and what would have fitted.

    Amounts are in the limit's unit, and USD in nano-USD.

    Args:
        index: which of the route's limits it is, counted over all accounts.
        limit: its id.
        unit: 0 for nano-USD, 1 for tokens, 2 for calls, 3 for input tokens, 4 for output tokens.
        amount: what may be spent in its period.
        spent: what was charged in it.
        held: what is set aside in it.
        requested: what the call may need.
        end: of the period, in unix seconds.
        reason: ``"held"`` when every limit in the way would have room if the calls in flight cost nothing; or
            ``"spent"``.
        affordable: the most output tokens that would have fitted; -1 where not even the fixed cost does.
        account: whose limit it is.
    """

    index: int
    limit: str
    unit: int
    amount: int
    spent: int
    held: int
    requested: int
    end: int
    reason: str
    affordable: int = -1
    account: str = ""


def admit(
    ask: Ask,
    slots: Sequence[tuple[Slot, int, int]],
    soft: Sequence[bool] | None = None,
    payers: Sequence[str] | None = None,
) -> int | Refused:
    """Decide how many output tokens a call is granted over all the limits it counts against.

    Pure: it reads the slots and changes nothing. A slot whose period is older than the route's counts as empty.

    Args:
        ask: what the call may need.
        slots: (slot, start and end of the period the call belongs to) of every limit, over all accounts.
        soft: True for each limit that only counts.
        payers: the account of each limit, for a refusal to name; None where whoever asks knows it.

    Returns:
        The granted output tokens, or the refusal by the tightest limit in the way.
    """
    most, rate, each = ask.most, ask.usd_rate, ask.tokens_rate
    usd, output = ask.usd - (-rate * most // 1000), each * most
    tokens = ask.tokens + output
    if not ask.whole:  # of what its output is paid from, it may be given one part in so many
        usd = usd * ask.share if rate else usd
        tokens, output = tokens * ask.share if each else tokens, output * ask.share
    wanted = usd, tokens, 1, ask.tokens, output
    # No call in this loop: every call that is made goes through it.
    for slot, _, _ in slots:
        # Of an older period, which counts as empty, this is less than there is: then the long way finds out.
        if slot.amount - slot.spent - slot.held < wanted[slot.unit]:
            return _ration(ask, slots, soft, payers)
    return most


def _ration(
    ask: Ask,
    slots: Sequence[tuple[Slot, int, int]],
    soft: Sequence[bool] | None,
    payers: Sequence[str] | None,
) -> int | Refused:
    """The share of a call that does not simply get all it can use."""
    granted = ask.most if ask.whole else _share(ask, slots, soft)
    wanted = ask.needs(granted)
    tightest: tuple[int, int, Slot, int, int] | None = None
    gone: tuple[int, int, Slot, int, int] | None = None  # the tightest that calls in flight are not to blame for
    for i, (slot, start, _) in enumerate(slots):
        # As admit() has it: nearly all have room, and are asked for nothing more.
        if slot.amount - slot.spent - slot.held < wanted[slot.unit] and _may_refuse(ask, slot, soft, i):
            left, idle = _room(slot, start)
            if left < wanted[slot.unit]:
                room = ask.affords(slot.unit, left), i, slot, left, idle
                if tightest is None or room[0] < tightest[0]:
                    tightest = room
                if idle < wanted[slot.unit] and (gone is None or room[0] < gone[0]):
                    gone = room
    if tightest is None:
        return granted
    _, i, slot, left, idle = gone or tightest
    requested = wanted[slot.unit]
    return Refused(
        index=i,
        limit=slot.limit,
        unit=slot.unit,
        amount=slot.amount,
        spent=slot.amount - idle,
        held=idle - left,
        requested=requested,
        end=free_at(slot, requested) if slot.terms and slot.terms.window else slots[i][2],
        reason="spent" if gone else "held",
        affordable=tightest[0],
        account="" if payers is None else payers[i],
    )


def _share(ask: Ask, slots: Sequence[tuple[Slot, int, int]], soft: Sequence[bool] | None) -> int:
    """The output tokens that a call is granted that need not have all it can use, if the fixed costs fit."""
    rooms = [
        (slot.unit, *_room(slot, start))
        for i, (slot, start, _) in enumerate(slots)
        if not ask.fixed(slot.unit) and _may_refuse(ask, slot, soft, i)
    ]
    quarter = min([ask.least, *(ask.affords(unit, idle >> 2) for unit, _, idle in rooms)])
    floor = min(max(quarter, min(ask.least, max(ask.floor, MIN_GRANT)), 1), ask.most)
    return max(floor, min([ask.most, *(ask.affords(unit, left // ask.share) for unit, left, _ in rooms)]))


def _may_refuse(ask: Ask, slot: Slot, soft: Sequence[bool] | None, i: int) -> bool:
    """Whether a limit may be in a call's way, the route's ``i``-th: it does not only count, and counts the call."""
    return not (soft is not None and soft[i]) and not (slot.unit == USD and ask.costs_nothing)


def _room(slot: Slot, start: int) -> tuple[int, int]:
    """What is left of a limit now, and what would be left without the calls in flight."""
    if slot.start != start:
        return slot.amount, slot.amount
    idle = slot.amount - slot.spent
    return idle - slot.held, idle
