"""A ledger's verbs over HTTP: for each one the JSON that asks, what answers, and how a server does it.

``budgeted serve`` offers this table and describes it as OpenAPI; :class:`~budgeted.ledger.http.ledger.HTTPLedger` is
its client. A refused hold is answered with status 402, a stale route with 409, both as a :class:`Problem`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from budgeted.ledger.accounts import GLOBAL, Account, Count, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Leg, Route, at_server_time
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Charge, RollupRow, Used
from budgeted.validation import shown

AccountId: TypeAlias = Annotated[str, msgspec.Meta(pattern="^(g$|[a-z]:)", description="`g`, `u:USER` or `b:KEY`")]
Owner: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z_-]{1,64}$")]
HoldId: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9A-Za-z_-]{1,64}\.[0-9A-Za-z_.-]{1,64}$",
        description="The owner's name, a dot, and what is unique among its holds",
    ),
]
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A number that every ledger can keep."""

LONGEST = 10**12
"""Seconds at most: JSON has no infinity."""

Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=LONGEST)]

LAST = 250_000_000_000
"""Unix seconds, of the year 9892: later times are in no calendar, and no report could tell of them."""

LAST_DAY = LAST // 86_400

Moment: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LAST)]
Day: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LAST_DAY)]


class RouteBody(msgspec.Struct, frozen=True):
    """A :class:`~budgeted.ledger.cost_routing.Route` without its encoded form."""

    legs: tuple[Leg, ...]
    versions: tuple[Whole, ...]
    day: Day
    provider: str
    model: str
    soft: tuple[bool, ...] | None = None
    around: tuple[tuple[Whole, Whole], ...] | None = None

    @classmethod
    def of(cls, route: Route) -> RouteBody:
        """What of a route is sent."""
        return cls(route.legs, route.versions, route.day, route.provider, route.model, route.soft, route.around)

    def route(self) -> Route:
        """The route that was sent."""
        limits = [(leg.account, limit) for leg in self.legs for limit, _, _ in leg.limits]
        if not self.legs or any(len(given) != len(limits) for given in (self.soft, self.around) if given is not None):
            msg = "a route has at least one leg, and `soft` and `around` say something about each of its limits"
            raise ValueError(msg)
        names = [leg.account for leg in self.legs]
        # What is there twice would be taken off twice, and set aside but once.
        if len(set(names)) < len(names) or len(set(limits)) < len(limits) or len(self.versions) != len(names):
            msg = "a route names each account and each of its limits once, and has a version for each of its accounts"
            raise ValueError(msg)
        _check_accounts(names)
        return Route.make(
            self.legs, self.versions, self.day, self.provider, self.model, self.soft or (), self.around or ()
        )


class HoldBody(msgspec.Struct):
    """Set a call's bound aside. ``at`` is the client's clock, in unix seconds."""

    id: HoldId
    route: RouteBody
    ask: Ask
    at: Moment


class SettleBody(msgspec.Struct):
    """Replace a hold by what the call cost; with a ``reason``, as far as anybody knows."""

    id: HoldId
    used: Used
    at: Moment
    reason: str = ""


class ReleaseBody(msgspec.Struct):
    """Drop a hold."""

    id: HoldId
    at: Moment


class PostBody(msgspec.Struct):
    """Record a charge that no hold came before."""

    id: HoldId
    route: RouteBody
    used: Used
    at: Moment
    reason: str = ""


class ChargeBody(msgspec.Struct):
    """Name a charge."""

    id: HoldId


class CorrectBody(msgspec.Struct):
    """Replace the figure of a charge."""

    id: HoldId
    used: Used
    at: Moment


class AccountBody(msgspec.Struct):
    """Name an account."""

    account: AccountId


class LimitsBody(msgspec.Struct):
    """Give an account these limits; with ``create``, only if it is not there."""

    account: AccountId
    limits: tuple[LimitSpec, ...]
    explicit: bool = True
    create: bool = False


class ResetBody(msgspec.Struct):
    """Forget what an account has spent."""

    account: AccountId
    at: Moment


class RestoreBody(msgspec.Struct):
    """Take over what another ledger knew."""

    accounts: tuple[Account, ...] = ()
    rows: tuple[RollupRow, ...] = ()
    charges: tuple[tuple[Charge, RouteBody], ...] = ()


class PageBody(msgspec.Struct):
    """Ask for a page of accounts, in order of their ids."""

    prefix: str = ""
    after: str | None = None
    count: Count = 1000


class SinceBody(msgspec.Struct):
    """Ask for the report's rows from a day on (days since 1970-01-01), of one account or of all."""

    since: Whole = 0
    account: str | None = None


class NothingBody(msgspec.Struct):
    """Nothing needs to be said."""


class SweepBody(msgspec.Struct):
    """Charge the holds that nobody ends: of dead processes, and those older than ``hold_timeout`` seconds.

    ``at`` is unix seconds; without it, the server's clock.
    """

    hold_timeout: Seconds
    at: Whole | None = None


class RenewBody(msgspec.Struct):
    """Count an owner as alive for so many seconds; 0: as gone."""

    owner: Owner
    seconds: Seconds


class Verb(NamedTuple):
    """One verb: what it is for, what is sent, what comes back, whether it changes anything, and how a server does it.

    ``repeatable`` is False for those that must not be done again when only their answer was lost.
    """

    about: str
    body: Any
    answer: Any
    changes: bool
    run: Callable[[Ledger, Any], Any]
    repeatable: bool = True


def _hold(ledger: Ledger, body: HoldBody) -> Any:
    route, at = body.route.route(), body.at
    if route.around is not None and isinstance(ledger, MemoryLedger):  # others see to it themselves
        at = int(ledger.clock())
        accounts = {leg.account: account for leg in route.legs if (account := ledger.read(leg.account)) is not None}
        route = at_server_time(route, accounts, at)
    return ledger.hold(body.id, route, body.ask, at)


def _sweep(ledger: Ledger, body: SweepBody) -> int:
    swept = ledger.sweep()
    if body.at is None and body.hold_timeout >= ledger.hold_timeout:
        return swept
    at = int(ledger.clock()) if body.at is None else body.at
    for held in ledger.open_holds():
        if isinstance(held, Held) and held.at <= at - body.hold_timeout:
            reason = f"unheard of for {body.hold_timeout:g} seconds"
            guess = held.guess
            swept += ledger.release(held.id, at) if guess is None else ledger.settle(held.id, guess, at, reason)
    return swept


def _check_accounts(names: Iterable[str]) -> None:
    for name in names:
        if name != GLOBAL and not ("a" <= name[:1] <= "z" and name[1:2] == ":"):
            msg = f"{shown(name)} is no account; write 'g', 'u:USER' or 'b:KEY'"
            raise ValueError(msg)


_MOST = {"day": LAST_DAY, "at": LAST, "opened": LAST}


def _check_counts(*structs: msgspec.Struct) -> None:
    """Refuse numbers that are negative or absurd; only a slot's ``since`` may be -1."""
    for one in structs:
        for name in one.__struct_fields__:
            value = getattr(one, name)
            most = _MOST.get(name, 2**62)
            if isinstance(value, int) and not (-1 if name == "since" else 0) <= value <= most:
                msg = f"{name}={shown(value)} of {type(one).__name__} must be from 0 to {most}"
                raise ValueError(msg)


def _set_limits(ledger: Ledger, body: LimitsBody) -> None:
    _check_accounts([body.account])
    ledger.set_limits(body.account, body.limits, explicit=body.explicit, create=body.create)


def _restore(ledger: Ledger, body: RestoreBody) -> None:
    _check_accounts(account.id for account in body.accounts)
    _check_accounts(row.account for row in body.rows)
    for account in body.accounts:
        _check_counts(account, *account.slots)
    _check_counts(*body.rows, *(charge for charge, _ in body.charges))
    ledger.restore(body.accounts, body.rows, [(charge, route.route()) for charge, route in body.charges])


VERBS: dict[str, Verb] = {
    "hold": Verb("Set a call's bound aside on every account of its route", HoldBody, Held, True, _hold),
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
    "uncertain": Verb(
        "Charges that nobody confirmed", NothingBody, list[Charge], False, lambda ledger, _: ledger.uncertain()
    ),
    "open_holds": Verb(
        "The holds of calls in flight", NothingBody, list[Held], False, lambda ledger, _: list(ledger.open_holds())
    ),
    "sweep": Verb("Charge the holds that nobody ends", SweepBody, int, True, _sweep),
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

    ``type`` is an exception's name, such as ``LedgerUnavailableError``. ``refused`` are a refusal's figures, in the
    limit's own unit.
    """

    type: str
    message: str
    refused: Refused | None = None


class ProblemBody(msgspec.Struct):
    """The body of every answer with a status from 400 on."""

    error: Problem
