"""What a page shows budgets of, and who may look: a server and a gateway tell it in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeAlias

from budgeted.manager.administrative_manager import Books

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


class Access(Protocol):
    """Who may look at a page, and who may change what it shows."""

    @property
    def secrets(self) -> Sequence[str]:
        """What sessions are signed with, so that they end when a token is replaced; empty where nobody needs one."""

    def why_not(self, server: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Why a request is not answered at all, whoever sends it; None where it is.

        Args:
            server: the address and the port that it came to, as ASGI has them.
            headers: of the request, by names in lower case.
        """

    def role(self, token: str | None) -> Role:
        """What the bearer of a token may do.

        Args:
            token: None for somebody who has none.
        """
