"""Who pays for a call of the proxy: the accounts that LiteLLM tells of, under the names that they have in the ledger.

| LiteLLM's | account |
|---|---|
| user | the user, by its id |
| team, organisation | the users ``team:ID`` and ``org:ID`` |
| key | the tag ``key=ALIAS``, or ``key=HASH`` of one without an alias |
| customer (end user), project | the tags ``customer=ID`` and ``project=ID`` |
| request tag ``name:value`` or ``name`` | the tag ``name=value``, or ``name=true`` |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from budgeted.payers import scope as scopes
from budgeted.payers.payer_interface import Payer
from budgeted.payers.purpose_tags import accounts_of, check_tags, tag_of
from budgeted.payers.scope import Scope, joined
from budgeted.validation import check_name, check_tag_name, check_tag_value

KEY, CUSTOMER, PROJECT = "key", "customer", "project"
TEAM, ORGANISATION = "team:", "org:"
_TAKEN: Final = (TEAM, ORGANISATION, "tag:", "user:")
"""How a user's id may not begin: it would be somebody else's account."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NAME_AND_VALUE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,63})\s*[:=]\s*(.+)", re.DOTALL)


class Payers(NamedTuple):
    """Who pays for a call.

    Args:
        users: names of users' accounts, teams' among them.
        tags: values by the names of tags.
    """

    users: tuple[str, ...]
    tags: dict[str, str]


class Told(NamedTuple):
    """What LiteLLM tells of whoever asks, as far as it pays; "" for what is not told."""

    user: str = ""
    team: str = ""
    organisation: str = ""
    key: str = ""
    alias: str = ""
    customer: str = ""
    project: str = ""


def told_by(auth: object) -> Told:
    """What the proxy's ``user_api_key_dict`` tells.

    Args:
        auth: LiteLLM's ``UserAPIKeyAuth``.
    """
    return Told(
        _text(auth, "user_id"),
        _text(auth, "team_id"),
        _text(auth, "org_id"),
        _text(auth, "token") or _text(auth, "api_key"),
        _text(auth, "key_alias"),
        _text(auth, "end_user_id"),
        _text(auth, "project_id"),
    )


def _text(auth: object, name: str) -> str:
    value = getattr(auth, name, None)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def payers(told: Told, tags: list[str], own: Mapping[str, str]) -> Payers:
    """Who pays for a call.

    Args:
        told: by LiteLLM of whoever asks.
        tags: of the request, which anybody may have written, behind those of the key and the team.
        own: the tags of all calls, which stay what they are.

    Raises:
        ValueError: there are too many tags.
    """
    users = []
    if told.user:
        users.append(_name(f"user:{told.user}" if told.user.startswith(_TAKEN) else told.user))
    if told.team:
        users.append(_name(TEAM + told.team))
    if told.organisation:
        users.append(_name(ORGANISATION + told.organisation))
    mine = {}
    if told.key:
        mine[KEY] = _value(told.alias or hash_of_key(told.key))
    if told.customer:
        mine[CUSTOMER] = _value(told.customer)
    if told.project:
        mine[PROJECT] = _value(told.project)
    for tag in tags:
        name, value = _read_tag(tag)
        if mine.get(name) != value:
            # A name has one value, and the first one stays: whoever asks cannot get rid of what others have stated.
            mine[_unlike(tag) if name in mine or name in own else name] = value
    return Payers(tuple(users), check_tags({**own, **mine}))


def hash_of_key(key: str) -> str:
    """The hash by which LiteLLM knows a key: of one that is not hashed yet, as some ways to authenticate have it."""
    return key if _HASH.fullmatch(key) else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _read_tag(tag: str) -> tuple[str, str]:
    """The name and the value of one of LiteLLM's tags, which is any text."""
    found = _NAME_AND_VALUE.fullmatch(tag)
    name, value = found.groups() if found is not None else (tag, "true")
    try:
        return check_tag_name(name), _value(value)
    except ValueError:
        return _unlike(tag), _value(tag)


def _unlike(tag: str) -> str:
    """A name for one of LiteLLM's tags that no other has."""
    return f"tag-{_digest(tag)[:16]}"


def _name(name: str) -> str:
    """A user's name, or what stands for one that the ledger would not take."""
    try:
        return check_name(name, "user")
    except ValueError:
        kind = next((prefix for prefix in _TAKEN if name.startswith(prefix)), "")
        return f"{kind}sha256:{_digest(name)}"


def _value(value: str) -> str:
    try:
        return check_tag_value(value, "tag")
    except ValueError:
        return f"sha256:{_digest(value)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def tags_of_all_calls(payer: Payer) -> dict[str, str]:
    """The tags that a manager gives to all its calls."""
    return dict(tag_of(account) for account in payer.group.accounts if account.startswith("t:"))


def scope_of(payer: Payer, who: Payers) -> Scope:
    """The payers of a call, and whoever the proxy's whole process was started for."""
    scope = scopes.inherited[0] if scopes.inherited else None
    for user in who.users:
        scope = joined(scope, payer, user, None)
    return joined(scope, payer, None, None, tags=accounts_of(who.tags))
