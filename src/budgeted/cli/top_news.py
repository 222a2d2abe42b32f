"""How a project stands, looked at again and again beside the screen: no key waits for a ledger that does not answer."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from budgeted.errors import BudgetError
from budgeted.manager.activity import Activity
from budgeted.manager.administrative_manager import Books
from budgeted.manager.project_status import Busiest, ProjectStatus, busiest_today, project_status

SECONDS: Final = 1.0
"""Between two looks; what takes long to look at is looked at less often."""

SHARE: Final = 20
"""Of the time, looking up who has spent most today takes one part in so many at most."""

SOON: Final = 0.2
"""Until it is looked whether somebody else is wanted."""

MOST_FOUND: Final = 100
"""Users that are looked for by name among more than are looked at one by one."""


class News:
    """The newest that is known of a project, from when it is entered on.

    Args:
        open_books: opens the project's books; done again where the ledger was away.

    Attributes:
        status: how the project stands; None until that is known.
        activity: what goes on in it; None as above.
        problem: why it is not known any more; "" if it is.
        wanted: what names of users are to begin with, where not all users are looked at.
        count: of the news that came, to see whether there are others.
    """

    def __init__(self, open_books: Callable[[], Books]) -> None:
        self._open = open_books
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="budgeted-top", daemon=True)
        self.status: ProjectStatus | None = None
        self.activity: Activity | None = None
        self.problem = self.wanted = ""
        self.count = 0
        self._busiest: Busiest | None = None
        self._busiest_due = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(SECONDS)  # no longer: it may be waiting for a ledger that is away

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with contextlib.closing(self._open()) as books:
                    while not self._over.is_set():
                        self._look(books)
            except (BudgetError, OSError) as error:
                self.problem = str(error)
                self.count += 1
                self._over.wait(SECONDS)

    def _look(self, books: Books) -> None:
        """Look once, and meanwhile for whoever is wanted, until it is time for the next."""
        began = time.monotonic()
        found, self.activity, self.problem = project_status(books, self._kept_busiest), books.activity(), ""
        until = began + max(SECONDS, 3 * (time.monotonic() - began))
        looked_for: str | None = None
        while not self._over.is_set():
            if looked_for != self.wanted:
                looked_for = self.wanted
                self.status = _with_wanted(found, books, looked_for)
                self.count += 1
            left = until - time.monotonic()
            if left <= 0:
                return
            self._over.wait(min(left, SOON))

    def _kept_busiest(self, books: Books) -> Busiest:
        """Who has spent most today: looked up more seldom, the longer it takes."""
        began = time.monotonic()
        if self._busiest is None or began >= self._busiest_due:
            self._busiest = busiest_today(books)
            ended = time.monotonic()
            self._busiest_due = ended + SHARE * (ended - began)
        return self._busiest


def _with_wanted(found: ProjectStatus, books: Books, wanted: str) -> ProjectStatus:
    """The same with those whose names begin so, where not all are looked at."""
    if not wanted or found.complete:
        return found
    there = {one.name for one in found.accounts}
    more = [one for one in books.accounts(wanted, count=MOST_FOUND) if one.name not in there]
    return dataclasses.replace(found, accounts=(*found.accounts, *more))
