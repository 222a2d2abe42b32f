"""Periods: a call belongs to the one it was opened in, and none is begun twice."""

from __future__ import annotations

from typing import Any

from ledgers import ALICE, check, cost, give, held, prune, route, spent, usd

from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import STALE
from budgeted.ledger.spending_records import Used

MONDAY, TUESDAY, WEDNESDAY = (0, 100), (100, 200), (200, 300)


def test_the_first_hold_of_a_period_begins_it_and_older_holds_count_no_more(ledger: Any) -> None:
    give(ledger, ALICE, usd(100, "usd/day", *MONDAY))
    monday = ledger.hold("x.1", route(ledger, ALICE), cost(80), 99)
    tuesday = ledger.hold("x.2", route(ledger, ALICE, period=TUESDAY), cost(90), 100)
    assert (tuesday.usd, held(ledger, ALICE, "usd/day")) == (90, 90)
    ledger.settle(monday.id, Used(70), 101)
    slot = ledger.read(ALICE).slots[0]
    assert (slot.start, slot.end, slot.spent, slot.held) == (*TUESDAY, 0, 90)
    assert ledger.read(ALICE).usd == 70
    check(ledger)


def test_a_period_that_nobody_has_begun_counts_as_empty_when_deciding(ledger: Any) -> None:
    give(ledger, ALICE, usd(100, "usd/day", *MONDAY))
    ledger.settle(ledger.hold("x.1", route(ledger, ALICE), cost(100), 1).id, Used(100), 1)
    assert isinstance(ledger.hold("x.2", route(ledger, ALICE), cost(1), 2), Refused)
    assert isinstance(ledger.hold("x.3", route(ledger, ALICE, period=TUESDAY), cost(101), 100), Refused)
    assert spent(ledger, ALICE, "usd/day") == 100
    assert ledger.hold("x.4", route(ledger, ALICE, period=TUESDAY), cost(100), 100).usd == 100
    check(ledger)


def test_a_clock_set_back_does_not_reopen_a_period(ledger: Any) -> None:
    give(ledger, ALICE, usd(100, "usd/day", *MONDAY))
    old = route(ledger, ALICE)
    ledger.settle(ledger.hold("x.1", route(ledger, ALICE, period=TUESDAY), cost(60), 100).id, Used(60), 100)
    assert ledger.hold("x.2", old, cost(1), 99) is STALE
    assert ledger.post("x.2", old, Used(1), 99) is STALE
    assert spent(ledger, ALICE, "usd/day") == 60
    check(ledger)


def test_a_charge_without_a_hold_begins_its_period_too(ledger: Any) -> None:
    give(ledger, ALICE, usd(100, "usd/day", *MONDAY))
    ledger.post("x.1", route(ledger, ALICE), Used(60), 1)
    ledger.post("x.2", route(ledger, ALICE, period=WEDNESDAY), Used(5), 200)
    slot = ledger.read(ALICE).slots[0]
    assert (slot.start, slot.spent) == (200, 5)
    check(ledger)


def test_costs_per_model_begin_anew_with_the_period(ledger: Any) -> None:
    give(ledger, ALICE, usd(100, "usd/day", *MONDAY))
    ledger.post("x.1", route(ledger, ALICE), Used(60), 1)
    ledger.post("x.2", route(ledger, ALICE, period=TUESDAY, model="n"), Used(5), 100)
    assert ledger.read(ALICE).models == {"n": 5}


def test_rows_are_kept_400_days(ledger: Any) -> None:
    give(ledger, ALICE)
    for day in (1, 401, 402):
        ledger.post(f"x.{day}", route(ledger, ALICE, day=day), Used(5), 1)
    prune(ledger)
    assert [row.day for row in ledger.rollups()] == [401, 402]
    assert [row.day for row in ledger.rollups(402)] == [402]
