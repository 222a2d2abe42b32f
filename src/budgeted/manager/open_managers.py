"""The open managers of this process, and which of them is the default one: it pays for calls outside every block."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from budgeted import providers
from budgeted.ledger.interface import Ledger
from budgeted.manager.project_payer import ProjectPayer
from budgeted.payers import scope
from budgeted.system.forks import at_fork
from budgeted.telemetry import instruments


class Manager(Protocol):
    """What is asked here of a manager."""

    payer: ProjectPayer

    @property
    def ledger(self) -> Ledger:
        """Where the balances are."""

    def ledger_address(self) -> str | None:
        """What other processes can open the ledger by; None if nothing."""

    def close(self) -> None:
        """Give up the ledger."""

    def reconfigure(self, **changes: object) -> None:
        """Change settings in place."""


M = TypeVar("M", bound=Manager)

_open: weakref.WeakSet[ProjectPayer] = weakref.WeakSet()

STAND_IN, CONSTRUCTED, CONFIGURED = range(3)
"""How the default manager came about; a later one replaces it if it ranks higher."""

_default: Manager | None = None
_rank = STAND_IN
_default_lock = threading.RLock()


def get_default(make: Callable[..., M]) -> M:
    """The default manager: the one ``configure`` made, else the first one constructed, else a new one in memory.

    Args:
        make: makes a manager, which registers itself.
    """
    global _rank  # noqa: PLW0603
    if _default is not None:  # as nearly always, and then without a lock: decorated functions ask at each call
        return cast("M", _default)
    with _default_lock:
        if _default is None:
            make(ledger="memory://")
            _rank = STAND_IN
        return cast("M", _default)  # all managers of a process are made by one class


def rank_of(manager: Manager) -> int | None:
    """How a manager came to be the default one; None if it is not."""
    with _default_lock:
        return _rank if _default is manager else None


def default_project() -> str | None:
    """The project of the default manager; None where there is none, or one that only stands in for it."""
    with _default_lock:
        return None if _default is None or _rank == STAND_IN else _default.payer.project_name


def put_first(manager: Manager, rank: int) -> None:
    """Have a manager be the default one as it was in the process that started this one, unless this one chose its own.

    Args:
        manager: which came from there.
        rank: how it came to be the default one there.
    """
    global _default, _rank
    with _default_lock:
        if _default is None or _rank != CONFIGURED:
            _default, _rank = manager, rank
            cover()


def configure_default(make: Callable[..., M], settings: dict[str, object]) -> M:
    """Make the manager that covers the calls outside every block, or change it in place.

    One that stood in, in memory, until somebody configured it gets the ledger that a new one would have. One that
    the application constructed is left alone.

    Args:
        make: as for :func:`get_default`.
        settings: its keywords.
    """
    global _default, _rank  # noqa: PLW0603
    with _default_lock:
        if _default is None or _rank == CONSTRUCTED:
            _default = make(**settings)
        else:
            _default.reconfigure(**({"ledger": None, **settings} if _rank == STAND_IN else settings))
        _rank = CONFIGURED
        cover()
        return cast("M", _default)


def register(manager: Manager) -> None:
    """Have a manager pay for calls of this process from now on, and show up in its metrics."""
    global _default, _rank
    with _default_lock:
        _open.add(manager.payer)
        if _default is None or _rank == STAND_IN:
            _default, _rank = manager, CONSTRUCTED
            cover()
    providers.instrument()
    instruments.start(open_payers)


def unregister(manager: Manager) -> None:
    """Have a manager pay for nothing any more."""
    global _default  # noqa: PLW0603
    with _default_lock:
        _open.discard(manager.payer)
        if _default is manager:
            _default = None
            cover()


def cover() -> None:
    """Have the default manager pay for calls outside every block."""
    scope.cover(None if _default is None else _default.payer)


def open_payers() -> list[ProjectPayer]:
    """What pays for calls of this process."""
    return list(_open)


def _after_fork() -> None:
    """A child has none of the threads that may have had the locks."""
    global _default_lock  # noqa: PLW0603
    _default_lock = threading.RLock()
    for payer in open_payers():
        payer.unlock()


at_fork(after_in_child=_after_fork)
