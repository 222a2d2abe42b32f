"""Ledgers behind a server: several processes and one limit, whoever dies, and by the server's clock."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import SHARED
from ledgers import ALICE, AT, charge, check, cost, finish, give, held, hold, kill, opened, python, spent, together, usd

from budgeted import BudgetManager
from budgeted.errors import LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.network_ledger import DIED
from budgeted.ledger.spending_records import Used
from budgeted.money import NANO

with_lease_at_hand = pytest.mark.parametrize("place", SHARED, indirect=True)
"""Of slices, the lease and what else these tests reach for is the shared ledger's behind them."""

WORKER = """
    import random, sys
    from ledgers import *
    from budgeted.ledger.memory.change_records import Held
    ledger = open_ledger(sys.argv[1], sys.argv[2], fsync="background")
    # A hundred threads want the same account, and the machine may have other work, too.
    getattr(ledger, "shared_ledger", ledger).deadline = 60.0
    threads, calls, seed = map(int, sys.argv[3:])
    where = [route(ledger, GLOBAL, ALICE), route(ledger, GLOBAL, BOB), route(ledger, GLOBAL)]
    def work(number):
        chance = random.Random(seed * 1000 + number)
        total = 0
        for _ in range(calls):
            amount = chance.randrange(1, 20_000_000)
            one = ledger.hold(ledger.new_id(), chance.choice(where), cost(amount), AT)
            if isinstance(one, Refused):
                continue
            assert isinstance(one, Held | SlicedCall), one
            slot = ledger.read(GLOBAL).slots[0]
            assert slot.spent + slot.held <= slot.amount, slot
            total += charged(ledger, one, chance, amount)
        return total
    print(work_together(ledger, work, threads))
"""


@pytest.mark.slow
def test_four_processes_of_25_threads_share_one_dollar_and_record_exactly_what_was_charged(
    shared: Any, place: tuple[str, str]
) -> None:
    give(shared, GLOBAL, usd(NANO))
    give(shared, ALICE, usd(NANO // 2))
    give(shared, "u:bob", usd(NANO // 2))
    workers = [python(WORKER, *place, 25, 8, seed) for seed in range(4)]
    together(*workers)
    charged = sum(int(output) for output in finish(*workers))
    assert spent(shared) == charged == shared.read(GLOBAL).usd <= NANO
    assert charged > NANO // 2
    assert held(shared) == held(shared, ALICE) == 0
    assert sum(row.usd for row in shared.rollups() if row.account == GLOBAL) == charged
    check(shared)


VICTIM = """
    import sys
    from ledgers import *
    ledger = open_ledger(sys.argv[1], sys.argv[2], fsync="background")
    ledger.lease = 3.0
    for amount in (10, 20, 30):
        print(hold(ledger, amount, GLOBAL, ALICE).id, flush=True)
    sys.stdin.readline()
"""


def victim(place: tuple[str, str]) -> tuple[Any, list[str]]:
    """A process with three holds, and their ids."""
    process = python(VICTIM, *place)
    assert process.stdout is not None
    return process, [process.stdout.readline().strip() for _ in range(3)]


@with_lease_at_hand
@pytest.mark.slow
def test_the_holds_of_a_killed_process_are_charged_once_by_the_living(shared: Any, place: tuple[str, str]) -> None:
    give(shared, GLOBAL, usd(1000))
    give(shared, ALICE, usd(100))
    others = [opened(*place) for _ in range(2)]
    process, ids = victim(place)
    shared.release(ids[0], AT)
    assert held(shared) == 50
    woken = threading.Event()
    shared.turns.join(shared.turns.ticket(woken.set), GLOBAL)
    kill(process)
    assert woken.wait(30)
    for other in others:
        other.sweep()
        other.close()
    assert (held(shared), held(shared, ALICE), spent(shared), spent(shared, ALICE)) == (0, 0, 50, 50)
    assert {(one.id, one.reason) for one in shared.uncertain()} == {(id, DIED) for id in ids[1:]}
    assert shared.read(GLOBAL).calls == 2
    check(shared)


@with_lease_at_hand
@pytest.mark.slow
def test_the_holds_of_the_living_stay_open_however_often_others_look(shared: Any, place: tuple[str, str]) -> None:
    give(shared, GLOBAL, usd(1000))
    give(shared, ALICE, usd(100))
    process, ids = victim(place)
    until = time.monotonic() + 5.0  # more than a lease
    while time.monotonic() < until:
        assert shared.sweep() == 0
    assert held(shared) == 60
    kill(process)
    assert len(shared.open_holds()) == len(ids)


def test_holds_of_a_closed_ledger_are_charged_by_the_next_that_looks(shared: Any, place: tuple[str, str]) -> None:
    other = opened(*place)
    shared._watched = other._watched = True  # else threads of their own may look first
    give(shared, GLOBAL, usd(1000))
    hold(shared, 5, GLOBAL)
    one = hold(other, 10, GLOBAL)
    assert shared.sweep() == 0
    other.close()
    assert shared.sweep() == 1 or isinstance(shared, HTTPLedger)  # whose server looks by itself as well
    assert (held(shared), spent(shared)) == (5, 10)
    with pytest.raises(LedgerError, match="is closed"):
        other.settle(one.id, Used(1), AT)
    assert shared.settle(one.id, Used(7), AT)
    assert (spent(shared), shared.uncertain()) == (7, [])
    check(shared)


@with_lease_at_hand
def test_a_host_that_slept_takes_a_new_lease_before_it_holds(
    shared: Any, place: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its monotonic clock has stood still, and others have forgotten it."""
    give(shared, GLOBAL, usd(100))
    hold(shared, 10, GLOBAL, at=int(time.time()), id=shared.new_id())
    shared.release(shared.open_holds()[0].id, AT)
    shared._beat_due = float("inf")
    shared.renew(shared.owner, 0)
    for clock in (
        "budgeted.ledger.network_ledger.boot_time",
        "budgeted.ledger.redis.ledger.boot_time",
        "budgeted.server.client_leases.boot_time",
    ):
        monkeypatch.setattr(clock, lambda: time.monotonic() + 10**9)
    hold(shared, 10, GLOBAL, at=int(time.time()))
    other = opened(*place)
    assert other.sweep() == 0
    assert held(shared) == 10
    other.close()


@with_lease_at_hand
def test_a_closed_ledger_is_an_error_to_who_calls_and_nobody_else_hears_of_it(
    place: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = opened(*place)
    manager = BudgetManager(max_budget=5, ledger=ledger)
    with manager.hold(cost=1) as one:
        one.settle(cost=1)
    sweep = ledger.sweep

    def close_meanwhile() -> int:
        manager.close()
        return int(sweep())

    ledger.sweep = close_meanwhile
    ledger._beat_due = 0.0
    assert ledger.upkeep() is None
    with pytest.raises(LedgerError, match="is closed"):
        manager.hold(cost=1).__enter__()
    background_worker.enqueue(lambda: ledger.release(one.id, AT))
    background_worker.drain()
    [told] = caplog.records
    assert "a call was refused" in told.message
    assert told.exc_info is None


def test_what_was_to_be_repeated_on_a_closed_ledger_is_given_up_once(
    place: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = opened(*place)
    ledger.close()
    caplog.clear()  # of what its server may have been told of, where this is the first ledger there
    background_worker.retry(lambda: ledger.release("x.1", AT))
    for _ in range(2):
        background_worker.drain()
    assert background_worker.refused() == 0
    [told] = [record.message for record in caplog.records]
    assert told.endswith("is closed")


@with_lease_at_hand
def test_two_threads_give_back_at_once_what_was_never_answered(shared: Any) -> None:
    class Contended(collections.deque[Any]):
        """Another thread takes what is there as soon as this one has seen it."""

        def __len__(self) -> int:
            seen = super().__len__()
            self.clear()
            return seen

    shared._doubtful = Contended([("x.1", AT)])
    shared._give_back()
    background_worker.drain()


def test_projects_in_one_place_know_nothing_of_each_other(shared: Any, place: tuple[str, str]) -> None:
    give(shared, GLOBAL, usd(1000))
    other = opened(place[0], place[1] + "-2")
    assert other.read(GLOBAL) is None
    give(other, GLOBAL, usd(7))
    hold(other, 3, GLOBAL)
    charge(shared, 10, GLOBAL)
    assert (spent(other), held(other), spent(shared), held(shared)) == (0, 3, 10, 0)
    assert (other.rollups(), shared.open_holds()) == ([], [])
    other.close()


def test_a_call_waits_for_calls_of_other_processes(place: tuple[str, str]) -> None:
    with (
        BudgetManager(max_budget=5, ledger=opened(*place)) as here,
        BudgetManager(ledger=opened(*place)) as there,
        here.hold(cost=4) as one,
    ):
        ending = threading.Timer(0.1, lambda: one.settle(cost=1))
        ending.start()
        with there.hold(cost=3) as other:
            other.settle(cost=3)
        ending.join()
        assert here.balance().spent == 4


# -- the server's clock


@pytest.fixture
def now() -> int:
    return int(time.time())


@pytest.fixture
def daily(shared: Any, now: int) -> Iterator[Any]:
    """A ledger with a limit that is in its period now."""
    give(shared, ALICE, usd(100, "usd/day", now - 1000, now + 1000))
    return shared


def planned(ledger: Any, now: int, off: int) -> Route:
    """A route as a client plans it whose clock is so many periods off."""
    start, end = now - 1000 + off * 2000, now + 1000 + off * 2000
    leg = Leg(ALICE, (("usd/day", start, end),))
    return Route.make([leg], [ledger.read(ALICE).version], 20_000, "p", "m", around=[(start - 2000, end + 2000)])


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_a_hold_belongs_to_the_period_that_the_servers_clock_says(daily: Any, now: int, off: int) -> None:
    one = daily.hold(daily.new_id(), planned(daily, now, off), cost(60), 5)
    assert abs(one.at - now) < 100
    slot = daily.read(ALICE).slots[0]
    assert (slot.start, slot.end, slot.held) == (now - 1000, now + 1000, 60)
    assert isinstance(daily.hold(daily.new_id(), planned(daily, now, 0), cost(60), 5), Refused)
    daily.settle(one.id, Used(50), 5)
    assert (spent(daily, ALICE, "usd/day"), held(daily, ALICE, "usd/day")) == (50, 0)
    check(daily)


def test_a_hold_is_in_no_earlier_period_than_one_that_has_begun(daily: Any, now: int) -> None:
    daily.post("x.1", planned(daily, now, 1), Used(70), now)
    assert isinstance(daily.hold(daily.new_id(), planned(daily, now, 0), cost(31), now), Refused)
    assert daily.hold(daily.new_id(), planned(daily, now, 0), cost(30), now).usd == 30
    slot = daily.read(ALICE).slots[0]
    assert (slot.start, slot.spent, slot.held) == (now + 1000, 70, 30)
    check(daily)


@pytest.mark.parametrize(("off", "which"), [(2, "behind"), (-2, "ahead of")])
def test_clocks_that_are_too_far_apart_are_an_error_that_says_so(daily: Any, now: int, off: int, which: str) -> None:
    with pytest.raises(LedgerError, match=f"the ledger's clock is more than [0-9]+ seconds {which} this host's"):
        daily.hold(daily.new_id(), planned(daily, now, off), cost(1), now)
    assert held(daily, ALICE, "usd/day") == 0
