"""The decisions that change a ledger, one record each: what the journal keeps, and what replaying it applies.

Records carry decisions (amounts, periods), never questions: applying one looks at no clock and cannot be refused.
"""

from __future__ import annotations

import msgspec

from budgeted.ledger.accounts import Account, Amendment, LimitSpec
from budgeted.ledger.admission import Ask
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.spending_records import RollupRow, Used


class Record(msgspec.Struct, array_like=True, gc=False):
    """One line of a journal."""


class Held(Record, tag="h"):
    """A hold was granted.

    Args:
        id: of the hold.
        at: when, in unix seconds.
        granted: output tokens that it may have.
        usd: nano-USD that are set aside.
        tokens: tokens that are set aside.
        guess: what it is charged if nobody says what it cost; None for nothing.
        route: where its cost goes: day, provider, model and legs.
    """

    id: str
    at: int
    granted: int
    usd: int
    tokens: int
    guess: Used | None
    route: msgspec.Raw


class HeldInParts(Held, tag="k"):
    """A hold of which more has to be known.

    Args:
        output: tokens held for its output alone.
        within: the id of the reservation that it draws on; its own if it is one; else "".
        drawn: nano-USD and tokens that it has taken out of that reservation.
    """

    output: int
    within: str = ""
    drawn: tuple[int, int] = (0, 0)


def parts_of(held: Held) -> tuple[int, int, int, int, int]:
    """What is held of each unit."""
    if not isinstance(held, HeldInParts):  # whose tokens may all be of one kind, as far as anybody knows
        return held.usd, held.tokens, 1, held.tokens, held.tokens
    if held.within == held.id:
        return held.usd, held.tokens, 0, 0, 0
    return held.usd, held.tokens, 1, held.tokens - held.output, held.output


def is_reservation(held: object) -> bool:
    """Whether a hold sets aside what others hold, and is no call."""
    return isinstance(held, HeldInParts) and held.within == held.id


class Settled(Record, tag="s"):
    """A hold, or an earlier charge, is replaced by a charge. With a reason it is uncertain."""

    id: str
    at: int
    used: Used
    reason: str = ""


class Released(Record, tag="r"):
    """A hold was dropped."""

    id: str


class Posted(Record, tag="p"):
    """A charge that no hold came before."""

    id: str
    at: int
    used: Used
    route: msgspec.Raw
    reason: str = ""


class LimitsSet(Record, tag="l"):
    """An account got these limits, and came into being if it was not there."""

    account: str
    explicit: bool
    limits: tuple[LimitSpec, ...]


class WasReset(Record, tag="z"):
    """An account's spend was forgotten."""

    account: str
    at: int


class PeriodsSet(Record, tag="t"):
    """Limits of an account are in these periods again, after a clock that was wrong had begun later ones."""

    account: str
    limits: tuple[LimitSpec, ...]


class Amended(Record, tag="a"):
    """Something of an account was changed besides its limits; it came into being if it was not there."""

    account: str
    change: Amendment


class Deleted(Record, tag="d"):
    """An account was forgotten."""

    account: str


class Restored(Record, tag="m"):
    """What another ledger knew was taken over: accounts and rows with their numbers, and uncertain charges."""

    accounts: tuple[Account, ...]
    rows: tuple[RollupRow, ...]
    charges: tuple[Ended, ...]


Change = (
    Held | HeldInParts | Settled | Released | Posted | LimitsSet | WasReset | PeriodsSet | Amended | Deleted | Restored
)


def held(id: str, at: int, granted: int, ask: Ask, route: msgspec.Raw) -> Held:
    """The record of a hold of so many output tokens."""
    # As Ask.usd_for, Ask.tokens_for and Ask.guess have it; calling them would take a tenth of a hold's time.
    usd, rate, tokens, each = ask.usd, ask.usd_rate, ask.tokens, ask.tokens_rate
    output = ask.uncertain_output
    if output > granted:
        output = granted
    guess = None if output < 0 else Used(usd - (-rate * output // 1000), tokens, each * output)
    return Held(id, at, granted, usd - (-rate * granted // 1000), tokens + each * granted, guess, route)


def held_in_parts(
    id: str, at: int, granted: int, ask: Ask, route: msgspec.Raw, reserved: tuple[int, int] | None
) -> HeldInParts:
    """The same of one that more has to be known of.

    Args:
        id: the hold's.
        at: unix seconds.
        granted: output tokens that may be asked for.
        ask: what the call may need.
        route: where it goes.
        reserved: nano-USD and tokens of the reservation that it may draw on; None if there is none.
    """
    usd, tokens = ask.usd_for(granted), ask.tokens_for(granted)
    within = ask.within if reserved is not None or ask.within == id else ""
    drawn = (0, 0) if reserved is None else (min(usd, reserved[0]), min(tokens, reserved[1]))
    guess = None if ask.within == id else ask.guess(granted)  # what is set aside for others is charged to nobody
    return HeldInParts(id, at, granted, usd, tokens, guess, route, ask.tokens_rate * granted, within, drawn)


def is_same(before: Held, ask: Ask) -> bool:
    """Whether an open hold is what was asked for, granted what it was."""
    if is_reservation(before):  # calls have drawn on it
        return ask.within == before.id and before.usd <= ask.usd and before.tokens <= ask.tokens
    granted = before.granted
    return (before.usd, before.tokens, before.guess) == (
        ask.usd_for(granted),
        ask.tokens_for(granted),
        ask.guess(granted),
    )
