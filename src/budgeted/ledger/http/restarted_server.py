"""What a server that was started again lacks of what it acknowledged before: found by asking it, and done again.

While a server runs, its ledger notices by itself that its state was lost, and says so. One that was started on an older
copy, or on none, knows nothing that contradicts it: its clients do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.accounts import Account, account_name
from budgeted.ledger.acknowledged_verbs import AcknowledgedVerbs, amended_back, written_back
from budgeted.ledger.admission import Ask
from budgeted.ledger.cost_routing import Leg, Route, Stale, decode_route
from budgeted.ledger.http import request_bodies
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.memory.change_records import (
    Amended,
    Change,
    Deleted,
    Held,
    HeldInParts,
    LimitsSet,
    Posted,
    Released,
    Settled,
    is_reservation,
)
from budgeted.ledger.spending_records import Charge, RollupRow
from budgeted.money import format_usd

logger = logging.getLogger("budgeted")

Requests: TypeAlias = Callable[[str, msgspec.Struct], Any]
"""Sends a verb to the server; its answer."""

ENOUGH = 64
"""Charges in a row that are known, before which nothing is lost: more than were under way at once."""

FIRST_ACCOUNTS = 20
"""Accounts, the latest that this process has seen, by which a server is judged."""


def done_before(ask: Requests, told: AcknowledgedVerbs) -> int:
    """The number of the last verb of this process before the first that a server lacks.

    Args:
        ask: asks it.
        told: what it has acknowledged.
    """
    count = told.sent()
    accounts = told.limits()[-FIRST_ACCOUNTS:]
    lacks_limits = any(_is_older(ask, account) for account in accounts)
    if lacks_limits and accounts and all(_read(ask, account.id) is None for account in accounts):
        return 0  # it was emptied: thousands of charges need not be asked for one by one
    lost = _first_lost(ask, told)
    if lost is None:
        return count - 1 if lacks_limits else count
    return lost - 1


def _first_lost(ask: Requests, told: AcknowledgedVerbs) -> int | None:
    """The lowest number of a charge, a release or an open hold that a server does not know."""
    open_holds = {one.id for one in ask("open_holds", request_bodies.NothingBody())}
    lost, charges, known, in_a_row = None, [], False, 0
    for number, change in told.numbered():
        if isinstance(change, Held):
            is_there = change.id in open_holds or _ended(ask, change.id) is not None
        elif isinstance(change, Released):
            is_there = change.id not in open_holds
        elif isinstance(change, Posted | Settled):
            is_there = _has_charge(ask, change)
            known, in_a_row = known or is_there, in_a_row + 1 if is_there else 0
            charges.append(change)
        else:
            continue
        if not is_there:
            lost = number
        elif in_a_row >= ENOUGH:
            break
    if lost is not None and charges and not known and _may_be_forgotten(ask, charges[0]):
        logger.error(
            "budgeted: a server was started again, and remembers none of this process's charges, the latest %s: since "
            "thousands came later, it cannot be told whether they are lost; compare its report with the bill",
            charges[0].id,
        )
        return None
    return lost


def _has_charge(ask: Requests, change: Posted | Settled) -> bool:
    found = _ended(ask, change.id)
    # What was taken for a guess meanwhile is replaced by what is known.
    return found is not None and (bool(change.reason) or not found.reason)


def _may_be_forgotten(ask: Requests, latest: Posted | Settled) -> bool:
    """Whether so many calls came after a charge that its id need not be known any more."""
    if isinstance(latest, Settled):
        return True
    day, _, _, legs = decode_route(latest.route)
    rows: list[RollupRow] = ask("rollups", request_bodies.SinceBody(day, legs[0].account))
    return sum(row.calls for row in rows) >= ended_holds.REMEMBERED


def _ended(ask: Requests, id: str) -> Charge | None:
    found: Charge | None = ask("ended", request_bodies.ChargeBody(id))
    return found


def _read(ask: Requests, account: str) -> Account | None:
    found: Account | None = ask("read", request_bodies.AccountBody(account))
    return found


def _is_older(ask: Requests, known: Account) -> bool:
    found = _read(ask, known.id)
    return found is None or found.version < known.version


def write_limits_back(ask: Requests, told: AcknowledgedVerbs) -> int:
    """Give accounts that lack them the limits that this process knows of. Returns how many.

    Args:
        ask: asks the server.
        told: what it has acknowledged.
    """
    written = 0
    for known in told.limits():
        if _is_older(ask, known):
            told.forget(known.id)
            do_again(ask, written_back(known))
            for change in amended_back(known, _read(ask, known.id)):
                do_again(ask, change)
            written += 1
            found = _read(ask, known.id)
            if found is not None:
                told.read(found)
    return written


def do_again(ask: Requests, change: Change) -> None:
    """Have a server make a change that it lacks, unless it knows its id. Nothing that was paid for is refused."""
    if isinstance(change, LimitsSet):
        ask("set_limits", request_bodies.LimitsBody(change.account, change.limits, change.explicit))
    elif isinstance(change, Amended):
        ask("amend", request_bodies.AmendBody(change.account, change.change))
    elif isinstance(change, Deleted):
        ask("delete", request_bodies.AccountBody(change.account))
    elif isinstance(change, Released):
        ask("release", request_bodies.ReleaseBody(change.id, 0))
    elif isinstance(change, Settled):
        _unless_known(ask, "settle", request_bodies.SettleBody(change.id, change.used, change.at, change.reason))
    elif isinstance(change, Posted):
        route = _route(ask, change)
        if route is not None:
            body = request_bodies.PostBody(change.id, route, change.used, change.at, change.reason)
            _unless_known(ask, "post", body)
    elif isinstance(change, Held) and _ended(ask, change.id) is None:
        route = _route(ask, change)
        if route is not None:
            _unless_known(ask, "hold", request_bodies.HoldBody(change.id, route, _same(change), change.at))


def _unless_known(ask: Requests, verb: str, body: msgspec.Struct) -> None:
    try:
        answer = ask(verb, body)
    except LedgerError as error:
        # It has ended otherwise meanwhile, or is there.
        if type(error) is not LedgerError:
            raise
        logger.warning("budgeted: what a server may lack is not done again: %s", error)
        return
    if isinstance(answer, Stale):
        msg = "limits change while a server is told what it lacks"
        raise LedgerUnavailableError(msg)


def _route(ask: Requests, change: Posted | Held) -> request_bodies.RouteBody | None:
    """The route of a change, among the limits that its accounts have now; none of them refuses."""
    day, provider, model, legs = decode_route(change.route)
    found, versions = [], []
    for leg in legs:
        account = _read(ask, leg.account)
        if account is not None:
            limits = {slot.limit: slot for slot in account.slots}
            # A period that has ended is not reopened.
            kept = tuple(one for one in leg.limits if one[0] in limits and limits[one[0]].start <= one[1])
            found.append(Leg(leg.account, kept))
            versions.append(account.version)
    if not found:
        usd = format_usd(change.used.usd if isinstance(change, Posted) else change.usd)
        names = ", ".join(account_name(leg.account) for leg in legs)
        logger.error("budgeted: %s of %s are charged to nobody: %s were deleted", usd, change.id, names)
        return None
    soft = [True for leg in found for _ in leg.limits]
    return request_bodies.RouteBody.of(Route.make(found, versions, day, provider, model, soft))


def _same(held: Held) -> Ask:
    """What is asked for a hold of the same amounts."""
    guess = -1 if held.guess is None else held.granted
    ask = Ask(usd=held.usd, tokens=held.tokens, least=held.granted, most=held.granted, uncertain_output=guess)
    if is_reservation(held):
        return msgspec.structs.replace(ask, within=held.id)
    if not isinstance(held, HeldInParts) or not held.granted:
        return ask
    # What it drew on is not there any more, or has all that it held.
    each = held.output // held.granted
    return msgspec.structs.replace(ask, tokens=held.tokens - held.output, tokens_rate=each)
