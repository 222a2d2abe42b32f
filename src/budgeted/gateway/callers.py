"""Who asks a gateway for something: which user pays, for what, and which models it may ask for."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from budgeted.ledger.accounts import account_name
from budgeted.payers.purpose_tags import Accounts, accounts_of, check_tags
from budgeted.validation import check_user, shown

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""A request's headers, as ASGI has them: by their names in lower case."""

USER: Final = b"x-budgeted-user"
"""Names the user who pays, where nobody needs a key."""

TAGS: Final = b"x-budgeted-tags"
"""Says what a request is for: ``feature=search, env=dev``."""

SESSIONS: Final = (b"x-claude-code-session-id", b"session-id", b"session_id")
"""By which Claude Code and Codex tell one session from another."""

OURS: Final = b"x-budgeted-"
"""What the headers begin with that are for the gateway, and for nobody behind it."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as a request says it.

    Args:
        user: who pays; None for nobody in particular: the global account alone.
        tags: the ledger's names of the accounts of what it is for.
        models: patterns of the models that may be asked for; none of them for any.
        key: the id of the key that was shown; "" where nobody needs one.
        shown: the name of the header that the key came in, which is for nobody behind the gateway; b"" for none.
        served: patterns of the models that the gateway lets anybody ask for; none of them for any.
    """

    user: str | None = None
    tags: Accounts = ()
    models: tuple[str, ...] = ()
    key: str = ""
    shown: bytes = b""
    served: tuple[str, ...] = ()

    @property
    def accounts(self) -> frozenset[str]:
        """The names of the accounts that are its own, as errors have them."""
        names = [account_name(one) for one in self.tags]
        return frozenset(names if self.user is None else [self.user, *names])

    def may_ask(self, model: str) -> bool:
        """Whether a model may be asked for.

        Args:
            model: its name.
        """
        return _match(model, self.models) and _match(model, self.served)

    def check_model(self, model: str) -> None:
        """Refuse a model that may not be asked for.

        Args:
            model: its name; "" for one that nobody knows.

        Raises:
            CallerError: it may not, or is the name of none.
        """
        if not model.isprintable():  # of half a character, say, which no ledger can write
            raise CallerError(400, f"{shown(model)} is no name of a model; nothing was sent")
        if not self.may_ask(model):
            which = shown(model) if model else "one that cannot be read"
            text = f"this key may ask for {', '.join(self.models)}, and not for {which}; nothing was sent"
            if _match(model, self.models):
                text = f"this gateway serves {', '.join(self.served)}, and not {which}; nothing was sent"
            raise CallerError(403, text)


def _match(model: str, patterns: tuple[str, ...]) -> bool:
    """Whether a model's name matches one of some patterns, if there are any."""
    return not patterns or any(fnmatch.fnmatchcase(model, pattern) for pattern in patterns)


class CallerError(Exception):
    """Nobody knows who asks, or whoever it is may not.

    Attributes:
        status: of the answer.
        text: what is wrong, and what to do; without any secret.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Callers(Protocol):
    """How a gateway tells who asks."""

    async def caller(self, headers: Headers) -> Caller:
        """Who asks.

        Args:
            headers: of the request.

        Raises:
            CallerError: nobody knows that, or whoever it is may not ask.
        """


class OpenCallers:
    """Whoever can reach the gateway may ask, and says itself who pays: on a machine of one's own.

    The user is who :data:`USER` names, else a session of Claude Code or Codex pays for itself, as ``session:ID``.
    """

    async def caller(self, headers: Headers) -> Caller:
        """Who asks, as its headers say.

        Args:
            headers: of the request.

        Raises:
            CallerError: a header holds no name, or no tags.
        """
        named, tags, session = b"", b"", b""
        for name, value in headers:
            if name == USER:
                named = value
            elif name == TAGS:
                tags = value
            elif name in SESSIONS and not session:
                session = value
        user = _user(named, USER) if named else None
        found = _tags(tags)
        if session:
            told = _user(session, b"the session's header")
            if user is None:
                user = f"session:{told}"
            else:
                found.setdefault("session", told)
        return Caller(user, accounts_of(_checked(found)))


def _user(value: bytes, header: bytes) -> str:
    try:
        return check_user(value.decode().strip(" \t"))
    except ValueError as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error).partition(";")[0]
        raise CallerError(400, f"{header.decode()}, which says who pays, holds no name: {why}") from None


def _tags(value: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, (one.strip() for one in value.decode("utf-8", "replace").split(","))):
        name, equals, told = pair.partition("=")
        if not equals:
            text = f"{TAGS.decode()} must be like `feature=search, env=dev`, got {shown(pair)}"
            raise CallerError(400, text)
        found[name.strip()] = told.strip()
    return found


def _checked(found: dict[str, str]) -> dict[str, str]:
    try:
        return check_tags(found)
    except ValueError as error:
        raise CallerError(400, f"{TAGS.decode()}: {error}") from None
