"""What programs declare of an account's limits, kept in its ledger beside the limits that count.

Declarations are numbered, and the last one counts. Each is an account of the ledger's own whose one limit is no limit:
its text tells what was declared, and by which process. The verb that makes an account unless it is there is the one
atomic step that this takes: of several processes, one makes the next number. It marks its declaration as done, by
having it be explicit, when the limits are in place. Who declares the same again adds itself to that number.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import TypeAlias
from urllib.parse import parse_qs, urlencode

import msgspec

from budgeted.ledger.accounts import CALLS, Account, LimitSpec, declarations_of
from budgeted.ledger.interface import Ledger, all_accounts
from budgeted.ledger.limit_conversion import spec_of
from budgeted.limits.periods import NEVER
from budgeted.manager.running_program import Program

OneAmount: TypeAlias = tuple[str, int] | tuple[str, int, int]
"""A limit by its id, with its amount, and what it keeps of it when a period ends, where it does."""

Amounts: TypeAlias = tuple[OneAmount, ...]
"""Limits in the order of their ids."""

NOBODY = Program("an unknown program", 0, "", "", "", 0)


class Declaration(msgspec.Struct, frozen=True):
    """Limits that a process has declared.

    Args:
        amounts: the limits.
        program: the process.
        at: when, in unix seconds.
    """

    amounts: Amounts
    program: Program
    at: int


class Entry(msgspec.Struct, frozen=True):
    """A declaration as the ledger keeps it.

    Args:
        id: the ledger's name of its account.
        number: which of the declarations it is.
        first: whether its process has put the limits in place; the others of that number found them there.
        done: whether they are in place.
        declaration: what was declared.
    """

    id: str
    number: int
    first: bool
    done: bool
    declaration: Declaration


def read(ledger: Ledger, account: str) -> list[Entry]:
    """The declarations of an account's limits that the ledger keeps, the last one first, before those who share it.

    Args:
        ledger: where.
        account: the ledger's name of the account whose limits they are.
    """
    found = [_entry(one, declarations_of(account)) for one in all_accounts(ledger, declarations_of(account))]
    entries = [one for one in found if one is not None]
    return sorted(entries, key=lambda one: (-one.number, not one.first, -one.declaration.at))


def make(ledger: Ledger, account: str, number: int, declaration: Declaration) -> bool:
    """Make the next declaration, unless another process did so before. It is not done yet.

    Returns:
        Whether it is the last one now.
    """
    id = _numbered(account, number)
    _put(ledger, id, declaration, done=False)
    last = next((one for one in read(ledger, account) if one.first), None)
    mine = last is not None and (last.id, last.declaration) == (id, declaration)
    # Made anew where who came before has replaced it and cleared up: it must not stand beside the one that counts.
    if not mine and any((one.id, one.declaration) == (id, declaration) for one in read(ledger, account)):
        ledger.delete(id)
    return mine


def finish(ledger: Ledger, account: str, number: int, declaration: Declaration) -> None:
    """Note that the limits of a declaration are in place."""
    ledger.set_limits(_numbered(account, number), [_spec(declaration)], explicit=True)


def is_last(ledger: Ledger, account: str, number: int) -> bool:
    """Whether nobody has made another declaration since."""
    return all(one.number <= number for one in read(ledger, account))


def withdraw(ledger: Ledger, account: str, number: int) -> None:
    """Drop a declaration whose limits are not put in place."""
    ledger.delete(_numbered(account, number))


def share(ledger: Ledger, account: str, number: int, declaration: Declaration) -> None:
    """Note that one more process has declared what is in place."""
    _put(ledger, f"{_numbered(account, number)} {secrets.token_hex(6)}", declaration, done=True)


def forget(ledger: Ledger, entries: Sequence[Entry]) -> None:
    """Drop declarations that count no more."""
    for one in entries:
        ledger.delete(one.id)


def amounts_of(account: Account | None) -> Amounts:
    """The limits that an account has."""
    return stated(map(spec_of, account.slots if account is not None else ()))


def stated(limits: Iterable[LimitSpec]) -> Amounts:
    """What is said of limits that somebody states."""
    return tuple(sorted(_one(limit.limit, limit.amount, limit.keep) for limit in limits))


def _one(id: str, amount: int, keep: int) -> OneAmount:
    return (id, amount, keep) if keep else (id, amount)


def _numbered(account: str, number: int) -> str:
    return f"{declarations_of(account)}{number:010}"


def _put(ledger: Ledger, id: str, declaration: Declaration, *, done: bool) -> None:
    ledger.set_limits(id, [_spec(declaration)], explicit=done, create=True)


def _spec(declaration: Declaration) -> LimitSpec:
    limits = [f"{'+'.join(map(str, amounts))} {id}" for id, *amounts in declaration.amounts]
    text = urlencode({"limit": limits, "at": declaration.at, **msgspec.structs.asdict(declaration.program)}, doseq=True)
    return LimitSpec(text, CALLS, 0, 0, NEVER)


def _entry(account: Account, prefix: str) -> Entry | None:
    """What an account of the ledger's own tells; None if it is none of these."""
    number, _, more = account.id.removeprefix(prefix).partition(" ")
    if not (number.isascii() and number.isdigit()):
        return None
    return Entry(account.id, int(number), not more, account.explicit, _declaration(account))


def _declaration(account: Account) -> Declaration:
    """What was declared; of what cannot be read, that nobody knows by whom."""
    try:
        told = parse_qs(account.slots[0].limit, keep_blank_values=True)
        given = {name: values[0] for name, values in told.items()}
        return Declaration(
            amounts=tuple(sorted(map(_read, told.get("limit", [])))),
            program=msgspec.convert({name: given[name] for name in Program.__struct_fields__}, Program, strict=False),
            at=int(given["at"]),
        )
    except (IndexError, KeyError, ValueError, msgspec.ValidationError):
        return Declaration((), NOBODY, 0)


def _read(text: str) -> OneAmount:
    """A limit of a declaration."""
    amounts, _, id = text.partition(" ")
    amount, _, keep = amounts.partition("+")
    return _one(id, int(amount), int(keep or 0))
