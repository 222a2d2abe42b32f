"""A server that was started again, on an older ledger or on none: its clients tell it what it had acknowledged."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis_server
from ledgers import ALICE, BOB, charge, check, cost, give, held, hold, route, spent, usd
from proxy import Proxy
from servers import project
from serving import Serving

from budgeted import BudgetManager
from budgeted.errors import LedgerCorruptError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.acknowledged_verbs import AcknowledgedVerbs
from budgeted.ledger.admission import Refused
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.spending_records import Used

NOW = int(time.time())


class Restarting:
    """A server behind one address, which can be started again on another ledger."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.serving: Serving | None = None

    def start(self, ledger: Any, **settings: Any) -> None:
        """Serve this ledger from now on, in a new server."""
        old, self.serving = self.serving, Serving(ledger=ledger, hold_timeout=10**10, **settings)
        self.proxy._target = "127.0.0.1", int(self.serving.url.rpartition(":")[2])
        self.proxy.hang_up()
        if old is not None:
            old.close()


@pytest.fixture
def server() -> Iterator[Restarting]:
    with Proxy(("127.0.0.1", 1)) as proxy:
        made = Restarting(proxy)
        made.start("memory://")
        yield made
        assert made.serving is not None
        made.serving.close()


@pytest.fixture
def client(server: Restarting) -> Iterator[Callable[[], HTTPLedger]]:
    """Makes clients, each as a process of its own."""
    name, made = project(), []

    def make() -> HTTPLedger:
        one = HTTPLedger(f"http://127.0.0.1:{server.proxy.port}", name)
        one._watched = True  # what a test looks at is done by nobody before
        one.clock = lambda: 0.0
        made.append(one)
        return one

    yield make
    for one in made:
        one.deadline = 0.5  # the server may have gone
        one.close()


def figures(ledger: Any, name: str = GLOBAL) -> tuple[int, int, int]:
    account = ledger.read(name)
    assert account is not None
    return spent(ledger, name), held(ledger, name), account.calls


def fill(ledger: HTTPLedger) -> str:
    """Limits, a charge, and a hold that is under way, whose id this is."""
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(100))
    charge(ledger, 30, GLOBAL, ALICE)
    ledger.settle(hold(ledger, 9, GLOBAL).id, Used(7), NOW, "timed out")
    return str(hold(ledger, 20, GLOBAL, ALICE).id)


def test_one_that_starts_with_nothing_is_told_what_it_had_acknowledged(
    server: Restarting, client: Callable[[], HTTPLedger], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = client()
    flying = fill(ledger)
    ledger.release(hold(ledger, 5, GLOBAL).id, NOW)
    for _ in range(2):
        server.start("memory://")
        assert figures(ledger) == (37, 20, 2)
        assert figures(ledger, ALICE) == (30, 20, 1)
        assert [one.reason for one in ledger.uncertain()] == ["timed out"]
        check(ledger)
    assert ledger.settle(flying, Used(15), NOW)
    assert figures(ledger) == (52, 0, 3)
    check(ledger)
    first = next(record.message for record in caplog.records if record.levelname == "ERROR")
    assert "lacks what it has acknowledged: 2 charges of $0.000000037" in first
    assert flying in first


@pytest.mark.parametrize("first", ["hold", "settle", "release", "post"])
def test_whichever_verb_comes_first_nothing_is_decided_without_it(
    server: Restarting, client: Callable[[], HTTPLedger], first: str
) -> None:
    ledger = client()
    flying = fill(ledger)
    where = route(ledger, GLOBAL, ALICE)
    server.start("memory://")
    if first == "hold":
        while not isinstance(refused := hold(ledger, 51, GLOBAL, ALICE), Refused):
            pass
        assert (refused.spent, refused.held) == (30, 20)
    elif first == "post":
        while ledger.post("x.1", where, Used(1), NOW) is not True:
            where = route(ledger, GLOBAL, ALICE)
    elif first == "settle":
        assert ledger.settle(flying, Used(20), NOW)
    else:
        assert ledger.release(flying, NOW)
    expected = {"hold": (37, 20, 2), "settle": (57, 0, 3), "release": (37, 0, 2), "post": (38, 20, 3)}
    assert figures(ledger) == expected[first]


def test_each_client_tells_what_it_knows(server: Restarting, client: Callable[[], HTTPLedger]) -> None:
    one, other = client(), client()
    give(one, GLOBAL, usd(1000))
    charge(one, 1, GLOBAL)
    charge(other, 2, GLOBAL)
    flying = hold(other, 4, GLOBAL).id
    server.start("memory://")
    assert figures(one) == (1, 0, 1)
    assert other.settle(flying, Used(4), NOW)
    assert figures(one) == (7, 0, 3)
    check(one)


def test_one_that_starts_on_an_older_copy_is_told_what_came_later(
    server: Restarting, client: Callable[[], HTTPLedger], tmp_path: Path
) -> None:
    server.start(tmp_path / "now")
    ledger = client()
    give(ledger, GLOBAL, usd(1000))
    give(ledger, BOB, usd(50))
    for _ in range(3):
        charge(ledger, 10, GLOBAL)
    settled, flying = hold(ledger, 7, GLOBAL).id, hold(ledger, 9, GLOBAL).id
    shutil.copytree(tmp_path / "now", tmp_path / "older")
    charge(ledger, 100, GLOBAL)
    ledger.settle(settled, Used(5), NOW)
    give(ledger, BOB, usd(5))
    late = hold(ledger, 11, GLOBAL).id
    assert figures(ledger) == (135, 20, 5)
    server.start(tmp_path / "older")
    assert figures(ledger) == (135, 20, 5)
    assert [slot.amount for slot in ledger.read(BOB).slots] == [5]  # type: ignore[union-attr]
    for id in (flying, late):
        assert ledger.settle(id, Used(1), NOW)
    assert figures(ledger) == (137, 0, 7)
    check(ledger)


@pytest.mark.parametrize("verb", ["hold", "settle", "post"])
def test_nor_is_an_answer_lost_that_comes_while_another_thread_tells_the_next_server_what_it_lacks(
    server: Restarting, client: Callable[[], HTTPLedger], verb: str
) -> None:
    ledger = client()
    flying = fill(ledger)
    where = route(ledger, GLOBAL, ALICE)
    answered, go_on = threading.Event(), threading.Event()
    post = ledger._channel.post

    def slow(path: str, *given: Any, **options: Any) -> tuple[int, bytes]:
        answer = post(path, *given, **options)
        if threading.current_thread() is overtaken:
            answered.set()
            assert go_on.wait(20)
        return answer

    ledger._channel.post = slow  # type: ignore[method-assign]
    act = {
        "hold": lambda: ledger.hold(ledger.new_id(), where, cost(5), NOW),
        "settle": lambda: ledger.settle(flying, Used(15), NOW),
        "post": lambda: ledger.post(ledger.new_id(), where, Used(3), NOW),
    }[verb]
    overtaken = threading.Thread(target=act)
    overtaken.start()
    assert answered.wait(20)
    server.start("memory://")
    assert figures(ledger) == (37, 20, 2)  # what was known of the old one is told
    go_on.set()
    overtaken.join()
    assert figures(ledger) == {"hold": (37, 25, 2), "settle": (52, 0, 3), "post": (40, 20, 3)}[verb]
    check(ledger)


@pytest.mark.parametrize("kind", ["journal", "redis"])
def test_one_that_starts_with_all_that_it_had_is_told_nothing(
    server: Restarting,
    client: Callable[[], HTTPLedger],
    tmp_path: Path,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    where = tmp_path / "ledger" if kind == "journal" else redis_server.shared().url
    server.start(where)
    ledger = client()
    flying = fill(ledger)
    for _ in range(3):
        server.start(where)
        charge(ledger, 1, GLOBAL)
    assert figures(ledger) == (40, 20, 5)
    assert ledger.settle(flying, Used(20), NOW)
    assert ledger.repair() == 0
    check(ledger)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_servers_that_take_turns_before_one_ledger_are_told_nothing(
    server: Restarting, client: Callable[[], HTTPLedger], caplog: pytest.LogCaptureFixture
) -> None:
    with Serving(ledger=redis_server.shared().url) as one, Serving(ledger=redis_server.shared().url) as other:
        ledger = client()
        for number in range(6):
            serving = one if number % 2 else other
            server.proxy._target = "127.0.0.1", int(serving.url.rpartition(":")[2])
            server.proxy.hang_up()
            if number == 0:
                give(ledger, GLOBAL, usd(1000))
            charge(ledger, 10, GLOBAL)
        assert figures(ledger) == (60, 0, 6)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_charges_that_a_server_may_have_forgotten_are_not_made_twice(
    server: Restarting,
    client: Callable[[], HTTPLedger],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ended_holds, "REMEMBERED", 5)
    server.start(tmp_path)
    idle, busy = client(), client()
    give(idle, GLOBAL, usd(1000))
    idle.read(GLOBAL)
    charge(idle, 10, GLOBAL)
    for _ in range(20):
        charge(busy, 1, GLOBAL)
    server.start(tmp_path)
    assert figures(idle) == (30, 0, 21)
    assert "it cannot be told whether they are lost" in caplog.text


def test_a_client_that_does_not_remember_all_refuses_until_it_is_repaired(
    server: Restarting, client: Callable[[], HTTPLedger]
) -> None:
    ledger = client()
    ledger._told = AcknowledgedVerbs(most=4)
    give(ledger, GLOBAL, usd(1000))
    for amount in range(1, 9):
        charge(ledger, amount, GLOBAL)
    server.start("memory://")
    for _ in range(3):
        with pytest.raises(LedgerCorruptError, match=r"does not remember.*repair\(\)"):
            hold(ledger, 1, GLOBAL)
    assert ledger.repair() > 0
    assert figures(ledger)[0] >= 15
    assert ledger.repair() == 0
    hold(ledger, 1, GLOBAL)


def test_what_a_servers_own_ledger_finds_missing_reaches_the_client(
    server: Restarting, client: Callable[[], HTTPLedger]
) -> None:
    with redis_server.RedisServer() as own:
        server.start(own.url)
        ledger = client()
        fill(ledger)
        where = route(ledger, GLOBAL)
        with own.client() as redis:
            redis.flushall()
        for verb in (lambda: ledger.hold("x.1", where, cost(5), NOW), lambda: ledger.read(GLOBAL)):
            with pytest.raises(LedgerCorruptError, match=r"are gone.*2 charges of"):
                verb()
        assert ledger.repair() > 0
        assert figures(ledger) == (37, 20, 2)
        assert ledger.repair() == 0
        server.start("memory://")
        assert figures(ledger) == (37, 20, 2)


@pytest.mark.slow
def test_a_call_in_flight_at_a_manager_survives_a_server_that_forgets(server: Restarting) -> None:
    where = f"http://127.0.0.1:{server.proxy.port}"
    with BudgetManager(project(), ledger=where, max_budget=1) as manager:
        with manager.hold(cost=0.7, user="alice") as call:
            call.settle(cost=0.7)
        with manager.hold(cost=0.2, user="alice") as call:
            server.start("memory://")
            call.settle(cost=0.2)
        assert manager.balance().spent == 0.9
        assert manager.balance().limit == 1
        assert manager.balance("alice").spent == 0.9
