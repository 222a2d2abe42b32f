"""Slices where something is in their way: whoever is away, dies, sleeps, strikes in between or comes twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ledgers import ALICE, AT, check, cost, finish, give, held, hold, python, route, spent, usd
from sliced_process import Process, Server

from budgeted.errors import LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import STALE
from budgeted.ledger.network_ledger import DIED
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.ledger.spending_records import Used


def test_a_hold_that_is_repeated_is_the_same_though_there_are_slices_by_now(server: Server, process: Process) -> None:
    """As a client repeats it that got no answer."""
    where = route(server, GLOBAL)
    assert process.ledger.hold("x.1", where, cost(10), AT).usd == 10
    process.begin()
    assert process.ledger.hold("x.1", where, cost(10), AT).usd == 10
    assert process.ledger.settle("x.1", Used(7), AT)
    process.ledger.flush()
    assert (spent(server), held(server)) == (47, 0)


def test_calls_of_a_client_that_died_are_charged_by_who_had_them_in_a_slice(server: Server, process: Process) -> None:
    process.ledger.renew("x", 30.0)
    process.ledger.renew("y", 30.0)
    process.begin()
    for id in ("x.1", "y.1"):
        process.ledger.hold(id, route(server, GLOBAL), cost(10, uncertain=0), AT)
    process.ledger.renew("x", 0.0)
    process.pass_time(1.0)
    assert [(charge.id, charge.used.usd, charge.reason) for charge in server.uncertain()] == [("x.1", 10, DIED)]
    assert process.ledger.settle("y.1", Used(3), AT)
    process.ledger.flush()
    assert (spent(server), held(server)) == (53, 0)


def test_what_somebody_put_right_for_a_process_that_only_slept_is_put_right_by_it(
    server: Server, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    process.begin()
    [slice_] = server.open_holds()
    server.renew(slice_.id.partition(".")[0], -1)
    server.sweep()
    server.correct(slice_.id, Used(0), AT)
    process.begin(model="another")
    process.ledger.flush()
    assert "which this process has spent" in caplog.text
    assert (spent(server), held(server), server.uncertain()) == (80, 0, [])
    check(server)


def test_a_correction_that_the_shared_ledger_did_not_take_is_repeated(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)
    process.ledger.settle(one.id, Used(10, 2, 1), AT)
    process.ledger.flush()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "correct", lambda *args: process.away())
        with pytest.raises(LedgerUnavailableError):
            process.ledger.correct(one.id, Used(4, 1, 1), AT)
    for _ in range(2):
        assert process.ledger.correct(one.id, Used(4, 1, 1), AT) is not None
        assert spent(server) == 44


def test_nothing_is_told_a_server_where_no_waiting_is_wanted(server: Server, process: Process) -> None:
    process.begin()
    dropped, late = process.hold(10), process.hold(10)
    process.ledger.release(dropped.id, AT)
    with pytest.raises(LedgerLockedError):
        process.ledger.settle(late.id, Used(5), AT, "timed out", 0)
    process.ledger.settle(late.id, Used(5), AT, "", 0)
    process.ledger.flush()
    with pytest.raises(LedgerLockedError):
        process.ledger.settle(dropped.id, Used(5), AT, "", 0)
    assert process.ledger.settle(dropped.id, Used(5), AT)
    assert spent(server) == 50


TODAY, TOMORROW = (AT - 100, AT + 100), (AT + 100, AT + 300)


@pytest.fixture
def daily(server: Server) -> Server:
    """It counts by the day, which has just begun the next where a test says so."""
    give(server, GLOBAL, usd(100_000, "usd/day", *TODAY))
    return server


def begin_tomorrow(server: Server) -> None:
    server.clock = lambda: AT + 100.0
    one = server.hold("z.1", route(server, GLOBAL, period=TOMORROW), cost(1), AT + 100)
    assert not isinstance(one, Refused)
    server.release("z.1", AT + 100)


def test_a_call_of_yesterday_is_not_charged_to_today_whatever_becomes_of_it(daily: Server, process: Process) -> None:
    process.begin()
    uncertain, long, unheard, told = (process.hold(10) for _ in range(4))
    begin_tomorrow(daily)
    assert process.ledger.settle(uncertain.id, Used(9), AT + 101, "timed out")
    process.pass_time(1.0)
    process.pass_time(20.0)
    assert held(daily, limit="usd/day") == 0
    assert process.ledger.settle(long.id, Used(8), AT + 130)
    assert process.ledger.settle(told.id, Used(7), AT + 131, "timed out")
    daily.clock = lambda: AT + 1000.0
    process.ledger.sweep()
    process.ledger.close()
    account = daily.read(GLOBAL)
    slot = account.slots[0]
    assert (slot.start, slot.spent, slot.held) == (TOMORROW[0], 0, 0)
    assert account.usd == 40 + 9 + 8 + 7 + unheard.usd
    check(daily)


def test_no_call_begins_in_a_slice_of_a_period_that_has_ended(daily: Server, process: Process) -> None:
    process.begin()
    daily.clock = lambda: AT + 100.0
    process.pass_time(1.0)
    assert (held(daily, limit="usd/day"), process.ledger.upkeep()) == (0, None)


def test_a_stop_counts_from_the_next_round_on_though_no_call_has_ended_since(server: Server, process: Process) -> None:
    process.begin()
    process.pass_time(1.0)
    old = route(server, GLOBAL)
    calls = [process.hold(10) for _ in range(3)]
    give(server, GLOBAL, usd(20))
    process.pass_time(1.0)
    assert process.ledger.hold(process.ledger.new_id(), old, cost(10), AT) is STALE
    for one in calls:
        process.ledger.settle(one.id, Used(10), AT)
    process.ledger.flush()
    assert (spent(server), held(server)) == (70, 0)


def test_a_closed_ledger_has_charged_what_is_in_flight_and_fits_no_more(server: Server, process: Process) -> None:
    process.begin()
    one = process.ledger.hold("x.1", route(server, GLOBAL), cost(10, uncertain=0), AT)
    give(server, GLOBAL, usd(20))
    process.ledger.close()
    assert (spent(server), held(server)) == (50, 0)
    assert [(charge.id, charge.used.usd) for charge in server.uncertain()] == [(one.id, 10)]


def test_a_slice_that_is_asked_for_just_then_is_given_back_by_who_closes(
    server: Server, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.begin()
    made, closing = threading.Event(), threading.Event()
    hold = server.hold

    def slowly(*args: Any, **more: Any) -> Any:
        answer = hold(*args, **more)
        made.set()
        closing.wait()
        return answer

    monkeypatch.setattr(server, "hold", slowly)
    process.now += 2
    renewing = threading.Thread(target=process.ledger.upkeep)
    renewing.start()
    made.wait()
    [(answered, _)] = process.ledger._asking.values()
    monkeypatch.setattr(answered, "wait", lambda seconds: (closing.set(), renewing.join()))
    process.ledger.close()
    assert held(server) == 0
    assert not server.uncertain()


def test_a_slice_is_given_back_by_a_signal_handler_that_closes_while_it_is_asked_for(
    server: Server, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.begin()
    hold = server.hold

    def struck(*args: Any, **more: Any) -> Any:
        answer = hold(*args, **more)
        process.ledger.close()
        return answer

    monkeypatch.setattr(server, "hold", struck)
    process.now += 2
    process.ledger.upkeep()
    assert held(server) == 0
    assert not process.ledger._out


def test_calls_in_flight_leave_their_slice_where_another_call_needs_its_rest(server: Server) -> None:
    give(server, GLOBAL, usd(2000))
    process = Process(server)
    process.begin()
    one = process.hold(10)
    [slice_] = server.open_holds()
    assert slice_.usd > 10
    assert process.ledger.hold(process.ledger.new_id(), route(server, GLOBAL), cost(1950), AT).usd == 1950
    assert held(server) == 1960
    process.ledger.release(one.id, AT)
    assert held(server) == 1950


def test_a_signal_handler_may_use_the_ledger_wherever_it_strikes(server: Server, process: Process) -> None:
    """The clock is asked in the middle of everything: what is done then is what a handler would do."""
    striking = False
    done = 0

    def strike() -> float:
        nonlocal striking, done
        if not striking:
            striking = True
            assert process.call(10, 10)
            process.ledger.give_back()
            done += 1
            striking = False
        return process.now

    process.ledger._seconds = strike
    server.clock = lambda: AT + 0 * strike()
    for number in range(200):
        assert process.call(10, 10)
        done += 1
        if number % 20 == 0:
            process.pass_time(1.0)
    server.clock = lambda: float(AT)
    process.ledger.flush()
    assert (spent(server), held(server), server.read(GLOBAL).calls) == (10 * done, 0, done)
    check(server)


def test_a_handler_that_raises_loses_no_slice(server: Server, process: Process) -> None:
    process.begin()
    taken = server.hold

    def interrupted(*args: Any, **more: Any) -> Any:
        taken(*args, **more)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "hold", interrupted)
        with pytest.raises(KeyboardInterrupt):
            while True:
                process.call(10, 10)
    process.background()
    process.ledger.flush()
    assert held(server) == 0


DROPPED = """
    import gc, sys
    from ledgers import *
    def use():
        ledger = open_ledger(sys.argv[1], sys.argv[2], fsync="background")
        for _ in range(20):
            charge(ledger, 10, GLOBAL)
        assert ledger._slices
    use()
    gc.collect()
"""


def test_a_ledger_that_nobody_has_any_more_gives_its_slices_back(tmp_path: Any) -> None:
    where = f"sqlite:///{tmp_path / 'ledger.db'}", "p"
    shared: Any = open_ledger(*where, fsync="background")
    give(shared, GLOBAL, usd(100_000))
    finish(python(DROPPED, where[0] + "?slice=auto", where[1]))
    shared.sweep()
    assert (spent(shared), held(shared), shared.uncertain()) == (200, 0, [])
    shared.close()


def test_what_is_cut_to_what_fits_never_passes_a_limit(server: Server) -> None:
    give(server, GLOBAL, usd(20_000))
    give(server, ALICE, usd(5_000))
    processes = [Process(server) for _ in range(3)]
    ask = Ask(usd=1, usd_rate=1000, least=4, most=20, whole=False, uncertain_output=0)
    total = refused = 0
    while refused < 30:
        for one in processes:
            ledger: SlicedLedger = one.ledger
            got = ledger.hold(ledger.new_id(), route(server, GLOBAL, ALICE), ask, AT)
            if isinstance(got, Refused):
                refused += 1
                continue
            assert not isinstance(got, type(STALE))
            ledger.settle(got.id, Used(got.usd), AT)
            total += got.usd
            slot = server.read(ALICE).slots[0]
            assert slot.spent + slot.held <= 5_000
    for one in processes:
        one.ledger.close()
    assert spent(server, ALICE) == total > 4_990


def test_processes_without_slices_and_with_them_share_a_limit(server: Server, process: Process) -> None:
    process.begin()
    assert hold(server, 99_900, GLOBAL).reason == "held"
    process.ledger.flush()
    assert hold(server, 99_900, GLOBAL).usd == 99_900
    assert process.call(60, 60)
    assert not process.call(1, 1)


def test_a_slice_that_is_too_small_is_given_back_though_the_server_is_away_just_then(
    server: Server, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(server, GLOBAL, usd(1000))
    away, release = True, server.release

    def released(id: str, at: int, timeout: float | None = None) -> bool:
        return process.away() if away else release(id, at, timeout)

    monkeypatch.setattr(server, "release", released)
    for _ in range(4):
        assert process.call(10, 10)
    away = False
    assert held(server) > 0
    background_worker.drain()
    assert (spent(server), held(server)) == (40, 0)


def test_a_refusal_gives_nothing_back_where_no_waiting_is_wanted(server: Server, process: Process) -> None:
    process.begin()
    where = route(server, GLOBAL)
    with pytest.raises(LedgerLockedError):
        process.ledger.hold("x.1", where, cost(99_900), AT, 0)
    assert process.ledger.hold("x.1", where, cost(99_900), AT).usd == 99_900
