"""Limits that come, change and go while money is spent and calls are in flight."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from ledgers import (
    ALICE,
    AT,
    BOB,
    calls,
    charge,
    check,
    cost,
    dump,
    give,
    held,
    hold,
    replayed,
    route,
    spent,
    tokens,
    usd,
)

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import GLOBAL, Account
from budgeted.ledger.admission import Refused
from budgeted.ledger.journal import segment_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.spending_records import Used


def test_a_new_amount_keeps_what_was_spent_and_a_lower_one_refuses_until_spend_fits(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    charge(ledger, 60, ALICE)
    give(ledger, ALICE, usd(50))
    assert isinstance(hold(ledger, 1, ALICE), Refused)
    give(ledger, ALICE, usd(70))
    assert hold(ledger, 10, ALICE).usd == 10
    check(ledger)


def test_a_new_limit_counts_what_was_spent_in_its_period_and_what_is_in_flight(ledger: Any) -> None:
    give(ledger, ALICE)
    charge(ledger, 7, ALICE, day=19_999)
    charge(ledger, 20, ALICE, day=20_000)
    one = ledger.hold("x.1", route(ledger, ALICE), cost(30, tokens=5), AT)
    give(
        ledger, ALICE, usd(100, "usd/day", since=20_000), usd(100, since=0), tokens(99, since=0), calls(9, since=20_000)
    )
    assert (spent(ledger, ALICE, "usd/day"), spent(ledger, ALICE), spent(ledger, ALICE, "calls")) == (20, 27, 1)
    assert (held(ledger, ALICE, "usd/day"), held(ledger, ALICE), held(ledger, ALICE, "tokens")) == (30, 30, 5)
    check(ledger)
    assert isinstance(hold(ledger, 51, ALICE), Refused)
    ledger.settle(one.id, Used(25, 2, 2), AT)
    assert (spent(ledger, ALICE, "usd/day"), held(ledger, ALICE, "usd/day"), spent(ledger, ALICE, "tokens")) == (
        45,
        0,
        8,
    )
    check(ledger)


def test_a_correction_reaches_the_limits_that_came_after_the_charge_and_counted_it(ledger: Any) -> None:
    give(ledger, ALICE)
    id = charge(ledger, 20, ALICE)
    give(ledger, ALICE, usd(100, since=0), usd(50, "usd~other*"))
    ledger.correct(id, Used(35), AT)
    assert (spent(ledger, ALICE), spent(ledger, ALICE, "usd~other*")) == (35, 0)
    check(ledger)


def test_a_new_limit_counts_nothing_of_before_a_reset(ledger: Any) -> None:
    give(ledger, ALICE)
    charge(ledger, 20, ALICE)
    ledger.reset(ALICE, AT)
    charge(ledger, 3, ALICE)
    give(ledger, ALICE, usd(100, since=20_000))
    assert spent(ledger, ALICE) == 3


def test_a_limit_that_goes_and_comes_back_counts_each_open_hold_once(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    one = hold(ledger, 30, ALICE)
    give(ledger, ALICE)
    check(ledger)
    give(ledger, ALICE, usd(100, since=0))
    assert held(ledger, ALICE) == 30
    check(ledger)
    ledger.settle(one.id, Used(10), AT)
    assert (held(ledger, ALICE), spent(ledger, ALICE)) == (0, 10)
    check(ledger)


def test_a_limit_that_comes_back_in_a_later_period_leaves_older_holds_alone(ledger: Any) -> None:
    give(ledger, ALICE, usd(100, start=0, end=AT))
    one = ledger.hold("x.1", route(ledger, ALICE), cost(30), AT - 1)
    give(ledger, ALICE)
    give(ledger, ALICE, usd(100, start=AT, end=2 * AT, since=0))
    assert held(ledger, ALICE) == 0
    ledger.settle(one.id, Used(10), AT)
    assert (held(ledger, ALICE), spent(ledger, ALICE)) == (0, 0)
    check(ledger)


def test_a_limit_that_comes_back_by_a_clock_set_back_stays_in_the_later_period(ledger: Any) -> None:
    give(ledger, ALICE, usd(100, start=AT, end=2 * AT))
    one = hold(ledger, 30, ALICE)
    give(ledger, ALICE)
    give(ledger, ALICE, usd(100, start=0, end=AT, since=0))
    slot = ledger.read(ALICE).slots[0]
    assert (slot.start, slot.held) == (AT, 30)
    check(ledger)
    ledger.release(one.id, AT)
    check(ledger)


def test_the_same_limits_again_leave_routes_valid(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    old = route(ledger, ALICE)
    give(ledger, ALICE, usd(100))
    assert ledger.hold("x.1", old, cost(1), AT).usd == 1


def test_creating_leaves_an_existing_account_alone(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    ledger.set_limits(ALICE, [usd(5)], explicit=False, create=True)
    account = ledger.read(ALICE)
    assert (account.slots[0].amount, account.explicit) == (100, True)
    ledger.set_limits(BOB, [usd(5)], explicit=False, create=True)
    assert not ledger.read(BOB).explicit


def test_a_deleted_account_is_gone_and_its_charges_stay_in_the_reports(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    charge(ledger, 60, ALICE)
    ledger.delete(ALICE)
    assert ledger.read(ALICE) is None
    assert [(row.account, row.usd) for row in ledger.rollups()] == [(ALICE, 60)]
    check(ledger)


def test_holds_of_a_deleted_account_still_end_and_are_reported(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(100))
    one = hold(ledger, 60, GLOBAL, ALICE)
    ledger.delete(ALICE)
    check(ledger)
    ledger.settle(one.id, Used(50), AT)
    assert (spent(ledger), held(ledger), ledger.read(ALICE)) == (50, 0, None)
    assert {row.account: row.usd for row in ledger.rollups()} == {GLOBAL: 50, ALICE: 50}
    assert [(row.account, row.usd) for row in ledger.rollups(0, ALICE)] == [(ALICE, 50)]
    assert ledger.rollups(10**6, ALICE) == ledger.rollups(0, "u:nobody") == []
    check(ledger)


def test_an_account_made_again_carries_the_calls_that_its_name_has_in_flight(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    one = hold(ledger, 60, ALICE)
    ledger.delete(ALICE)
    give(ledger, ALICE, usd(100))
    assert (held(ledger, ALICE), ledger.read(ALICE).held) == (60, 60)
    check(ledger)
    ledger.settle(one.id, Used(50), AT)
    assert (spent(ledger, ALICE), held(ledger, ALICE)) == (50, 0)
    check(ledger)


def test_accounts_are_listed_in_order_in_pages(ledger: Any) -> None:
    for name in ["g", "u:b", "u:a", "b:x", "u:c", "v:z"]:
        give(ledger, name)
    assert [one.id for one in ledger.accounts("u:")] == ["u:a", "u:b", "u:c"]
    assert [one.id for one in ledger.accounts("u:", after="u:a", count=1)] == ["u:b"]
    ledger.delete("u:b")
    give(ledger, "u:d")
    assert [one.id for one in ledger.accounts("u:", after="u:a")] == ["u:c", "u:d"]
    assert [one.id for one in ledger.accounts(count=2)] == ["b:x", "g"]
    assert ledger.accounts("u:", after="u:d") == []


def test_accounts_are_listed_in_order_while_they_come_and_go(ledger: Any) -> None:
    chance, there = random.Random(7), set()
    for _ in range(60):
        name = f"u:{chance.randrange(30)}"
        if name in there and chance.random() < 0.5:
            ledger.delete(name)
            there.remove(name)
        else:
            give(ledger, name, usd(chance.randrange(100)))
            there.add(name)
        if chance.random() < 0.7:
            assert [one.id for one in ledger.accounts("u:")] == sorted(there)
    ledger.restore([Account("u:0"), Account("u:1x")], (), ())
    assert [one.id for one in ledger.accounts("u:")] == sorted(there | {"u:0", "u:1x"})


def test_what_is_read_is_a_copy(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    charge(ledger, 6, ALICE)
    account = ledger.read(ALICE)
    account.slots[0].spent = 99
    account.models["m"] = 99
    ledger.rollups()[0].usd = 99
    assert (spent(ledger, ALICE), ledger.read(ALICE).models, ledger.rollups()[0].usd) == (6, {"m": 6}, 6)


@pytest.mark.parametrize("gone", ["limit", "account"])
def test_all_this_survives_a_snapshot_and_a_restart(
    directory: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Holds of removed limits and deleted accounts mean the same to a process that starts from a snapshot."""
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 8)
    with_snapshot = JournalLedger(directory)
    give(with_snapshot, ALICE, usd(1000), calls(100))
    one = hold(with_snapshot, 60, ALICE)
    ended = charge(with_snapshot, 5, ALICE)
    if gone == "account":
        with_snapshot.delete(ALICE)
    else:
        give(with_snapshot, ALICE, calls(100))
    give(with_snapshot, BOB)
    for _ in range(5):
        charge(with_snapshot, 1, BOB)
    with_snapshot.flush()
    assert segment_files.numbers(directory, "snapshot")
    other = JournalLedger(directory)
    assert dump(other) == dump(with_snapshot) == replayed(directory)
    give(other, ALICE, usd(1000, since=0), calls(100))
    other.correct(ended, Used(6), AT)
    with pytest.raises(LedgerError):
        with_snapshot.settle(ended, Used(7), AT)
    check(other)
    with_snapshot.settle(one.id, Used(10), AT)
    check(with_snapshot)
    assert dump(other) == dump(with_snapshot)
    assert held(other, ALICE) == 0
    other.close()
    with_snapshot.close()
