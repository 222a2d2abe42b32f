"""Accounts and their limits' running numbers, as every ledger keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias
from urllib.parse import quote

import msgspec

USD, TOKENS, CALLS = 0, 1, 2
"""Units of a limit. USD is counted in nano-USD."""

UNITS = ("usd", "tokens", "calls")

GLOBAL = "g"
"""The account that every call of a manager is charged to."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A number that is refused, where it comes from outside, if it is negative or absurd."""


def user_account(user: str) -> str:
    """The ledger's name of a user's account."""
    return "u:" + user


def block_account(key: str) -> str:
    """The ledger's name of the account behind ``budget(key=...)``."""
    return "b:" + key


def is_claim(account: str) -> bool:
    """Whether an account is none that anybody pays with: its one call says who gives an alert."""
    return account.startswith("a:")


def declarations_of(account: str) -> str:
    """What the ledger's names of those accounts begin with that tell what code declared of an account's limits."""
    return f"d:{quote(account)} "  # in which there is no space, whatever is in the name


def is_declaration(account: str) -> bool:
    """Whether an account is none that anybody pays with: its one limit tells what code declared of another's."""
    return account.startswith("d:")


def account_kind(account: str) -> str:
    """``"global"``, ``"user"`` or ``"block"``."""
    return "global" if account == GLOBAL else "user" if account[0] == "u" else "block"


def account_name(account: str) -> str:
    """The name that people know: the user, the block's key, or ``"global"``."""
    return "global" if account == GLOBAL else account[2:]


class Slot(msgspec.Struct, array_like=True, gc=False):
    """One limit's running numbers, in its current period.

    ``start`` and ``end`` are unix seconds. ``spent`` and ``held`` belong to that period alone. ``since`` is that of its
    :class:`LimitSpec`: which charges that were made without it it has counted.
    """

    limit: str
    unit: int
    amount: int
    start: int
    end: int
    spent: int = 0
    held: int = 0
    since: int = -1


class Account(msgspec.Struct, array_like=True, gc=False):
    """One account: its limits, and everything it was charged since its last reset.

    ``version`` grows with every change of its limits: a route computed from older limits is stale.
    ``explicit`` tells a budget that somebody set from one that a first call brought into being.
    ``models`` is nano-USD per model since ``models_since``, the start of the first limit's period.
    """

    id: str
    version: int = 1
    explicit: bool = False
    slots: tuple[Slot, ...] = ()
    usd: int = 0
    tokens: int = 0
    calls: int = 0
    held: int = 0
    models: dict[str, int] | None = None
    models_since: int = 0


def known_to_people(accounts: Iterable[Account]) -> list[Account]:
    """Those of some accounts that are told of and counted: what code declared of others' limits is not."""
    return [account for account in accounts if not is_declaration(account.id)]


class LimitSpec(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A limit as a client hands it to a ledger: the ledger knows no calendar and no model names.

    ``since`` is the day number from which past charges count into a limit that is new to an account,
    0 for all of them and -1 for none.
    """

    limit: str
    unit: Annotated[int, msgspec.Meta(ge=0, le=2)]
    amount: Count
    start: int
    end: int
    since: int = -1
