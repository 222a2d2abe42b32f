"""Calls that wait for calls in flight: first come, first served, woken when a hold ends.

A call that finds only holds in its way takes a ticket on the account that has no room. Whoever ends a hold wakes the
first ticket of each account concerned; nobody polls. A new call on an account where others wait lines up behind them.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable

logger = logging.getLogger("budgeted")

# The next number is taken in one step of the interpreter: no two threads get the same one.
_numbers = itertools.count()


class Ticket:
    """A place in the queue of one account. ``wake`` may be called from any thread, more often than needed."""

    __slots__ = ("account", "number", "wake")

    def __init__(self, number: int, wake: Callable[[], None]) -> None:
        self.number = number
        self.wake = wake
        self.account: str | None = None


class WaitQueues:
    """The queues of one ledger, one per account that is waited for.

    Whether ``queues`` has any tells whether anybody waits, without the lock.
    """

    def __init__(self) -> None:
        self.queues: dict[str, list[Ticket]] = {}
        self._lock = threading.Lock()

    @property
    def waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self.queues)

    def busy(self) -> bool:
        """Whether somebody is at the queues this instant."""
        return self._lock.locked()

    def waiting_for(self, account: str) -> int:
        """How many calls wait for an account."""
        return len(self.queues.get(account, ()))

    def crowded(self, accounts: Iterable[str]) -> str | None:
        """The first of these accounts that somebody waits for already."""
        # Without the lock: nearly always nobody waits, and this is asked before every call.
        queues = self.queues
        if not queues:
            return None
        for account in accounts:
            if account in queues:
                return account
        return None

    def ticket(self, wake: Callable[[], None]) -> Ticket:
        """A ticket with the next number. It keeps its number when it moves to another queue, of whatever ledger."""
        return Ticket(next(_numbers), wake)

    def join(self, ticket: Ticket, account: str) -> None:
        """Line up for an account, by number; leaves the queue it was in."""
        if ticket.account == account:
            return
        self.leave(ticket)
        with self._lock:
            ticket.account = account  # first, so that leaving finds it, should a signal's handler raise in between
            queue = self.queues.setdefault(account, [])
            at = len(queue)
            while at and queue[at - 1].number > ticket.number:
                at -= 1
            queue.insert(at, ticket)

    def first(self, ticket: Ticket) -> bool:
        """Whether it is the ticket's turn to try."""
        with self._lock:
            queue = self.queues.get(ticket.account or "")
            return not queue or queue[0] is ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place up, served or not, and let the next one try."""
        following = self._remove(ticket)
        if following is not None:
            self._wake([following])
        ticket.account = None  # at last: who was interrupted by a signal's handler can do it again

    def freed(self, accounts: Iterable[str]) -> None:
        """Room came back on these accounts."""
        with self._lock:
            heads = [queue[0] for account in accounts if (queue := self.queues.get(account))]
        # Outside the lock: what wakes a call may take locks of its own, such as an event loop's.
        self._wake(heads)

    def wake_all(self) -> None:
        """Let the first of every queue look again, after a change of limits or news from other processes."""
        if self.queues:
            with self._lock:
                heads = [queue[0] for queue in self.queues.values() if queue]
            self._wake(heads)

    def _remove(self, ticket: Ticket) -> Ticket | None:
        """Take a ticket out of its queue; returns the one that is first there now."""
        with self._lock:
            account = ticket.account
            if account is None:
                return None
            queue = self.queues.get(account, [])
            if ticket in queue:
                queue.remove(ticket)
            if queue:
                return queue[0]
            self.queues.pop(account, None)
            return None

    def _wake(self, tickets: list[Ticket]) -> None:
        while tickets:
            ticket = tickets.pop()
            try:
                ticket.wake()
            except Exception as error:  # noqa: BLE001 - such as a closed event loop: nobody is there to be woken
                logger.warning("budgeted: a call that waited is gone: %s", error)
                following = self._remove(ticket)
                ticket.account = None
                if following is not None:
                    tickets.append(following)
