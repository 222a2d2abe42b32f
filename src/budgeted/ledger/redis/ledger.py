"""The ledger in Redis or Valkey: one Lua script per verb, one round trip each, or one of several calls' verbs together.

The scripts are the files in ``lua/``. A script is atomic, and does nothing to a hold that it has been done to before: a
client that repeats itself because a reply was cut off applies nothing twice. A server that forgot the scripts gets them
again with the verb. Lua counts in doubles, so that limits end below 2**53 nano-USD; what has been spent beyond that, of
one account since its last reset, is exact to a nano-USD per charge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.accounts import Account, Amendment, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import STALE, Route, Stale, period_at
from budgeted.ledger.interface import in_flight
from budgeted.ledger.memory import change_records, ended_holds
from budgeted.ledger.memory.change_records import Amended, Deleted, Held, LimitsSet, Released, Settled
from budgeted.ledger.memory.daily_rollups import Reports
from budgeted.ledger.memory.new_limits import put_back
from budgeted.ledger.memory.resolved_routes import in_flight_of
from budgeted.ledger.network_ledger import READING_SECONDS
from budgeted.ledger.redis.exact_integers import (
    EXACT,
    check_ask,
    check_limits,
    check_used,
    too_large_limit,
    too_large_raise,
)
from budgeted.ledger.redis.script_runner import ScriptRunner
from budgeted.ledger.redis.stored_records import (
    account_of,
    charge_of,
    correction_of,
    decode,
    hold_of,
    packed_amendment,
    packed_ask,
    packed_route,
    report_rows,
    stored_account,
    stored_charge,
    with_parts,
)
from budgeted.ledger.spending_records import Charge, RollupRow, Used
from budgeted.ledger.whole_content import Content
from budgeted.system.clocks import boot_time

PAGE = 1000
"""Accounts read, or holds swept, by one script: nobody else is served meanwhile."""

GRANTS = 2**21
"""Grants below it are told in one number with the count of verbs, which is multiplied by it."""

MOST_CLIENTS = 10_000
"""Clients whose old holds are looked after, where this process serves others."""

MOST_ROUTES = 10_000
"""Routes that are kept as the scripts take them."""


class RedisLedger(ScriptRunner):
    """Balances in Redis or Valkey, shared by all processes and hosts that use the same project.

    Args:
        server: a ``redis://`` or ``rediss://`` URL, whose query may set redis-py's options (``?socket_timeout=1``); or
            a ``redis.Redis`` or ``redis.RedisCluster`` of one's own, with its timeouts and retries.
        project: the namespace: all keys begin with ``budgeted:{project}``.

    Raises:
        LedgerError: the URL cannot be read; the server may evict keys; or a newer version of this package has written
            there.
        LedgerUnavailableError: it cannot be reached, or refuses.
    """

    def _begin(self) -> None:
        super()._begin()
        self._clients: set[str] = set()
        self._routes: dict[int, tuple[Route, msgspec.Raw]] = {}

    def _packed(self, route: Route) -> msgspec.Raw:
        """A route as the scripts take it. It is packed once, as many calls take the same."""
        # By identity, which is fast. The route is kept beside it, so that its id is nobody else's meanwhile.
        known = self._routes.get(id(route))
        if known is not None and known[0] is route:
            return known[1]
        # All at once: to drop the oldest, each call would have to keep an order up to date.
        if len(self._routes) >= MOST_ROUTES:
            self._routes = {}
        packed = packed_route(route)
        self._routes[id(route)] = route, packed
        return packed

    # -- the life of a hold

    def hold(self, id: str, route: Route, ask: Ask, at: int, timeout: float | None = None) -> Held | Refused | Stale:
        """Set the call's upper bound aside on every account of its route, or on none.

        Returns:
            The hold; a refusal; or :data:`STALE` if the route is not that of the accounts' limits any more. The same
            id again gets the same hold.

        Raises:
            LedgerError: the id was used before, for another call or one that has ended; the call may cost more than a
                Redis can count; or the server's clock is in none of the periods that the route offers.
            LedgerUnavailableError: the server did not answer. If it has made the hold after all, that is given back.
        """
        check_ask(ask)
        # From before the request: the server counts from when it gets it, so that the lease ends here first.
        began, owner = boot_time(), self._owner_of(id)
        lease = self.lease if owner is self.owner and began >= self._lease_due else False
        try:
            waits = (True,) if self.turns.queues and self._turn_messages.listen() else ()
            reply = self._run(
                "hold", id, at, owner, lease, packed_ask(ask), self._packed(route), *waits, timeout=timeout
            )
        except LedgerUnavailableError as error:
            self._doubt(id, at, error)
            raise
        if lease:
            self._lease_due = began + self.lease / 2
        if not isinstance(reply, bytes):
            parts: Sequence[Any] = ()
            if isinstance(reply, int):
                count, granted = divmod(reply, GRANTS)
            else:
                count, granted, at, *parts = reply
            held = change_records.held(id, at, granted, ask, route.raw)
            if parts:
                held = with_parts(held, *parts)
            self._answered(count, held)
            return held
        kind, *answer = decode(reply)
        if kind == "refused":
            return Refused(*answer[0])
        if kind == "clock":
            return _other_clock(route, *answer)
        if kind == "stale":
            return STALE
        what = "has ended" if kind == "ended" else "exists with other amounts"
        msg = f"hold {id!r} {what}; every call needs an id of its own"
        raise LedgerError(msg)

    def _owner_of(self, id: str) -> str:
        """Whose hold it is: this process's, or that of a client whom it speaks for, who dies for himself."""
        if id.startswith(self._prefix):
            return self.owner
        owner = id.partition(".")[0]
        if owner not in self._clients:
            # All at once: each is noted again at its next hold.
            if len(self._clients) >= MOST_CLIENTS:
                self._clients.clear()
            self._clients.add(owner)
        return owner

    def settle(self, id: str, used: Used, at: int, reason: str = "", timeout: float | None = None) -> bool:
        """Replace a hold by what the call cost. With a ``reason`` the charge is uncertain and stays listed.

        Returns:
            False when no hold or charge of that id is known (any more).

        Raises:
            LedgerError: the hold was settled before, with another figure.
        """
        check_used(used)
        return self._charge("settle", id, used, at, reason, timeout=timeout) is True

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:  # noqa: ARG002 - the verbs are alike
        """Drop a hold: nothing was spent. Returns False when no such hold is open."""
        kind, count, *freed = self._ask("release", ended_holds.REMEMBERED, id, timeout=timeout)
        self._answered(count, Released(id))
        if freed:
            self._freed(freed[0])
        return bool(kind == "done")

    def post(
        self, id: str, route: Route, used: Used, at: int, reason: str = "", timeout: float | None = None
    ) -> bool | Stale:
        """Record a charge that no hold came before, or that of a hold. Never refused for lack of room.

        Returns:
            True, or :data:`STALE` as :meth:`hold`.
        """
        check_used(used)
        return self._charge("post", id, used, at, reason, route, timeout=timeout)

    def _charge(
        self,
        verb: str,
        id: str,
        used: Used,
        at: int,
        reason: str,
        route: Route | None = None,
        timeout: float | None = None,
    ) -> bool | Stale:
        by = () if route is None else (self._packed(route),)
        kind, *answer = self._ask(verb, ended_holds.REMEMBERED, id, used, at, reason, *by, timeout=timeout)
        if kind == "stale":
            return STALE
        if kind == "other":
            raise _settled_before(id, answer[1], used)
        # One that was held, and was not dropped, has ended so before: that answer was lost, and its id is forgotten.
        if kind == "dropped" or (kind == "unknown" and not self._told.is_open(id)):
            self._answered(answer[0])
            return False
        self._told.charged(answer[0] - 1, answer[0], id, used, at, reason, None if route is None else route.raw)
        if answer[1:]:
            self._freed(answer[1])
        return True

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""
        return charge_of(self._run("find_ended_hold", id))

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""
        check_used(used)
        count, before = correction_of(self._run("correct", ended_holds.REMEMBERED, self.new_id(), id, used, at))
        self._answered(count, Settled(id, at, used) if before else None)
        return before

    # -- accounts

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        found = account_of(*self._run("read_account", account))
        if found is not None:
            self._told.read(found)
        return found

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone.

        Raises:
            LedgerError: a limit is too large to be counted exactly, with what was added to it.
        """
        check_limits(limits)
        count, done = self._ask("set_limits", self.new_id(), account, limits, explicit, create)
        self._answered(count, None if create or done is not True else LimitsSet(account, explicit, tuple(limits)))
        if done is not True:
            raise too_large_limit(limits[done - 1], is_raised=True)
        self.turns.wake_all()

    def reset(self, account: str, at: int) -> None:  # noqa: ARG002 - the verbs are alike
        """Forget what an account has spent; open holds stay."""
        count, _ = self._ask("reset", self.new_id(), account)
        self._answered(count)
        self.turns.wake_all()

    def set_periods(self, account: str, limits: Sequence[LimitSpec]) -> int:
        """Put limits of an account that have begun a later period back into these. Returns how many there were.

        Who makes calls must have stopped: what is charged in this very moment may not be counted.

        Raises:
            LedgerError: the account has calls in flight.
        """
        found = self.read(account)
        moved = put_back(found, limits, Reports(self.rollups(0, account))) if found is not None else []
        if found is not None and moved:
            self.restore([found], (), ())
        return len(moved)

    def amend(self, account: str, change: Amendment) -> bool:
        """Change something of an account besides its limits; it comes into being if it is not there.

        Returns:
            False where a limit that is to be raised is not there, or has begun a later period: nothing was changed.

        Raises:
            LedgerError: the limit would become too large to be counted exactly.
        """
        if change.raised is not None and change.raised[1] >= EXACT:
            raise too_large_raise(change)
        count, done = self._ask("amend", self.new_id(), account, *packed_amendment(change))
        self._answered(count, Amended(account, change) if done is True else None)
        if done not in (True, False):
            raise too_large_raise(change)
        self.turns.wake_all()
        return bool(done)

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""
        count, _ = self._ask("delete", self.new_id(), account)
        self._answered(count, Deleted(account))
        self.turns.wake_all()

    def restore(
        self, accounts: Sequence[Account], rows: Sequence[RollupRow], charges: Sequence[tuple[Charge, Route]]
    ) -> None:
        """Take over accounts, report rows and uncertain charges of another ledger, as they are; nothing is counted.

        Raises:
            LedgerError: one of the accounts has calls in flight, or a limit is too large to be counted exactly.
        """
        for account in accounts:
            check_limits(account.slots)
            if account.held:
                raise in_flight(account.id)
        busy = self._ask(
            "restore",
            [(stored_account(account), account.models or False) for account in accounts],
            [(row.day, row.account, msgspec.structs.astuple(row)[2:]) for row in rows],
            [stored_charge(charge, route) for charge, route in charges],
        )
        if busy:
            raise in_flight(busy)
        self.turns.wake_all()

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:
        """Accounts in order of their ids: those with a prefix, behind ``after``, at most ``count``."""
        found: list[Account] = []
        while len(found) < count:
            page = min(PAGE, count - len(found))
            last = found[-1].id if found else after or False
            flat = self._run("list_accounts", prefix, last, page)
            found += (account for pair in zip(flat[::2], flat[1::2], strict=True) if (account := account_of(*pair)))
            if len(flat) < 2 * page:
                break
        return found

    # -- reports

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""
        rows: list[RollupRow] = []
        while found := self._run("list_daily_rollups", since, account or False):
            day, flat = found
            for name, raw in zip(flat[::2], flat[1::2], strict=True):
                rows += report_rows(day, name.decode(), raw)
            since = day + 1
        return rows

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""
        found = [charge_of(raw) for raw in self._run("list_uncertain_charges")]
        return sorted(filter(None, found), key=lambda charge: (charge.at, charge.opened))

    def open_holds(self) -> list[Held]:
        """The holds of calls in flight, of all processes."""
        return [hold_of(raw) for raw in self._run("list_open_holds")]

    def everything(self) -> Content:
        """All that it knows, as it is at one instant, though calls go on; the server answers nobody else meanwhile."""
        accounts, holds, charges, days = self._run("everything", timeout=READING_SECONDS)
        found = [account_of(raw, models) for raw, models in zip(accounts[::2], accounts[1::2], strict=True)]
        rows: list[RollupRow] = []
        for day, flat in zip(days[::2], days[1::2], strict=True):
            for name, raw in zip(flat[::2], flat[1::2], strict=True):
                rows += report_rows(day, name.decode(), raw)
        return Content(
            [account for account in found if account is not None],
            rows,
            [charge for raw in charges if (charge := charge_of(raw)) is not None],
            [in_flight_of(hold_of(raw)) for raw in holds],
        )

    def _renew_by(self, owner: str, seconds: float, deadline: float) -> None:  # noqa: ARG002 - it is the client's
        self._ask("renew", owner, seconds)
        if not seconds:
            self._clients.discard(owner)

    def sweep(self) -> int:
        """Charge the holds of processes that died, and this process's and its clients' older than ``hold_timeout``.

        Returns:
            How many holds were ended.
        """
        now = self._server_time()
        at = False if now is None else int(now)
        reason = f"unheard of for {self.hold_timeout:g} seconds"
        timeout, mine = self.hold_timeout, [self.owner, *self._clients]
        swept = 0
        some = PAGE
        while some == PAGE:
            some, freed = self._ask("sweep", ended_holds.REMEMBERED, mine, at, timeout, reason, PAGE)
            swept += some
            self._freed(set(freed))
        return swept


def _settled_before(id: str, was: Sequence[int], used: Used) -> LedgerError:
    return LedgerError(
        f"hold {id!r} was settled before with {Used(*was)}; a correction to {used} goes through reconcile()"
    )


def _other_clock(route: Route, now: int, index: int) -> Stale:
    limits = [limit for leg in route.legs for limit in leg.limits]
    period_at(now, limits[index], (route.around or ())[index])  # raises
    return STALE
