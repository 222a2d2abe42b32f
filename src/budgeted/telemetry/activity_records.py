"""What a process tells others of its calls that were refused or wait, kept in the ledger that they share.

Each process has a record of its own there, in the manner of what code declares: an account of the ledger's own whose
one limit is no limit, but text. So every ledger keeps it, and releases that know nothing of it leave it alone.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator

import msgspec

from budgeted.ledger.accounts import CALLS, LimitSpec, declarations_of
from budgeted.ledger.interface import Ledger, all_accounts
from budgeted.limits.periods import NEVER

KEPT_SECONDS = 86_400.0
"""How long the record of a process is kept that says nothing more."""

SILENT_SECONDS = 60.0
"""How long a process may say nothing until its calls are not believed to wait any more."""

MOST = 20
"""Refusals, and waiting calls, that one process tells of."""

LONGEST = 256
"""Characters of a text."""

_UNPACKED = 1 << 20
_RECORDS = declarations_of("activity of processes")


class Turned(msgspec.Struct, frozen=True, array_like=True):
    """A call that was refused, or waits.

    Args:
        at: unix seconds: when it was refused, or began to wait.
        account: whose limit is in its way, as people know it.
        kind: of the account: ``"user"``, ``"tag"``, ``"block"``, ``"global"`` or "".
        limit: as it was stated; "" where none is in its way.
        unit: of the limit.
        model: that was asked for.
        requested: what the call may need at most, in USD or the limit's unit; None where no limit is in its way.
        remaining: what the limit had left, in the same.
        reason: ``"spent"``, ``"held"``, ``"stopped"``, ``"unpriced"``, ...
        asks: whether it waits for somebody to raise the limit.
    """

    at: float
    account: str
    kind: str
    limit: str
    unit: str
    model: str
    requested: float | None
    remaining: float | None
    reason: str
    asks: bool = False


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What one process tells.

    Args:
        at: unix seconds.
        day: the number of the day that ``refused`` is of.
        refused: calls that were refused since it began.
        refusals: the last of them.
        waiting: calls that wait.
    """

    at: float
    day: int
    refused: int
    refusals: tuple[Turned, ...] = ()
    waiting: tuple[Turned, ...] = ()


def publish(ledger: Ledger, process: str, record: Record) -> None:
    """Put a process's record in the place of its last one.

    Raises:
        LedgerError: the ledger is away.
    """
    text = base64.urlsafe_b64encode(zlib.compress(msgspec.json.encode(record))).decode()
    ledger.set_limits(_RECORDS + process, [LimitSpec(text, CALLS, 0, 0, NEVER)], explicit=True)


def read(ledger: Ledger, now: float) -> list[Record]:
    """The records of all processes that said something within a day.

    Args:
        ledger: where.
        now: unix seconds.

    Raises:
        LedgerError: the ledger is away.
    """
    return [record for _, record in _all(ledger) if now - record.at < KEPT_SECONDS]


def drop_old(ledger: Ledger, now: float) -> None:
    """Drop the records of processes that have said nothing for a day."""
    for account, record in list(_all(ledger)):
        if now - record.at >= KEPT_SECONDS:
            ledger.delete(account)


def _all(ledger: Ledger) -> Iterator[tuple[str, Record]]:
    for account in all_accounts(ledger, _RECORDS):
        record = Record(0.0, 0, 0)  # one that cannot be read is an old one
        try:
            packed = base64.urlsafe_b64decode(account.slots[0].limit)
            record = msgspec.json.decode(zlib.decompressobj().decompress(packed, _UNPACKED), type=Record)
        except (IndexError, ValueError, zlib.error):
            pass
        yield account.id, record
