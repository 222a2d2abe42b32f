"""Messages that there may be room, which processes whose calls wait hear, instead of looking again and again.

Who waits has a connection of its own, and an advisory lock on it that many may share: by that, whoever makes room sees
that somebody waits, and tells it as it commits. Where nobody waits nothing is told, as PostgreSQL lets only one
transaction at a time commit a message. Whoever makes room tries to have the lock alone until it commits, so that who
begins to wait just then looks when the room is there. A message that is lost is made good by looking, as ever.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

from budgeted.ledger.wait_queues import WaitQueues

if TYPE_CHECKING:
    from budgeted.ledger.sql.opening import AnyDatabase

logger = logging.getLogger("budgeted")

LOOK = 0.25
"""Seconds after which it is looked at whether anybody waits still."""

LATER = 0.01
"""Seconds by which a process lets others go first, whose own call was served last."""


class Line(NamedTuple):
    """Where a project's messages are told.

    Attributes:
        channel: its name in the database.
        key: that of the advisory lock.
    """

    channel: str
    key: int


def line_of(prefix: str, project: str) -> Line:
    """That of a project in tables of a prefix."""
    digest = hashlib.blake2b(f"{prefix}\n{project}".encode(), digest_size=8).digest()
    return Line(f"budgeted_{digest.hex()}", int.from_bytes(digest, signed=True))


class RoomMessages:
    """Hears them, while calls of this process wait.

    Args:
        database: where they are told.
        line: the project's.
        turns: the queues of this process's calls.

    Attributes:
        hears: whether they are heard: then room that this process makes is told by the server as well, to all at once.
    """

    def __init__(self, database: AnyDatabase, line: Line, turns: WaitQueues) -> None:
        self._database, self._line, self._turns = database, line, turns
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self.hears = False

    def listen(self) -> None:
        """Hear them from now on, for as long as calls wait, unless it was found that none come through."""
        if self._thread is None and self._database.remote and not self._stopped.is_set():
            # Two threads that come at once may both begin: that does no harm.
            self._thread = threading.Thread(target=self._hear, name="budgeted room messages", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Hear no more. Nobody waits for that: it may be a finaliser that says so."""
        self._stopped.set()

    def _hear(self) -> None:
        try:
            with self._database.listening(*self._line) as heard:
                if heard is None:
                    self._stopped.set()
                    return
                self.hears = True
                self._turns.wake_all()  # what there was room for before
                while self._turns.queues and not self._stopped.is_set():
                    if heard(LOOK):
                        self._wake()
        except self._database.errors as error:
            logger.debug("budgeted: room in %s is looked for, as no messages of it are heard: %s", self._line, error)
        finally:
            self.hears = False
            self._thread = None
            self._turns.wake_all()

    def _wake(self) -> None:
        waiting = sum(map(len, list(self._turns.queues.values())))
        if waiting < self._waiting:
            self._stopped.wait(LATER)
        self._waiting = waiting
        self._turns.wake_all()
