"""A call's hold at one payer, in the ledger that it had when the call began."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import account_name
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale
from budgeted.ledger.interface import Granted, Ledger
from budgeted.ledger.spending_records import Used
from budgeted.ledger.spill_file import Unposted
from budgeted.metering import cost_bound
from budgeted.metering.blocking_limit import behind
from budgeted.payers.block_figures import BlockFigures, reserving
from budgeted.payers.payer_interface import Group, Payer, Plan
from budgeted.pricing.model_price import Price
from budgeted.telemetry import call_reporting
from budgeted.telemetry.log_throttling import say
from budgeted.wire.normalized_request import Request

MOST_PLANS = 50
"""How often a call is planned again because its accounts' limits have changed meanwhile."""


class LedgerHold(msgspec.Struct, eq=False):
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
        if used is None:
            self.release(now, timeout)
        elif self.held is None:
            post(self.group, self.charge(request, at, used, reason), now, timeout)
        elif not self.ledger.settle(self.id, used, now, reason, timeout):
            charge = self.charge(request, at, used, reason)
            post(self.group, charge, now, timeout)
            call_reporting.note_unknown_hold(self.group, charge)
        self.ended = True

    def release(self, at: int, timeout: float | None) -> None:
        """Give the hold back: nothing was spent, and what its ledger charged meanwhile, for want of news, was not."""
        if self.held is None or self.ledger.release(self.id, at, timeout):
            return
        charge = self.ledger.ended(self.id)
        if charge is not None and charge.reason:
            self.ledger.settle(self.id, Used(), at, "", timeout)

    def charge(self, request: Request, at: int, used: Used, reason: str, error: Exception | None = None) -> Unposted:
        """What is to be charged, as it can be charged at any later time.

        Args:
            request: what was asked.
            at: when the call began, in unix seconds.
            used: what it used.
            reason: why nobody knows that for sure, or "".
            error: why its ledger has not taken it, if it was tried.
        """
        model = request.model.encode("utf-8", "replace").decode()  # it is written, whatever it calls itself
        charge = Unposted(self.id, self.group.accounts, request.provider, model, at, used, reason)
        if self.held is not None and error is not None and may_be_done(error):
            charge = msgspec.structs.replace(charge, doubtful=True)
        return charge

    def keep(self, request: Request, at: int, used: Used | None, reason: str, error: Exception) -> None:
        """Have the charge, or the release, wait until the ledger takes it. A charge outlives this process.

        Args:
            request: what was asked.
            at: when the call began, in unix seconds.
            used: what it used; None for nothing.
            reason: why nobody knows that for sure, or "".
            error: why the ledger has not taken it.
        """
        if used is not None:
            self.group.payer.kept(self.ledger).keep(self.charge(request, at, used, reason, error), error)
        elif self.held is not None:
            background_worker.retry(functools.partial(self.release, at, None))
        self.ended = True

    def undo(self, at: int, timeout: float | None) -> None:
        """Give the hold back, now or later: the call is not sent."""
        try:
            self.release(at, timeout)
        except LedgerError as error:
            # There it may wait, even where the caller may not: a ledger over a network never takes a verb at once.
            background_worker.retry(functools.partial(self.release, at, None))
            say(logging.WARNING, "budgeted: a hold is given back later: %s", (error,), {})


def may_be_done(error: Exception) -> bool:
    """Whether a ledger may have done what it did not answer to."""
    if isinstance(error, LedgerLockedError | LedgerCorruptError):
        return False
    return not (isinstance(error, LedgerError) and error.closed)


def post(group: Group, charge: Unposted, now: int, timeout: float | None) -> None:
    """Record a charge without a hold, by the route that its call takes now.

    Args:
        group: who pays.
        charge: what is charged.
        now: unix seconds.
        timeout: seconds to wait for the ledger's lock.
    """
    payer = group.payer
    for count in range(MOST_PLANS):
        plan = payer.plan(group, charge.provider, charge.model, charge.at, fresh=count > 0, refuse=False)
        answer = payer.ledger.post(charge.id, plan.route, charge.used, now, charge.reason, timeout)
        if not isinstance(answer, Stale):
            return
    raise too_fast(group)


def charge_apart(group: Group, request: Request, at: int, used: Used, reason: str, timeout: float | None) -> None:
    """Record a charge beside that of a call's hold, now or once the ledger takes it.

    Args:
        group: who pays.
        request: what was asked.
        at: when the call began, in unix seconds.
        used: what was used.
        reason: why nobody knows that for sure, or "".
        timeout: seconds to wait for the ledger's lock.
    """
    ledger = group.payer.ledger
    apart = LedgerHold(group, ledger, ledger.new_id(), None)
    try:
        apart.end(request, at, used, reason, timeout)
    except LedgerError as error:
        apart.keep(request, at, used, reason, error)


def settle_or_post(group: Group, ledger: Ledger, charge: Unposted, now: int) -> None:
    """Record a charge that has waited: instead of its hold, or of what was charged meanwhile, or without either.

    Args:
        group: who pays.
        ledger: which may have a hold.
        charge: what is charged.
        now: unix seconds.
    """
    if ledger.settle(charge.id, charge.used, now, charge.reason):
        return
    if charge.doubtful:
        reason = f"{charge.reason}; {MAY_REPEAT}" if charge.reason else MAY_REPEAT
        charge = msgspec.structs.replace(charge, reason=reason)
    post(group, charge, now, None)


MAY_REPEAT = (
    "its hold is not known, and what charged it before was not answered: it may have been charged and forgotten"
)
"""Why a charge is uncertain that may be a second one."""


class Holding(Protocol):
    """A call that is about to hold.

    Args:
        request: what is asked.
        blocks: the payers' blocks.
        at: when it began, in unix seconds.
        parts: its holds so far.
        granted: the output tokens that it may ask for, as far as was agreed.
        price: the model's, if it is known.
    """

    request: Request
    blocks: tuple[BlockFigures, ...]
    at: int
    parts: list[LedgerHold]
    granted: int
    price: Price | None


def plan(group: Group, request: Request, at: int, timeout: float | None) -> Plan | None:
    """Where a call goes; None if the ledger is away and calls go on without it.

    Args:
        group: a payer's accounts.
        request: what is asked.
        at: when the call begins, in unix seconds.
        timeout: seconds to wait for the ledger's lock; None for its own deadline, 0 for not at all.

    Raises:
        LedgerError: the ledger does not tell, and calls wait for it.
        LedgerLockedError: ``timeout`` is 0, and the ledger would have to be asked over a network.
    """
    _may_ask(group.payer.ledger, timeout)
    try:
        return group.payer.plan(group, request.provider, request.model, at)
    except LedgerUnavailableError as error:
        if not excused(group.payer, error, timeout):
            raise
        return None


def _may_ask(ledger: Ledger, timeout: float | None) -> None:
    if timeout == 0 and ledger.remote:
        raise LedgerLockedError("the ledger is asked for accounts over a network, which takes time")


Through: TypeAlias = Callable[[Route], Route]
"""What makes of a planned route the one that a call is held on."""


def hold(
    call: Holding,
    group: Group,
    plan: Plan | None,
    ask: Ask,
    timeout: float | None,
    queued: int,
    through: Through | None = None,
) -> Refused | None:
    """Hold at one payer, at most what the others before it granted.

    Args:
        call: to which the hold is added.
        group: the payer's accounts.
        plan: where the call goes; None if the ledger is away and calls go on without it.
        ask: what it may need.
        timeout: seconds to wait for the ledger's lock.
        queued: how many calls wait, this one the first of them; 0 if it has not lined up.
        through: what is made of the planned route; None for the route itself.

    Returns:
        None when held, else the refusal.
    """
    ledger = group.payer.ledger
    # What costs nothing stands behind nobody who waits for money, which most do.
    if ledger.turns.queues and not (queued or ask.costs_nothing):
        crowded = ledger.turns.crowded(group.everybody())
        if crowded is not None:
            return behind(crowded)
    if call.granted < ask.most:
        ask = msgspec.structs.replace(ask, most=call.granted)
    if reserving.count:
        ask = _within(call.blocks, group.payer, ask)
    id = ledger.new_id()
    granted: Granted | None = None
    try:
        if plan is not None:
            route = plan.route if through is None else through(plan.route)
            held = ledger.hold(id, route, ask, call.at, timeout)
            if isinstance(held, Stale):
                held = _hold_anew(id, group, call, ask, timeout, through)
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


def _within(blocks: Sequence[BlockFigures], payer: Payer, ask: Ask) -> Ask:
    """What a call may need, of what the innermost of its blocks has set aside that has anything there."""
    for block in reversed(blocks):
        id = "" if block.taken is None else block.taken.at(payer)
        if id:
            return msgspec.structs.replace(ask, within=id)
    return ask


def _hold_anew(
    id: str, group: Group, call: Holding, ask: Ask, timeout: float | None, through: Through | None
) -> Granted | Refused:
    """Hold after the limits, or their periods, have changed."""
    payer = group.payer
    _may_ask(payer.ledger, timeout)
    for _ in range(MOST_PLANS):
        plan = payer.plan(group, call.request.provider, call.request.model, call.at, fresh=True)
        if call.price is None:  # which no limit asked for, perhaps, when that was seen to
            cost_bound.require_price(call.request, call.blocks, (group,), (plan,), call.at)
        route = plan.route if through is None else through(plan.route)
        result = payer.ledger.hold(id, route, ask, call.at, timeout)
        if not isinstance(result, Stale):
            return result
    raise too_fast(group)


def too_fast(group: Group) -> LedgerUnavailableError:
    """What is wrong where limits change each time that a call's way is looked for."""
    names = ", ".join(map(account_name, group.accounts))
    return LedgerUnavailableError(f"the limits of {names} change faster than a call can be planned")


def excused(payer: Payer, error: LedgerUnavailableError, timeout: float | None) -> bool:
    """Whether a call goes on without its ledger. A lock that was only tried is waited for elsewhere first."""
    return not (timeout == 0 and isinstance(error, LedgerLockedError)) and payer.allows_without(error)
