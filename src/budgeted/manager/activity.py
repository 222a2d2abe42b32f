"""What goes on in all processes that share a ledger, as people read it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from budgeted.ledger import background_worker
from budgeted.ledger.accounts import account_name
from budgeted.ledger.interface import Granted
from budgeted.ledger.limit_conversion import day_number
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.resolved_routes import in_flight_of
from budgeted.limits.periods import local_time
from budgeted.manager.project_payer import ProjectPayer
from budgeted.money import to_usd
from budgeted.telemetry import activity_records
from budgeted.telemetry.activity import tell_all
from budgeted.telemetry.activity_records import SILENT_SECONDS, Turned

MOST = 50
"""Refusals that are told, of all processes together."""


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that was not sent, or has not been yet.

    Attributes:
        at: when it was refused, or began to wait.
        account: whose limit is in its way: a user's name, a block's key, ``"tag:NAME=VALUE"`` or ``"global"``.
        account_kind: ``"user"``, ``"tag"``, ``"block"``, ``"global"`` or "".
        limit: as it was stated, such as ``"$10/day"``; "" where none is in its way.
        unit: of the limit, as :attr:`Balance.unit` has it.
        model: that was asked for.
        requested: what it may need at most, in USD or the limit's unit; None where no limit is in its way.
        remaining: what the limit had left, in the same.
        reason: ``"spent"``, ``"held"`` (by calls in flight), ``"stopped"``, ``"unpriced"``, ...
    """

    at: dt.datetime
    account: str
    account_kind: str
    limit: str
    unit: str
    model: str
    requested: float | None
    remaining: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class WaitingCall(RefusedCall):
    """A call that waits.

    Attributes:
        asks: whether it waits for somebody to raise the limit (``on_exceed="ask"``); else for calls in flight.
    """

    asks: bool


@dataclass(frozen=True, slots=True)
class CallInFlight:
    """A call that has not ended.

    Attributes:
        id: of its hold.
        since: when it was held.
        accounts: who pays: ``"global"``, users, tags and keys of blocks.
        model: that was asked for.
        held: USD that are set aside for it.
    """

    id: str
    since: dt.datetime
    accounts: tuple[str, ...]
    model: str
    held: float


@dataclass(frozen=True, slots=True)
class Activity:
    """What goes on.

    Attributes:
        in_flight: calls that have not ended, the oldest first.
        waiting: calls that wait, the one that has for longest first.
        refusals: the last calls that were refused, the newest first.
        refused_today: how many were refused since the day began.
    """

    in_flight: tuple[CallInFlight, ...]
    waiting: tuple[WaitingCall, ...]
    refusals: tuple[RefusedCall, ...]
    refused_today: int


def of(payer: ProjectPayer) -> Activity:
    """What goes on in a project.

    Raises:
        LedgerError: the ledger is away.
    """
    background_worker.drain()
    tell_all(payer.ledger)
    now = payer.clock()
    records = activity_records.read(payer.ledger, now)
    today = day_number(now, payer.timezone)
    refusals = sorted((one for record in records for one in record.refusals), key=lambda one: -one.at)
    waiting = [one for record in records if now - record.at <= SILENT_SECONDS for one in record.waiting]
    return Activity(
        in_flight=_in_flight(payer.ledger.open_holds(), payer.timezone),
        waiting=tuple(
            WaitingCall(*_told(one, payer.timezone), one.asks) for one in sorted(waiting, key=lambda one: one.at)
        ),
        refusals=tuple(RefusedCall(*_told(one, payer.timezone)) for one in refusals[:MOST]),
        refused_today=sum(record.refused for record in records if record.day == today),
    )


def _told(one: Turned, tz: dt.tzinfo) -> tuple[dt.datetime, str, str, str, str, str, float | None, float | None, str]:
    at = local_time(one.at, tz)
    return at, one.account, one.kind, one.limit, one.unit, one.model, one.requested, one.remaining, one.reason


def _in_flight(holds: Sequence[Granted], tz: dt.tzinfo) -> tuple[CallInFlight, ...]:
    """Calls that have not ended, and amounts that are set aside, the oldest first."""
    found = [in_flight_of(one) for one in holds if isinstance(one, Held)]
    return tuple(
        CallInFlight(
            one.id,
            local_time(one.at, tz),
            tuple(account_name(leg.account) for leg in one.legs),
            one.model,
            to_usd(one.usd),
        )
        for one in sorted(found, key=lambda one: (one.at, one.id))
    )
