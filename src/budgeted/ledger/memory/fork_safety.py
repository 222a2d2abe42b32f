"""What a fork does to the ledgers that live in this process: none is copied in the middle of a change."""

from __future__ import annotations

import threading
from typing import Protocol

from budgeted.fork_locks import ForkLocks
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.system.forks import at_fork


class InProcess(Protocol):
    """A ledger that lives in this process."""

    shared: bool
    _lock: threading.Lock

    def _begin(self) -> None:
        """Make anew, in a forked child, what belongs to one process alone."""


ledgers: WeakRegistry[InProcess] = WeakRegistry()
"""Every ledger of this process that lives in it."""

_taken_for_fork = ForkLocks()


def _before_fork() -> None:
    # A copy of balances must not be taken in the middle of a change.
    for ledger in ledgers.alive():
        if not ledger.shared:
            _taken_for_fork.take(ledger._lock)  # noqa: SLF001


def _after_fork_in_child() -> None:
    # The child has copies of locks that the thread that forked had taken, or that others had, who are not there:
    # each ledger makes new ones.
    _taken_for_fork.forget()
    for ledger in ledgers.alive():
        ledger._begin()  # noqa: SLF001


at_fork(before=_before_fork, after_in_parent=_taken_for_fork.give_back, after_in_child=_after_fork_in_child)
