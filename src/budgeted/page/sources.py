"""What a page shows budgets of, and who may look: a server and a gateway tell it in the same way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeAlias

import msgspec

from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import Balance

Role: TypeAlias = Literal["write", "read", ""]
"""What somebody may do: change things (and look), look, or nothing."""


class PageSource(Protocol):
    """Whose budgets a page shows. Its methods are called in threads, many at once."""

    def projects(self) -> Sequence[str]:
        """The names of the projects that there are, in order."""

    def books(self, project: str, *, changes: bool = False) -> AbstractContextManager[Books]:
        """A project's budgets, for as long as it is entered.

        Args:
            project: its name.
            changes: whether it is made if it is not there; otherwise one of which nothing is known is given.

        Raises:
            ValueError: it is no name of a project.
            LedgerError: its ledger is away.
        """


class ListedKey(Protocol):
    """A gateway's key in a list: all but its text, which its holder alone has."""

    @property
    def id(self) -> str:
        """By which it is shown and revoked."""

    @property
    def name(self) -> str:
        """What it is called, or ""."""

    @property
    def state(self) -> Literal["active", "expired", "revoked"]:
        """Whether its calls are let through."""

    @property
    def revoked(self) -> str:
        """Why it was revoked, or ""."""

    @property
    def spent(self) -> float:
        """USD charged with it since the last reset."""

    @property
    def limits(self) -> Sequence[Balance]:
        """What is left of each of its own."""

    @property
    def created(self) -> dt.datetime:
        """When it was made."""

    @property
    def expires(self) -> dt.datetime | None:
        """From when on it is refused; None for never."""


class Keys(Protocol):
    """The keys of a gateway, by their users. Its methods are called in threads, and may raise ``LedgerError``."""

    def of(self, books: Books, user: str) -> Sequence[ListedKey]:
        """A user's keys, the oldest first.

        Args:
            books: of the project.
            user: who pays.
        """

    def revoke(self, books: Books, id: str, reason: str) -> None:
        """Refuse every call with a key from now on.

        Args:
            books: of the project.
            id: of the key.
            reason: is told with every refusal; "" for none.
        """


class Visitor(msgspec.Struct, frozen=True):
    """What the bearer of a token may see and do.

    Args:
        role: what may be done.
        own: the user whose page alone may be looked at; "" for everything.
        key: by which it is asked at each look whether that is still so; "" where the token is good as long as the
            server runs.
        until: unix seconds from which on it is not; 0 for never.
    """

    role: Literal["write", "read"]
    own: str = ""
    key: str = ""
    until: int = 0


class NotLetInError(ValueError):
    """A token opens nothing; the text tells why, to whoever has sent it."""


class Access(Protocol):
    """Who may look at a page, and who may change what it shows."""

    @property
    def open(self) -> bool:
        """Whether nobody needs a token."""

    @property
    def takes_keys(self) -> bool:
        """Whether a gateway's keys are tokens as well, for what their users have left."""

    @property
    def secrets(self) -> Sequence[str]:
        """What sessions are signed with, so that they end when a token is replaced; without any, by chance."""

    def why_not(self, server: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Why a request is not answered at all, whoever sends it; None where it is.

        Args:
            server: the address and the port that it came to, as ASGI has them.
            headers: of the request, by names in lower case.
        """

    def visitor(self, token: str | None) -> Visitor:
        """Who comes with a token. It is called in a thread, and may ask a ledger.

        Args:
            token: None for somebody who has none.

        Raises:
            NotLetInError: it opens nothing.
            LedgerError: nobody knows, as the ledger is away.
        """

    def still(self, key: str) -> bool:
        """Whether a visitor is still let in, by :attr:`Visitor.key`. It is called in a thread, and may ask a ledger.

        Raises:
            LedgerError: nobody knows, as the ledger is away.
        """
