"""The ledgers that a server has open, by project."""

from __future__ import annotations

import logging
import threading

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.opening import exists, open_ledger
from budgeted.manager.administrative_manager import Books
from budgeted.server.client_leases import Clients
from budgeted.server.settings import ServerSettings
from budgeted.validation import check_name

logger = logging.getLogger("budgeted")


class Project:
    """One project's ledger, and what people ask of it and set."""

    def __init__(self, name: str, settings: ServerSettings, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clients = Clients(ledger)
        self._name = name
        self._settings = settings
        self._lock = threading.Lock()
        self._books: Books | None = None

    @property
    def books(self) -> Books:
        """The project's limits and balances in USD, in the server's time zone."""
        with self._lock:
            if self._books is None:
                settings = self._settings
                self._books = Books(
                    self._name, ledger=self.ledger, timezone=settings.timezone, hold_timeout=settings.hold_timeout
                )
            return self._books


class Projects:
    """Each project, opened when it is first asked for."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._open: dict[str, Project] = {}

    def open(self, name: str) -> Project:
        """The project of this name.

        Raises:
            ValueError: it is no name of one.
            LedgerError: its ledger cannot be opened.
        """
        found = self._open.get(name)  # without the lock, as nearly every request finds it open
        if found is not None and not found.ledger.closed:
            return found
        check_name(name, "project")
        with self._lock:  # looked at again: another request may have opened it meanwhile
            found = self._open.get(name)
            if found is None or found.ledger.closed:
                if len(self._open) >= self._settings.max_projects:
                    msg = f"{len(self._open)} projects are open already; BUDGETED_MAX_PROJECTS allows more"
                    raise LedgerUnavailableError(msg)
                ledger = open_ledger(self._settings.ledger, name, fsync=self._settings.fsync)
                ledger.hold_timeout = self._settings.hold_timeout
                found = self._open[name] = Project(name, self._settings, ledger)
            return found

    def look(self, name: str) -> Project:
        """The project of this name, or one of which nothing is known: looking makes none.

        Raises:
            ValueError, LedgerError: as :meth:`open`.
        """
        if name not in self._open and exists(self._settings.ledger, check_name(name, "project")) is False:
            return Project(name, self._settings, MemoryLedger())
        return self.open(name)

    def check(self) -> None:
        """See whether the ledger can be reached.

        Raises:
            LedgerError: it cannot.
        """
        first = next(iter(list(self._open)), "default")
        self.open(first).ledger.read(GLOBAL)

    def close(self) -> None:
        """Flush and close every ledger."""
        with self._lock:
            for name, project in self._open.items():
                try:
                    project.ledger.close()
                except LedgerError as error:
                    logger.error("budgeted: the ledger of %r was not closed: %s", name, error)  # noqa: TRY400
            self._open.clear()
