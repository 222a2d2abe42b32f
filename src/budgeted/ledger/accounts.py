"""Accounts and their limits' running numbers, as every ledger keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias
from urllib.parse import quote

import msgspec

from budgeted.validation import TAG, is_tag

USD, TOKENS, CALLS, INPUT_TOKENS, OUTPUT_TOKENS = 0, 1, 2, 3, 4
"""Units of a limit, as ledgers count. USD is counted in nano-USD. Whose calls count, models' or tools', clients say."""

UNITS = ("usd", "tokens", "calls", "input tokens", "output tokens")

GLOBAL = "g"
"""The account that every call of a manager is charged to."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A number that is refused, where it comes from outside, if it is negative or absurd."""


def user_account(user: str) -> str:
    """The ledger's name of a user's account; that of a tag's, where it is called so: ``tag:NAME=VALUE``."""
    # Nearly always of a user, who then is not looked at any further.
    return tag_account(user[4:]) if user[:4] == TAG and is_tag(user) else "u:" + user


def block_account(key: str) -> str:
    """The ledger's name of the account behind ``budget(key=...)``."""
    return "b:" + key


def tag_account(tag: str) -> str:
    """The ledger's name of the account of what is tagged ``NAME=VALUE``."""
    return "t:" + tag


def overlaps(accounts: Iterable[str]) -> list[str]:
    """The names under which reports count again what a call's second, third, ... user, or keyed cap, is charged.

    What users were charged in all, less that, was charged to some user: each call once.
    """
    kinds = [account[0] for account in accounts]
    if kinds.count("u") < 2 and kinds.count("b") < 2:  # as nearly always
        return []
    return [f"o:{kind}{i}" for kind in "ub" for i in range(1, kinds.count(kind))]


def is_overlap(account: str) -> bool:
    """Whether it is one of :func:`overlaps`, which has rows in reports, and is no account."""
    return account.startswith("o:")


def is_claim(account: str) -> bool:
    """Whether an account is none that anybody pays with: its one call says who gives an alert."""
    return account.startswith("a:")


def declarations_of(account: str) -> str:
    """What the ledger's names of those accounts begin with that tell what code declared of an account's limits."""
    return f"d:{quote(account)} "  # in which there is no space, whatever is in the name


def is_declaration(account: str) -> bool:
    """Whether an account is none that anybody pays with: its one limit tells what code declared of another's."""
    return account.startswith("d:")


def would_refuse_account(account: str, limit: str) -> str:
    """The ledger's name of the account that counts what a limit would have refused of an account that only warns."""
    return f"w:{account} {limit}"  # no limit's id has a space


def is_would_refuse(account: str) -> bool:
    """Whether an account is none that anybody pays with, but counts what a limit would have refused."""
    return account.startswith("w:")


def refusing_limit(account: str) -> tuple[str, str]:
    """The account and the id of the limit that such an account counts for."""
    paying, _, limit = account[2:].rpartition(" ")
    return paying, limit


def account_kind(account: str) -> str:
    """``"global"``, ``"user"``, ``"tag"`` or ``"block"``."""
    return "global" if account == GLOBAL else _KINDS.get(account[0], "block")


_KINDS = {"u": "user", "t": "tag"}


def account_name(account: str) -> str:
    """The name that people know: the user, ``tag:NAME=VALUE``, the block's key, or ``"global"``."""
    if account[0] == "t":
        return TAG + account[2:]
    return "global" if account == GLOBAL else account[2:]


class Terms(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is special about a limit, where anything is.

    Args:
        window: seconds that a rolling limit looks back; 0 for one that has periods.
        keep: how much of what is left when a period ends the next one has besides, at most.
        step: seconds of one period on the average: tells how many have gone by of which nobody has heard.
        carried: the part of the slot's amount that the period before has left.
        raised: the part of the slot's amount that somebody has added for this period alone.
        past: of a rolling limit, what was charged: unix seconds of the first and the last of some charges that came
            one soon after the other, and what they were in all; the oldest first.
    """

    window: int = 0
    keep: int = 0
    step: int = 0
    carried: int = 0
    raised: int = 0
    past: tuple[tuple[int, int, int], ...] = ()


class Slot(msgspec.Struct, array_like=True, gc=False):
    """One limit's running numbers, in its current period.

    Args:
        limit: its id: unit, period, anchor and pattern of models, such as ``usd/day``.
        unit: 0 for nano-USD, 1 for tokens, 2 for calls, 3 for input tokens, 4 for output tokens.
        amount: what may be spent in this period; see :func:`stated_amount`.
        start: of the period, in unix seconds.
        end: of the period, in unix seconds.
        spent: what was charged in it.
        held: what is set aside in it.
        since: that of its :class:`LimitSpec`: which charges that were made without it it has counted.
        terms: what is special about the limit; None where nothing is.
    """

    limit: str
    unit: int
    amount: int
    start: int
    end: int
    spent: int = 0
    held: int = 0
    since: int = -1
    terms: Terms | None = None


def stated_amount(slot: Slot) -> int:
    """The amount of a limit as somebody has stated it: without what was carried over or added for the period."""
    return slot.amount if slot.terms is None else slot.amount - slot.terms.carried - slot.terms.raised


class Account(msgspec.Struct, array_like=True, gc=False):
    """One account: its limits, and everything it was charged since its last reset.

    Args:
        id: ``g``, ``u:USER``, ``b:KEY`` or ``t:NAME=VALUE``.
        version: grows with every change of its limits: a route computed from older limits is stale.
        explicit: tells a budget that somebody set from one that a first call brought into being.
        slots: its limits' running numbers.
        usd: nano-USD that it was charged.
        tokens: that it was charged.
        calls: that it was charged.
        held: nano-USD that are set aside.
        models: nano-USD per model since ``models_since``; None for none.
        models_since: the start of the first limit's period, in unix seconds.
        belongs_to: the account that pays whatever this one pays, or "".
        stopped: why nothing may be spent here for the time being, or "".
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
    belongs_to: str = ""
    stopped: str = ""


class Amendment(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What changes of an account besides its limits; None leaves it.

    Args:
        belongs_to: the account that it belongs to from now on; "" for none.
        stopped: why nothing may be spent; "" where it may be again.
        raised: a limit's id, what it gets besides in this period alone, and the period's start and end in unix seconds.
    """

    belongs_to: str | None = None
    stopped: str | None = None
    raised: tuple[str, Count, int, int] | None = None


def known_to_people(accounts: Iterable[Account]) -> list[Account]:
    """Those of some accounts that are told of and counted: what code declared of others' limits is not."""
    return [account for account in accounts if not is_declaration(account.id)]


class LimitSpec(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A limit as a client hands it to a ledger: the ledger knows no calendar and no model names.

    Args:
        limit: its id: unit, period, anchor and pattern of models, such as ``usd/day``.
        unit: 0 for nano-USD, 1 for tokens, 2 for calls, 3 for input tokens, 4 for output tokens.
        amount: what may be spent in a period.
        start: of the present period, in unix seconds; 0 of a rolling limit.
        end: of that period, in unix seconds.
        since: the day number from which past charges count into a limit that is new to an account, 0 for all of them
            and -1 for none.
        window: as of its :class:`Terms`.
        keep: as of its :class:`Terms`.
        step: as of its :class:`Terms`; of a rolling limit when it is stated, in unix seconds.
    """

    limit: str
    unit: Annotated[int, msgspec.Meta(ge=0, le=4)]
    amount: Count
    start: int
    end: int
    since: int = -1
    window: Count = 0
    keep: Count = 0
    step: Count = 0
