"""What a request of each verb says, as JSON, and which numbers and names a server takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

import msgspec

from budgeted.ledger.accounts import GLOBAL, Account, Amendment, Count, LimitSpec
from budgeted.ledger.admission import Ask
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.spending_records import Charge, RollupRow, Used
from budgeted.validation import shown

END = r"$(?!\n)"
"""The end of a text in a pattern that JSON Schema has to understand, too: `$` alone is also before a last newline in
Python, and JSON Schema has no `\\Z`."""

AccountId: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^(g{END}|[a-z]:)", description="`g`, `u:USER` or `b:KEY`")]

Owner: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^[0-9A-Za-z_-]{{1,64}}{END}")]

HoldId: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^[0-9A-Za-z_-]{{1,64}}\.[0-9A-Za-z_.-]{{1,64}}{END}",
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
    """Where a call's cost goes.

    Args:
        legs: the accounts that pay, each with its limits that count this call.
        versions: of each account, as it was when the route was computed.
        day: under which it is reported, in days since 1970-01-01.
        provider: as genai-prices names it.
        model: that is asked for.
        soft: for each limit, over all legs, whether it only counts and refuses nothing; None where none does.
        around: for each limit, the start of the period before and the end of the period after, in unix seconds: for
            ledgers with a clock of their own; None where the route's periods are to be taken.
    """

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
        check_accounts(names)
        return Route.make(
            self.legs, self.versions, self.day, self.provider, self.model, self.soft or (), self.around or ()
        )


class VerbBody(msgspec.Struct, kw_only=True):
    """What every request may say.

    Args:
        openings: which openings of the ledger its sender knows, as the verb ``opening`` names them. A ledger that was
            opened since answers 409, and does nothing: who has something to lose looks first what is there.
    """

    openings: tuple[str, ...] = ()


class HoldBody(VerbBody):
    """Set a call's bound aside.

    Args:
        route: where its cost goes.
        ask: what it may need.
        at: the client's clock, in unix seconds.
    """

    id: HoldId
    route: RouteBody
    ask: Ask
    at: Moment


class SettleBody(VerbBody):
    """Replace a hold by what the call cost.

    Args:
        used: what it cost, as far as anybody knows.
        at: unix seconds.
        reason: why that is uncertain; "" where it is known.
    """

    id: HoldId
    used: Used
    at: Moment
    reason: str = ""


class ReleaseBody(VerbBody):
    """Drop a hold.

    Args:
        at: unix seconds.
    """

    id: HoldId
    at: Moment


class PostBody(VerbBody):
    """Record a charge that no hold came before.

    Args:
        route: where it goes.
        used: what the call cost, as far as anybody knows.
        at: unix seconds.
        reason: why that is uncertain; "" where it is known.
    """

    id: HoldId
    route: RouteBody
    used: Used
    at: Moment
    reason: str = ""


class ChargeBody(VerbBody):
    """Name a charge."""

    id: HoldId


class CorrectBody(VerbBody):
    """Replace the figure of a charge.

    Args:
        used: what the call cost.
        at: unix seconds.
    """

    id: HoldId
    used: Used
    at: Moment


class AccountBody(VerbBody):
    """Name an account."""

    account: AccountId


class LimitsBody(VerbBody):
    """Give an account these limits.

    Args:
        limits: all that it has from now on.
        explicit: whether somebody set them, and not a first call.
        create: whether it gets them only if it is not there.
    """

    account: AccountId
    limits: tuple[LimitSpec, ...]
    explicit: bool = True
    create: bool = False


class PeriodsBody(VerbBody):
    """Put limits of an account that have begun a later period back into these.

    Args:
        limits: with the periods that they are to be in.
    """

    account: AccountId
    limits: tuple[LimitSpec, ...]


class AmendBody(VerbBody):
    """Change something of an account besides its limits.

    Args:
        change: what becomes of it.
    """

    account: AccountId
    change: Amendment


class ResetBody(VerbBody):
    """Forget what an account has spent.

    Args:
        at: unix seconds.
    """

    account: AccountId
    at: Moment


class RestoreBody(VerbBody):
    """Take over what another ledger knew.

    Args:
        accounts: with what they were charged.
        rows: of the report.
        charges: that are uncertain, each with its route.
    """

    accounts: tuple[Account, ...] = ()
    rows: tuple[RollupRow, ...] = ()
    charges: tuple[tuple[Charge, RouteBody], ...] = ()


class PageBody(VerbBody):
    """Ask for a page of accounts, in order of their ids.

    Args:
        prefix: what the ids begin with.
        after: the id that was last on the page before; None for the first page.
        count: how many there may be on a page.
    """

    prefix: str = ""
    after: str | None = None
    count: Count = 1000


class SinceBody(VerbBody):
    """Ask for the report's rows.

    Args:
        since: the first day, in days since 1970-01-01.
        account: whose; None for all.
    """

    since: Whole = 0
    account: str | None = None


class SpentMostBody(VerbBody):
    """Ask for the users that were charged most on a day.

    Args:
        day: in days since 1970-01-01.
        count: how many there may be.
    """

    day: Whole
    count: Count


class UncertainBody(VerbBody):
    """Ask for some of the charges that nobody confirmed.

    Args:
        account: whose; None for all.
        first: how many of the oldest are left out.
        count: how many there may be.
    """

    account: str | None = None
    first: Count = 0
    count: Count = 50


class NothingBody(VerbBody):
    """Nothing needs to be said."""


class SweepBody(VerbBody):
    """Charge the holds that nobody ends: of dead processes, and those that are too old.

    Args:
        hold_timeout: how old they may be, in seconds.
        at: now, in unix seconds; None for the server's clock.
    """

    hold_timeout: Seconds
    at: Whole | None = None


class RenewBody(VerbBody):
    """Count an owner as alive.

    Args:
        owner: what its holds' ids begin with.
        seconds: for how long from now on; 0: it has gone.
    """

    owner: Owner
    seconds: Seconds


def check_accounts(names: Iterable[str]) -> None:
    """Refuse what is no account's name.

    Raises:
        ValueError: one is none.
    """
    for name in names:
        if name != GLOBAL and not ("a" <= name[:1] <= "z" and name[1:2] == ":"):
            msg = f"{shown(name)} is no account; write 'g', 'u:USER' or 'b:KEY'"
            raise ValueError(msg)


_MOST = {"day": LAST_DAY, "at": LAST, "opened": LAST}


def check_counts(*structs: msgspec.Struct) -> None:
    """Refuse numbers that are negative or absurd; only a slot's ``since`` may be -1."""
    for one in structs:
        for name in one.__struct_fields__:
            value = getattr(one, name)
            most = _MOST.get(name, 2**62)
            if isinstance(value, int) and not (-1 if name == "since" else 0) <= value <= most:
                msg = f"{name}={shown(value)} of {type(one).__name__} must be from 0 to {most}"
                raise ValueError(msg)
