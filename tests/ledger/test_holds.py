"""The life of a hold: open, then settled, released or charged; once, whatever is repeated."""

from __future__ import annotations

from typing import Any

import pytest
from ledgers import ALICE, AT, BOB, check, cost, give, held, hold, prune, route, spent, usd

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import STALE
from budgeted.ledger.spending_records import Used


@pytest.fixture(autouse=True)
def limits(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(100))


def test_a_hold_counts_on_every_account_until_it_is_settled_at_what_it_cost(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    assert (held(ledger), held(ledger, ALICE), spent(ledger, ALICE)) == (60, 60, 0)
    check(ledger)
    assert ledger.settle(one.id, Used(40, 5, 6), AT)
    assert (held(ledger), held(ledger, ALICE), spent(ledger), spent(ledger, ALICE)) == (0, 0, 40, 40)
    account = ledger.read(ALICE)
    assert (account.usd, account.tokens, account.calls, account.held, account.models) == (40, 11, 1, 0, {"m": 40})
    check(ledger)


def test_what_several_calls_are_charged_at_once_counts_as_so_many_in_reports(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    assert ledger.settle(one.id, Used(40, 5, 6, calls=3), AT)
    assert ledger.settle(one.id, Used(40, 5, 6, calls=3), AT)
    ledger.post("x.2", route(ledger, GLOBAL, ALICE), Used(2, 1, 1, calls=2), AT)
    assert [(row.account, row.calls, row.usd) for row in ledger.rollups()] == [(GLOBAL, 5, 42), (ALICE, 5, 42)]
    ledger.correct(one.id, Used(40, 5, 6, calls=4), AT)
    assert (ledger.read(ALICE).calls, ledger.read(ALICE).usd) == (6, 42)
    check(ledger)


def test_a_released_hold_leaves_nothing_behind(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    assert ledger.release(one.id, AT)
    assert not ledger.release(one.id, AT)
    assert (held(ledger), spent(ledger), ledger.read(ALICE).calls, ledger.rollups()) == (0, 0, 0, [])
    check(ledger)


def test_a_refusal_touches_no_account(ledger: Any) -> None:
    assert isinstance(hold(ledger, 101, GLOBAL, ALICE), Refused)
    assert (held(ledger), held(ledger, ALICE)) == (0, 0)
    assert ledger.rollups() == []
    check(ledger)


def test_the_same_hold_again_gets_the_same_answer_even_where_it_would_not_fit_twice(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    assert hold(ledger, 60, GLOBAL, ALICE, id=one.id) == one
    assert held(ledger) == 60
    check(ledger)


def test_an_id_is_not_taken_for_another_amount_or_payer_or_after_its_end(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    with pytest.raises(LedgerError, match="other amounts"):
        hold(ledger, 50, GLOBAL, ALICE, id=one.id)
    with pytest.raises(LedgerError, match="other amounts"):
        hold(ledger, 60, GLOBAL, id=one.id)
    ledger.release(one.id, AT)
    with pytest.raises(LedgerError, match="has ended"):
        hold(ledger, 60, GLOBAL, ALICE, id=one.id)
    check(ledger)


def test_a_settlement_counts_once_and_another_figure_is_an_error(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    for _ in range(3):
        assert ledger.settle(one.id, Used(40), AT)
    with pytest.raises(LedgerError, match="settled before"):
        ledger.settle(one.id, Used(41), AT)
    assert spent(ledger) == 40
    check(ledger)


def test_unknown_ids_are_told_and_change_nothing(ledger: Any) -> None:
    assert not ledger.settle("x.1", Used(40), AT)
    assert not ledger.release("x.1", AT)
    assert ledger.ended("x.1") is None
    assert ledger.correct("x.1", Used(1), AT) is None
    check(ledger)


def test_a_cost_above_its_hold_is_recorded_in_full_and_the_next_call_refused(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    ledger.settle(one.id, Used(150), AT)
    assert spent(ledger, ALICE) == 150
    refused = hold(ledger, 1, GLOBAL, ALICE)
    assert isinstance(refused, Refused)
    assert (refused.account, refused.reason, refused.spent, refused.amount) == (ALICE, "spent", 150, 100)
    check(ledger)


def test_an_uncertain_charge_is_listed_until_the_truth_comes(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    ledger.settle(one.id, Used(50, 1, 2), AT, "timed out")
    [listed] = ledger.uncertain()
    assert (listed.id, listed.used, listed.held, listed.reason) == (one.id, Used(50, 1, 2), 60, "timed out")
    assert (listed.accounts, listed.model, listed.provider, listed.opened) == ((GLOBAL, ALICE), "m", "p", AT)
    assert {row.uncertain for row in ledger.rollups()} == {50}
    check(ledger)
    assert ledger.settle(one.id, Used(30, 1, 1), AT + 1)
    assert ledger.uncertain() == []
    assert (spent(ledger), spent(ledger, ALICE), ledger.read(ALICE).calls) == (30, 30, 1)
    assert {(row.usd, row.uncertain, row.calls) for row in ledger.rollups()} == {(30, 0, 1)}
    check(ledger)


def test_a_guess_that_comes_after_the_truth_is_ignored(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL)
    ledger.settle(one.id, Used(30), AT)
    assert ledger.settle(one.id, Used(50), AT, "timed out")
    assert (spent(ledger), ledger.uncertain()) == (30, [])


def test_a_released_hold_that_did_cost_something_is_charged(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    ledger.release(one.id, AT)
    assert ledger.settle(one.id, Used(20), AT)
    assert (spent(ledger), spent(ledger, ALICE), ledger.read(ALICE).calls) == (20, 20, 1)
    check(ledger)


def test_a_correction_replaces_a_figure_and_tells_the_old_one(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    ledger.settle(one.id, Used(40, 2, 2), AT)
    assert ledger.ended(one.id).used == Used(40, 2, 2)
    before = ledger.correct(one.id, Used(70, 3, 3), AT)
    assert (before.used, before.model) == (Used(40, 2, 2), "m")
    assert (spent(ledger), ledger.read(ALICE).tokens, ledger.read(ALICE).models) == (70, 6, {"m": 70})
    check(ledger)


def test_a_correction_after_a_reset_never_credits_more_than_was_spent(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    ledger.settle(one.id, Used(40, 2, 2), AT)
    ledger.reset(ALICE, AT)
    ledger.correct(one.id, Used(0), AT)
    assert (spent(ledger, ALICE), spent(ledger), ledger.read(ALICE).usd) == (0, 0, 0)
    check(ledger)


def test_a_reset_leaves_open_holds_alone(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL, ALICE)
    ledger.reset(ALICE, AT)
    assert held(ledger, ALICE) == 60
    ledger.settle(one.id, Used(50), AT)
    assert spent(ledger, ALICE) == 50
    check(ledger)


def test_a_charge_without_a_hold_is_never_refused_and_counts_once(ledger: Any) -> None:
    for _ in range(2):
        assert ledger.post("x.1", route(ledger, GLOBAL, ALICE), Used(500, 1, 1), AT) is True
    assert (spent(ledger, ALICE), ledger.read(ALICE).calls) == (500, 1)
    check(ledger)


def test_a_charge_posted_under_an_open_holds_id_settles_it(ledger: Any) -> None:
    one = hold(ledger, 60, GLOBAL)
    assert ledger.post(one.id, route(ledger, GLOBAL), Used(50), AT) is True
    assert (held(ledger), spent(ledger), ledger.open_holds()) == (0, 50, [])
    check(ledger)


def test_a_route_of_other_limits_or_of_nobody_is_stale(ledger: Any) -> None:
    old = route(ledger, GLOBAL, ALICE)
    give(ledger, ALICE, usd(100), usd(5, "usd/day"))
    assert ledger.hold("x.1", old, cost(1), AT) is STALE
    assert ledger.post("x.1", old, Used(1), AT) is STALE
    give(ledger, BOB)
    gone = route(ledger, BOB)
    ledger.delete(BOB)
    assert ledger.hold("x.2", gone, cost(1), AT) is STALE
    check(ledger)


@pytest.mark.parametrize(
    "name", ['"', "\\", "\u2028", "\u0085", "\N{PILE OF POO}", "a\nb", "\0", "é", "e\u0301", "../x", "x" * 9999]
)
def test_any_name_of_a_user_survives(ledger: Any, name: str) -> None:
    give(ledger, "u:" + name, usd(10))
    one = hold(ledger, 5, GLOBAL, "u:" + name, model=name)
    ledger.settle(one.id, Used(5), AT, name)
    assert ledger.read("u:" + name).usd == 5
    assert ledger.uncertain()[0].reason == name
    check(ledger)


def test_ids_are_unique(ledger: Any) -> None:
    assert len({ledger.new_id() for _ in range(1000)}) == 1000


def test_what_ended_long_ago_is_forgotten_unless_it_is_uncertain(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgeted.ledger.memory.ended_holds.REMEMBERED", 5)
    ended: list[str] = []

    def see_twenty_end() -> None:
        for _ in range(20):
            one = hold(ledger, 1, GLOBAL)
            ledger.settle(one.id, Used(1), AT + len(ended))
            ended.append(one.id)
        prune(ledger)
        assert ledger.ended(ended[-20]) is None
        assert ledger.ended(ended[-5]) is not None

    see_twenty_end()
    doubtful = hold(ledger, 1, GLOBAL)
    ledger.settle(doubtful.id, Used(1), AT, "timed out")
    see_twenty_end()
    assert ledger.ended(doubtful.id) is not None
    check(ledger)
