"""What a ledger knows of keys: what each says, kept beside the account that its calls are charged to.

That is an account like any other, of what is tagged with the key's id: it has the key's limits, what was spent with it,
and why it is stopped, which is how a key is revoked. What a key says is kept as declarations of limits are: as the one
limit, which is none, of an account of the ledger's own that nobody pays with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, urlencode

import msgspec

from budgeted.ledger.accounts import CALLS, Account, LimitSpec, declarations_of, tag_account
from budgeted.ledger.interface import Ledger, all_accounts
from budgeted.limits.periods import NEVER

TAG: Final = "gateway-key"
"""The tag that the calls of a key have, with its id."""

_RECORDS: Final = declarations_of(TAG)


class KeyRecord(msgspec.Struct, frozen=True):
    """What a ledger keeps of a key, of which nobody can make it.

    Args:
        id: of the key.
        user: who pays.
        name: what it is called, or "".
        created: unix seconds.
        expires: unix seconds from which on it is refused; 0 for never.
        models: patterns of the models that may be asked for; none of them for any.
    """

    id: str
    user: str
    name: str
    created: float
    expires: int
    models: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True):
    """What a ledger says of a key.

    Args:
        known: whether it was made for this ledger.
        revoked: why it was revoked, or "".
    """

    known: bool
    revoked: str = ""


def account(id: str) -> str:
    """The ledger's name of the account that the calls of a key are charged to.

    Args:
        id: of the key.
    """
    return tag_account(f"{TAG}={id}")


def add(ledger: Ledger, record: KeyRecord) -> bool:
    """Keep a record. Returns False where another key has the id."""
    ledger.set_limits(_name(record.id), [LimitSpec(_written(record), CALLS, 0, 0, NEVER)], create=True)
    return find(ledger, record.id) == record


def find(ledger: Ledger, id: str) -> KeyRecord | None:
    """The record of a key; None if there is none.

    Args:
        ledger: where it is kept.
        id: of the key, or anything else.
    """
    found = ledger.read(_name(id)) if id.isascii() and id.isalnum() else None
    return None if found is None else _read(found)


def every(ledger: Ledger) -> Iterator[KeyRecord]:
    """The records of all keys, in the order of their ids."""
    yield from map(_read, all_accounts(ledger, _RECORDS))


def standing(ledger: Ledger, id: str) -> Standing:
    """Whether a key is known, and was revoked.

    Args:
        ledger: where it is kept.
        id: of the key.

    Raises:
        LedgerError: the ledger cannot be asked.
    """
    charged = ledger.read(account(id))
    # Whoever has forgotten the account has forgotten its limits, and that it was stopped.
    if charged is None or find(ledger, id) is None:
        return Standing(known=False)
    return Standing(known=True, revoked=charged.stopped)


def _name(id: str) -> str:
    return _RECORDS + id


def _written(record: KeyRecord) -> str:
    told = {"user": record.user, "name": record.name, "created": record.created, "expires": record.expires}
    return urlencode({**told, "model": record.models}, doseq=True)


def _read(account: Account) -> KeyRecord:
    told = parse_qs(account.slots[0].limit, keep_blank_values=True) if account.slots else {}
    one = {name: values[0] for name, values in told.items()}
    return KeyRecord(
        id=account.id.removeprefix(_RECORDS),
        user=one.get("user", ""),
        name=one.get("name", ""),
        created=_number(one.get("created", "")),
        expires=int(_number(one.get("expires", ""))),
        models=tuple(told.get("model", ())),
    )


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,3})?", text, re.ASCII) else 0
