"""What a process was told that a server has done, to notice when the server goes back, and to say it once more.

A server counts, per owner (a process: what its holds' ids begin with), the verbs that it has done for it, in the same
step as it does them. Whoever finds it counting less than it has acknowledged before has met an earlier state: a backup
that was restored, a standby without the latest writes. What has a number above the server's count is exactly what that
state lacks, whatever other processes have done meanwhile.
"""

from __future__ import annotations

import threading

import msgspec
from msgspec import Raw

from budgeted.ledger.accounts import Account, Amendment, LimitSpec, Slot, Terms, stated_amount
from budgeted.ledger.memory.change_records import Amended, Change, Deleted, Held, LimitsSet, Posted, Released, Settled
from budgeted.ledger.spending_records import Used
from budgeted.money import format_usd

MOST_REMEMBERED = 10_000
"""Verbs of this process, and limits of accounts, that are kept in mind: the latest of each."""

MOST_NAMED = 5
"""Charges that an error names."""

_ENDS = (Posted, Settled, Released)
_LIMITS = (LimitsSet, Amended, Deleted)


class WentBackError(Exception):
    """The server knows less than it has acknowledged. Ledgers catch it: nobody else sees it."""


class Missing(msgspec.Struct, frozen=True):
    """What a server lacks of what it has acknowledged to this process.

    ``changes`` are in the order in which the server did them; ``forgotten`` says of how many more verbs, at most, this
    process does not remember what they were.
    """

    changes: tuple[Change, ...]
    forgotten: int

    def __bool__(self) -> bool:
        return bool(self.changes or self.forgotten)

    def __str__(self) -> str:
        """For people: amounts in USD, and the latest ids."""
        charges = [(one.id, one.used.usd) for one in self.changes if isinstance(one, Posted | Settled)]
        ended = {one.id for one in self.changes if isinstance(one, Posted | Settled | Released)}
        holds = [(one.id, one.usd) for one in self.changes if isinstance(one, Held) and one.id not in ended]
        parts = [_amount("charge", charges), _amount("hold", holds)]
        others = sum(not isinstance(one, Held | Posted | Settled) for one in self.changes)
        if others:
            parts.append(f"{others} releases and changes of limits")
        if self.forgotten:
            parts.append(f"up to {self.forgotten} earlier verbs that this process does not remember any more")
        return ", ".join(part for part in parts if part) or "nothing that this process made"


def _amount(what: str, found: list[tuple[str, int]]) -> str:
    if not found:
        return ""
    latest = ", ".join(id for id, _ in found[-MOST_NAMED:])
    ids = f"..., {latest}" if len(found) > MOST_NAMED else latest
    return f"{len(found)} {what}{'s' if len(found) > 1 else ''} of {format_usd(sum(usd for _, usd in found))} ({ids})"


class AcknowledgedVerbs:
    """The latest changes that a server has acknowledged to this process, by their numbers there.

    Args:
        most: how many changes are kept, and how many accounts' limits.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        # Reentrant: a signal's handler may use the ledger while its thread is in here.
        self._lock = threading.RLock()
        self._count = 0
        self._changes: dict[int, Change] = {}
        self._open: dict[str, tuple[int, Held]] = {}
        self._dropped_to = 0
        self._again: list[Change] = []
        self._forgotten = 0
        self._limits: dict[str, Account] = {}
        self.limits_due = False
        """Whether the server may lack limits that this process knows."""

    # -- around a verb

    def sent(self) -> int:
        """The count that a verb's answer must not be below: asked for before it is sent."""
        return self._count

    def seen(self, before: int, now: int) -> None:
        """The server has told its count of this process's verbs, before it does another or instead.

        Args:
            before: what :meth:`sent` said.
            now: the server's count.

        Raises:
            WentBackError: it is less than before, or what it lacked then is still to be done again.
        """
        if now < before or self._again or self._forgotten or self.limits_due:
            raise WentBackError

    def answered(self, before: int, now: int, change: Change | None = None) -> bool:
        """A verb was done and counted.

        Args:
            before: what :meth:`sent` said.
            now: the server's count, with this verb.
            change: what the server did; None if it need not be done again where it is lost.

        Returns:
            False when the server has counted less than before: what it lacks is to be done again.
        """
        with self._lock:
            if now > before and now not in self._changes:
                self._keep(now, change)
                return True
            # A number that another verb had: the server went back while one was under way, and either may be lost.
            self.go_back(now - 1)
            if change is not None:
                self._again.append(change)
            return False

    def charged(self, before: int, now: int, id: str, used: Used, at: int, reason: str, route: Raw | None) -> bool:
        """A hold, or what none came before, was charged; as :meth:`answered`.

        Args:
            before: what :meth:`sent` said.
            now: the server's count, with this verb.
            id: the hold's.
            used: what it was charged.
            at: when, in unix seconds.
            reason: why nobody is sure of it, or "".
            route: by which it was charged, or that of a hold which this process made (None).
        """
        held = self._open.get(id)
        if route is None and held is not None:
            route = held[1].route
        # By its route it can be charged where its hold is lost, too.
        change = Settled(id, at, used, reason) if route is None else Posted(id, at, used, route, reason)
        return self.answered(before, now, change)

    def is_open(self, id: str) -> bool:
        """Whether a hold was acknowledged, and its end was not."""
        return id in self._open

    # -- limits

    def read(self, account: Account) -> None:
        """An account was read: its limits are kept in mind, unless they are older than those that are."""
        with self._lock:
            known = self._limits.pop(account.id, account)  # so that it is the latest
            if known.version > account.version:
                account = known
            self._limits[account.id] = account
            while len(self._limits) > self._most:
                self._limits.pop(next(iter(self._limits)))

    def limits(self) -> list[Account]:
        """Accounts with the limits that they had when they were seen last, and the version of these."""
        with self._lock:
            return list(self._limits.values())

    def forget(self, account: str) -> None:
        """What is read of an account next is what is known of it, whatever version that has."""
        with self._lock:
            self._limits.pop(account, None)

    def knows(self, account: str) -> bool:
        """Whether an account was there when it was seen last."""
        return account in self._limits

    # -- what the server lacks

    def missing(self, count: int) -> Missing:
        """What a server lacks that has come to this count of this process's verbs."""
        with self._lock:
            lost = self._lost(count)
            forgotten = max(self._forgotten, self._dropped_to - count)
            return Missing((*(lost[number] for number in sorted(lost)), *self._again), forgotten)

    def numbered(self) -> list[tuple[int, Change]]:
        """What is kept in mind, each change with its number, the latest first."""
        with self._lock:
            return sorted(self._lost(0).items(), key=lambda pair: pair[0], reverse=True)

    def go_back(self, count: int, *, limits_too: bool = False) -> None:
        """Begin with what a server lacks that has come to this count: it is to be done again, before anything else.

        Args:
            count: the server's.
            limits_too: True where it may lack limits even if it counts as many verbs as it has acknowledged.
        """
        with self._lock:
            if limits_too or count < self._count:
                self.limits_due = True
            if count >= self._count:
                return
            missing = self.missing(count)
            # What is still to be done again came later than what is lost now.
            self._again = [one for one in missing.changes if not self._superseded(one)]
            self._forgotten = missing.forgotten
            self._changes = {number: one for number, one in self._changes.items() if number <= count}
            self._open = {id: (number, one) for id, (number, one) in self._open.items() if number <= count}
            self._count = count

    def next_again(self) -> Change | None:
        """What is to be done again next."""
        return self._again[0] if self._again else None

    def done_again(self, change: Change, now: int) -> None:
        """The server has done that again, and come to this count."""
        with self._lock:
            self._again = [one for one in self._again if one is not change]
            self._keep(now, change)

    def give_up_forgotten(self) -> None:
        """Go on without what is not remembered any more."""
        with self._lock:
            self._forgotten = 0
            self._dropped_to = min(self._dropped_to, self._count)

    def _superseded(self, change: Change) -> bool:
        """Whether the account was read after it was changed: as it was then, it is written back."""
        return isinstance(change, LimitsSet | Amended | Deleted) and change.account in self._limits

    def _lost(self, count: int) -> dict[int, Change]:
        lost: dict[int, Change] = {number: held for number, held in self._open.values() if number > count}
        return lost | {number: one for number, one in self._changes.items() if number > count}

    def _keep(self, now: int, change: Change | None) -> None:
        if now > self._count:  # written out, as what follows: each verb of a call comes here
            self._count = now
        if isinstance(change, Held):
            self._open[change.id] = now, change
        elif isinstance(change, _ENDS):
            self._open.pop(change.id, None)
        elif isinstance(change, _LIMITS):
            self._limits.pop(change.account, None)  # until it is read again
        if change is None:
            return
        self._changes[now] = change
        if len(self._changes) >= 2 * self._most:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        # Many at a time: a dict's first key is found slowly when those before it were taken off.
        oldest = list(self._changes.items())[: -self._most]
        for number, change in oldest:
            del self._changes[number]
            if not (isinstance(change, Held) and change.id in self._open):  # where it is kept on
                self._dropped_to = max(self._dropped_to, number)
        for id, (number, _) in list(self._open.items())[: -self._most]:
            del self._open[id]
            if number not in self._changes:
                self._dropped_to = max(self._dropped_to, number)


def limits_of(account: Account) -> tuple[LimitSpec, ...]:
    """An account's limits as a client hands them to a ledger."""
    return tuple(map(_spec, account.slots))


def _spec(slot: Slot) -> LimitSpec:
    terms = slot.terms or Terms()
    stated = stated_amount(slot)
    return LimitSpec(
        slot.limit, slot.unit, stated, slot.start, slot.end, slot.since, terms.window, terms.keep, terms.step
    )


def written_back(known: Account) -> LimitsSet:
    """What gives an account the limits that this process knows."""
    return LimitsSet(known.id, known.explicit, limits_of(known))


def amended_back(known: Account, now: Account | None = None) -> list[Amended]:
    """What gives an account whatever else this process knows of it, once it has these limits.

    Args:
        known: the account as it was known.
        now: as it is, with these limits; None if nothing else is known of it.
    """
    there = Account(known.id) if now is None else now
    changes = []
    if (known.belongs_to, known.stopped) != (there.belongs_to, there.stopped):
        changes.append(Amendment(known.belongs_to, known.stopped))
    raised = {(slot.limit, slot.start): slot.terms.raised for slot in there.slots if slot.terms is not None}
    for slot in known.slots:
        # What it has been raised by already is not added once more.
        lacking = slot.terms.raised - raised.get((slot.limit, slot.start), 0) if slot.terms is not None else 0
        if lacking > 0:
            changes.append(Amendment(raised=(slot.limit, lacking, slot.start, slot.end)))
    return [Amended(known.id, change) for change in changes]
