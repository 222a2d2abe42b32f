"""Calls that wait on PostgreSQL hear that calls of other processes have ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from ledgers import opened
from servers import postgres_url, project

from budgeted import BudgetExceededError, BudgetManager
from budgeted.ledger.sql import ledger as sql_ledger


@pytest.fixture
def managers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BudgetManager]]:
    """As three processes would have them, none of which looks for room by itself."""
    for name in ("POLL", "HEARING_POLL"):
        monkeypatch.setattr(sql_ledger, name, 1000.0)
    name = project()
    made = [BudgetManager(name, ledger=opened(postgres_url(), name)) for _ in range(3)]
    made[0].set_limits(None, "$1/day")
    yield made
    for one in made:
        one.close()


class Waiting(threading.Thread):
    """A call of $1 of a manager, that waits for the ones before it."""

    def __init__(self, manager: BudgetManager, order: list[BudgetManager]) -> None:
        super().__init__()
        self._manager, self._order = manager, order
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with self._manager.hold(cost=1) as held:
                self._order.append(self._manager)
                held.release()
        except Exception as error:  # noqa: BLE001 - it is looked at
            self.error = error

    def until_it_hears(self) -> None:
        ledger: Any = self._manager.ledger
        while not (ledger.turns.waiting and ledger._room.hears):
            assert self.is_alive(), self.error


def waiting(managers: list[BudgetManager], order: list[BudgetManager]) -> list[Waiting]:
    threads = [Waiting(one, order) for one in managers]
    for one in threads:
        one.start()
    for one in threads:
        one.until_it_hears()
    return threads


def ended(threads: list[Waiting]) -> None:
    for one in threads:
        one.join(25)
        assert not one.is_alive()
        assert one.error is None


def test_a_call_goes_on_as_soon_as_one_of_another_process_has_ended(managers: list[BudgetManager]) -> None:
    mine, other, _ = managers
    order: list[BudgetManager] = []
    with other.hold(cost=1) as held:
        threads = waiting([mine], order)
        held.settle(cost=0)
        ended(threads)
    assert order == [mine]


def test_or_when_another_process_raises_a_limit_or_one_of_its_own_calls_ends(managers: list[BudgetManager]) -> None:
    mine, other, _ = managers
    order: list[BudgetManager] = []
    with mine.hold(cost=1) as held:
        threads = waiting([mine], order)
        other.set_limits(None, "$2/day")
        ended(threads)
        with other.hold(cost=1) as another:
            threads = waiting([mine], order)
            held.settle(cost=0)
            ended(threads)
            another.release()
    assert order == [mine, mine]


def test_all_processes_whose_calls_wait_get_their_turn(managers: list[BudgetManager]) -> None:
    first, *others = managers
    order: list[BudgetManager] = []
    with first.hold(cost=1) as held:
        threads = waiting(others * 3, order)
        held.release()
        ended(threads)
    assert [order.count(one) for one in managers] == [0, 3, 3]


def test_nobody_is_told_anything_where_nobody_waits(managers: list[BudgetManager]) -> None:
    mine, other, _ = managers
    ledger: Any = mine.ledger
    with psycopg.connect(postgres_url(), autocommit=True) as listening:
        listening.execute(f"LISTEN {ledger._room._line.channel}")
        with other.hold(cost=1) as held:
            held.settle(cost=0)
        assert list(listening.notifies(timeout=0, stop_after=1)) == []
        with other.hold(cost=1) as held:
            threads = waiting([mine], [])
            held.settle(cost=0)
            ended(threads)
        assert list(listening.notifies(timeout=20, stop_after=1))


def test_a_connection_for_messages_that_is_lost_is_made_again(managers: list[BudgetManager]) -> None:
    mine, other, _ = managers
    order: list[BudgetManager] = []
    ledger: Any = mine.ledger
    with other.hold(cost=1) as held:
        threads = waiting([mine], order)
        before = ledger._room._thread
        with psycopg.connect(postgres_url(), autocommit=True) as server:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
                " AND (classid::bigint << 32 | objid::bigint) = %s",
                (ledger._room._line.key,),
            )
        before.join(20)
        threads[0].until_it_hears()
        held.settle(cost=0)
        ended(threads)
    assert order == [mine]


def test_who_waits_no_longer_hears_no_more(managers: list[BudgetManager]) -> None:
    mine, other, _ = managers
    ledger: Any = mine.ledger
    with other.hold(cost=1) as held:
        threads = waiting([mine], [])
        thread = ledger._room._thread
        held.settle(cost=0)
        ended(threads)
        thread.join(20)
        assert not thread.is_alive()
        assert not ledger._room.hears
    mine.reconfigure(wait=0.01)
    with other.hold(cost=1) as held:
        with pytest.raises(BudgetExceededError):
            mine.hold(cost=1).__enter__()
        held.settle(cost=0)
