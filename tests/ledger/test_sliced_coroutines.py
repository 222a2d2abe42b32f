"""Coroutines' calls in slices: made where the coroutine runs, which never waits for the shared ledger there."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sliced_ledgers import eager

from budgeted import BudgetManager
from budgeted.errors import LedgerLockedError
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.sliced.ledger import SlicedLedger

CALLS = 40


class Far(MemoryLedger):
    """A ledger that stands for one behind a network, and notes in which threads it is asked."""

    remote, at_hand = True, False

    def __init__(self) -> None:
        super().__init__()
        self.asked_in: set[int] = set()

    def _ask(self, timeout: float | None = None) -> None:
        if timeout == 0:
            raise LedgerLockedError("it takes time")
        self.asked_in.add(threading.get_ident())

    def hold(self, *args: Any, **more: Any) -> Any:
        self._ask(args[4])
        return super().hold(*args, **more)

    def settle(self, *args: Any, **more: Any) -> bool:
        self._ask(args[4] if len(args) > 4 else None)
        return super().settle(*args, **more)

    def release(self, *args: Any, **more: Any) -> bool:
        self._ask(args[2] if len(args) > 2 else None)
        return super().release(*args, **more)

    def read(self, account: str) -> Any:
        self._ask()
        return super().read(account)

    def read_limits(self, account: str) -> Any:
        self._ask()
        return super().read_limits(account)


class Noted(SlicedLedger):
    """Slices of it, and in which threads calls were settled in them."""

    def __init__(self, far: Far) -> None:
        super().__init__(far)
        self.settled_in: set[int] = set()

    def settle(self, *args: Any, **more: Any) -> bool:
        done = super().settle(*args, **more)
        self.settled_in.add(threading.get_ident())
        return done


def test_a_call_in_a_slice_is_made_in_the_coroutines_own_thread() -> None:
    far = Far()
    ledger = Noted(far)

    async def run(manager: BudgetManager) -> None:
        far.asked_in.clear()
        for _ in range(CALLS):
            async with manager.hold(cost=0.01) as one:
                one.settle(cost=0.01)
        assert threading.get_ident() not in far.asked_in
        assert threading.get_ident() in ledger.settled_in

    with eager(), BudgetManager("x", ledger=ledger, max_budget=1000) as manager, manager.budget("alice"):
        asyncio.run(run(manager))
        manager.flush()
        assert manager.balance("alice").spent == pytest.approx(CALLS * 0.01)
        assert (manager.balance().held, manager.report(by="user")["alice"].calls) == (0, CALLS)
