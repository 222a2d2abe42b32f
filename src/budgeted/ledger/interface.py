"""The verbs that every ledger has, wherever its balances are."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import Account, Amendment, LimitSpec, account_name
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale
from budgeted.ledger.spending_records import Charge, RollupRow, UncertainPage, Used
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.ledger.whole_content import Content

PAGE = 1000
"""Accounts that are asked for at a time, where all are gone through."""


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

    place: str | None
    """Where its balances are, without credentials, for telling it from others; None if they end with the process."""

    remote: bool
    """Whether a verb does network I/O, so that a coroutine must not call it in its own thread."""

    at_hand: bool
    """Whether verbs of calls may be tried without waiting: with a ``timeout`` of 0 none does network I/O. It may raise
    :class:`~budgeted.errors.LedgerLockedError` instead, even so."""

    shared: bool
    """Whether other processes use it, too, and may keep its lock."""

    closed: bool
    """Whether :meth:`close` was called."""

    clock: Callable[[], float]
    """Unix seconds, for :meth:`sweep`."""

    hold_timeout: float
    """Seconds after which :meth:`sweep` charges a hold that nobody ended."""

    turns: WaitQueues
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

    def read_limits(self, account: str) -> Account | None:
        """The same, as calls are planned by it: what it holds, and was charged in all, need not be what it is now."""

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone."""

    def reset(self, account: str, at: int) -> None:
        """Forget what an account has spent; open holds stay."""

    def set_periods(self, account: str, limits: Sequence[LimitSpec]) -> int:
        """Put limits of an account that have begun a later period, as a clock was wrong, back into these.

        What was spent in the later one counts, and what had been spent before it, as far as the report's rows tell.

        Returns:
            How many had begun a later one.
        """

    def amend(self, account: str, change: Amendment) -> bool:
        """Change something of an account besides its limits; it comes into being if it is not there.

        Returns:
            False where a limit that is to be raised is not there, or has begun a later period: nothing was changed.
        """

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

    def spent_most(self, day: int, count: int) -> list[str]:
        """The users that were charged most on a day, the dearest first."""

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""

    def uncertain_page(self, account: str | None = None, first: int = 0, count: int = 50) -> UncertainPage:
        """Some of them, of an account or of all, from the one with a number on, and what all of these come to."""

    def uncertain_sums(self, wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, int]]:
        """Nano-USD per model that nobody confirmed, of an account's calls opened in a time, for each wanted one.

        Args:
            wanted: accounts, each with the unix seconds from which on and before which calls were opened.
        """

    def open_holds(self) -> Sequence[Granted]:
        """The holds of calls in flight, of all processes."""

    def everything(self) -> Content:
        """All that it knows, as it is at one instant, though calls go on."""

    def damage(self) -> list[str]:
        """What is wrong with the files that it is kept in, as far as that can be asked for; a sentence each."""

    def sweep(self) -> int:
        """Charge the holds of processes that died, and those older than their time. Returns how many were ended."""

    def renew(self, owner: str, seconds: float) -> None:
        """Count a process that speaks to this one, by the owner in its holds' ids, as alive for so long."""

    def watch(self) -> None:
        """Look for news in the background from now on, as calls of this process wait for it."""

    def idle(self) -> bool:
        """Whether no lock that a verb takes is held, by this thread or another: a finaliser may call one then."""

    def repair(self) -> int:
        """Write back what this process knows, where the ledger was lost or has gone backwards. Returns how much."""

    def flush(self) -> None:
        """Make everything acknowledged so far durable."""

    def close(self) -> None:
        """Flush, and give up the ledger. Repeating it does nothing."""


def sums_of(charges: Iterable[Charge], wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, int]]:
    """What :meth:`Ledger.uncertain_sums` returns, of a ledger that only lists charges that nobody confirmed."""
    mine: dict[str, list[Charge]] = {account: [] for account, _, _ in wanted}
    for charge in charges:
        for account in charge.accounts:
            if account in mine:
                mine[account].append(charge)
    found = []
    for account, start, end in wanted:
        sums: dict[str, int] = {}
        for one in mine[account]:
            if start <= one.opened < end:
                sums[one.model] = sums.get(one.model, 0) + one.used.usd
        found.append(sums)
    return found


def spent_most_of(rows: Iterable[RollupRow], count: int, least: int = 0) -> list[tuple[str, int]]:
    """The users that were charged most in some rows of a report, and at least so much, each with nano-USD."""
    spent = Counter[str]()
    for row in rows:
        if row.account.startswith("u:"):
            spent[row.account] += row.usd
    enough = [one for one in spent.items() if one[1] >= least]
    return heapq.nsmallest(count, enough, key=lambda one: (-one[1], one[0]))


def page_of(charges: Iterable[Charge], account: str | None, first: int, count: int) -> UncertainPage:
    """What :meth:`Ledger.uncertain_page` returns, of a ledger that only lists charges that nobody confirmed."""
    mine = [one for one in charges if account is None or account in one.accounts]
    return UncertainPage(len(mine), sum(one.used.usd for one in mine), mine[first : first + count])


def all_accounts(ledger: Ledger, prefix: str = "") -> Iterator[Account]:
    """Every account with a prefix, page by page."""
    after: str | None = None
    while True:
        page = ledger.accounts(prefix, after, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id
