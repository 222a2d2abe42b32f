"""Calls that wait are woken by what other processes do to the limit in their way."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ALL_SHARED
from ledgers import opened
from servers import project

from budgeted import BudgetManager, BudgetStoppedError

PLACES: dict[str, Callable[[Path], str]] = {"journal": str, **ALL_SHARED}


@pytest.fixture(params=PLACES)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[BudgetManager, BudgetManager]]:
    """A manager with a limit of $1, and one of another process."""
    where, name = PLACES[request.param](tmp_path / "ledger"), project()
    managers = [BudgetManager(name, ledger=opened(where, name)) for _ in range(2)]
    managers[0].set_limits(None, "$1/day")
    yield managers[0], managers[1]
    for manager in managers:
        manager.close()


class Waiting:
    """A call of $1 in a thread of its own that waits while another one holds that."""

    def __init__(self, manager: BudgetManager) -> None:
        self._manager = manager
        self.error: Exception | None = None
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        began = time.monotonic()
        try:
            with self._manager.hold(cost=1) as held:
                held.settle(cost=1)
        except Exception as error:  # noqa: BLE001 - it is looked at
            self.error = error
        self.seconds = time.monotonic() - began

    def start(self) -> None:
        self._thread.start()
        while not self._manager.ledger.turns.waiting:
            assert self._thread.is_alive(), self.error

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.mark.parametrize(
    "help_it",
    [lambda other: other.set_limits(None, "$5/day"), lambda other: other.top_up(None, 1)],
    ids=["another limit", "a raise"],
)
def test_a_call_that_waits_goes_on_when_another_process_gives_it_room(
    two: tuple[BudgetManager, BudgetManager], help_it: Callable[[Any], None]
) -> None:
    mine, other = two
    waiting = Waiting(mine)
    with mine.hold(cost=1) as held:
        waiting.start()
        help_it(other)
        waiting.join()
        held.settle(cost=1)
    assert waiting.error is None
    assert waiting.seconds < 10  # of the 30 that it waits at most
    assert mine.balance().spent == 2


def test_a_call_that_waits_is_refused_when_another_process_stops_it(two: tuple[BudgetManager, BudgetManager]) -> None:
    mine, other = two
    waiting = Waiting(mine)
    with mine.hold(cost=1) as held:
        waiting.start()
        other.stop(reason="an audit")
        waiting.join()
        held.settle(cost=1)
    assert isinstance(waiting.error, BudgetStoppedError)
    assert waiting.seconds < 10


def test_waiting_for_others_leaves_a_seeded_programs_numbers_alone(two: tuple[BudgetManager, BudgetManager]) -> None:
    mine, other = two
    random.seed(7)
    before = random.getstate()
    waiting = Waiting(mine)
    with mine.hold(cost=1):
        waiting.start()
        other.top_up(None, 1)
        waiting.join()
    assert waiting.error is None
    assert random.getstate() == before
