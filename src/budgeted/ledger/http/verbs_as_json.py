"""A ledger's verbs over HTTP: for each one the JSON that asks, what answers, and how a server does it.

``budgeted serve`` offers this table and describes it as OpenAPI; :class:`~budgeted.ledger.http.ledger.HTTPLedger` is
its client. A refused hold is answered with status 402, a stale route with 409, both as a :class:`Problem`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale, at_server_time
from budgeted.ledger.http.request_bodies import (
    AccountBody,
    AmendBody,
    ChargeBody,
    CorrectBody,
    HoldBody,
    LimitsBody,
    NothingBody,
    PageBody,
    PeriodsBody,
    PostBody,
    ReleaseBody,
    RenewBody,
    ResetBody,
    RestoreBody,
    SettleBody,
    SinceBody,
    SpentMostBody,
    SweepBody,
    UncertainBody,
    VerbBody,
    check_accounts,
    check_counts,
)
from budgeted.ledger.interface import Granted, Ledger
from budgeted.ledger.memory.change_records import Held, HeldInParts, is_reservation
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Charge, RollupRow, UncertainPage
from budgeted.ledger.whole_content import Content

OTHER_OPENING = "OtherOpening"
"""The type of the problem that a ledger was opened since it was last asked: nobody there knows what it acknowledged."""


_openings: WeakKeyDictionary[Ledger, str] = WeakKeyDictionary()


def opening_of(ledger: Ledger) -> str:
    """The name of a ledger as it was opened this time, by this process."""
    return _openings.get(ledger) or _openings.setdefault(ledger, secrets.token_hex(8))


def knows_opening(ledger: Ledger, body: VerbBody) -> bool:
    """Whether who asks knows how the ledger was opened last, or knows nothing of it yet."""
    return not body.openings or opening_of(ledger) in body.openings


class Verb(NamedTuple):
    """One verb: what it is for, what is sent, what comes back, whether it changes anything, and how a server does it.

    ``repeatable`` is False for those that must not be done again when only their answer was lost.
    """

    about: str
    body: type[msgspec.Struct]
    answer: Any
    changes: bool
    run: Callable[[Ledger, Any], object]
    repeatable: bool = True


def _hold(ledger: Ledger, body: HoldBody) -> Granted | Refused | Stale:
    route, at = body.route.route(), body.at
    if route.around is not None and isinstance(ledger, MemoryLedger):  # others see to it themselves
        at = int(ledger.clock())
        # Should a period begin between this look and the hold, the route is stale, and the client makes another.
        accounts = {leg.account: account for leg in route.legs if (account := ledger.read_limits(leg.account))}
        route = at_server_time(route, accounts, at)
    return ledger.hold(body.id, route, body.ask, at)


def _sweep(ledger: Ledger, body: SweepBody) -> int:
    swept = ledger.sweep()
    if body.at is None and body.hold_timeout >= ledger.hold_timeout:
        return swept
    at = int(ledger.clock()) if body.at is None else body.at
    for held in ledger.open_holds():
        if isinstance(held, Held) and held.at <= at - body.hold_timeout and not is_reservation(held):
            reason = f"unheard of for {body.hold_timeout:g} seconds"
            guess = held.guess
            swept += ledger.release(held.id, at) if guess is None else ledger.settle(held.id, guess, at, reason)
    return swept


def _set_limits(ledger: Ledger, body: LimitsBody) -> None:
    check_accounts([body.account])
    ledger.set_limits(body.account, body.limits, explicit=body.explicit, create=body.create)


def _amend(ledger: Ledger, body: AmendBody) -> bool:
    check_accounts([body.account])
    return ledger.amend(body.account, body.change)


def _restore(ledger: Ledger, body: RestoreBody) -> None:
    check_accounts(account.id for account in body.accounts)
    check_accounts(row.account for row in body.rows)
    for account in body.accounts:
        check_counts(account, *account.slots)
    check_counts(*body.rows, *(charge for charge, _ in body.charges))
    ledger.restore(body.accounts, body.rows, [(charge, route.route()) for charge, route in body.charges])


VERBS: dict[str, Verb] = {
    "hold": Verb("Set a call's bound aside on every account of its route", HoldBody, Held | HeldInParts, True, _hold),
    "settle": Verb(
        "Replace a hold by what the call cost",
        SettleBody,
        bool,
        True,
        lambda ledger, body: ledger.settle(body.id, body.used, body.at, body.reason),
    ),
    "release": Verb(
        "Drop a hold: nothing was spent", ReleaseBody, bool, True, lambda ledger, body: ledger.release(body.id, body.at)
    ),
    "post": Verb(
        "Record a charge that no hold came before",
        PostBody,
        bool,
        True,
        lambda ledger, body: ledger.post(body.id, body.route.route(), body.used, body.at, body.reason),
    ),
    "ended": Verb(
        "What became of a hold", ChargeBody, Charge | None, False, lambda ledger, body: ledger.ended(body.id)
    ),
    "correct": Verb(
        "Replace the figure of a charge; returns the charge as it was",
        CorrectBody,
        Charge | None,
        True,
        lambda ledger, body: ledger.correct(body.id, body.used, body.at),
        repeatable=False,
    ),
    "read": Verb(
        "An account with its limits' numbers",
        AccountBody,
        Account | None,
        False,
        lambda ledger, body: ledger.read(body.account),
    ),
    "set_limits": Verb(
        "Give an account these limits; those it has keep their spend",
        LimitsBody,
        None,
        True,
        _set_limits,
    ),
    "set_periods": Verb(
        "Put limits of an account that have begun a later period back into these",
        PeriodsBody,
        int,
        True,
        lambda ledger, body: ledger.set_periods(body.account, body.limits),
        repeatable=False,
    ),
    "amend": Verb(
        "Change something of an account besides its limits: to whom it belongs, whether it is stopped, a raise",
        AmendBody,
        bool,
        True,
        _amend,
        repeatable=False,
    ),
    "reset": Verb(
        "Forget what an account has spent; open holds stay",
        ResetBody,
        None,
        True,
        lambda ledger, body: ledger.reset(body.account, body.at),
        repeatable=False,
    ),
    "delete": Verb(
        "Forget an account and its limits",
        AccountBody,
        None,
        True,
        lambda ledger, body: ledger.delete(body.account),
        repeatable=False,
    ),
    "restore": Verb("Take over what another ledger knew", RestoreBody, None, True, _restore, repeatable=False),
    "accounts": Verb(
        "A page of accounts in order of their ids",
        PageBody,
        list[Account],
        False,
        lambda ledger, body: ledger.accounts(body.prefix, body.after, body.count),
    ),
    "rollups": Verb(
        "The report's rows from a day on, of one account or of all",
        SinceBody,
        list[RollupRow],
        False,
        lambda ledger, body: ledger.rollups(body.since, body.account),
    ),
    "spent_most": Verb(
        "The users that were charged most on a day, the dearest first",
        SpentMostBody,
        list[str],
        False,
        lambda ledger, body: ledger.spent_most(body.day, body.count),
    ),
    "uncertain": Verb(
        "Charges that nobody confirmed", NothingBody, list[Charge], False, lambda ledger, _: ledger.uncertain()
    ),
    "uncertain_page": Verb(
        "Some of these, of one account or of all, and what all of them come to",
        UncertainBody,
        UncertainPage,
        False,
        lambda ledger, body: ledger.uncertain_page(body.account, body.first, body.count),
    ),
    "open_holds": Verb(
        "The holds of calls in flight",
        NothingBody,
        list[Held | HeldInParts],
        False,
        lambda ledger, _: list(ledger.open_holds()),
    ),
    "everything": Verb(
        "All that is known, as it is at one instant", NothingBody, Content, False, lambda ledger, _: ledger.everything()
    ),
    "sweep": Verb("Charge the holds that nobody ends", SweepBody, int, True, _sweep),
    "repair": Verb(
        "Have the server's process write back what it knows and its ledger lacks; returns how much that was",
        NothingBody,
        int,
        True,
        lambda ledger, _: ledger.repair(),
    ),
    "opening": Verb(
        "A name that is another one whenever the ledger was opened again, as after a start of the server",
        NothingBody,
        str,
        False,
        lambda ledger, _: opening_of(ledger),
    ),
    "renew": Verb(
        "Keep the lease of a process, without which its holds are charged",
        RenewBody,
        None,
        True,
        lambda ledger, body: ledger.renew(body.owner, body.seconds),
    ),
}


class Problem(msgspec.Struct, omit_defaults=True):
    """What is wrong with a request, for programs and for people.

    Args:
        type: an exception's name, such as ``LedgerUnavailableError``.
        message: what is wrong, for people.
        refused: a refusal's figures, in the limit's own unit; left out where it is none.
    """

    type: str
    message: str
    refused: Refused | None = None


class ProblemBody(msgspec.Struct):
    """The body of every answer with a status from 400 on.

    Args:
        error: what is wrong.
    """

    error: Problem
