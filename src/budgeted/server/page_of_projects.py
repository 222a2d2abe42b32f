"""The page of a server: all its projects, for whoever has one of its tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from budgeted.errors import LedgerError
from budgeted.http_server.same_machine import why_not_from_here
from budgeted.manager.administrative_manager import Books
from budgeted.page.sources import NotLetInError, Visitor
from budgeted.server.ledger_per_project import Projects
from budgeted.server.settings import ServerSettings


class ProjectsToSee:
    """What the page shows of a server.

    Args:
        projects: its ledgers.
    """

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._found: list[str] = []

    def projects(self) -> list[str]:
        """The projects that its ledger has, and those that are open."""
        # If the ledger is away the names of before will do: what is asked of it next tells so.
        with suppress(LedgerError):
            self._found = self._projects.all_names()
        return sorted({*self._found, *self._projects.open_names()})

    @contextmanager
    def books(self, project: str, *, changes: bool = False) -> Iterator[Books]:
        """A project's budgets; looking at one that is not there makes none."""
        with self._projects.using(project) if changes else self._projects.looking(project) as found:
            yield found.books


class TokenAccess:
    """Who may look: whoever has a token, or without tokens whoever is on this machine.

    Args:
        settings: of the server.
        clock: unix seconds.
    """

    def __init__(self, settings: ServerSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock

    takes_keys = False

    @property
    def open(self) -> bool:
        """Whether there are no tokens."""
        return self._settings.open

    @property
    def secrets(self) -> Sequence[str]:
        """All the server's tokens."""
        return (*self._settings.tokens, *self._settings.read_tokens)

    def visitor(self, token: str | None) -> Visitor:
        """What a token allows."""
        if not (role := self._settings.may(token)):
            raise NotLetInError("That is none of this server's tokens.")
        return Visitor(role, until=int(self._clock()) + self._settings.session_seconds)

    def still(self, key: str) -> bool:  # noqa: ARG002 - as gateways have it
        """Tokens are good as long as the server runs."""
        return True

    def why_not(self, server: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Without tokens, only this machine is served."""
        if not self._settings.open or (why := why_not_from_here(server, headers)) is None:
            return None
        return f"a server without tokens serves its own machine alone, and {why}; set BUDGETED_TOKEN"
