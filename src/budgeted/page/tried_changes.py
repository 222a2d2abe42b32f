"""Changes of an account's limits as they would be: tried on a copy of the account, by the code that makes them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.limit_conversion import limit_of
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.limits.limit import Limit
from budgeted.manager import account_names
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import Balance
from budgeted.manager.budget_manager import BudgetManager
from budgeted.money import NANO, to_usd

Kind: TypeAlias = Literal["new", "changed", "same", "gone"]

_changing = threading.Lock()
"""Held from the look at what a change was agreed to for until it is made."""


class ChangedMeanwhileError(ValueError):
    """What somebody has agreed to change is not what it was when it was shown."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One limit of an account, before and after a change.

    Attributes:
        before: as it is now; None for one that is new.
        after: as it would be; None for one that goes away.
    """

    before: Balance | None
    after: Balance | None

    @property
    def kind(self) -> Kind:
        """What happens to it."""
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        return "same" if (self.before.text, self.before.limit) == (self.after.text, self.after.limit) else "changed"

    @property
    def raised_before(self) -> bool:
        """Whether more or less may be spent in this period than the limit states, now."""
        return self.before is not None and _differs(self.before)

    @property
    def raised_after(self) -> bool:
        """Likewise, after the change."""
        return self.after is not None and _differs(self.after)

    @property
    def refuses(self) -> bool:
        """Whether every call that counts in it would be refused at once: all of it is spent."""
        return self.after is not None and self.after.spent >= (self.after.limit or 0)

    @property
    def waits(self) -> bool:
        """Whether calls would wait at first: what is not spent is held by calls in flight."""
        return self.after is not None and not self.refuses and not self.after.remaining


@dataclass(frozen=True, slots=True)
class Tried:
    """What a change would do.

    Attributes:
        changes: of each limit; those that stay or are new first, then those that go away.
        seen: stands for the limits as they are now, so that a change by somebody else in between is noticed.
        text: the limits as they would be, as they can be written again.
    """

    changes: tuple[LimitChange, ...]
    seen: str
    text: str

    @property
    def nothing_changes(self) -> bool:
        """Whether all limits would be as they are."""
        return all(change.kind == "same" for change in self.changes)


def try_limits(books: BudgetManager, account: str | None, text: str) -> Tried:
    """What it would do to give an account limits instead of those that it has. Nothing is changed.

    Args:
        books: the project's.
        account: the name of a user, a tag or a keyed cap; None for the global account.
        text: limits such as ``"$10/day + 60 calls/minute"``; blank for none.

    Raises:
        ValueError: it is no text of limits, or there can be no limits; the text quotes it and shows a right one.

    Example:
        >>> [change.kind for change in try_limits(books, "alice", "$5/day").changes]
        ['changed']
    """
    limits = _read(text)
    with _copy(books, account) as copy:
        copy.set_limits(account, limits)
        return _tried(books, account, copy)


def try_top_up(books: BudgetManager, account: str | None, amount: str) -> Tried:
    """What it would do to let an account spend more, until its limit's period ends. Nothing is changed.

    Args:
        books: the project's.
        account: as for :func:`try_limits`.
        amount: USD, or text such as ``"20 calls"``.

    Raises:
        ValueError: it is no such amount, or there is no limit that could be raised so; the text says what to do.
        UnknownUserError: nobody knows the account.
    """
    with _copy(books, account) as copy:
        copy.top_up(account, amount)
        return _tried(books, account, copy)


def set_limits(books: BudgetManager, account: str | None, text: str, seen: str) -> None:
    """Give an account limits, if those that it has are still what they were when the change was shown.

    Two who do so by one server at once come one after the other. Another process may still change them in the very
    moment in between: then the last one counts, as it does wherever limits are set.

    Args:
        books: the project's.
        account: as for :func:`try_limits`.
        text: the limits.
        seen: :attr:`Tried.seen` of what was shown.

    Raises:
        ChangedMeanwhileError: somebody else has changed them.
        ValueError: as :func:`try_limits`.
    """
    limits = _read(text)
    with _changing:
        _check_seen(books, account, seen)
        books.set_limits(account, limits)


def top_up(books: BudgetManager, account: str | None, amount: str, seen: str) -> None:
    """Let an account spend more, if its limits are still what they were when that was shown.

    Args:
        books: the project's.
        account: as for :func:`try_limits`.
        amount: as for :func:`try_top_up`.
        seen: :attr:`Tried.seen` of what was shown.

    Raises:
        ChangedMeanwhileError: somebody else has changed or raised them.
        ValueError, UnknownUserError: as :func:`try_top_up`.
    """
    with _changing:
        _check_seen(books, account, seen)
        books.top_up(account, amount)


def _read(text: str) -> tuple[Limit, ...]:
    return Limit.parse_all(text) if text.strip() else ()


def _check_seen(books: BudgetManager, account: str | None, seen: str) -> None:
    if seen != _seen(_account(books, account)):
        msg = "somebody else has changed these limits since you looked: see what they are now, and decide again"
        raise ChangedMeanwhileError(msg)


def _account(books: BudgetManager, account: str | None) -> Account:
    """An account as it is; of one that nobody has given limits, with those of such users."""
    payer = books.payer
    name = account_names.find(account, payer.ledger.read)
    return payer.ledger.read(name) or Account(name)


def _seen(account: Account) -> str:
    """Stands for an account's limits, with what was added for their period, whatever was spent."""
    limits = sorted((str(limit_of(slot)), 0 if slot.terms is None else slot.terms.raised) for slot in account.slots)
    return hashlib.sha256(msgspec.json.encode((account.id, limits))).hexdigest()[:32]


@contextmanager
def _copy(books: BudgetManager, account: str | None) -> Iterator[Books]:
    """Books that know one account, and what it was charged; what is changed in them is forgotten."""
    payer, found = books.payer, _account(books, account)
    ledger = MemoryLedger()
    # What its limits hold is copied with them; the calls in flight themselves are elsewhere.
    ledger.restore([msgspec.structs.replace(found, held=0)], payer.ledger.rollups(0, found.id), [])
    with Books(payer.project_name, ledger=ledger, timezone=payer.timezone, clock=payer.clock) as copy:
        if not (found.slots or found.explicit):
            copy.set_limits(account, payer.default_limits(found.id))
        yield copy


def _tried(books: BudgetManager, account: str | None, copy: Books) -> Tried:
    found = _account(books, account)
    before = {_id(balance): balance for balance in books.balances(account)}
    after = {_id(balance): balance for balance in copy.balances(account)}
    changes = [
        LimitChange(before.get(id), balance if id in before else _with_held(balance, found))
        for id, balance in after.items()
    ]
    changes += [LimitChange(balance, None) for id, balance in before.items() if id not in after]
    return Tried(tuple(changes), _seen(found), " + ".join(balance.text for balance in after.values()))


def _differs(balance: Balance) -> bool:
    stated = Limit(balance.text)
    now = (balance.limit or 0.0) * (NANO if stated.unit == "usd" else 1)
    return round(now) != stated.amount


def _id(balance: Balance) -> str:
    return Limit(balance.text).id


def _with_held(balance: Balance, account: Account) -> Balance:
    """A new limit's balance, with what calls in flight hold where that counts in it whole."""
    limit = Limit(balance.text)
    if limit.unit != "usd" or limit.models is not None or not account.held:
        return balance
    held = to_usd(account.held)
    return replace(balance, held=held, remaining=max(0.0, (balance.remaining or 0.0) - held))
