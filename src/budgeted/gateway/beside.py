"""Asking a ledger beside the event loop, where it may take a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from budgeted.manager.project_payer import ProjectPayer

T = TypeVar("T")


async def beside(payer: ProjectPayer, step: Callable[[], T]) -> T:
    """What a step says that reads a ledger: in a thread, where the ledger is reached over a network or shared.

    Args:
        payer: whose ledger it is.
        step: what asks it.
    """
    ledger = payer.ledger
    return await asyncio.to_thread(step) if ledger.remote or ledger.shared else step()
