"""Slices of limits behind real servers: many processes and one limit, whoever dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis_server
from conftest import SHARED
from ledgers import ALICE, AT, check, cost, finish, give, held, kill, opened, python, route, spent, together, usd
from servers import project
from serving import Serving
from sliced_ledgers import eager

from budgeted import BudgetExceededError, BudgetManager
from budgeted.errors import LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.network_ledger import DIED
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.ledger.spending_records import Used
from budgeted.money import NANO


def sliced(url: str) -> str:
    """The URL of a ledger whose limits are spent in slices."""
    return f"{url}{'&' if '?' in url else '?'}slice=auto"


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where the shared ledger is."""
    return SHARED[request.param](tmp_path / "ledger"), project()


@pytest.fixture
def slices(place: tuple[str, str]) -> tuple[str, str]:
    """Where it is, with slices."""
    return sliced(place[0]), place[1]


WORKER = """
    import random, sys
    from ledgers import *
    from budgeted.ledger.sliced.slices import SHARE
    ledger = open_ledger(sys.argv[1], sys.argv[2], fsync="background")
    ledger.shared_ledger.deadline = 60.0  # the machine may have other work, too
    threads, seed = map(int, sys.argv[3:])
    where = [route(ledger, GLOBAL, ALICE), route(ledger, GLOBAL, BOB), route(ledger, GLOBAL)]
    def work(number):
        chance = random.Random(seed * 1000 + number)
        total = refused = count = 0
        while refused < 20:
            amount = chance.randrange(1, 200_000)
            one = ledger.hold(ledger.new_id(), chance.choice(where), cost(amount), AT)
            if isinstance(one, Refused):
                refused += 1
                continue
            if count % 50 == 0:
                slot = ledger.read(GLOBAL).slots[0]
                assert slot.spent + slot.held <= slot.amount, slot
            count += 1
            total += charged(ledger, one, chance, amount)
        return total
    print(work_together(ledger, work, threads))
"""


@pytest.mark.slow
def test_eight_processes_of_four_threads_never_pass_a_limit_and_spend_nearly_all_of_it(
    shared: Any, slices: tuple[str, str]
) -> None:
    limit = NANO // 10
    give(shared, GLOBAL, usd(limit))
    give(shared, ALICE, usd(limit // 2))
    give(shared, "u:bob")
    workers = [python(WORKER, *slices, 4, seed) for seed in range(8)]
    together(*workers)
    charged = sum(int(output) for output in finish(*workers))
    assert spent(shared) == charged == shared.read(GLOBAL).usd <= limit
    assert charged > limit * 99 // 100
    assert held(shared) == held(shared, ALICE) == 0
    assert sum(row.usd for row in shared.rollups() if row.account == GLOBAL) == charged
    check(shared)


VICTIM = """
    import sys
    from ledgers import *
    ledger = open_ledger(sys.argv[1], sys.argv[2], fsync="background")
    ledger.shared_ledger.lease = 3.0
    where, total = route(ledger, GLOBAL, ALICE), 0
    while not ledger._out or total < 100_000:
        one = ledger.hold(ledger.new_id(), where, cost(100), AT)
        ledger.settle(one.id, Used(90), AT)
        total += 90
    print(total, flush=True)
    while True:
        one = ledger.hold(ledger.new_id(), where, cost(100), AT)
        if isinstance(one, Held):
            ledger.settle(one.id, Used(90), AT)
"""


@pytest.mark.slow
def test_the_slices_of_a_killed_process_are_charged_whole_and_listed(shared: Any, slices: tuple[str, str]) -> None:
    give(shared, GLOBAL, usd(100_000_000))
    give(shared, ALICE, usd(100_000_000))
    process = python(VICTIM, *slices)
    assert process.stdout is not None
    total = int(process.stdout.readline())
    kill(process)
    other = opened(*slices)
    while held(shared):
        other.sweep()
    assert total <= spent(shared) == spent(shared, ALICE) <= 100_000_000
    charges = shared.uncertain()
    assert charges
    assert {charge.reason for charge in charges} == {DIED}
    manager = BudgetManager(slices[1], ledger=slices[0])
    for charge in charges:
        manager.reconcile(charge.id, cost=0)
    assert (shared.uncertain(), spent(shared)) == ([], shared.read(GLOBAL).usd)
    manager.close()
    other.close()


@pytest.mark.slow
def test_a_manager_spends_slices_as_it_would_spend_the_limit_itself(place: tuple[str, str]) -> None:
    with BudgetManager(place[1], ledger=sliced(place[0]), max_budget=0.001, wait=0) as manager:
        assert isinstance(manager.ledger, SlicedLedger)
        calls = 0
        with pytest.raises(BudgetExceededError) as refused, manager.budget("alice"):
            while True:
                with manager.hold(cost=0.000001) as held_:
                    held_.settle(cost=0.000001)
                calls += 1
        assert calls == 1000
        assert refused.value.account_kind == "global"
        manager.flush()
        assert manager.balance().spent == manager.balance("alice").spent == pytest.approx(0.001)
        assert manager.report(by="user")["alice"].calls == 1000


@pytest.fixture
def redis() -> Iterator[redis_server.RedisServer]:
    with redis_server.RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.mark.slow
def test_a_killed_server_is_told_once_it_is_back_and_slices_are_spent_meanwhile(
    redis: redis_server.RedisServer,
) -> None:
    with BudgetManager(project(), ledger=sliced(redis.url), max_budget=1) as manager:

        def call() -> None:
            with manager.hold(cost=0.0001) as one:
                one.settle(cost=0.0001)

        calls = 0
        for _ in range(40):
            call()
            calls += 1
        redis.kill()
        with pytest.raises(LedgerError):
            while True:
                call()
                calls += 1
        redis.start()
        manager.flush()
        manager.ledger.upkeep()
        assert manager.balance().spent == pytest.approx(calls * 0.0001)
        assert manager.balance().held == 0


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("memory://?slice=auto", "write 'memory://'"),
        ("./folder?slice=auto", "has no slices"),
        ("redis://host?slice=0.05", "asks for 'slice=0.05', which is not known; write 'slice=auto'"),
        ("redis://host?slice=auto&slice=2", "asks for 'slice=2'"),
        ("redis://host?slice=", "asks for 'slice='"),
        ("redis://:secret?slice=3@host", r"^ledger='redis://\*\*\*\?\.\.\.' asks for slices, which"),
    ],
)
def test_slices_of_what_has_none_are_refused(url: str, problem: str) -> None:
    with pytest.raises(LedgerError, match=problem):
        BudgetManager("x", ledger=url)


@pytest.mark.slow
def test_a_server_may_have_slices_of_another_ledger_for_its_clients(tmp_path: Path) -> None:
    behind, name = f"sqlite:///{tmp_path / 'ledger.db'}", project()
    with eager(), Serving(ledger=sliced(behind), hold_timeout=10**10) as serving:
        client = HTTPLedger(serving.url, name)
        give(client, GLOBAL, usd(100_000))
        where = route(client, GLOBAL)
        for number in range(20):
            id = client.new_id()
            one = client.hold(id, where, cost(10), AT)
            assert isinstance(one, Held)
            assert (one, client.hold(id, where, cost(10), AT)) == (one, one)
            assert id not in [of_all.id for of_all in client.open_holds()]  # it is in a slice
            assert client.settle(id, Used(number), AT)
        client.close()
    shared: Any = open_ledger(behind, name, fsync="background")
    assert (spent(shared), held(shared), shared.read(GLOBAL).calls) == (190, 0, 20)
    check(shared)
    shared.close()
