"""The keys of a project, for those who make, list, revoke and replace them. Any of it may wait for the ledger."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from budgeted.errors import LedgerError
from budgeted.gateway import key_records, keys
from budgeted.gateway.key_records import TAG, KeyRecord
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import Account, Slot
from budgeted.ledger.interface import PAGE
from budgeted.ledger.limit_terms import charged
from budgeted.limits.limit import Limit
from budgeted.limits.periods import local_time
from budgeted.manager.administrative_manager import Books
from budgeted.manager.argument_types import Limits
from budgeted.manager.balances import AccountInfo, Balance
from budgeted.validation import TAG as TAGGED
from budgeted.validation import check_name, is_tag, looks_like_a_limit, shown

REVOKED: Final = "the key was revoked"
"""Why a key is stopped, where nobody says so."""

MOST_MODELS: Final = 50
"""Patterns of models of one key."""

_PATTERN: Final = re.compile(r"[^\s,\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,256}")

_LONGEST_NAME: Final = 100


class KeyInfo(msgspec.Struct, frozen=True):
    """A key in a listing: all but its text, which is known to its holder alone.

    Attributes:
        id: by which it is shown and revoked.
        user: who pays.
        name: what it is called, or "".
        state: whether its calls are let through.
        spent: USD charged with it since the last reset.
        limits: the balance of each of its own limits.
        models: patterns of the models that may be asked for; none of them for any.
        created: when it was made.
        expires: from when on it is refused; None for never.
        revoked: why it was revoked, or "".
    """

    id: str
    user: str
    name: str
    state: Literal["active", "expired", "revoked"]
    spent: float
    limits: tuple[Balance, ...]
    models: tuple[str, ...]
    created: dt.datetime
    expires: dt.datetime | None
    revoked: str


class UnknownKeyError(ValueError):
    """No key has this id; the text tells which may be meant."""


class KeyBooks:
    """The keys of a project.

    Args:
        books: the project's.

    Example:
        >>> with Books("my-app", ledger="./spend") as books:
        ...     text, key = KeyBooks(books).create("alice", secret, limits="$5/day", models=["gpt-5*"])
    """

    def __init__(self, books: Books) -> None:
        self._books = books

    def create(
        self,
        user: str,
        secret: bytes,
        *,
        name: str = "",
        limits: Limits = (),
        user_limits: Limits | None = None,
        expires: int = 0,
        models: Iterable[str] = (),
    ) -> tuple[str, KeyInfo]:
        """Make a key.

        Args:
            user: who pays what is asked for with it.
            secret: by which it is signed.
            name: tells it from the user's other keys, or "".
            limits: what may be spent with this key, as text or numbers; none for what its user may.
            user_limits: what the user may spend, with whichever key, instead of the limits that it has; None leaves
                these.
            expires: unix seconds from which on it is refused; 0 for never.
            models: patterns such as ``gpt-5*`` of the models that may be asked for; none of them for any.

        Returns:
            Its text, which is kept nowhere, and what is listed of it.

        Raises:
            ValueError, TypeError: an argument makes no sense; the text quotes it. Nothing was made.
            LedgerError: the ledger cannot be written.
        """
        _check_user(user)
        patterns = _patterns(models)
        of_key = Limit.parse_all(limits)
        of_user = None if user_limits is None else Limit.parse_all(user_limits)
        if name:
            _check_called(name)
        now = self._books.payer.clock()
        if expires and expires <= now:
            msg = f"a key that expires on {self._time(expires).isoformat(' ', 'minutes')} is of no use: that is past"
            raise ValueError(msg)
        text, record = self._record(user, secret, name, expires, patterns, now)
        self._limit(record.id, of_key)
        if of_user is not None:
            self._books.set_limits(user, of_user)
        return text, self.find(record.id)

    def every(self, user: str | None = None) -> list[KeyInfo]:
        """The keys of a user, or all of them (None), the oldest first."""
        background_worker.drain()
        records = [one for one in key_records.every(self._books.ledger) if user in (None, one.user)]
        look = self._infos().get if user is None else self._books.info  # of many keys, few are one user's
        found = [self._info(one, look(_called(one.id))) for one in records]
        return sorted(found, key=lambda one: (one.created, one.id))

    def find(self, id: str) -> KeyInfo:
        """One key.

        Args:
            id: its id, or its text.

        Raises:
            UnknownKeyError: there is none.
        """
        record = self._known(id)
        return self._info(record, self._books.info(_called(record.id)))

    def revoke(self, id: str, reason: str = "") -> KeyInfo:
        """Refuse every call with a key from now on, at once and everywhere. Calls in flight end as they would.

        Args:
            id: its id, or its text.
            reason: is told with every refusal.

        Raises:
            UnknownKeyError: there is none.
            ValueError: the reason is too long, or no text.
        """
        record = self._known(id)
        if self._account(record) is not None:
            self._books.stop(_called(record.id), reason or REVOKED)
        return self.find(record.id)

    def restore(self, id: str) -> KeyInfo:
        """Let calls with a key pass again that was revoked.

        Args:
            id: its id, or its text.

        Raises:
            UnknownKeyError: there is none.
            LedgerError: its account was deleted: it would have no limits.
        """
        record = self._known(id)
        if self._account(record) is None:
            msg = f"the account of key {record.id} was deleted, and its limits with it; make a new key"
            raise LedgerError(msg)
        self._books.resume(_called(record.id))
        return self.find(record.id)

    def rotate(self, id: str, secret: bytes) -> tuple[str, KeyInfo]:
        """Revoke a key, and make another one in its place, which goes on with its limits and what was spent of them.

        What calls in flight hold counts as spent.

        Args:
            id: its id, or its text.
            secret: by which the new one is signed.

        Returns:
            As :meth:`create`.

        Raises:
            UnknownKeyError: there is none.
            ValueError: it has expired, or was revoked.
        """
        old = self.find(id)
        if old.state != "active":
            msg = f"the key {old.id} is {old.state}, and replacing it would have it go on; make a new one with create"
            raise ValueError(msg)
        record = self._known(old.id)
        now = self._books.payer.clock()
        text, new = self._record(record.user, secret, record.name, record.expires, record.models, now)
        self._books.stop(_called(record.id), f"the key was replaced by {new.id}")
        # Read when it is stopped: nothing more is held there.
        if (spent := self._account(record)) is not None:
            self._books.ledger.restore([_successor(spent, new.id, int(now))], (), ())
        return text, self.find(new.id)

    def _record(
        self, user: str, secret: bytes, name: str, expires: int, models: tuple[str, ...], now: float
    ) -> tuple[str, KeyRecord]:
        """Make a key, and note what it says under an id that no other has."""
        while True:
            text, key = keys.made(user, self._books.project_name, secret, expires=expires, models=models, name=name)
            record = KeyRecord(key.id, user, name, round(now, 3), expires, models)
            if key_records.add(self._books.ledger, record):
                return text, record

    def _limit(self, id: str, limits: Sequence[Limit]) -> None:
        """Give the account of a new key its limits."""
        if limits:
            self._books.set_limits(_called(id), limits)
        else:  # not as if somebody wanted none: those of all keys count, where a program has such
            self._books.payer.limit(key_records.account(id), (), explicit=False, create=True)

    def _known(self, id: str) -> KeyRecord:
        ledger = self._books.ledger
        of_text = keys.id_of(id)
        if (found := key_records.find(ledger, of_text or id)) is not None:
            return found
        what = f"the key {keys.beginning(id)}" if id.startswith(keys.PREFIX) else f"a key {shown(id)}"
        hint = "`budgeted keys list` lists those that are"
        if of_text is None and (meant := _meant(id, list(key_records.every(ledger)))) is not None:
            hint = f"did you mean {meant.id}{f', which is called {meant.name!r}' if meant.name else ''}?"
        msg = f"{what} is not known in project {self._books.project_name!r}; {hint}"
        raise UnknownKeyError(msg)

    def _account(self, record: KeyRecord) -> Account | None:
        return self._books.ledger.read(key_records.account(record.id))

    def _infos(self) -> Mapping[str, AccountInfo]:
        """What is listed of the accounts of all keys, by their names."""
        found: dict[str, AccountInfo] = {}
        after: str | None = None
        while page := self._books.accounts(_called(""), after, PAGE):
            found |= {one.name: one for one in page}
            after = page[-1].name
        return found

    def _info(self, record: KeyRecord, account: AccountInfo | None) -> KeyInfo:
        revoked = "its account was deleted" if account is None else account.stopped
        expired = 0 < record.expires <= self._books.payer.clock()
        return KeyInfo(
            id=record.id,
            user=record.user,
            name=record.name,
            state="revoked" if revoked else "expired" if expired else "active",
            spent=0.0 if account is None else account.spent,
            limits=() if account is None else account.balances,
            models=record.models,
            created=self._time(record.created),
            expires=self._time(record.expires) if record.expires else None,
            revoked=revoked,
        )

    def _time(self, at: float) -> dt.datetime:
        return local_time(at, self._books.payer.timezone)


def _called(id: str) -> str:
    """What people call the account of a key."""
    return f"{TAGGED}{TAG}={id}"


def _successor(account: Account, id: str, at: int) -> Account:
    """The account of a key that goes on for another one: with its limits, and what is held of them as spent."""
    slots = tuple(_all_spent(slot, at) for slot in account.slots)
    name = key_records.account(id)
    return Account(name, explicit=account.explicit, slots=slots, belongs_to=account.belongs_to)


def _all_spent(slot: Slot, at: int) -> Slot:
    spent, terms = charged(slot, at, slot.held)
    return msgspec.structs.replace(slot, spent=spent, held=0, terms=terms)


def _meant(id: str, records: Sequence[KeyRecord]) -> KeyRecord | None:
    """The key that is called so, or whose id is most like what was given."""
    named = [one for one in records if one.name == id]
    if len(named) == 1:
        return named[0]
    by_id = {one.id: one for one in records}
    near = difflib.get_close_matches(id.lower(), by_id, 1)
    return by_id[near[0]] if near else None


def _check_user(user: str) -> None:
    check_name(user, "user")
    if looks_like_a_limit(user):
        msg = f"{shown(user)} is a limit, and a key is for a user; name the user, and give the limit as one of the key"
        raise ValueError(msg)
    if is_tag(user):
        msg = f"{shown(user)} is a tag, and a key is for a user who pays; name the user"
        raise ValueError(msg)


def _check_called(name: str) -> None:
    check_name(name, "name")
    if len(name.encode()) > _LONGEST_NAME:
        msg = f"the name of a key has at most {_LONGEST_NAME} bytes, got {shown(name)}"
        raise ValueError(msg)


def _patterns(models: Iterable[str]) -> tuple[str, ...]:
    if isinstance(models, str):
        msg = f"models must be several patterns such as ['gpt-5*', 'o4-mini'], got {shown(models)}"
        raise TypeError(msg)
    found = tuple(dict.fromkeys(models))
    for one in found:
        if not _PATTERN.fullmatch(one):
            msg = f"a model must be one name or pattern without blanks and commas, such as 'gpt-5*', got {shown(one)}"
            raise ValueError(msg)
    if len(found) > MOST_MODELS:
        msg = f"a key has at most {MOST_MODELS} patterns of models, got {len(found)}; let one stand for several"
        raise ValueError(msg)
    return found
