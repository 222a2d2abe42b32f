"""A snapshot: everything that a ledger in memory has to know at a later start, as JSON."""

from __future__ import annotations

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.spending_records import RollupRow


class Saved(msgspec.Struct, array_like=True):
    """A snapshot's content."""

    version: int
    accounts: list[Account]
    holds: list[Held]
    uncertain: list[Ended]
    latest: list[Ended]
    before: list[Ended]
    rows: list[RollupRow]


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Saved).decode
