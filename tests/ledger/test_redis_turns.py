"""Calls that wait on a Redis are told when it is their turn, one process after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis_server
from ledgers import opened

from budgeted import BudgetExceededError, BudgetManager
from budgeted.ledger.redis.stored_records import decode

LONG = 25.0


@pytest.fixture
def server() -> redis_server.RedisServer:
    return redis_server.shared()


@pytest.fixture
def processes(server: redis_server.RedisServer) -> Iterator[Callable[..., BudgetManager]]:
    """Makes managers as other processes would have them, of one project with a limit of $2.

    Their calls that wait look by themselves after an hour.
    """
    project, made = redis_server.new_project(), list[BudgetManager]()

    def another(wait: float = 60) -> BudgetManager:
        manager = BudgetManager(project, ledger=opened(server.url, project), wait=wait)
        if not made:
            manager.set_limits(None, "$2")
        manager.ledger.poll = 3600.0
        made.append(manager)
        return manager

    yield another
    for manager in made:
        manager.close()


class Waiting:
    """A call in a thread of its own, which waits; it notes when it has its turn, and then ends."""

    def __init__(self, manager: BudgetManager, name: str, turns: list[str], cost: float = 2) -> None:
        self._manager, self._name, self._turns, self._cost = manager, name, turns, cost
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._manager.hold(cost=self._cost) as held:
                self._turns.append(self._name)
                held.release()
        except Exception as error:  # noqa: BLE001 - it is looked at
            self.error = error

    def ends(self) -> None:
        self._thread.join(LONG)
        assert not self._thread.is_alive()
        assert self.error is None


def in_line(manager: BudgetManager) -> list[str]:
    """The processes that wait for the project's limit, in their order."""
    ledger: Any = manager.ledger
    raw = ledger._client.hget(ledger._key + b":waiting", "g")
    return [] if raw is None else list(decode(raw))


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < until
        threading.Event().wait(0.005)


def wait_in_line(manager: BudgetManager, *others: BudgetManager) -> None:
    """Wait until these processes are those in line, in this order."""
    owners = [one.ledger.owner for one in (manager, *others)]  # type: ignore[attr-defined]
    wait_until(lambda: in_line(manager) == owners)


@pytest.mark.parametrize("ending", ["settle", "release", "limits", "reset"])
def test_a_call_that_waits_is_told_of_what_another_process_does(
    processes: Callable[..., BudgetManager], ending: str
) -> None:
    holder, waiter, turns = processes(), processes(), list[str]()
    with holder.hold(cost=2) as held:
        waiting = Waiting(waiter, "it", turns)
        wait_in_line(waiter)
        if ending == "settle":
            held.settle(cost=0)
        elif ending == "release":
            held.release()
        elif ending == "limits":
            holder.set_limits(None, "$4")
        else:
            held.settle(cost=0)
            holder.reset_cost(None)  # type: ignore[arg-type]
        waiting.ends()
        if ending == "limits":
            held.release()
    assert turns == ["it"]
    wait_until(lambda: in_line(waiter) == [])


def test_every_process_gets_its_turn(processes: Callable[..., BudgetManager]) -> None:
    holder, one, other, turns = processes(), processes(), processes(), list[str]()
    with holder.hold(cost=2) as held:
        waiting = [Waiting(one, "one's first", turns)]
        wait_in_line(one)
        for name in ("one's second", "one's third"):
            before = one.ledger.turns.waiting_for("g")
            waiting.append(Waiting(one, name, turns))
            wait_until(lambda before=before: one.ledger.turns.waiting_for("g") > before)
        waiting.append(Waiting(other, "the other's", turns))
        wait_in_line(one, other)
        held.release()
        for call in waiting:
            call.ends()
    assert sorted(turns) == ["one's first", "one's second", "one's third", "the other's"]
    assert turns[0] == "one's first"
    wait_until(lambda: in_line(one) == [])


@pytest.mark.slow
def test_who_has_gone_or_given_up_holds_up_nobody(processes: Callable[..., BudgetManager]) -> None:
    holder, gone, tired, last, turns = processes(), processes(wait=2), processes(wait=2), processes(), list[str]()
    with holder.hold(cost=2) as held:
        killed = Waiting(gone, "gone", turns)
        wait_in_line(gone)
        weary = Waiting(tired, "tired", turns)
        wait_in_line(gone, tired)
        waiting = Waiting(last, "last", turns)
        wait_in_line(gone, tired, last)
        for one in (killed, weary):
            one._thread.join(LONG)
            assert isinstance(one.error, BudgetExceededError)
        gone.close()
        held.release()
        waiting.ends()
    assert turns == ["last"]
    wait_until(lambda: in_line(last) == [])


def test_who_is_not_listened_to_any_more_looks_by_itself(
    processes: Callable[..., BudgetManager], server: redis_server.RedisServer
) -> None:
    holder, waiter, turns = processes(), processes(), list[str]()
    with holder.hold(cost=2) as held:
        waiting = Waiting(waiter, "it", turns)
        wait_in_line(waiter)
        with server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        held.release()
        waiting.ends()
    assert turns == ["it"]


def test_where_nobody_may_publish_calls_look_by_themselves(server: redis_server.RedisServer) -> None:
    project = redis_server.new_project()
    with server.client() as client:
        client.acl_setuser("mute", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-subscribe"])
    url = f"redis://mute:any@127.0.0.1:{server.port}/0"
    managers, turns = [BudgetManager(project, ledger=opened(url, project)) for _ in range(2)], list[str]()
    managers[0].set_limits(None, "$2")
    with managers[0].hold(cost=2) as held:
        waiting = Waiting(managers[1], "it", turns)
        wait_until(lambda: managers[1].ledger.turns.waiting)
        held.release()
        waiting.ends()
    assert turns == ["it"]
    assert in_line(managers[0]) == []
    for manager in managers:
        manager.close()


def test_nobody_is_left_behind_in_a_crowd(processes: Callable[..., BudgetManager]) -> None:
    managers, turns = [processes() for _ in range(3)], list[str]()
    with managers[0].hold(cost=2) as held:
        calls = [Waiting(managers[number % 3], str(number), turns, cost=1) for number in range(24)]
        wait_until(lambda: sum(manager.ledger.turns.waiting_for("g") for manager in managers) == 24)
        held.release()
        for call in calls:
            call.ends()
    assert len(turns) == 24
    assert managers[0].balance().held == 0
