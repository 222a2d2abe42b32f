"""The ledger in Redis or Valkey: one Lua script per verb, one round trip each.

The scripts are the files in ``lua/``. A script is atomic, and does nothing to a hold that it has been done to before: a
client that repeats itself because a reply was cut off applies nothing twice. A server that forgot the scripts gets them
again with the verb. Lua counts in doubles, so that limits end below 2**53 nano-USD; what has been spent beyond that, of
one account since its last reset, is exact to a nano-USD per charge.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.accounts import Account, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import STALE, Route, Stale, period_at
from budgeted.ledger.interface import in_flight
from budgeted.ledger.memory import change_records, ended_holds
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.resolved_routes import in_flight_of
from budgeted.ledger.network_ledger import READING_SECONDS, RemoteLedger, lasting
from budgeted.ledger.redis.connection import Commands, address, database, new_client, warn_of_policy
from budgeted.ledger.redis.exact_integers import check_ask, check_limits, check_used
from budgeted.ledger.redis.keys import redis_key
from budgeted.ledger.redis.lua_scripts import script
from budgeted.ledger.redis.stored_records import (
    account_of,
    charge_of,
    encode,
    hold_of,
    packed_ask,
    packed_route,
    report_rows,
    stored_account,
    stored_charge,
)
from budgeted.ledger.spending_records import Charge, RollupRow, Used
from budgeted.ledger.whole_content import Content

if TYPE_CHECKING:
    from budgeted.ledger.redis.connection import Client

PAGE = 1000
"""Accounts read, or holds swept, by one script: nobody else is served meanwhile."""

POSTED_SECONDS = 86_400
"""How long a charge without a hold is known by its id at least."""

MOST_CLIENTS = 10_000
"""Clients whose old holds are looked after, where this process serves others."""

MOST_ROUTES = 10_000
"""Routes that are kept as the scripts take them."""

FORMAT = "1 "
"""How the mark of a ledger begins that this version can read."""


class RedisLedger(RemoteLedger):
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

    def __init__(self, server: str | Client, project: str) -> None:
        import redis

        self._server = server
        self._no_script = redis.exceptions.NoScriptError
        self._key = redis_key(project).encode()
        client = new_client(server)
        where, secret = address(client)
        super().__init__(where, (redis.RedisError, OSError), secret)
        self.place = f"{where} {database(client)} {project}"
        try:
            self._open()
        except TypeError as error:  # of what the URL's query says, only now
            msg = f"redis-py does not take what the query of the ledger's URL says: {error}"
            raise LedgerError(msg) from None

    def _begin(self) -> None:
        super()._begin()
        self._clients: set[str] = set()
        self._routes: dict[int, tuple[Route, msgspec.Raw]] = {}
        # Also in a forked child: a pool's locks may be held by threads that only the parent has.
        self._client: Commands = new_client(self._server)

    def _open(self) -> None:
        mark, policy = self._run("open_ledger", FORMAT + secrets.token_hex(8), guarded=False)
        self._mark = mark.decode()
        if not self._mark.startswith(FORMAT):
            msg = f"the ledger at {self.where} was written by a newer version of budgeted; upgrade this one"
            raise LedgerError(msg)
        if policy and policy != b"noeviction":
            msg = (
                f"the Redis at {self.where} may evict keys, and budgets with them (maxmemory-policy "
                f"{policy.decode()}); set maxmemory-policy to noeviction there, or use another server"
            )
            raise LedgerError(msg)
        if not policy:
            warn_of_policy(self.where)

    # -- scripts

    def _run(self, verb: str, *args: object, guarded: bool = True, timeout: float | None = None) -> Any:
        """Run a verb's script; its reply.

        ``guarded`` refuses to go on with balances that are not those that were opened. Verbs that end what began
        before go without, and those with a route look at the same time as at its accounts.
        """
        # Nearly every verb needs nothing of this, and entering a generator each time takes its time.
        if self.closed or timeout == 0 or not self._watched:
            with self._verb(timeout):  # raises, or looks after the lease from now on
                pass
        text, sha = script(verb)
        rest = 1, self._key, self._mark if guarded else "", encode(args)
        run = self._client.execute_command
        try:
            try:
                return run("EVALSHA", sha, *rest, NEVER_DECODE=True)
            except self._no_script:
                return run("EVAL", text, *rest, NEVER_DECODE=True)
        except self._errors as error:
            if not str(error).startswith("GONE"):
                raise self._unavailable(error, self.deadline) from error
            raise self._gone() from None

    def _gone(self) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"the balances at {self.where} are gone: the server was emptied, or started again without its data. "
            f"Restore them, or start this program again to begin anew; until then calls are refused"
        )

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

    def _ask(self, verb: str, *args: object, guarded: bool = True, timeout: float | None = None) -> Any:
        """Run a verb's script that answers in MessagePack."""
        return msgspec.msgpack.decode(self._run(verb, *args, guarded=guarded, timeout=timeout))

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
        began, owner = lasting(), self._owner_of(id)
        lease = self.lease if owner is self.owner and began >= self._lease_due else False
        asked = id, at, owner, lease, self._mark, packed_ask(ask), self._packed(route)
        try:
            reply = self._run("hold", *asked, guarded=False, timeout=timeout)
        except LedgerUnavailableError as error:
            self._doubt(id, at, error)
            raise
        if lease:
            self._lease_due = began + self.lease / 2
        if isinstance(reply, int):
            return change_records.held(id, at, reply, ask, route.raw)
        if isinstance(reply, list):
            granted, at = reply
            return change_records.held(id, at, granted, ask, route.raw)
        kind, *answer = msgspec.msgpack.decode(reply)
        if kind == "refused":
            return Refused(*answer[0])
        if kind == "clock":
            return _other_clock(route, *answer)
        if kind == "stale":
            return STALE
        if kind == "gone":
            raise self._gone()
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
        return self._end("settle", id, used, at, reason, timeout=timeout)

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:  # noqa: ARG002 - the verbs are alike
        """Drop a hold: nothing was spent. Returns False when no such hold is open."""
        return self._end("release", id, timeout=timeout)

    def _end(self, verb: str, id: str, *args: object, timeout: float | None) -> bool:
        kind, *answer = self._ask(verb, ended_holds.REMEMBERED, id, *args, guarded=False, timeout=timeout)
        if kind == "other":
            raise _settled_before(id, answer[0], cast("Used", args[0]))
        if kind == "done" and self.turns.queues:
            self.turns.freed(answer[0])
        return bool(kind == "done")

    def post(
        self, id: str, route: Route, used: Used, at: int, reason: str = "", timeout: float | None = None
    ) -> bool | Stale:
        """Record a charge that no hold came before, or that of a hold. Never refused for lack of room.

        Returns:
            True, or :data:`STALE` as :meth:`hold`.
        """
        check_used(used)
        kind, *answer = self._ask(
            "post",
            ended_holds.REMEMBERED,
            id,
            used,
            at,
            reason,
            POSTED_SECONDS,
            self._mark,
            self._packed(route),
            guarded=False,
            timeout=timeout,
        )
        if kind == "gone":
            raise self._gone()
        if kind == "other":
            raise _settled_before(id, answer[0], used)
        if kind == "done" and self.turns.queues:
            self.turns.freed(answer[0])
        return STALE if kind == "stale" else True

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""
        return charge_of(self._run("find_ended_hold", id))

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""
        check_used(used)
        return charge_of(self._run("correct", ended_holds.REMEMBERED, self.new_id(), id, used, at))

    # -- accounts

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        return account_of(*self._run("read_account", account))

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone.

        Raises:
            LedgerError: a limit is too large to be counted exactly.
        """
        check_limits(limits)
        self._ask("set_limits", self.new_id(), account, limits, explicit, create)
        self.turns.wake_all()

    def reset(self, account: str, at: int) -> None:  # noqa: ARG002 - the verbs are alike
        """Forget what an account has spent; open holds stay."""
        self._ask("reset", self.new_id(), account)
        self.turns.wake_all()

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""
        self._ask("delete", self.new_id(), account)
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
        accounts, models, holds, charges, days = self._run("everything", timeout=READING_SECONDS)
        spent = dict(zip(models[::2], models[1::2], strict=True))
        pairs = zip(accounts[::2], accounts[1::2], strict=True)
        found = [account_of(raw, spent.get(name)) for name, raw in pairs if name]  # what has no name is the mark
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

    # -- upkeep

    def _renew_by(self, owner: str, seconds: float, deadline: float) -> None:  # noqa: ARG002 - it is the client's
        self._ask("renew", owner, seconds, guarded=False)
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
            some, freed = self._ask("sweep", ended_holds.REMEMBERED, mine, at, timeout, reason, PAGE, guarded=False)
            swept += some
            if freed and self.turns.queues:
                self.turns.freed(set(freed))
        return swept

    def _disconnect(self) -> None:
        if isinstance(self._server, str):
            self._client.close()


def _settled_before(id: str, was: Sequence[int], used: Used) -> LedgerError:
    return LedgerError(
        f"hold {id!r} was settled before with {Used(*was)}; a correction to {used} goes through reconcile()"
    )


def _other_clock(route: Route, now: int, index: int) -> Stale:
    limits = [limit for leg in route.legs for limit in leg.limits]
    period_at(now, limits[index], (route.around or ())[index])  # raises
    return STALE
