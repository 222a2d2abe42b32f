"""A call's hold at one payer, in the ledger that it had when the call began."""

from __future__ import annotations

import functools
import logging
from typing import Protocol

import msgspec

from budgeted.errors import LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import account_name
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.interface import Granted, Ledger
from budgeted.ledger.spending_records import Used
from budgeted.metering.blocking_limit import behind
from budgeted.payers.payer_interface import Group, Payer, Plan
from budgeted.telemetry.log_throttling import say
from budgeted.wire.normalized_request import Request

MOST_PLANS = 50
"""How often a call is planned again because its accounts' limits have changed meanwhile."""


class LedgerHold(msgspec.Struct):
    """A call's hold at one payer. ``held`` is None if its ledger was away, and the call went on without it."""

    group: Group
    ledger: Ledger
    id: str
    held: Granted | None
    ended: bool = False

    def end(self, request: Request, at: int, used: Used | None, reason: str, timeout: float | None) -> None:
        """Settle the hold, or release it (None): once, however often it is tried.

        Args:
            request: what was asked.
            at: when the call began, in unix seconds.
            used: what it used; None for nothing.
            reason: why nobody knows that for sure, or "".
            timeout: seconds to wait for the ledger's lock.
        """
        if self.ended:
            return
        now = int(self.group.payer.clock())
        if self.held is None:
            if used is not None:
                self.book(request, at, used, reason, now, timeout)
        elif used is None:
            self.ledger.release(self.id, now, timeout)
        else:
            self.ledger.settle(self.id, used, now, reason, timeout)
        self.ended = True

    def book(self, request: Request, at: int, used: Used, reason: str, now: int, timeout: float | None) -> None:
        """Record a call that was let through while its ledger was away."""
        payer = self.group.payer
        fresh = False
        while True:
            plan = payer.plan(self.group, request.provider, request.model, at, fresh=fresh, refuse=False)
            if not isinstance(payer.ledger.post(self.id, plan.route, used, now, reason, timeout), Stale):
                return
            fresh = True

    def undo(self, at: int, timeout: float | None) -> None:
        """Give the hold back, now or later: the call is not sent."""
        if self.held is None:
            return
        try:
            self.ledger.release(self.id, at, timeout)
        except LedgerError as error:
            # There it may wait, even where the caller may not: a ledger over a network never takes a verb at once.
            background_worker.retry(functools.partial(self.ledger.release, self.id, at, None))
            say(logging.WARNING, "budgeted: a hold is given back later: %s", (error,), {})


class Holding(Protocol):
    """A call that is about to hold.

    Args:
        request: what is asked.
        at: when it began, in unix seconds.
        parts: its holds so far.
        granted: the output tokens that it may ask for, as far as was agreed.
    """

    request: Request
    at: int
    parts: list[LedgerHold]
    granted: int


def plan(group: Group, request: Request, at: int, timeout: float | None) -> Plan | None:
    """Where a call goes; None if the ledger is away and calls go on without it.

    Args:
        group: a payer's accounts.
        request: what is asked.
        at: when the call begins, in unix seconds.
        timeout: seconds to wait for the ledger's lock; None for its own deadline, 0 for not at all.

    Raises:
        LedgerError: the ledger does not tell, and calls wait for it.
    """
    try:
        return group.payer.plan(group, request.provider, request.model, at)
    except LedgerUnavailableError as error:
        if not excused(group.payer, error, timeout):
            raise
        return None


def hold(
    call: Holding, group: Group, plan: Plan | None, ask: Ask, timeout: float | None, queued: int
) -> Refused | None:
    """Hold at one payer, at most what the others before it granted.

    Args:
        call: to which the hold is added.
        group: the payer's accounts.
        plan: where the call goes; None if the ledger is away and calls go on without it.
        ask: what it may need.
        timeout: seconds to wait for the ledger's lock.
        queued: how many calls wait, this one the first of them; 0 if it has not lined up.

    Returns:
        None when held, else the refusal.
    """
    ledger = group.payer.ledger
    # What costs nothing stands behind nobody who waits for money, which most do.
    if ledger.turns.queues and not (queued or ask.costs_nothing):
        crowded = ledger.turns.crowded(group.accounts)
        if crowded is not None:
            return behind(crowded)
    if call.granted < ask.most:
        ask = msgspec.structs.replace(ask, most=call.granted)
    id = ledger.new_id()
    granted: Granted | None = None
    try:
        if plan is not None:
            held = ledger.hold(id, plan.route, ask, call.at, timeout)
            if isinstance(held, Stale):
                held = _hold_anew(id, group, call, ask, timeout)
            if isinstance(held, Refused):
                return held
            if held.granted < call.granted:
                call.granted = held.granted
            granted = held
        # Within the try: an interrupt finds the hold either in the list, or released by what follows.
        call.parts.append(LedgerHold(group, ledger, id, granted))
    except LedgerUnavailableError as error:
        if not excused(group.payer, error, timeout):
            raise
        call.parts.append(LedgerHold(group, ledger, id, None))
    except LedgerError:  # nothing was held
        raise
    except BaseException:
        # Ctrl-C may have come between the ledger's holding and its answer: whether it holds is seen later.
        background_worker.enqueue(functools.partial(ledger.release, id, call.at))
        raise
    return None


def _hold_anew(id: str, group: Group, call: Holding, ask: Ask, timeout: float | None) -> Granted | Refused:
    """Hold after the limits, or their periods, have changed."""
    payer = group.payer
    for _ in range(MOST_PLANS):
        plan = payer.plan(group, call.request.provider, call.request.model, call.at, fresh=True)
        result = payer.ledger.hold(id, plan.route, ask, call.at, timeout)
        if not isinstance(result, Stale):
            return result
    msg = f"the limits of {', '.join(map(account_name, group.accounts))} change faster than a call can be planned"
    raise LedgerUnavailableError(msg)


def excused(payer: Payer, error: LedgerUnavailableError, timeout: float | None) -> bool:
    """Whether a call goes on without its ledger. A lock that was only tried is waited for elsewhere first."""
    return not (timeout == 0 and isinstance(error, LedgerLockedError)) and payer.allows_without(error)
