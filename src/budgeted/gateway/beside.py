"""Asking a ledger beside the event loop, where it may take a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from budgeted.ledger.interface import Ledger
from budgeted.metering import runner

T = TypeVar("T")


async def beside(ledger: Ledger, step: Callable[[], T]) -> T:
    """What a step says that only reads a ledger: in a thread, where the ledger is reached over a network or shared.

    Args:
        ledger: which one.
        step: what asks it.

    Raises:
        LedgerError: the ledger does not answer.
    """
    return await runner.beside(ledger, lambda _: step(), _nothing, patient=True)


def _nothing() -> None:
    """A look at a ledger leaves nothing behind."""
