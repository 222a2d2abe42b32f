"""The keys of a project's ledger in Redis: what they begin with, and which one tells that there is a ledger."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_KEY = "budgeted:{%s}"
_ACCOUNTS = f"{_KEY}:accounts"

ANY_ACCOUNTS = _ACCOUNTS % "*"
"""A pattern, as Redis takes it, for the accounts of whichever project."""

_accounts = re.compile(re.escape(_ACCOUNTS).replace("%s", "(.*)").encode())


def redis_key(project: str) -> str:
    """What the keys of a project's ledger begin with."""
    return _KEY % quote(project, safe="")


def accounts_key(project: str) -> str:
    """The key under which a project's accounts are: there is one where there is a ledger."""
    return _ACCOUNTS % quote(project, safe="")


def project_of(key: bytes) -> str | None:
    """The project whose accounts are under a key; None for any other key."""
    name = _accounts.fullmatch(key)
    return unquote(name[1].decode()) if name else None
