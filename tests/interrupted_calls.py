"""Interrupting or cancelling a call of any kind, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import Callable

from calls_of_every_kind import Place
from interrupting import Strike
from opentelemetry.context import attach, get_current

from budgeted.ledger import background_worker
from budgeted.metering import drain
from budgeted.payers import block_figures
from budgeted.telemetry import counters

AS_IT_IS_LEFT = frozenset({"Budget.__exit__ +0", "Hold.__exit__ +0", "Hold.__aexit__ +0", "Budget.__aexit__ +0"})
"""Where an exception has the end of a ``with`` statement do nothing, whoever wrote it: just as that begins. A block is
then not left, and a hold ends when its traceback is forgotten."""


def length(place: Place, way: Callable[[Place], None]) -> int:
    """How many bytecodes of the package a way comes by, once everything is warm."""
    for _ in range(3):
        counters.snapshot()
        strike = Strike(2**62)
        with strike.armed():
            way(place)
    gc.collect()
    settled(place)
    return strike.passed


def struck(place: Place, way: Callable[[Place], None], strike: Strike) -> None:
    """Make a call in this way, struck, and look at what it has left behind.

    Raises:
        AssertionError: something that should not be there.
    """
    before = Before(place)
    kept: BaseException | None = None
    with contextlib.suppress(strike.error):
        try:
            with strike.armed():
                way(place)
        except BaseException as error:
            kept = error
            raise
    told = f"{way.__name__}: {strike.error.__name__} at bytecode {strike.number}, {strike.where}, {strike.interrupted}"
    left = strike.at_once or strike.interrupted in AS_IT_IS_LEFT
    assert place.gives_all_locks_back(), f"a lock is kept: {told}"
    if kept is not None and not (left or "stream" in way.__name__):
        # Nor is anything kept by whoever keeps the traceback; but for streams, which their readers' frames have.
        settled(place)
        assert place.manager.ledger.open_holds() == [], f"kept with its traceback: {told}"
    kept = None
    if get_current() is not place.context:
        assert left, f"a block is not left: {told}"
        attach(place.context)
    before.compare(told, exactly=not strike.at_once)


def awaits(place: Place, way: Callable[[Place], None]) -> int:
    """How often a way waits for something."""
    counted = itertools.count()

    def count() -> None:
        next(counted)

    place.each_await = count
    try:
        way(place)
    finally:
        place.each_await = None
    settled(place)
    return next(counted)


def cancelled(place: Place, way: Callable[[Place], None], number: int) -> None:
    """Make a call in this way, cancelled where it waits for the so many-th time, and look at what it leaves behind.

    Raises:
        AssertionError: something that should not be there.
    """
    before = Before(place)
    counted = itertools.count(1)

    def cancel() -> None:
        task = asyncio.current_task()
        if next(counted) == number and task is not None:
            place.loop.call_soon(task.cancel)

    place.each_await = cancel
    try:
        with contextlib.suppress(asyncio.CancelledError):
            way(place)
    finally:
        place.each_await = None
    assert get_current() is place.context
    before.compare(f"{way.__name__}: cancelled at its await {number}")


class Before:
    """What there is before a call is made."""

    def __init__(self, place: Place) -> None:
        place.blocks.clear()
        counters.snapshot()  # else adding up what was counted would come by, some time
        self.place = place
        self.spent, self.billed = place.spent(), place.provider.billed_nano()

    def compare(self, told: str, *, exactly: bool = True) -> None:
        """Look at what the call has left behind, when all that goes on beside it has been done.

        Raises:
            AssertionError: something that should not be there.
        """
        place = self.place
        gc.collect()
        settled(place)
        manager, ledger = place.manager, place.manager.ledger
        assert not place.shut_out(), f"the ledger's lock is kept from other processes: {told}"
        assert ledger.open_holds() == [], told
        assert manager.balance().held == manager.balance("alice").held == 0, told
        assert all(slot.held == 0 for account in ledger.accounts() for slot in account.slots), told
        assert [block.held for block in place.blocks] == [0] * len(place.blocks), told
        assert not ledger.turns.waiting, told
        assert not block_figures.cap_turns.waiting, told
        assert place.provider.wait_idle(), told
        paid = place.spent() - self.spent
        assert paid >= place.provider.billed_nano() - self.billed, f"below the bill: {told}"
        if exactly:
            assert sum(round(block.spent * 1e9) for block in place.blocks) == paid, f"a block's figures: {told}"
        with manager.hold(cost="0.001") as further:
            further.settle(cost="0.001")
        assert place.spent() - self.spent - paid == 10**6, told


def settled(place: Place) -> None:
    """Everything that goes on beside the application has been done."""
    place.manager.flush()
    assert drain.finish(30)
    background_worker.drain()
    place.manager.flush()
