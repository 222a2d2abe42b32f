"""The ledger in an SQL database, for all hosts that reach it.

A verb locks the accounts that it is about, in the order of their ids, and reads them into a ledger in memory, which
decides: what all ledgers agree on is written once. What has changed there is written back, and committed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from budgeted.errors import LedgerLockedError, LedgerUnavailableError
from budgeted.ledger.accounts import Account, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale, at_server_time
from budgeted.ledger.interface import in_flight
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.daily_rollups import RETENTION_DAYS
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.memory.state import Saved, State
from budgeted.ledger.network_ledger import DEADLINE, DIED, RemoteLedger
from budgeted.ledger.spending_records import Charge, RollupRow, Used
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.database import BusyError
from budgeted.ledger.sql.opening import open_database
from budgeted.ledger.sql.schema import PREFIX
from budgeted.ledger.wait_queues import WaitQueues

T = TypeVar("T")

REMEMBERED_SECONDS = 3600.0
"""How long a hold that has ended is remembered at least, however many have ended since."""

PRUNING_SECONDS = 60.0
"""How often what is too old is dropped, by each process."""

MOST_PAYERS = 10_000
"""Holds of which this process keeps in mind whom they are charged to."""


class SQLLedger(RemoteLedger):
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
        password = database.engine.url.password
        super().__init__(database.where, database.errors, [str(password or "")])
        self._watched = True  # there is nothing to look after yet
        try:
            with self._verb() as deadline:
                database.prepare(self._project, deadline)
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
        self._prune_due = 0.0

    def sync_always(self) -> None:
        """Have SQLite sync before it acknowledges. A server decides that itself."""
        self._database.sync_always()

    def _disconnect(self) -> None:
        self._database.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # the constructor did not get that far
            self._disconnect()

    def _unavailable(self, error: Exception, allowed: float) -> LedgerUnavailableError:
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

        def decide(scratch: _Scratch) -> Held | Refused | Stale:
            if route.around is None or not scratch.known:  # without accounts there is no time, and the route is stale
                return scratch.hold(id, route, ask, at)
            return scratch.hold(id, at_server_time(route, scratch.known, scratch.now), ask, int(scratch.now))

        if len(self._payers) >= MOST_PAYERS:
            self._payers = {}
        self._payers[id] = names  # also of one that is given back: that waits for what may still be under way there
        with self._given_back(id, at), self._verb(timeout) as deadline:
            self._check_in(deadline)
            result = self._change_by(deadline, id, names, decide)
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
        return self._change(id, names, lambda scratch: scratch.post(id, route, used, at, reason), timeout)

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""
        found = self._charges(self._sql.read_hold, id_=row_mapping.written(id))
        return found[0] if found else None

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""
        return self._change(id, (), lambda scratch: scratch.correct(id, used, at))

    def _end(self, id: str, verb: Callable[[_Scratch], bool], timeout: float | None) -> bool:
        payers = self._payers.get(id, ())

        def end(scratch: _Scratch) -> bool:
            nonlocal payers
            payers = scratch.payers
            return verb(scratch)

        done = self._change(id, payers, end, timeout)
        self._payers.pop(id, None)
        if self.turns.queues:
            self.turns.freed(payers)
        return done

    # -- accounts

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        found = self._find(self._sql.read_account, id_=row_mapping.written(account))
        return row_mapping.account(found[0]) if found else None

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone."""
        since = min((spec.since for spec in limits if spec.since >= 0), default=None)
        self._reshape(
            account, since, lambda scratch: scratch.set_limits(account, limits, explicit=explicit, create=create)
        )
        self.turns.wake_all()

    def reset(self, account: str, at: int) -> None:
        """Forget what an account has spent; open holds stay."""
        self._change("", (account,), lambda scratch: scratch.reset(account, at))
        self.turns.wake_all()

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""
        self._reshape(account, None, lambda scratch: scratch.delete(account))
        self.turns.wake_all()

    def restore(
        self, accounts: Sequence[Account], rollups: Sequence[RollupRow], uncertain: Sequence[tuple[Charge, Route]]
    ) -> None:
        """Take over accounts, report rows and uncertain charges of another ledger, as they are; nothing is counted.

        Raises:
            LedgerError: one of the accounts has calls in flight.
        """
        project = {"project_": self._project}

        def work(driver: Any) -> None:
            version = self._version(driver.execute(self._sql.lock_project, {"project": self._project}).fetchall())
            found = {}
            for name in sorted(account.id for account in accounts):
                one = {"id0": row_mapping.written(name), **project}
                found[name] = driver.execute(self._sql.lock_accounts(1), one).fetchall()
            held = _state(version, [], driver.execute(self._sql.open_holds, project).fetchall(), []).held()
            for account in accounts:
                if account.held or account.id in held:
                    raise in_flight(account.id)
                version += 1
                taken = msgspec.structs.replace(account, version=version)
                self._save_account(driver, account.id, taken, found[account.id], named=False)
            driver.execute(self._sql.update_project, {"project": self._project, "to_version": version})
            for row in rollups:
                driver.execute(self._sql.put_report, row_mapping.report_row(self._project, row))
            for charge, route in uncertain:
                self._put_charge(driver, charge, route)

        with self._verb() as deadline:
            self._database.run(work, deadline)
        self.turns.wake_all()

    def _put_charge(self, driver: Any, charge: Charge, route: Route) -> None:
        ended = Ended(charge.id, charge.opened, charge.held, route.raw, charge.used, charge.at, charge.reason)
        row = row_mapping.hold_row(self._project, ended)
        known = {"project_": self._project, "id_": row["id"]}
        if driver.execute(self._sql.lock_hold, known).fetchall():
            self._update_hold(driver, row)
        else:
            driver.execute(self._sql.insert_hold, row)

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:
        """Accounts in order of their ids: those with a prefix, behind ``after``, at most ``count``."""
        prefix = row_mapping.written(prefix)
        found = self._find(
            self._sql.list_accounts,
            prefix=prefix,
            length=len(prefix),
            after="" if after is None else row_mapping.written(after),
            count=count,
        )
        return [row_mapping.account(row) for row in found]

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""
        if account is None:
            found = self._find(self._sql.list_reports, since=since)
        else:
            found = self._find(self._sql.account_reports, since=since, account_=row_mapping.written(account))
        return [row_mapping.report(row) for row in found]

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""
        return self._charges(self._sql.uncertain)

    def open_holds(self) -> list[Held]:
        """The holds of calls in flight, of all processes."""
        found = [row_mapping.hold(row) for row in self._find(self._sql.open_holds)]
        return [one for one in found if isinstance(one, Held)]

    # -- upkeep

    def _renew_by(self, owner: str, seconds: float, deadline: float) -> None:
        if seconds:
            statement, given = self._sql.renew, {"id": row_mapping.written(owner), "seconds": seconds}
        else:
            statement, given = self._sql.withdraw, {"id_": row_mapping.written(owner)}
        self._database.run(lambda driver: driver.execute(statement, given), deadline, alone=True)

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

    def _sweep(self, id: str, given: Mapping[str, Any]) -> bool:
        """Charge a hold, if it is still open and abandoned: since it was found, its owner may have come back."""
        at = int(self.clock())

        def charge(scratch: _Scratch) -> bool:
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
        if time.monotonic() >= self._prune_due:
            self.prune()

    def prune(self) -> None:
        """Drop what is too old: ended holds, the report's rows, and leases that have run out."""
        self._prune_due = time.monotonic() + PRUNING_SECONDS
        project = {"project_": self._project}
        ended = {
            "remembered": ended_holds.REMEMBERED,
            "now": self._server_time(),
            "seconds": REMEMBERED_SECONDS,
        }
        with self._verb() as deadline:
            for statement, given in (
                (self._sql.prune_holds, project | ended),
                (self._sql.prune_reports, project | {"days": RETENTION_DAYS}),
                (self._sql.prune_owners, {}),
            ):
                self._database.run(lambda driver: driver.execute(statement, given), deadline, alone=True)  # noqa: B023

    # -- transactions

    def _charges(self, statement: str, **given: str) -> list[Charge]:
        state = State()
        found = [row_mapping.hold(row) for row in self._find(statement, **given)]
        return [state.charge(one) for one in found if isinstance(one, Ended)]

    def _find(self, statement: str, **given: Any) -> list[Any]:
        """The rows of one query."""
        given["project_"] = self._project

        def find(driver: Any) -> list[Any]:
            return list(driver.execute(statement, given).fetchall())

        with self._verb() as deadline:
            return self._database.run(find, deadline, alone=True)

    def _change(
        self, id: str, names: Collection[str], verb: Callable[[_Scratch], T], timeout: float | None = None
    ) -> T:
        with self._verb(timeout) as deadline:
            return self._change_by(deadline, id, names, verb)

    def _change_by(self, deadline: float, id: str, names: Collection[str], verb: Callable[[_Scratch], T]) -> T:
        """Have a verb decide about a hold (``""`` for none) and accounts.

        The hold's own accounts are locked, too: where it turns out to have others, all is locked again.
        """
        wanted = set(names)

        def work(driver: Any) -> list[T]:
            scratch = self._load(driver, id, wanted)
            if not wanted.issuperset(scratch.payers):
                wanted.update(scratch.payers)
                driver.rollback()
                return []
            result = verb(scratch)
            if not self._save(driver, scratch):
                driver.rollback()
            return [result]

        for _ in range(2):
            found = self._database.run(work, deadline)
            if found:
                return found[0]
        msg = f"hold {id!r} is charged to other accounts every time that it is looked at"
        raise LedgerUnavailableError(msg)

    def _load(self, driver: Any, id: str, names: Collection[str]) -> _Scratch:
        """Lock and read accounts and a hold."""
        project = {"project_": self._project}
        accounts = hold = None
        if names:
            ids = {f"id{i}": row_mapping.written(name) for i, name in enumerate(names)}
            accounts = driver.execute(self._sql.lock_accounts(len(names)), ids | project)
        if id:
            hold = driver.execute(self._sql.lock_hold, {"id_": row_mapping.written(id), **project})
        self._database.answered(driver)
        return _Scratch(driver, id, accounts.fetchall() if accounts else (), hold.fetchall() if hold else ())

    def _save(self, driver: Any, scratch: _Scratch) -> bool:
        """Write what has changed. Returns whether anything has."""
        accounts = scratch.changed_accounts(self._project)
        for row in accounts:
            driver.execute(self._sql.update_account, row | {"project_": self._project, "id_": row["id"]})
        hold = scratch.changed_hold()
        if hold is not None:
            row = row_mapping.hold_row(self._project, hold)
            if scratch.found is None:
                driver.execute(self._sql.insert_hold, row)
            else:
                self._update_hold(driver, row)
        for figures in scratch.charged():
            driver.execute(self._sql.add_report, row_mapping.report_row(self._project, figures))
        return bool(accounts) or hold is not None

    def _update_hold(self, driver: Any, row: row_mapping.Row) -> None:
        given = {name: row[name] for name in ("route", "ended", "used", "reason")}
        driver.execute(self._sql.update_hold, given | {"project_": self._project, "id_": row["id"]})

    def _reshape(self, account: str, since: int | None, verb: Callable[[MemoryLedger], object]) -> None:
        """Have a verb change what an account is, with the calls that it has in flight. One process at a time does."""
        project = {"project_": self._project}

        def work(driver: Any) -> None:
            def ask(statement: str, given: Mapping[str, Any]) -> list[Any]:
                answer = driver.execute(statement, given)
                self._database.answered(driver)
                return list(answer.fetchall())

            version = self._version(ask(self._sql.lock_project, {"project": self._project}))
            found = ask(self._sql.lock_accounts(1), {"id0": row_mapping.written(account), **project})
            holds: list[Any] = []
            past: list[Any] = []
            if found:
                holds = ask(self._sql.open_holds, project)
                if since is not None:
                    past = ask(
                        self._sql.account_reports, {"account_": row_mapping.written(account), "since": since, **project}
                    )
            state = _state(version, found, holds, past)
            before = {id: (bytes(held.route), account in bound.names) for id, (held, bound) in state.holds.items()}
            verb(_Deciding(state))
            if state.version != version:
                driver.execute(self._sql.update_project, {"project": self._project, "to_version": state.version})
            now = state.accounts.get(account)
            if now is not None:
                now.held = state.held().get(account, 0)
            self._save_account(driver, account, now, found, named=any(names for _, names in before.values()))
            for id, (held, _) in state.holds.items():
                if bytes(held.route) != before[id][0]:
                    self._update_hold(driver, row_mapping.hold_row(self._project, held))

        with self._verb() as deadline:
            self._database.run(work, deadline)

    def _version(self, projects: list[Any]) -> int:
        """The last version that an account got; every ledger that was opened has noted its project."""
        if not projects:
            msg = (
                f"the balances at {self.where} are gone: the tables were emptied. Restore them, or start this program "
                f"again to begin anew; until then calls are refused"
            )
            raise LedgerUnavailableError(msg)
        return int(projects[0][0])

    def _save_account(self, driver: Any, name: str, now: Account | None, found: list[Any], *, named: bool) -> None:
        """Write an account, or drop it. One that calls in flight name stays, marked as gone, so that it is locked."""
        one = {"project_": self._project, "id_": row_mapping.written(name)}
        row = row_mapping.account_row(self._project, now or Account(name), gone=now is None)
        if not found:
            if now is not None:
                driver.execute(self._sql.insert_account, row)
        elif now is None and not named:
            driver.execute(self._sql.delete_account, one)
        elif not row_mapping.same(row, found[0]):
            driver.execute(self._sql.update_account, row | one)


class _Deciding(MemoryLedger):
    """A ledger in memory for one decision on a few accounts and holds."""

    def __init__(self, state: State) -> None:
        # Not the constructor of ledgers that live on: nobody waits for this one, or looks after it.
        self._state = state
        self._lock = threading.Lock()
        self._watched = True
        self._kept = self._synced_always = False
        self.turns = _nobody


class _Scratch(_Deciding):
    """One that knows what it was made of.

    Attributes:
        driver: the connection, in the transaction that it was read in.
        found: the hold, as it was found.
        payers: the accounts that the hold is charged to.
        now: the server's clock, in unix seconds.
    """

    def __init__(self, driver: Any, id: str, accounts: Iterable[Any], holds: Iterable[Any]) -> None:
        super().__init__(State())
        self.driver = driver
        state = self._state
        self.now = 0.0
        self._id = id
        self._accounts = {}
        for row in accounts:
            self.now = row[-1]
            if not row_mapping.is_gone(row):
                account = row_mapping.account(row)
                state.accounts[account.id] = account
                self._accounts[account.id] = row
        self.found: Held | Ended | None = None
        self.payers: tuple[str, ...] = ()
        for row in holds:
            one = self.found = row_mapping.hold(row)
            bound = state.bind(bytes(one.route))
            self.payers = bound.names
            if isinstance(one, Held):
                state.holds[one.id] = one, bound
            else:
                state.charges.put(one)

    @property
    def known(self) -> dict[str, Account]:
        """The accounts that are there."""
        return self._state.accounts

    def changed_accounts(self, project: str) -> list[row_mapping.Row]:
        """The rows of the accounts that are not what they were."""
        self._state.fold()
        held = self._state.held()  # of this hold alone: the accounts have others
        before = self.found.usd if isinstance(self.found, Held) else 0
        for name, account in self.known.items():
            account.held += held.get(name, 0) - (before if name in self.payers else 0)
        now = [(row_mapping.account_row(project, self.known[name]), row) for name, row in self._accounts.items()]
        return [row for row, old in now if not row_mapping.same(row, old)]

    def changed_hold(self) -> Held | Ended | None:
        """The hold, if it is not what it was."""
        state = self._state
        one = state.holds[self._id][0] if self._id in state.holds else state.charges.get(self._id)
        return None if one is self.found else one

    def charged(self) -> Iterable[RollupRow]:
        """What the report's rows get added."""
        return self._state.reports.since(0)


def _state(version: int, accounts: list[Any], holds: list[Any], past: list[Any]) -> State:
    """All that calls in flight and the past mean for an account's limits."""
    present = [row_mapping.account(row) for row in accounts if not row_mapping.is_gone(row)]
    in_flight = [one for row in holds if isinstance(one := row_mapping.hold(row), Held)]
    saved = Saved(version, present, in_flight, [], [], [], [row_mapping.report(row) for row in past])
    return State.decode(msgspec.json.encode(saved))


_nobody = WaitQueues()
