"""What is done in the background, and that finalisers may ask for it at any time."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
from typing import TYPE_CHECKING, Any

from interrupting import Strike
from ledgers import AT, busy, check, cost, give, held, hold, route, spent, usd

from budgeted.errors import LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.spending_records import Used

if TYPE_CHECKING:
    import pytest


def test_a_finaliser_that_runs_while_the_lock_is_held_only_enqueues(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    one = hold(ledger, 10, GLOBAL)

    class Stream:
        def __del__(self) -> None:
            background_worker.enqueue(lambda: ledger.settle(one.id, Used(7), AT))

    stream: Any = Stream()
    stream.itself = stream
    with busy(ledger):
        del stream
        gc.collect()
    background_worker.drain()
    assert (spent(ledger), held(ledger)) == (7, 0)


def test_what_was_enqueued_before_is_done_when_draining_returns() -> None:
    started, go, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        started.set()
        go.wait(20)
        done.append(1)

    background_worker.start()
    background_worker.enqueue(slow)
    assert started.wait(20)
    threading.Timer(0.05, go.set).start()
    background_worker.drain()
    assert done == [1]


def test_a_round_is_due_at_its_time_however_many_jobs_come_in() -> None:
    looked, stop = threading.Event(), threading.Event()

    class Kept:
        def upkeep(self) -> float | None:
            looked.set()
            return None

    def flood() -> None:
        while not stop.wait(0.001):
            background_worker.enqueue(lambda: None)

    flooder = threading.Thread(target=flood)
    flooder.start()
    kept = Kept()
    background_worker.wanted(kept)
    assert looked.wait(20)
    stop.set()
    flooder.join()


def test_jobs_are_done_between_looks_that_take_long() -> None:
    looked, began, done = [], threading.Event(), threading.Event()

    class Slow:
        """As a ledger whose server does not answer."""

        def upkeep(self) -> float | None:
            began.set()
            done.wait(1)
            looked.append(self)
            return None

    before: list[int] = []
    slow = [Slow() for _ in range(30)]
    for one in slow:
        background_worker.wanted(one)
    assert began.wait(20)
    background_worker.enqueue(lambda: (before.append(len(looked)), done.set()))
    assert done.wait(20)
    assert before == [1]
    while len(looked) < 30:
        background_worker.drain()
    assert set(looked) == set(slow)


def test_what_was_put_off_is_tried_however_long_looks_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_worker, "PERIOD", 0.01)
    done = threading.Event()

    class Slow:
        """As a ledger whose server never answers."""

        def upkeep(self) -> float | None:
            done.wait(0.05)
            return None if done.is_set() else 0.0

    slow = [Slow() for _ in range(3)]
    for one in slow:
        background_worker.wanted(one)
    background_worker.retry(done.set)
    assert done.wait(20)


def test_ledgers_may_come_and_go_while_the_background_looks_around() -> None:
    class Kept:
        def upkeep(self) -> float | None:
            return 0.001

    def many() -> None:
        for _ in range(3000):
            background_worker.wanted(Kept())

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert background_worker._upkeep.thread is not None
    assert background_worker._upkeep.thread.is_alive()


def test_nobody_waits_for_a_look_that_a_signal_has_struck_as_it_ended() -> None:
    class Kept:
        def upkeep(self) -> float | None:
            return None

    kept = Kept()
    for number in itertools.count(1):
        strike = Strike(number, within="_look")
        background_worker.later(kept)
        with contextlib.suppress(KeyboardInterrupt), strike.armed():
            background_worker.drain()
        if not strike.where:
            break
        another = threading.Thread(target=background_worker.drain)
        another.start()
        another.join(20)
        assert not another.is_alive(), strike.where
    assert number > 10


def test_a_job_that_fails_is_logged_and_the_next_one_done(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    background_worker.enqueue(lambda: 1 / 0)
    background_worker.enqueue(lambda: done.append(1))
    background_worker.drain()
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text


def test_a_charge_that_the_ledger_could_not_take_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_worker, "PERIOD", 0.01)
    tries, done = [], threading.Event()

    def job() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise LedgerUnavailableError("full")
        done.set()

    background_worker.retry(job)
    assert done.wait(20)
    assert len(tries) == 3


def test_holds_that_nobody_ends_are_charged_in_the_background(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    ledger.clock = lambda: AT + 1000.0
    woken = threading.Event()
    ledger.turns.join(ledger.turns.ticket(woken.set), GLOBAL)
    assert ledger.hold("x.1", route(ledger, GLOBAL), cost(10), AT).usd == 10
    assert woken.wait(20)
    assert (held(ledger), spent(ledger)) == (0, 10)
    check(ledger)


def test_what_waits_for_a_silent_server_lets_each_round_come_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look renews a lease: without one the calls of a process would pass for those of a dead one."""
    monkeypatch.setattr(background_worker, "PERIOD", 0.001)
    silence, done, told = threading.Event(), threading.Event(), []
    answering = False

    class Kept:
        def upkeep(self) -> float | None:
            told.append("look")
            if told.count("look") >= 5:
                done.set()
            return None if done.is_set() else background_worker.PERIOD

    def settle() -> None:
        told.append("settle")
        silence.wait(0.01)
        if not answering:
            msg = "no answer"
            raise LedgerUnavailableError(msg)

    def release() -> None:
        told.append("release")
        silence.wait(0.01)

    for _ in range(20):
        background_worker.retry(settle)
        background_worker.enqueue(release)
    kept = Kept()
    background_worker.wanted(kept)
    assert done.wait(20)
    between = "".join(what[0] for what in told[told.index("look") :]).split("l")
    answering = True
    background_worker.drain()
    assert background_worker.refused() == 0
    assert all(one.count("s") <= 2 and one.count("r") <= 1 for one in between[:5]), told
    assert any(between[:5])


def test_holds_that_may_last_for_ever_are_left_alone(ledger: Any) -> None:
    ledger.hold_timeout = float("inf")
    give(ledger, GLOBAL, usd(100))
    hold(ledger, 10, GLOBAL, at=0)
    assert ledger.sweep() == 0
    assert held(ledger) == 10
