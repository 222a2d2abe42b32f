"""The accounts of a project by the names that people use: ``alice``, ``tag:feature=search``, ``key:nightly``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeGuard

from budgeted.ledger.accounts import (
    GLOBAL,
    Account,
    account_kind,
    account_name,
    block_account,
    user_account,
)
from budgeted.ledger.interface import Ledger
from budgeted.validation import TAG, check_name, check_user, is_tag, shown

KEY: Final = "key:"
"""What the name of a keyed cap's account begins with."""

_OF_NOBODY = re.compile(r"b:(run-[0-9a-f]{12}( .*)?|shared-[0-9a-f]{16})", re.DOTALL)
"""Blocks that nobody has named: of ``budgeted run``, and of caps that other processes came to spend of."""


def find(name: str | None, read: Callable[[str], Account | None]) -> str:
    """The ledger's name of the account that somebody means.

    Args:
        name: of a user; ``"tag:NAME=VALUE"`` for what is tagged so; ``"key:KEY"`` for a cap with that key, unless a
            user is called so; None for the global account.
        read: gives a ledger's account, or None.

    Raises:
        TypeError, ValueError: it is no name; the text quotes it.
    """
    if name is None:
        return GLOBAL
    check(name, "user")
    if is_tag(name):
        return user_account(check_user(name))
    user = user_account(name)
    if not _begins(name, KEY) or read(user) is not None:
        return user
    return block_account(name.removeprefix(KEY))


def check_limited(name: str | None, read: Callable[[str], Account | None]) -> None:
    """Refuse to limit what calls are hardly charged to: a tag without a value, or all of a tag's values at once.

    Args:
        name: as above. Where an account is called so already, it is what is meant.
        read: gives a ledger's account, or None.

    Raises:
        ValueError: it is such a name; the text says what to write.
    """
    if not _begins(name, TAG) or read(user_account(name)) is not None:
        return
    tag, _, value = name.removeprefix(TAG).partition("=")
    if not value:
        msg = (
            f"{shown(name)} names a tag without a value, and limits are for one value each: write "
            f"{TAG + tag + '=VALUE'!r}, or default_user_limits={{{TAG + tag + '=*'!r}: ...}} for every value"
        )
        raise ValueError(msg)
    if "*" in value:
        msg = (
            f"{shown(name)} would be limits of that very value, not of all that are like it: for those write "
            f"default_user_limits={{{name!r}: ...}}"
        )
        raise ValueError(msg)


def check(name: object, what: str) -> None:
    """Refuse what is no name of an account, nor the beginning of one.

    Args:
        name: what was given. Behind ``key:`` and ``tag:`` it may be as long as that of any user.
        what: what it is, for the error's text.

    Raises:
        TypeError, ValueError: it is none; the text quotes it.
    """
    if _begins(name, TAG):
        for part in name.removeprefix(TAG).split("=", 1):
            check_name(part or "-", what)
    else:
        check_name(name.removeprefix(KEY) if _begins(name, KEY) else name, what)


def _begins(name: object, prefix: str) -> TypeGuard[str]:
    return isinstance(name, str) and name.startswith(prefix) and name != prefix


def called(account: str) -> str | None:
    """What people call an account; None for one that none of them knows.

    Returns:
        The user's name, ``"tag:NAME=VALUE"``, ``"key:KEY"`` or ``"global"``.
    """
    kind = account_kind(account)
    if kind == "block":
        return KEY + account[2:] if is_key(account) else None
    return account_name(account)


def is_key(account: str) -> bool:
    """Whether an account is that of a cap which somebody has given a key."""
    return account.startswith("b:") and not _OF_NOBODY.fullmatch(account)


def page(ledger: Ledger, prefix: str, after: str | None, count: int) -> dict[str, Account]:
    """Accounts by name, in the order of their names: users; keyed caps or tags, where the prefix is of their names.

    Args:
        ledger: where they are.
        prefix: what the names begin with.
        after: the last name of the page before, or None.
        count: how many at most.
    """
    found: dict[str, Account] = {}
    for kind, letter in ((TAG, "t:"), ("", "u:"), (KEY, "b:")):
        if prefix.startswith(kind) and (after is None or after < kind or after.startswith(kind)):
            behind = letter + after.removeprefix(kind) if after is not None and after.startswith(kind) else None
            for one in _known(ledger, letter + prefix.removeprefix(kind), behind, count):
                found.setdefault(called(one.id) or one.id, one)  # a user who is called as a cap is, is who is meant
    return dict(sorted(found.items())[:count])


def _known(ledger: Ledger, prefix: str, after: str | None, count: int) -> list[Account]:
    """Accounts that people have a name for, in the order of their ids."""
    found: list[Account] = []
    while len(found) < count:
        some = ledger.accounts(prefix, after, count)
        found += [one for one in some if called(one.id) is not None]
        if len(some) < count:
            break
        after = some[-1].id
    return found[:count]


def told_apart(found: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Names that are each given once: with the kind behind them, where several are called alike.

    Args:
        found: what is named, each with its name and its kind.
    """
    often = Counter(name for name, _ in found.values())
    names: dict[str, str] = {}
    taken: set[str] = set()
    for one, (name, kind) in found.items():
        names[one] = free_name(f"{name} ({kind})" if often[name] > 1 else name, taken)
        taken.add(names[one])
    return names


def free_name(name: str, taken: Collection[str]) -> str:
    """A name, in as many brackets as it takes for no other to be the same."""
    while name in taken:
        name = f"({name})"
    return name
