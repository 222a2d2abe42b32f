"""The ledgers that a server has open, by project."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.opening import OPEN, exists, open_ledger, projects_beside
from budgeted.ledger.urls import MEMORY, kind_of
from budgeted.manager import open_managers
from budgeted.manager.administrative_manager import Books
from budgeted.server.client_leases import Clients
from budgeted.server.given_up_holds import GivenUp
from budgeted.server.settings import ServerSettings
from budgeted.validation import check_name

logger = logging.getLogger("budgeted")

REMEMBERED_SECONDS = 5.0
"""How long it is not looked again which projects there are: it takes a look at each file, or table."""


class Project:
    """One project's ledger, and what people ask of it and set."""

    def __init__(
        self, name: str, settings: ServerSettings, ledger: Ledger, clock: Callable[[], float] | None = None
    ) -> None:
        self.ledger = ledger
        self.clients = Clients(ledger)
        self.given_up = GivenUp()
        self.used = self.using = 0
        """Requests that have used it, and those that do so now."""
        self._name = name
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()
        self._books: Books | None = None

    @property
    def books(self) -> Books:
        """The project's limits and balances in USD, in the server's time zone."""
        with self._lock:
            if self._books is None:
                settings = self._settings
                self._books = Books(
                    self._name,
                    ledger=self.ledger,
                    timezone=settings.timezone,
                    hold_timeout=settings.hold_timeout,
                    clock=self._clock,
                )
            return self._books

    def is_idle(self) -> bool:
        """Whether its ledger can be closed, and opened again as it was: nobody is at it, or vouched for."""
        ledger = self.ledger
        if ledger is not self._settings.ledger and type(ledger) is MemoryLedger:
            return False  # it would be forgotten
        if self.using or self.clients.any_alive():
            return False
        if any(payer.ledger is ledger for payer in open_managers.open_payers()):
            return False  # it would be closed for a manager of this process
        try:
            return not ledger.open_holds()
        except LedgerError:  # nobody knows
            return False


class Projects:
    """Each project, opened when it is first asked for. Of too many, those close that were not used for longest."""

    def __init__(self, settings: ServerSettings, clock: Callable[[], float] | None = None) -> None:
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        """Taken before the other one, by who opens and closes ledgers, which takes its time."""
        self._open: OrderedDict[str, Project] = OrderedDict()
        self._listing = threading.Lock()
        self._found: list[str] = []
        self._why_not: LedgerError | None = None
        self._looked = float("-inf")

    @contextmanager
    def using(self, name: str) -> Iterator[Project]:
        """The project of this name, which stays open as long as it is used.

        Raises:
            ValueError: it is no name of one.
            LedgerError: its ledger cannot be opened.
        """
        found = self._used(name) or self._opened(name)
        try:
            yield found
        finally:
            with self._lock:
                found.using -= 1

    @contextmanager
    def looking(self, name: str) -> Iterator[Project]:
        """The project of this name, or one of which nothing is known: looking makes none.

        Raises:
            ValueError, LedgerError: as :meth:`using`.
        """
        if name not in self._open and exists(self._settings.ledger, check_name(name, "project")) is False:
            yield Project(name, self._settings, MemoryLedger(), self._clock)
        else:
            with self.using(name) as found:
                yield found

    def at_hand(self, name: str) -> bool:
        """Whether a project is open, in this process's memory alone, and nobody is at its ledger just now.

        What is brief there can be done at once: it waits for nothing but, should another thread come at that instant,
        for what that does.
        """
        found = self._open.get(name)
        return found is not None and type(found.ledger) is MemoryLedger and found.ledger.is_free()

    def waits(self, name: str) -> bool:
        """Whether a project is open, and each verb waits for a network or a disk, as several threads do at once."""
        found = self._open.get(name)
        return found is not None and (found.ledger.remote or self._settings.fsync == "always")

    def all_names(self) -> list[str]:
        """The projects that the ledger has, and those that are open, in order. They are looked up every few seconds.

        Raises:
            LedgerError: which there are cannot be told.
        """
        with self._listing:
            if time.monotonic() - self._looked > REMEMBERED_SECONDS:
                try:
                    self._found, self._why_not = self._in_ledger(), None
                except LedgerError as error:
                    self._why_not = error
                self._looked = time.monotonic()
            if self._why_not is not None:
                raise type(self._why_not)(
                    str(self._why_not)
                )  # another one each time: threads share the one that is kept
            return sorted({*self._found, *self.open_names()})

    def open_names(self) -> list[str]:
        """The projects that are open."""
        with self._lock:
            return list(self._open)

    def _in_ledger(self) -> list[str]:
        ledger = self._settings.ledger
        if isinstance(ledger, OPEN) or kind_of(ledger) == MEMORY:
            return []  # it has none but those that are open
        place, found = projects_beside(ledger)
        if found is None:
            msg = f"which projects there are in {place} cannot be told"
            raise LedgerError(msg)
        return found

    def _used(self, name: str) -> Project | None:
        with self._lock:
            found = self._open.get(name)
            if found is None or found.ledger.closed:
                return None
            found.used += 1
            found.using += 1
            self._open.move_to_end(name)
            return found

    def _opened(self, name: str) -> Project:
        check_name(name, "project")
        with self._opening:
            found = self._used(name)  # looked at again: another request may have opened it meanwhile
            if found is None:
                with self._lock:
                    self._open.pop(name, None)  # if somebody else has closed its ledger
                if len(self._open) >= self._settings.max_projects:
                    self._close_one()
                ledger = open_ledger(self._settings.ledger, name, fsync=self._settings.fsync)
                ledger.hold_timeout = self._settings.hold_timeout
                if self._clock is not None:
                    ledger.clock = self._clock
                found = Project(name, self._settings, ledger, self._clock)
                found.used = found.using = 1
                with self._lock:
                    self._open[name] = found
            return found

    def _close_one(self) -> None:
        """Close the ledger of the project that was not used for longest, of those that are idle."""
        for name, project in list(self._open.items()):
            used = project.used
            if not project.is_idle():
                continue
            with self._lock:
                if project.used != used:
                    continue  # it was asked for meanwhile
                # Nobody finds it now, and who looks for it waits until this is done.
                del self._open[name]
            if project.ledger is not self._settings.ledger:  # which serves all projects
                _close(name, project)
            return
        msg = (
            f"{len(self._open)} projects are open already, and all of them have calls in flight; "
            f"BUDGETED_MAX_PROJECTS allows more"
        )
        raise LedgerUnavailableError(msg)

    def check(self) -> None:
        """See whether the ledger can be reached.

        Raises:
            LedgerError: it cannot.
        """
        first = next(iter(list(self._open)), "default")
        with self.using(first) as found:
            found.ledger.read(GLOBAL)

    def close(self) -> None:
        """Flush and close every ledger."""
        with self._opening:
            while self._open:
                with self._lock:
                    name, project = self._open.popitem()
                _close(name, project)


def _close(name: str, project: Project) -> None:
    try:
        project.ledger.close()
    except LedgerError as error:
        logger.error("budgeted: the ledger of %r was not closed: %s", name, error)  # noqa: TRY400
