"""The ledger in an SQL database, for all hosts that reach it.

A verb locks the accounts that it is about, in the order of their ids, and reads them into a ledger in memory, which
decides: what all ledgers agree on is written once. What has changed there is written back, and committed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from budgeted.errors import LedgerError, LedgerLockedError
from budgeted.ledger.accounts import GLOBAL, Account, Amendment, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale, at_server_time
from budgeted.ledger.interface import page_of
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.memory.change_records import (
    Amended,
    Change,
    Deleted,
    Held,
    LimitsSet,
    PeriodsSet,
    Restored,
    WasReset,
)
from budgeted.ledger.memory.daily_rollups import RETENTION_DAYS
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.memory.resolved_routes import charge_of, in_flight_of
from budgeted.ledger.network_ledger import DEADLINE, DIED, POLL, READING_SECONDS
from budgeted.ledger.spending_records import Charge, RollupRow, UncertainPage, Used
from budgeted.ledger.sql import lost_state, row_mapping
from budgeted.ledger.sql.account_transactions import AccountTransactions
from budgeted.ledger.sql.database import BusyError, GoneError
from budgeted.ledger.sql.driver_interface import Driver, StoredRow, Value
from budgeted.ledger.sql.ended_ids import BATCH, EndedIds
from budgeted.ledger.sql.in_memory_working_copy import Scratch
from budgeted.ledger.sql.lost_state import LostState
from budgeted.ledger.sql.opening import open_database
from budgeted.ledger.sql.room_messages import RoomMessages, line_of
from budgeted.ledger.sql.row_locking import Verb
from budgeted.ledger.sql.schema import PREFIX
from budgeted.ledger.sql.verb_counts import FORGOTTEN_SECONDS, VerbCounts
from budgeted.ledger.whole_content import Content
from budgeted.limits.periods import NEVER
from budgeted.system.clocks import boot_time

T = TypeVar("T")

REMEMBERED_SECONDS = 3600.0
"""How long a hold that has ended is remembered at least, however many have ended since."""

PRUNING_SECONDS = 60.0
"""How often what is too old is dropped, by each process."""

HEARING_POLL = 3.0
"""Seconds at most between two tries of a call that waits, where messages tell that there may be room."""

MOST_PAYERS = 10_000
"""Holds of which this process keeps in mind whom they are charged to."""


class SQLLedger(LostState):
    """A ledger in a database: PostgreSQL for many hosts, SQLite for one.

    Args:
        where: ``"sqlite:////path/to/file.db"``, ``"postgresql+psycopg://user:password@host/database"``, or an
            SQLAlchemy ``Engine`` for one of them, which stays the caller's to dispose of, and whose own
            ``pool_timeout`` and ``connect_timeout`` hold until it has given a connection. A URL may end in
            ``?table_prefix=...``.
        project: the namespace; several share the tables.
        prefix: what the tables' names begin with, if the URL does not say. They are made if they are not there.
        fsync: for SQLite: ``"always"`` survives a power cut, ``"background"`` a killed process.

    Raises:
        LedgerError: no such database is known, or the tables are of a later version.
        LedgerUnavailableError: it cannot be reached.
    """

    def __init__(
        self, where: str | sa.Engine, project: str = "default", *, prefix: str = PREFIX, fsync: str = "background"
    ) -> None:
        self._database = database = open_database(where, prefix, DEADLINE, fsync=fsync)
        self.project = project
        self.remote = database.remote
        self._project = row_mapping.written(project)
        self._sql = database.statements
        self._rows = AccountTransactions(database, self._project)
        self._old = EndedIds(self._sql, self._project)
        self._identity = ""
        password = database.engine.url.password
        super().__init__(database.where, database.errors, [str(password or "")])
        name = database.engine.url.database if self.remote else os.path.realpath(database.where)
        self.place = f"{self.where if self.remote else ''} {name} {database.tables.schema.name} {project}"
        self._watched = True  # there is nothing to look after yet
        try:
            with self._verb() as deadline:
                self._identity = self._rows.counts.identity = database.prepare(self._project, deadline)
        except GoneError as error:
            self.closed = True
            self._disconnect()
            raise self._lost(str(error), str(self._told.missing(0))) from error
        except BaseException:
            self.closed = True
            self._disconnect()
            raise
        self._watched = False

    def _forked(self) -> None:
        self._database.forked()
        super()._forked()

    def _begin(self) -> None:
        super()._begin()
        self._payers: dict[str, tuple[str, ...]] = {}
        self._prune_due = self._look_due = 0.0
        line = line_of(self._database.prefix, self._project)
        self._room = RoomMessages(self._database, line, self.turns)
        self._rows.counts = VerbCounts(self._sql, self._project, row_mapping.written(self.owner), self._told, line)
        self._rows.counts.identity = self._identity

    def sync_always(self) -> None:
        """Have SQLite sync before it acknowledges. A server decides that itself."""
        self._database.sync_always()

    def _disconnect(self) -> None:
        self._room.stop()
        self._database.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # the constructor did not get that far
            self._disconnect()

    def _unavailable(self, error: Exception, allowed: float) -> LedgerError:
        gone = self._database.gone(error)  # such as while it was being opened
        if gone:
            return self._lost(gone, str(self._told.missing(0)))
        if isinstance(error, BusyError):
            return LedgerLockedError(f"the ledger {self.where} was busy {error} for {allowed:g} seconds")
        return super()._unavailable(error, allowed)

    # -- the life of a hold

    def hold(self, id: str, route: Route, ask: Ask, at: int, timeout: float | None = None) -> Held | Refused | Stale:
        """Set the call's upper bound aside on every account of its route, or on none.

        Returns:
            The hold; a refusal; or ``STALE`` if the route is not that of the accounts' limits and periods any more.
            The same id again gets the same hold.

        Raises:
            LedgerError: the id was used before, for another call or one that has ended; or the server's clock and
                this host's are too far apart.
        """
        names = tuple(leg.account for leg in route.legs)

        def decide(scratch: Scratch) -> Held | Refused | Stale:
            if route.around is None or not any(name in scratch.known for name in names):  # the route is stale
                return scratch.hold(id, route, ask, at)
            return scratch.hold(id, at_server_time(route, scratch.known, scratch.now), ask, int(scratch.now))

        def hold(deadline: float) -> Held | Refused | Stale:
            result = self._rows.change(Verb(id, names, decide, deadline, within=ask.within))
            if isinstance(result, Stale):
                self._rows.check_accounts(deadline, names)
            return result

        if len(self._payers) >= MOST_PAYERS:
            self._payers = {}
        self._payers[id] = names  # also of one that is given back: that waits for what may still be under way there
        with self._given_back(id, at), self._verb(timeout) as deadline:
            self._check_in(deadline)
            result = self._in_step(lambda: hold(deadline), deadline)
        if not isinstance(result, Held):
            self._payers.pop(id, None)
        return result

    def settle(self, id: str, used: Used, at: int, reason: str = "", timeout: float | None = None) -> bool:
        """Replace a hold by what the call cost. With a ``reason`` the charge is uncertain and stays listed.

        Returns:
            False when no hold or charge of that id is known (any more).

        Raises:
            LedgerError: the hold was settled before, with another figure.
        """
        return self._end(id, lambda scratch: scratch.settle(id, used, at, reason), timeout)

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:
        """Drop a hold: nothing was spent. Returns False when no such hold is open."""
        return self._end(id, lambda scratch: scratch.release(id, at), timeout)

    def post(
        self, id: str, route: Route, used: Used, at: int, reason: str = "", timeout: float | None = None
    ) -> bool | Stale:
        """Record a charge that no hold came before, or that of a hold. Never refused for lack of room.

        Returns:
            True, or ``STALE`` as :meth:`hold`.
        """
        names = [leg.account for leg in route.legs]

        def post(scratch: Scratch) -> bool | Stale:
            # Looked for where it may be only here: it is a round trip more.
            if scratch.find(id) is None and self._old.knows(scratch.driver, id):
                return True
            return scratch.post(id, route, used, at, reason)

        return self._change(id, names, post, timeout)

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""
        found = self._charges(self._sql.read_hold, id_=row_mapping.written(id))
        return found[0] if found else None

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""
        return self._change(id, (), lambda scratch: scratch.correct(id, used, at))

    def _end(self, id: str, verb: Callable[[Scratch], bool], timeout: float | None) -> bool:
        payers = self._payers.get(id, ())

        def end(scratch: Scratch) -> bool:
            nonlocal payers
            payers = scratch.payers(id)
            return verb(scratch)

        done = self._change(id, payers, end, timeout)
        self._payers.pop(id, None)
        if self.turns.queues and not self._room.hears:
            self.turns.freed(payers)
        return done

    # -- accounts

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        one = {"id_": row_mapping.written(account)}
        with self._verb() as deadline:
            # Checked, unlike what only reports: calls are planned by it, and its limits kept in mind.
            found = self._in_step(lambda: self._rows.find_checked(deadline, self._sql.read_account, one), deadline)
        if not found:
            return None
        known = row_mapping.account(found[0])
        self._told.read(row_mapping.account(found[0]))  # a copy: the caller may do with his what he likes
        return known

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone."""
        since = lost_state.counted_from(limits)
        told = LimitsSet(account, explicit, tuple(limits))
        verb = functools.partial(lost_state.set_limits, told, create=create)
        with self._verb() as deadline:
            self._in_step(lambda: self._rows.reshape(deadline, account, since, verb, told), deadline)
        self.turns.wake_all()

    def reset(self, account: str, at: int) -> None:
        """Forget what an account has spent; open holds stay."""
        told = WasReset(account, at)
        self._change("", (account,), lambda scratch: scratch.reset(account, at), told=told)
        self.turns.wake_all()

    def set_periods(self, account: str, limits: Sequence[LimitSpec]) -> int:
        """Put limits of an account that have begun a later period back into these. Returns how many there were."""
        since = lost_state.counted_from(limits)
        told = PeriodsSet(account, tuple(limits))
        found: list[int] = []

        def verb(decide: MemoryLedger) -> None:
            found.append(decide.set_periods(account, limits))

        with self._verb() as deadline:
            self._in_step(lambda: self._rows.reshape(deadline, account, since, verb, told), deadline)
        self.turns.wake_all()
        return found[-1]  # of the transaction that went through

    def amend(self, account: str, change: Amendment) -> bool:
        """Change something of an account besides its limits. Returns False where nothing was changed."""
        told = Amended(account, change)
        found: list[bool] = []

        def verb(decide: MemoryLedger) -> None:
            found.append(decide.amend(account, change))

        with self._verb() as deadline:
            self._in_step(lambda: self._rows.reshape(deadline, account, None, verb, told), deadline)
        self.turns.wake_all()
        return found[-1]  # of the transaction that went through

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""
        with self._verb() as deadline:
            told = Deleted(account)
            verb = functools.partial(lost_state.delete, told)
            self._in_step(lambda: self._rows.reshape(deadline, account, None, verb, told), deadline)
        self.turns.wake_all()

    def restore(
        self, accounts: Sequence[Account], rollups: Sequence[RollupRow], uncertain: Sequence[tuple[Charge, Route]]
    ) -> None:
        """Take over accounts, report rows and uncertain charges of another ledger, as they are; nothing is counted.

        Raises:
            LedgerError: one of the accounts has calls in flight.
        """
        charges = tuple(
            Ended(one.id, one.opened, one.held, route.raw, one.used, one.at, one.reason) for one, route in uncertain
        )
        taken = Restored(tuple(accounts), tuple(rollups), charges)
        with self._verb() as deadline:
            self._in_step(lambda: self._rows.restore(deadline, taken), deadline)
        self.turns.wake_all()

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:
        """Accounts in order of their ids: those with a prefix, behind ``after``, at most ``count``."""
        found = self._find(self._sql.list_accounts, **self._page(prefix, after, count))
        return [row_mapping.account(row) for row in found]

    def _page(self, prefix: str, after: str | None, count: int) -> dict[str, Value]:
        prefix = row_mapping.written(prefix)
        return {
            "prefix": prefix,
            "behind": row_mapping.behind(prefix),
            "length": len(prefix),
            "after": "" if after is None else row_mapping.written(after),
            "count": count,
        }

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""
        if account is None:
            found = self._find(self._sql.list_reports, since=since)
        else:
            found = self._find(self._sql.account_reports, since=since, account_=row_mapping.written(account))
        return [row_mapping.report(row) for row in found]

    def spent_most(self, day: int, count: int) -> list[str]:
        """The users that were charged most on a day, the dearest first."""
        given: dict[str, Value] = {"day_": day, "kind": "u:", "count": count}
        with self._verb(READING_SECONDS) as deadline:
            found = self._in_step(lambda: self._rows.find(deadline, self._sql.spent_most, given), deadline)
        return [row_mapping.read(account) for (account,) in found]

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""
        return self._charges(self._sql.uncertain)

    def uncertain_page(self, account: str | None = None, first: int = 0, count: int = 50) -> UncertainPage:
        """Some of them, of an account or of all, from the one with a number on, and what all of these come to."""
        if account is not None:
            name = msgspec.json.encode(account).decode()  # as it stands in routes
            return page_of(self._charges(self._sql.uncertain_with, text=name), account, first, count)
        [[number]] = self._find(self._sql.count_uncertain)
        [sums] = self.uncertain_sums([(GLOBAL, 0, NEVER)])  # which every call is charged to
        some = self._charges(self._sql.some_uncertain, first=first, count=count)
        return UncertainPage(number, sum(sums.values()), some)

    def uncertain_sums(self, wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, int]]:
        """Nano-USD per model that nobody confirmed, of an account's calls opened in a time, for each wanted one.

        Args:
            wanted: accounts, each with the unix seconds from which on and before which calls were opened.
        """

        def sums(driver: Driver) -> list[dict[str, int]]:
            return [self._rows.doubts.of(driver, *one) for one in wanted]

        if not wanted:
            return []
        with self._verb() as deadline:
            return self._in_step(lambda: self._database.run(sums, deadline), deadline)

    def open_holds(self) -> list[Held]:
        """The holds of calls in flight, of all processes."""
        found = [row_mapping.hold(row) for row in self._find(self._sql.open_holds)]
        return [one for one in found if isinstance(one, Held)]

    def everything(self) -> Content:
        """All that it knows, as it is at one instant, though calls go on."""
        everybody = self._page("", None, 2**62)
        with self._verb(READING_SECONDS) as deadline:
            accounts, rows, charges, holds = self._rows.find_at_one_instant(
                deadline,
                (self._sql.list_accounts, everybody),
                (self._sql.list_reports, {"since": 0}),
                (self._sql.uncertain, {}),
                (self._sql.open_holds, {}),
            )
        ended = [one for one in map(row_mapping.hold, charges) if isinstance(one, Ended)]
        held = [one for one in map(row_mapping.hold, holds) if isinstance(one, Held)]
        return Content(
            list(map(row_mapping.account, accounts)),
            list(map(row_mapping.report, rows)),
            list(map(charge_of, ended)),
            list(map(in_flight_of, held)),
        )

    def damage(self) -> list[str]:
        """What SQLite finds wrong with its file. A server looks after its own."""
        if self.remote:
            return []
        with self._verb(READING_SECONDS) as deadline:
            found = self._rows.find(deadline, "PRAGMA integrity_check", {})
        return [f"{self.where}: {text}" for (text,) in found if text != "ok"]

    # -- upkeep

    def watch(self) -> None:
        """Renew the lease, and look after holds that nobody ends; while calls wait, hear that there may be room."""
        super().watch()
        if self.turns.queues:
            self._room.listen()
        self.poll = HEARING_POLL if self._room.hears else POLL

    def _renew_by(self, owner: str, seconds: float, deadline: float) -> None:
        name = row_mapping.written(owner)
        if seconds:
            self._rows.do(deadline, self._sql.renew, {"id": name, "seconds": seconds})
            if owner == self.owner:
                self._rows.counts.renewed = boot_time()
        else:
            self._rows.do(deadline, self._sql.withdraw, {"id_": name})

    def sweep(self) -> int:
        """Charge the holds that nobody has heard of for ``hold_timeout`` seconds, and those of processes that died.

        Returns:
            How many holds were ended.
        """
        given = {"now": self._server_time(), "timeout": float(self.hold_timeout)}
        found = self._find(self._sql.abandoned, **given)
        return sum(
            self._sweep(row_mapping.read(id), given | {"project_": self._project, "id_": id}) for id, _, _ in found
        )

    def _sweep(self, id: str, given: Mapping[str, Value]) -> bool:
        """Charge a hold, if it is still open and abandoned: since it was found, its owner may have come back."""
        at = int(self.clock())

        def charge(scratch: Scratch) -> bool:
            found = scratch.driver.execute(self._sql.still_abandoned, given).fetchall()
            if not found:
                return False
            [(_, guess, late)] = found
            used = row_mapping.guess(guess)
            if used is None:
                return scratch.release(id, at)
            return scratch.settle(id, used, at, f"unheard of for {self.hold_timeout:g} seconds" if late else DIED)

        return self._end(id, charge, None)

    def _beat(self) -> None:
        super()._beat()
        if boot_time() >= self._look_due:
            self._look_due = boot_time() + self.lease / 6
            with self._verb() as deadline:
                self._in_step(lambda: self._rows.check(deadline), deadline)
        if time.monotonic() >= self._prune_due:
            self.prune()

    def prune(self) -> None:
        """Drop what is too old: ended holds, the report's rows, and leases that have run out."""
        self._prune_due = time.monotonic() + PRUNING_SECONDS
        project: dict[str, Value] = {"project_": self._project}
        ended: dict[str, Value] = {
            "remembered": ended_holds.REMEMBERED,
            "now": self._server_time(),
            "seconds": REMEMBERED_SECONDS,
        }
        # Looked for first, as processes that begin at once would wait for each other; and a part at a time.
        while self._find(self._sql.list_old_holds, **ended, count=1):
            with self._verb() as deadline:
                if self._database.run(lambda driver: self._old.prune(driver, ended), deadline) < BATCH:
                    break
        with self._verb() as deadline:
            [[oldest, newest]] = self._rows.find(deadline, self._sql.report_days, {})
            if newest is not None and oldest < newest - RETENTION_DAYS:
                self._rows.do(deadline, self._sql.prune_reports, project | {"before": newest - RETENTION_DAYS})
            self._rows.do(deadline, self._sql.prune_owners, {"seconds": FORGOTTEN_SECONDS})

    # -- what runs in a transaction

    def _charges(self, statement: str, **given: Value) -> list[Charge]:
        found = [row_mapping.hold(row) for row in self._find(statement, **given)]
        return [charge_of(one) for one in found if isinstance(one, Ended)]

    def _find(self, statement: str, **given: Value) -> list[StoredRow]:
        """The rows of one query."""
        with self._verb() as deadline:
            return self._in_step(lambda: self._rows.find(deadline, statement, given), deadline)

    def _change(
        self,
        id: str,
        names: Collection[str],
        verb: Callable[[Scratch], T],
        timeout: float | None = None,
        told: Change | None = None,
    ) -> T:
        with self._verb(timeout) as deadline:
            return self._in_step(lambda: self._rows.change(Verb(id, names, verb, deadline, told)), deadline)
