"""The decisions that change a ledger, one record each: what the journal keeps, and what replaying it applies.

Records carry decisions (amounts, periods), never questions: applying one looks at no clock and cannot be refused.
"""

from __future__ import annotations

import msgspec

from budgeted.ledger.accounts import Account, LimitSpec
from budgeted.ledger.admission import Ask
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.spending_records import RollupRow, Used


class Record(msgspec.Struct, array_like=True, gc=False):
    """One line of a journal."""


class Held(Record, tag="h"):
    """A hold was granted. ``at`` is unix seconds, ``guess`` what it is charged if nobody says what it cost."""

    id: str
    at: int
    granted: int
    usd: int
    tokens: int
    guess: Used | None
    route: msgspec.Raw


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


class Deleted(Record, tag="d"):
    """An account was forgotten."""

    account: str


class Restored(Record, tag="m"):
    """What another ledger knew was taken over: accounts and rows with their numbers, and uncertain charges."""

    accounts: tuple[Account, ...]
    rows: tuple[RollupRow, ...]
    charges: tuple[Ended, ...]


Change = Held | Settled | Released | Posted | LimitsSet | WasReset | PeriodsSet | Deleted | Restored


def held(id: str, at: int, granted: int, ask: Ask, route: msgspec.Raw) -> Held:
    """The record of a hold of so many output tokens."""
    # As Ask.usd_for, Ask.tokens_for and Ask.guess have it; calling them would take a tenth of a hold's time.
    usd, rate, tokens, each = ask.usd, ask.usd_rate, ask.tokens, ask.tokens_rate
    output = ask.uncertain_output
    if output > granted:
        output = granted
    guess = None if output < 0 else Used(usd - (-rate * output // 1000), tokens, each * output)
    return Held(id, at, granted, usd - (-rate * granted // 1000), tokens + each * granted, guess, route)
