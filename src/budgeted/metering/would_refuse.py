"""What limits would have refused, of calls that some accounts let through all the same: kept for a report.

Such a call is held as if no account only warned. A limit that refuses that, for what is spent, is noted with the call,
and the call is held without it; once it has ended, what it cost is charged to an account that only counts this.
"""

from __future__ import annotations

import functools
import logging
from typing import Protocol

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import CALLS, Slot, would_refuse_account
from budgeted.ledger.admission import Ask, Refused, admit
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.spending_records import Used
from budgeted.ledger.spill_file import Unposted
from budgeted.metering import call_bound, ledger_hold, routed_request
from budgeted.payers.payer_interface import Group, Payer, Plan
from budgeted.telemetry.log_throttling import say
from budgeted.wire.normalized_request import Request


class Refuser(msgspec.Struct, frozen=True):
    """A limit that would have refused a call: its payer, the ledger's name of its account, and its id."""

    payer: Payer
    account: str
    limit: str


class Warned(call_bound.Bounded, ledger_hold.Holding, Protocol):
    """A call that is about to hold.

    Attributes:
        would_refuse: the limits that would have refused it.
    """

    would_refuse: tuple[Refuser, ...]

    def recount(self) -> bool:
        """Count the input with the model's tokenizer, once. True if that made it smaller."""


def hold(call: Warned, group: Group, plan: Plan | None, ask: Ask, timeout: float | None, queued: int) -> Refused | None:
    """Hold at a payer some of whose accounts only warn, as :func:`ledger_hold.hold` does, and note who would refuse.

    Args:
        call: to which the hold is added.
        group: the payer's accounts.
        plan: where the call goes; None if the ledger is away and calls go on without it.
        ask: what it may need.
        timeout: seconds to wait for the ledger's lock.
        queued: how many calls wait, this one the first of them; 0 if it has not lined up.

    Returns:
        None when held, else the refusal of an account that does not only warn.
    """
    most = call.granted
    call.would_refuse = tuple(one for one in call.would_refuse if one.payer is not group.payer)
    lenient: frozenset[tuple[str, str]] = frozenset()
    # Where all only warn, nobody rations the output: a call that does not get all of it is let through without them.
    strict = msgspec.structs.replace(ask, whole=True) if _all_warn(group) else ask
    while plan is not None:
        refused = ledger_hold.hold(call, group, plan, strict, timeout, queued, _strictness(lenient))
        if refused is None:
            if call.granted == most:
                return None
            _give_back(call, most, timeout)
            break
        limit = refused.account, refused.limit
        if limit in lenient or not _only_warns(group, refused):
            break
        if _refuses(call, refused, msgspec.structs.replace(ask, most=most)):
            call.would_refuse += (Refuser(group.payer, *limit),)
        lenient |= {limit}
    return ledger_hold.hold(call, group, plan, ask, timeout, queued)


def _all_warn(group: Group) -> bool:
    return all(policy.on_exceed == "warn" for policy in group.policies)


def _only_warns(group: Group, refused: Refused) -> bool:
    """Whether it is a limit of an account that only warns; it has none where others stand in line before the call."""
    return bool(refused.limit) and group.policy_of(refused.account).on_exceed == "warn"


def _strictness(lenient: frozenset[tuple[str, str]]) -> ledger_hold.Through:
    """What makes of a route one whose limits refuse, but for some of those that only warn."""
    if not lenient:
        return _all_strict

    def through(route: Route) -> Route:
        limits = [(leg.account, limit) for leg in route.legs for limit, _, _ in leg.limits]
        return msgspec.structs.replace(route, soft=tuple(limit in lenient for limit in limits))

    return through


MOST_ROUTES = 1_000
"""Routes whose strict form is kept."""

_strict: dict[int, tuple[Route, Route]] = {}


def _all_strict(route: Route) -> Route:
    """A route all of whose limits refuse: the same one each time, as ledgers keep what they have made of it."""
    # By identity, which is fast. The route is kept beside it, so that its id is nobody else's meanwhile.
    known = _strict.get(id(route))
    if known is not None and known[0] is route:
        return known[1]
    if len(_strict) >= MOST_ROUTES:
        _strict.clear()
    strict = msgspec.structs.replace(route, soft=None)
    _strict[id(route)] = route, strict
    return strict


def _give_back(call: Warned, most: int, timeout: float | None) -> None:
    """Undo a hold that was granted less than the call gets where some accounts only warn."""
    part = call.parts[-1]
    part.undo(call.at, timeout)
    call.parts.remove(part)
    call.granted = most


def _refuses(call: Warned, refused: Refused, ask: Ask) -> bool:
    """Whether a limit would have refused a call for what is spent, its output capped and its input counted exactly."""
    slot = Slot(refused.limit, refused.unit, refused.amount, 0, 1, refused.spent, refused.held)

    def decided(ask: Ask) -> bool:
        decision = admit(ask, [(slot, 0, 1)])
        return isinstance(decision, Refused) and decision.reason == "spent"

    if not decided(ask):
        return False
    # Counting takes its time: only where it can make a difference.
    if refused.unit == CALLS or refused.spent >= refused.amount or not call.recount():
        return True
    counted = routed_request.bound(call) if call.request.instead else call_bound.bound(call)
    return decided(msgspec.structs.replace(counted, most=min(counted.most, ask.most)))


def record(refusers: tuple[Refuser, ...], request: Request, at: int, used: Used, timeout: float | None) -> None:
    """Charge what a call cost to the accounts that count what each limit would have refused.

    Args:
        refusers: those limits.
        request: what was asked.
        at: when the call began, in unix seconds.
        used: what it used.
        timeout: seconds to wait for a ledger's lock; 0 has it done in the background.
    """
    model = request.model.encode("utf-8", "replace").decode()
    for one in refusers:
        account = would_refuse_account(one.account, one.limit)
        charge = Unposted(one.payer.ledger.new_id(), (account,), request.provider, model, at, used, "")
        post = functools.partial(_post, one.payer, charge)
        if timeout == 0:
            background_worker.enqueue(functools.partial(post, None))
        else:
            post(timeout)


def _post(payer: Payer, charge: Unposted, timeout: float | None) -> None:
    try:
        ledger_hold.post(Group(payer, charge.accounts, (payer.policy,)), charge, int(payer.clock()), timeout)
    except LedgerError as error:  # it is no money: nobody keeps it until the ledger takes it
        text = "budgeted: a call that a limit would have refused is in no report by would_refuse: %s"
        say(logging.WARNING, text, (error,), {})
