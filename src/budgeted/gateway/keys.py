"""Keys of a gateway: text that says who pays, signed, so that nobody else makes one or changes one.

A key tells all that a request needs: no ledger is asked who its user is. It is known there by its id, a hash of what is
random in it: from the id nobody can make the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final

import msgspec

PREFIX: Final = "bk-"
"""How every key begins."""

LONGEST: Final = 4_096
"""Characters of the longest key: servers and proxies take headers of twice that."""

_NAME: Final = "budgeted-gateway-key 1"
"""Keeps what is signed here from meaning anything elsewhere, where the same secret signs other things, too."""

_SHOWN: Final = 8
"""Characters of a key that may be shown: they tell keys apart, and help nobody to make one."""

_RANDOM: Final = 15
_TAG: Final = 32
_KEY: Final = re.compile(r"bk-[a-z2-7]+", re.ASCII)
_HELD: Final = re.compile(rb"bk-[a-z2-7]{16}", re.IGNORECASE)
_ID: Final = 12


class KeyTextError(ValueError):
    """A text is no key, or none that was made with this secret."""


class Key(msgspec.Struct, frozen=True):
    """What a key says.

    Args:
        id: by which it is listed and revoked.
        user: who pays.
        project: of whose ledger it is.
        expires: unix seconds from which on it is refused; 0 for never.
        models: patterns of the models that may be asked for; none of them for any.
        name: what whoever made it calls it, or "".
    """

    id: str
    user: str
    project: str
    expires: int = 0
    models: tuple[str, ...] = ()
    name: str = ""


class _Content(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    user: str
    project: str
    expires: int
    models: tuple[str, ...]
    name: str


def made(
    user: str, project: str, secret: bytes, *, expires: int = 0, models: tuple[str, ...] = (), name: str = ""
) -> tuple[str, Key]:
    """Make a key, another one each time.

    Args:
        user: who pays.
        project: of whose ledger it is.
        secret: by which it is signed.
        expires: unix seconds from which on it is refused; 0 for never.
        models: patterns of the models that may be asked for; none of them for any.
        name: what it is called, or "".

    Returns:
        Its text, which is kept nowhere, and what it says.

    Raises:
        ValueError: it would be too long for a header.

    Example:
        >>> text, key = made("alice", "default", b"secret", name="laptop")
        >>> read(text, b"secret") == key
        True
    """
    random = secrets.token_bytes(_RANDOM)
    body = random + msgspec.msgpack.encode(_Content(user, project, expires, models, name))
    text = PREFIX + _encoded(body + _signature(body, secret))
    if len(text) > LONGEST:
        msg = (
            f"a key with {len(models)} patterns of models would have {len(text):,} characters, and {LONGEST:,} go into "
            f"a header; give fewer or shorter ones"
        )
        raise ValueError(msg)
    return text, Key(_id(random), user, project, expires, models, name)


def read(text: str, secret: bytes) -> Key:
    """What a key says, if it was made with this secret; whether it has expired is not looked at.

    Args:
        text: as it came.
        secret: by which it has to be signed.

    Raises:
        KeyTextError: it is no key, or was changed, or made with another secret. The error quotes its beginning alone.
    """
    content = _decoded(text)
    if not content:
        msg = (
            f"the key {beginning(text)} is no whole key: they consist of {PREFIX} and small letters and digits; pass "
            f"it on as `budgeted keys create` has printed it"
        )
        raise KeyTextError(msg)
    body, tag = content[:-_TAG], content[-_TAG:]
    if not hmac.compare_digest(tag, _signature(body, secret)):
        msg = (
            f"the key {beginning(text)} was changed or cut off, or made with another secret than this gateway's "
            f"(BUDGETED_SECRET, or else a file in BUDGETED_HOME); pass on all of it, or ask for another one"
        )
        raise KeyTextError(msg)
    try:
        told = msgspec.msgpack.decode(body[_RANDOM:], type=_Content)
    except msgspec.MsgspecError:
        msg = f"the key {beginning(text)} was made by another version of budgeted; ask for another one"
        raise KeyTextError(msg) from None
    return Key(_id(body[:_RANDOM]), told.user, told.project, told.expires, told.models, told.name)


def id_of(text: str) -> str | None:
    """The id of the key with a text, whoever made it; None if the text is none of a key."""
    content = _decoded(text)
    return _id(content[:_RANDOM]) if content else None


def beginning(text: str) -> str:
    """As much of a key as may be shown."""
    return re.sub(r"[^A-Za-z0-9_-]", "?", text[:_SHOWN]) + "..."


def holds_one(text: bytes) -> bool:
    """Whether a key is somewhere in a text, as far as its looks tell."""
    return _HELD.search(text) is not None


def _decoded(text: str) -> bytes:
    """The bytes of a key's text; none if it is not the text of a key."""
    if len(text) > LONGEST or not _KEY.fullmatch(text):
        return b""
    encoded = text[len(PREFIX) :].upper()
    try:
        content = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except ValueError:
        return b""
    # Its last character has bits to spare: no other text is to be the same key.
    return content if len(content) > _RANDOM + _TAG and PREFIX + _encoded(content) == text else b""


def _encoded(content: bytes) -> str:
    # Letters and digits alone: a double click takes all of it, and no address or shell reads it otherwise.
    return base64.b32encode(content).decode().rstrip("=").lower()


def _signature(body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _NAME.encode() + b" " + body, "sha256")


def _id(random: bytes) -> str:
    return _encoded(hashlib.sha256(f"{_NAME} id ".encode() + random).digest())[:_ID]
