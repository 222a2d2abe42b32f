"""Where a process stands in a database: whether this is the ledger that it opened, and what was done for it there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from budgeted.ledger.accounts import Account
from budgeted.ledger.acknowledged_verbs import AcknowledgedVerbs, WentBackError
from budgeted.ledger.memory.change_records import Change
from budgeted.ledger.network_ledger import Standing
from budgeted.ledger.sql.driver_interface import Cursor, Driver, Given, StoredRow
from budgeted.ledger.sql.room_messages import Line
from budgeted.ledger.sql.statements import Query, Statements
from budgeted.system.clocks import boot_time

FORGOTTEN_SECONDS = 7 * 86_400.0
"""How long an owner's count is kept after its lease ran out: a machine may sleep, and its processes go on."""

EMPTIED = "its tables were emptied"
REPLACED = "another ledger is in its place"


class Done(NamedTuple):
    """A verb that was done in a transaction, which is committed when this is looked at.

    Attributes:
        before: what was acknowledged before it.
        last: tells the number of the last one that was done in the transaction.
        change: what it did.
        account: the account as it is now, if that is what was changed.
        behind: how many were done in the transaction after it.
    """

    before: int
    last: Callable[[], int]
    change: Change | None
    account: Account | None = None
    behind: int = 0

    def number(self) -> int:
        """The number that it got."""
        return self.last() - self.behind

    def note(self, told: AcknowledgedVerbs) -> None:
        """Note that it was acknowledged."""
        told.answered(self.before, self.number(), self.change)
        if self.account is not None:
            told.read(self.account)  # with its version, which tells whose change came last


class VerbCounts:
    """One owner's verbs, as they are counted in the transactions that do them.

    Args:
        statements: on the tables.
        project: the project's name as it is stored.
        owner: whose verbs are counted.
        told: what the database has acknowledged.
        line: where it is told that there may be room.
    """

    def __init__(self, statements: Statements, project: str, owner: str, told: AcknowledgedVerbs, line: Line) -> None:
        self._sql = statements
        self._asked = {"owner_": owner, "project_": project}
        self._owner = owner
        self.told = told
        self.line = line
        self.identity = ""
        """The project's, when it was opened."""
        self.renewed = boot_time()
        """When this owner was heard of last."""

    def ask(self, driver: Driver) -> Cursor:
        """Ask where the owner stands: first of all in a transaction, as nothing is decided on an earlier state."""
        return driver.execute(self._sql.standing, self._asked)

    def standing(self, found: list[StoredRow]) -> Standing:
        """What the answer to :meth:`ask` says."""
        if not found:
            return Standing(0, EMPTIED)
        [[identity, verbs]] = found
        if verbs is None:
            # Others forget an owner that slept for so long; no backup is to be suspected.
            verbs = self.told.sent() if boot_time() - self.renewed > FORGOTTEN_SECONDS / 2 else 0
        return Standing(verbs, "" if identity == self.identity else REPLACED)

    def checked(self, found: list[StoredRow], before: int, *, again: bool = False) -> int:
        """How many verbs were done for this owner so far.

        Args:
            found: the answer to :meth:`ask`.
            before: what was acknowledged before it was asked.
            again: True where the database is being told what it lacks, and its count is behind.

        Raises:
            WentBackError: fewer than were acknowledged, or for another ledger.
        """
        standing = self.standing(found)
        if standing.gone:
            raise WentBackError
        if not again:
            self.told.seen(before, standing.verbs)
        return standing.verbs

    def count(self, driver: Driver, done: int) -> Callable[[], int]:
        """Count one verb, which may have made room, in its transaction; as :meth:`counting` and :meth:`last`."""
        return self.last(driver.execute(*self.counting(done, 1, room=True)), done + 1)

    def counting(self, done: int, verbs: int, *, room: bool) -> Query:
        """What counts verbs in their transaction.

        Args:
            done: how many there were before, as far as the transaction knows.
            verbs: how many these are.
            room: whether they may have made room, so that who waits is to be told, of whatever process.
        """
        given: dict[str, Given] = {"id": self._owner, "first": done + verbs, "more": verbs}
        if room and self._sql.returns_counts:
            return self._sql.count_and_tell, {**given, **self.line._asdict()}
        return self._sql.count_verbs, given

    def last(self, counted: Cursor, expected: int) -> Callable[[], int]:
        """What tells the number that the last of them got, once the transaction is committed.

        Args:
            counted: the answer to :meth:`counting`.
            expected: that number, as far as the transaction knows.
        """
        if not self._sql.returns_counts:
            return lambda: expected

        @functools.cache
        def number() -> int:
            [[found, *_]] = counted.fetchall()
            return int(found)

        return number
