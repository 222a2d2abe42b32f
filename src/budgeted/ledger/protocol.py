"""What every ledger agrees on: accounts and their limits' running numbers, what a call asks, and who gets how much.

Nothing here does I/O. :func:`admit` is the one decision about money in this package: local ledgers call it, remote
ones reproduce it, and one test suite holds them all to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Protocol, TypeAlias

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.waiting_calls import Turns

USD, TOKENS, CALLS = 0, 1, 2
"""Units of a limit. USD is counted in nano-USD."""

UNITS = ("usd", "tokens", "calls")

GLOBAL = "g"
"""The account that every call of a manager is charged to."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A number that is refused, where it comes from outside, if it is negative or absurd."""

PAGE = 1000
"""Accounts that are asked for at a time, where all are gone through."""

MIN_GRANT = 256
"""Output tokens below which no request is cut: less buys nothing but a cut-off answer."""


def user_account(user: str) -> str:
    """The ledger's name of a user's account."""
    return "u:" + user


def block_account(key: str) -> str:
    """The ledger's name of the account behind ``budget(key=...)``."""
    return "b:" + key


def account_kind(account: str) -> str:
    """``"global"``, ``"user"`` or ``"block"``."""
    return "global" if account == GLOBAL else "user" if account[0] == "u" else "block"


def account_name(account: str) -> str:
    """The name that people know: the user, the block's key, or ``"global"``."""
    return "global" if account == GLOBAL else account[2:]


class Slot(msgspec.Struct, array_like=True, gc=False):
    """One limit's running numbers, in its current period.

    ``start`` and ``end`` are unix seconds. ``spent`` and ``held`` belong to that period alone. ``since`` is that of its
    :class:`LimitSpec`: which charges that were made without it it has counted.
    """

    limit: str
    unit: int
    amount: int
    start: int
    end: int
    spent: int = 0
    held: int = 0
    since: int = -1


class Account(msgspec.Struct, array_like=True, gc=False):
    """One account: its limits, and everything it was charged since its last reset.

    ``version`` grows with every change of its limits: a route computed from older limits is stale.
    ``explicit`` tells a budget that somebody set from one that a first call brought into being.
    ``models`` is nano-USD per model since ``models_since``, the start of the first limit's period.
    """

    id: str
    version: int = 1
    explicit: bool = False
    slots: tuple[Slot, ...] = ()
    usd: int = 0
    tokens: int = 0
    calls: int = 0
    held: int = 0
    models: dict[str, int] | None = None
    models_since: int = 0


class LimitSpec(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A limit as a client hands it to a ledger: the ledger knows no calendar and no model names.

    ``since`` is the day number from which past charges count into a limit that is new to an account,
    0 for all of them and -1 for none.
    """

    limit: str
    unit: Annotated[int, msgspec.Meta(ge=0, le=2)]
    amount: Count
    start: int
    end: int
    since: int = -1


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What one call may need: fixed costs, costs per output token, and how much output.

    Args:
        usd: fixed cost in nano-USD.
        usd_rate: pico-USD per granted output token.
        tokens: fixed tokens (the input's bound).
        tokens_rate: tokens per granted output token (the number of choices).
        least: the fewest output tokens worth having.
        most: the most output tokens the call can use.
        whole: True grants ``most`` or nothing.
        uncertain_output: output tokens charged when nobody says what the call cost; -1 charges nothing.
        share: a call that is not granted whole gets at most one part in so many of what is left.
    """

    usd: Count = 0
    usd_rate: Count = 0
    tokens: Count = 0
    tokens_rate: Count = 0
    least: Count = 0
    most: Count = 0
    whole: bool = True
    uncertain_output: int = 0
    share: Annotated[int, msgspec.Meta(ge=1)] = 4

    def usd_for(self, output: int) -> int:
        """Nano-USD for that much output, rounded up."""
        return self.usd - (-self.usd_rate * output // 1000)

    def tokens_for(self, output: int) -> int:
        """Tokens for that much output."""
        return self.tokens + self.tokens_rate * output

    def guess(self, output: int) -> Used | None:
        """What a granted hold is charged when nobody says what the call cost; None charges nothing."""
        if self.uncertain_output < 0:
            return None
        assumed = min(self.uncertain_output, output)
        return Used(self.usd - (-self.usd_rate * assumed // 1000), self.tokens, self.tokens_rate * assumed)

    def need(self, unit: int, output: int) -> int:
        """What is needed of a unit for that much output."""
        if unit == USD:
            return self.usd_for(output)
        return self.tokens_for(output) if unit == TOKENS else 1

    def fixed(self, unit: int) -> bool:
        """Whether the output makes no difference to what is needed of a unit."""
        return unit == CALLS or not (self.usd_rate if unit == USD else self.tokens_rate)

    def affords(self, unit: int, amount: int) -> int:
        """The output tokens that an amount of a unit buys, at most ``most``; -1 when not even the fixed cost fits."""
        if unit == USD:
            rest, rate = (amount - self.usd) * 1000, self.usd_rate
        elif unit == TOKENS:
            rest, rate = amount - self.tokens, self.tokens_rate
        else:
            rest, rate = amount - 1, 0
        if rest < 0:
            return -1
        return min(rest // rate, self.most) if rate else self.most


class Leg(msgspec.Struct, frozen=True, array_like=True):
    """One account on a call's route, with the limits that count this call: (limit id, period start, period end)."""

    account: str
    limits: tuple[tuple[str, int, int], ...]


class Route(msgspec.Struct, frozen=True):
    """Where a call's cost goes: the accounts, their limits, and the day, provider and model it is reported under.

    A client computes it once per payer, model and period. ``key`` and ``raw`` are its encoded form, which the journal
    keeps.
    ``versions`` are the accounts' versions it was computed from. ``soft`` marks limits, in order over all legs,
    that are counted but refuse nothing (``on_exceed="warn"``). ``around``, for ledgers with a clock of their own, has
    for each limit, in the same order, the start of the period before and the end of the period after: see
    :func:`period_at`.
    """

    legs: tuple[Leg, ...]
    versions: tuple[int, ...]
    day: int
    provider: str
    model: str
    key: bytes
    raw: msgspec.Raw
    soft: tuple[bool, ...] | None = None
    around: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def make(
        cls,
        legs: Sequence[Leg],
        versions: Sequence[int],
        day: int,
        provider: str,
        model: str,
        soft: Sequence[bool] = (),
        around: Sequence[tuple[int, int]] = (),
    ) -> Route:
        """Build a route and its encoded form."""
        key = msgspec.json.encode((day, provider, model, legs))
        return cls(
            tuple(legs),
            tuple(versions),
            day,
            provider,
            model,
            key,
            msgspec.Raw(key),
            tuple(soft) if any(soft) else None,
            tuple(around) or None,
        )


def period_at(now: float, limit: tuple[str, int, int], around: tuple[int, int]) -> tuple[int, int]:
    """The period of a limit that the server's clock is in, among those that a client's calendar offers.

    A ledger with ``around`` holds a call in that period, whatever the client's clock says; except that a limit which
    has seen a later period stays in that one (``slot.start`` is larger than the start returned): no clock reopens
    a period. Charges without a hold (:meth:`Ledger.post`) may come late, and keep the route's own periods.

    Args:
        now: the server's clock, in unix seconds.
        limit: the limit as the route has it: its id, start and end of the period by the client's clock.
        around: the start of the period before that one, and the end of the period after it.

    Returns:
        Start and end of the period.

    Raises:
        LedgerError: ``now`` is in none of the three: one of the clocks is wrong.
    """
    _, start, end = limit
    before, after = around
    if start <= now < end:
        return start, end
    if before <= now < start:
        return before, start
    if end <= now < after:
        return end, after
    skew = start - now if now < start else now - end
    msg = (
        f"the ledger's clock is more than {skew:.0f} seconds {'behind' if now < start else 'ahead of'} this host's, so "
        f"that the period of a limit cannot be told; set the clocks (unix time {now:.0f} there)"
    )
    raise LedgerError(msg)


def at_server_time(route: Route, accounts: Mapping[str, Account], now: float) -> Route:
    """A route in the periods that the server's clock says, as :func:`period_at` has it; the same if they are its own.

    Args:
        route: as a client sent it, with ``around``.
        accounts: those of its accounts that are there.
        now: the server's clock, in unix seconds.

    Raises:
        LedgerError: one of the clocks is wrong.
    """
    around = iter(route.around or ())
    legs = []
    for leg in route.legs:
        account = accounts.get(leg.account)
        begun = {slot.limit: (slot.start, slot.end) for slot in account.slots} if account is not None else {}
        limits = []
        for limit in leg.limits:
            period = period_at(now, limit, next(around))
            limits.append((limit[0], *max(period, begun.get(limit[0], period))))
        legs.append(Leg(leg.account, tuple(limits)))
    if tuple(legs) == route.legs:
        return route
    return Route.make(legs, route.versions, route.day, route.provider, route.model, route.soft or ())


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A refusal: which limit of which account has no room, and what would have fitted.

    ``reason`` is ``"held"`` when every limit in the way would have room if the calls in flight cost nothing.
    Amounts are in the limit's unit; ``index`` counts the route's limits, over all accounts; ``end`` is the end of its
    period in unix seconds.
    """

    index: int
    limit: str
    unit: int
    amount: int
    spent: int
    held: int
    requested: int
    end: int
    reason: str
    affordable: int = -1
    account: str = ""


class Stale(msgspec.Struct, frozen=True, gc=False):
    """The route does not fit the ledger's accounts any more: compute it again."""


STALE = Stale()


class Used(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a call really used: nano-USD, and tokens in and out."""

    usd: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What became of a hold. With a ``reason`` it is uncertain: nobody has confirmed it.

    ``opened`` and ``at`` are the unix seconds of the hold and of the charge, ``held`` is nano-USD.
    """

    id: str
    opened: int
    at: int
    accounts: tuple[str, ...]
    provider: str
    model: str
    used: Used
    held: int
    reason: str


Uncertain = Charge


class RollupRow(msgspec.Struct, array_like=True, gc=False):
    """What an account was charged for one model on one day (days since 1970-01-01 in the manager's time zone)."""

    day: int
    account: str
    provider: str
    model: str
    calls: int = 0
    usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncertain: int = 0


def admit(ask: Ask, slots: Sequence[tuple[Slot, int, int]], soft: Sequence[bool] | None = None) -> int | Refused:
    """Decide how many output tokens a call is granted over all the limits it counts against.

    Pure: it reads the slots and changes nothing. A slot whose period is older than the route's counts as empty.

    Args:
        ask: what the call may need.
        slots: (slot, start and end of the period the call belongs to) of every limit, over all accounts.
        soft: True for each limit that only counts.

    Returns:
        The granted output tokens, or the refusal by the tightest limit in the way.
    """
    most, rate, each = ask.most, ask.usd_rate, ask.tokens_rate
    usd, tokens = ask.usd - (-rate * most // 1000), ask.tokens + each * most
    if not ask.whole:  # of what its output is paid from, it may be given one part in so many
        usd, tokens = usd * ask.share if rate else usd, tokens * ask.share if each else tokens
    wanted = usd, tokens, 1
    for slot, _, _ in slots:
        # Of an older period, which counts as empty, this is less than there is: then the long way finds out.
        if slot.amount - slot.spent - slot.held < wanted[slot.unit]:
            return _ration(ask, slots, soft)
    return most


def _ration(ask: Ask, slots: Sequence[tuple[Slot, int, int]], soft: Sequence[bool] | None) -> int | Refused:
    """The share of a call that does not simply get all it can use."""
    rooms = [(i, slot, *_room(slot, start)) for i, (slot, start, _) in enumerate(slots) if soft is None or not soft[i]]
    granted = ask.most
    if not ask.whole:
        shares = [
            (slot.unit, left // ask.share, idle >> 2) for _, slot, left, idle in rooms if not ask.fixed(slot.unit)
        ]
        floor = min([ask.least, ask.most, *(ask.affords(unit, idle) for unit, _, idle in shares)])
        floor = max(floor, min(MIN_GRANT, ask.most))
        granted = max(floor, min([ask.most, *(ask.affords(unit, left) for unit, left, _ in shares)]))
    blocked = [room for room in rooms if ask.affords(room[1].unit, room[2]) < granted]
    if not blocked:
        return granted
    gone = [room for room in blocked if ask.affords(room[1].unit, room[3]) < granted]
    i, slot, left, idle = min(gone or blocked, key=lambda room: ask.affords(room[1].unit, room[2]))
    return Refused(
        index=i,
        limit=slot.limit,
        unit=slot.unit,
        amount=slot.amount,
        spent=slot.amount - idle,
        held=idle - left,
        requested=ask.need(slot.unit, granted),
        end=slots[i][2],
        reason="spent" if gone else "held",
        affordable=min(ask.affords(room[1].unit, room[2]) for room in rooms),
    )


def _room(slot: Slot, start: int) -> tuple[int, int]:
    """What is left of a limit now, and what would be left without the calls in flight."""
    if slot.start != start:
        return slot.amount, slot.amount
    idle = slot.amount - slot.spent
    return idle - slot.held, idle


def in_flight(account: str) -> LedgerError:
    """The refusal to take an account over while calls are in flight on it."""
    name = account_name(account)
    return LedgerError(f"{name!r} has calls in flight; stop who makes them, then take it over")


def is_closed(ledger: str) -> LedgerError:
    """What who calls a ledger is told that this process has closed; nobody else needs to hear of it."""
    error = LedgerError(f"the ledger {ledger} is closed")
    error.closed = True
    return error


class Granted(Protocol):
    """What a successful hold tells its caller."""

    @property
    def id(self) -> str:
        """The hold's id."""

    @property
    def granted(self) -> int:
        """Output tokens that may be asked for."""

    @property
    def usd(self) -> int:
        """Nano-USD held."""


class Ledger(Protocol):
    """The verbs of a ledger. All are atomic, thread-safe and idempotent by the hold's id.

    ``timeout`` is the seconds a verb may wait for the ledger's lock: None for the ledger's own deadline, 0 to raise
    :class:`~budgeted.errors.LedgerLockedError` instead of waiting at all.
    """

    remote: bool
    """Whether a verb does network I/O, so that a coroutine must not call it in its own thread."""

    shared: bool
    """Whether other processes use it, too, and may keep its lock."""

    closed: bool
    """Whether :meth:`close` was called."""

    clock: Callable[[], float]
    """Unix seconds, for :meth:`sweep`."""

    hold_timeout: float
    """Seconds after which :meth:`sweep` charges a hold that nobody ended."""

    turns: Turns
    """The calls of this process that wait for calls in flight."""

    poll: float | None
    """Seconds at most between two tries of a call that waits; None where news of other processes wake it."""

    def new_id(self) -> str:
        """A hold id that no other process makes."""

    def hold(self, id: str, route: Route, ask: Ask, at: int, timeout: float | None = None) -> Granted | Refused | Stale:
        """Set the call's upper bound aside on every account of its route, or on none."""

    def settle(self, id: str, used: Used, at: int, reason: str = "", timeout: float | None = None) -> bool:
        """Replace a hold by what the call cost. With a ``reason`` the charge is uncertain and stays listed."""

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:
        """Drop a hold: nothing was spent."""

    def post(
        self, id: str, route: Route, used: Used, at: int, reason: str = "", timeout: float | None = None
    ) -> bool | Stale:
        """Record a charge that no hold came before. Never refused."""

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone."""

    def reset(self, account: str, at: int) -> None:
        """Forget what an account has spent; open holds stay."""

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""

    def restore(
        self, accounts: Sequence[Account], rows: Sequence[RollupRow], charges: Sequence[tuple[Charge, Route]]
    ) -> None:
        """Take over accounts, report rows and uncertain charges of another ledger, as they are; nothing is counted."""

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:
        """Accounts in order of their ids: those with a prefix, behind ``after``, at most ``count``."""

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""

    def open_holds(self) -> Sequence[Granted]:
        """The holds of calls in flight, of all processes."""

    def sweep(self) -> int:
        """Charge the holds of processes that died, and those older than their time. Returns how many were ended."""

    def renew(self, owner: str, seconds: float) -> None:
        """Count a process that speaks to this one, by the owner in its holds' ids, as alive for so long."""

    def watch(self) -> None:
        """Look for news in the background from now on, as calls of this process wait for it."""

    def idle(self) -> bool:
        """Whether no lock that a verb takes is held, by this thread or another: a finaliser may call one then."""

    def flush(self) -> None:
        """Make everything acknowledged so far durable."""

    def close(self) -> None:
        """Flush, and give up the ledger. Repeating it does nothing."""


def all_accounts(ledger: Ledger, prefix: str = "") -> Iterator[Account]:
    """Every account with a prefix, page by page."""
    after: str | None = None
    while True:
        page = ledger.accounts(prefix, after, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id
