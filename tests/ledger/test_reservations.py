"""Amounts that are set aside for the calls of a block, which draw on them."""

from __future__ import annotations

from typing import Any

from ledgers import ALICE, AT, GLOBAL, check, give, held, hold, route, spent, tokens, usd

from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.spending_records import Used


def reserve(ledger: Any, amount: int, *names: str, tokens: int = 0, id: str = "") -> str:
    """Set so much aside; the id of that."""
    id = id or str(ledger.new_id())
    found = ledger.hold(id, route(ledger, *names), Ask(usd=amount, tokens=tokens, uncertain_output=-1, within=id), AT)
    assert not isinstance(found, Refused), found
    return id


def call(ledger: Any, amount: int, *names: str, within: str, tokens: int = 0, id: str = "") -> Any:
    ask = Ask(usd=amount, tokens=tokens, uncertain_output=0, within=within)
    return ledger.hold(id or ledger.new_id(), route(ledger, *names), ask, AT)


def test_calls_draw_on_what_was_set_aside_and_give_back_what_they_do_not_use(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    give(ledger, ALICE, usd(80))
    around = reserve(ledger, 60, GLOBAL, ALICE)
    assert (held(ledger), held(ledger, name=ALICE)) == (60, 60)
    assert hold(ledger, 41, GLOBAL).reason == "held"
    first = call(ledger, 50, GLOBAL, ALICE, within=around)
    assert (held(ledger), held(ledger, name=ALICE)) == (60, 60)
    ledger.settle(first.id, Used(20), AT)
    assert (spent(ledger), held(ledger), held(ledger, name=ALICE)) == (20, 40, 40)
    second = call(ledger, 40, GLOBAL, ALICE, within=around)
    ledger.release(second.id, AT)
    assert (spent(ledger), held(ledger)) == (20, 40)
    check(ledger)
    assert ledger.release(around, AT)
    assert (spent(ledger), held(ledger), held(ledger, name=ALICE)) == (20, 0, 0)
    assert ledger.read(GLOBAL).calls == 1
    check(ledger)


def test_a_call_that_needs_more_than_is_left_of_it_takes_the_rest_from_what_is_free(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    around = reserve(ledger, 30, GLOBAL)
    assert isinstance(call(ledger, 101, GLOBAL, within=around), Refused)
    first = call(ledger, 100, GLOBAL, within=around)
    assert held(ledger) == 100
    ledger.settle(first.id, Used(25), AT)
    assert (spent(ledger), held(ledger)) == (25, 5)
    second = call(ledger, 5, GLOBAL, within=around)
    ledger.settle(second.id, Used(20), AT)  # more than it held: it is recorded
    assert (spent(ledger), held(ledger)) == (45, 0)
    check(ledger)


def test_calls_in_flight_keep_what_they_hold_when_it_ends_before_them(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    around = reserve(ledger, 60, GLOBAL)
    first = call(ledger, 50, GLOBAL, within=around)
    ledger.release(around, AT)
    assert held(ledger) == 50
    ledger.settle(first.id, Used(20), AT)
    assert (spent(ledger), held(ledger)) == (20, 0)
    check(ledger)


def test_a_call_within_one_that_is_gone_holds_as_any_other(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    around = reserve(ledger, 60, GLOBAL)
    ledger.release(around, AT)
    first = call(ledger, 50, GLOBAL, within=around)
    assert held(ledger) == 50
    ledger.settle(first.id, Used(20), AT)
    assert (spent(ledger), held(ledger)) == (20, 0)


def test_a_call_that_its_accounts_do_not_all_pay_draws_nothing(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    give(ledger, ALICE, usd(100))
    around = reserve(ledger, 60, GLOBAL, ALICE)
    assert call(ledger, 41, GLOBAL, within=around).reason == "held"
    first = call(ledger, 40, GLOBAL, within=around)
    assert (held(ledger), held(ledger, name=ALICE)) == (100, 60)
    ledger.settle(first.id, Used(40), AT)
    ledger.release(around, AT)
    assert (spent(ledger), held(ledger), held(ledger, name=ALICE)) == (40, 0, 0)
    check(ledger)


def test_tokens_are_set_aside_as_money_is(ledger: Any) -> None:
    give(ledger, GLOBAL, tokens(1000))
    around = reserve(ledger, 0, GLOBAL, tokens=600)
    assert held(ledger, limit="tokens") == 600
    first = call(ledger, 0, GLOBAL, within=around, tokens=500)
    assert held(ledger, limit="tokens") == 600
    ledger.settle(first.id, Used(0, 100, 50), AT)
    assert (spent(ledger, limit="tokens"), held(ledger, limit="tokens")) == (150, 450)
    ledger.release(around, AT)
    assert held(ledger, limit="tokens") == 0
    check(ledger)


def test_what_was_set_aside_is_never_too_old_and_released_when_its_process_has_died(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    around = reserve(ledger, 60, GLOBAL, id="x.1")
    ledger.clock = lambda: AT + 100_000.0
    assert ledger.sweep() == 0
    assert held(ledger) == 60
    first = call(ledger, 50, GLOBAL, within=around, id="x.2")
    ledger.renew("x", 0)
    ledger.sweep()
    assert (spent(ledger), held(ledger)) == (50, 0)
    assert [charge.id for charge in ledger.uncertain()] == [first.id]
    check(ledger)


def test_the_same_hold_again_is_the_same_one(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    around = reserve(ledger, 60, GLOBAL)
    ask = Ask(usd=50, uncertain_output=0, within=around)
    id = ledger.new_id()
    for _ in range(2):
        ledger.hold(id, route(ledger, GLOBAL), ask, AT)
    assert held(ledger) == 60
    assert reserve_again(ledger, around, 60)
    assert held(ledger) == 60


def reserve_again(ledger: Any, id: str, amount: int) -> bool:
    found = ledger.hold(id, route(ledger, GLOBAL), Ask(usd=amount, uncertain_output=-1, within=id), AT)
    return not isinstance(found, Refused)
