"""Waiting in line: first come, first served, nobody forgotten, nobody blocked by a line that is not theirs."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from ledgers import ALICE, AT, BOB, check, cost, give, hold, route, usd

from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Used
from budgeted.ledger.wait_queues import WaitQueues


def test_tickets_are_served_in_the_order_they_were_taken() -> None:
    turns, woken = WaitQueues(), []
    tickets = [turns.ticket(lambda i=i: woken.append(i)) for i in range(3)]  # type: ignore[misc]
    for ticket in reversed(tickets):
        turns.join(ticket, ALICE)
    assert [turns.first(ticket) for ticket in tickets] == [True, False, False]
    turns.freed([ALICE, BOB])
    assert woken == [0]
    turns.leave(tickets[0])
    assert woken == [0, 1]
    assert turns.first(tickets[1])


def test_a_ticket_keeps_its_number_when_it_moves() -> None:
    turns, woken = WaitQueues(), []
    first, second = (turns.ticket(lambda i=i: woken.append(i)) for i in range(2))  # type: ignore[misc]
    turns.join(first, ALICE)
    turns.join(second, BOB)
    turns.join(first, BOB)
    assert turns.first(first)
    assert not turns.first(second)
    assert turns.crowded([ALICE]) is None
    assert turns.crowded([ALICE, BOB]) == BOB


def test_leaving_is_possible_at_any_time_and_often() -> None:
    turns = WaitQueues()
    ticket = turns.ticket(lambda: None)
    turns.leave(ticket)
    turns.join(ticket, ALICE)
    turns.join(ticket, ALICE)
    assert turns.waiting
    turns.leave(ticket)
    turns.leave(ticket)
    assert not turns.waiting
    assert turns.first(ticket)


def test_a_waiter_that_cannot_be_woken_loses_its_place(caplog: pytest.LogCaptureFixture) -> None:
    turns, woken = WaitQueues(), []

    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    gone, here = turns.ticket(closed), turns.ticket(lambda: woken.append(1))
    turns.join(gone, ALICE)
    turns.join(here, ALICE)
    turns.freed([ALICE])
    assert woken == [1]
    assert turns.first(here)
    assert "Event loop is closed" in caplog.text


@pytest.mark.parametrize("ending", ["settle", "release", "sweep", "set_limits", "reset", "delete"])
def test_whatever_may_make_room_wakes_the_first(ledger: Any, ending: str) -> None:
    give(ledger, GLOBAL, usd(100))
    one = hold(ledger, 100, GLOBAL)
    woken: list[int] = []
    ledger.turns.join(ledger.turns.ticket(lambda: woken.append(1)), GLOBAL)
    ledger.turns.join(ledger.turns.ticket(lambda: woken.append(2)), GLOBAL)
    if ending == "settle":
        ledger.settle(one.id, Used(1), AT)
    elif ending == "release":
        ledger.release(one.id, AT)
    elif ending == "sweep":
        ledger.clock = lambda: AT + 1000.0
        ledger.sweep()
    elif ending == "set_limits":
        give(ledger, GLOBAL, usd(200))
    elif ending == "reset":
        ledger.reset(GLOBAL, AT)
    else:
        ledger.delete(GLOBAL)
    assert woken == [1]


def wait_for(ledger: Any, amount: int, order: list[int], where: Any) -> str:
    """Hold as a call does that waits its turn; returns the hold's id."""
    event = threading.Event()
    id = ledger.new_id()
    if ledger.turns.crowded([GLOBAL]) is None and not isinstance(ledger.hold(id, where, cost(amount), AT), Refused):
        return id
    ticket = ledger.turns.ticket(event.set)
    ledger.turns.join(ticket, GLOBAL)
    try:
        while True:
            if ledger.turns.first(ticket):
                again = ledger.hold(id, where, cost(amount), AT)
                if not isinstance(again, Refused):
                    order.append(ticket.number)
                    return id
            assert event.wait(20), "a wake-up was lost"
            event.clear()
    finally:
        ledger.turns.leave(ticket)


def test_no_wake_up_is_lost_under_stress(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(10))
    where = route(ledger, GLOBAL)
    order: list[int] = []
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(15):
                id = wait_for(ledger, chance.choice([1, 2, 10]), order, where)
                ledger.release(id, AT)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert order == sorted(order)
    assert not ledger.turns.waiting
    check(ledger)


def test_small_calls_on_other_accounts_pass_by() -> None:
    ledger = MemoryLedger()
    give(ledger, ALICE, usd(10))
    give(ledger, BOB, usd(10))
    ledger.turns.join(ledger.turns.ticket(lambda: None), ALICE)
    assert ledger.turns.crowded([GLOBAL, BOB]) is None
    assert hold(ledger, 5, BOB).usd == 5


def test_news_from_another_process_wakes_who_waits(journal: Any) -> None:
    other = type(journal)(journal.directory)
    give(journal, GLOBAL, usd(100))
    one = hold(other, 100, GLOBAL)
    assert isinstance(hold(journal, 1, GLOBAL), Refused)
    woken = threading.Event()
    journal.turns.join(journal.turns.ticket(woken.set), GLOBAL)
    journal.watch()
    other.release(one.id, AT)
    assert woken.wait(20)
    other.close()
