"""The ledgers that a server has open, by project."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.opening import exists, open_ledger
from budgeted.manager.bookkeeper import Books
from budgeted.server.client_leases import Clients
from budgeted.server.settings import ServerSettings
from budgeted.validation import check_name

logger = logging.getLogger("budgeted")

ANSWERED = 10_000
"""How many answers are remembered to requests that must be done once."""


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
        self._answers: OrderedDict[tuple[str, ...], Future[Any]] = OrderedDict()

    def open(self, name: str) -> Project:
        """The project of this name.

        Raises:
            ValueError: it is no name of one.
            LedgerError: its ledger cannot be opened.
        """
        found = self._open.get(name)
        if found is not None and not found.ledger.closed:
            return found
        check_name(name, "project")
        with self._lock:
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

    def once(self, key: tuple[str, ...], run: Callable[[], Any], *, again: bool) -> Any:
        """Do something that must not be done twice; who asks again under the same key gets the answer it had.

        Args:
            key: names the request.
            run: does it.
            again: it may have been done already, by a request under this key whose answer was lost.

        Raises:
            LedgerError: nobody here knows whether it was: this server was started since, or another one was asked.
        """
        with self._lock:
            known = self._answers.get(key)
            if known is None and again:
                msg = (
                    "the answer was lost and the server has been started again since, so that it cannot tell whether "
                    "this was done; look, and ask for it anew if it was not: done twice, it could forget what was "
                    "spent in between"
                )
                raise LedgerError(msg)
            answer = known or self._answers.setdefault(key, Future())
            if len(self._answers) > ANSWERED:
                self._answers.popitem(last=False)
        if known is None:
            try:
                answer.set_result(run())
            except BaseException as error:  # noqa: BLE001 - it is raised below, here and wherever it is waited for
                self._answers.pop(key, None)
                answer.set_exception(error)
        return answer.result()

    def close(self) -> None:
        """Flush and close every ledger."""
        with self._lock:
            for name, project in self._open.items():
                try:
                    project.ledger.close()
                except LedgerError as error:
                    logger.error("budgeted: the ledger of %r was not closed: %s", name, error)  # noqa: TRY400
            self._open.clear()
