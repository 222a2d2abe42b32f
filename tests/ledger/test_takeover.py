"""Taking over what another ledger knew, as it is; and holds of processes that somebody here speaks for."""

from __future__ import annotations

from typing import Any

import pytest
from ledgers import ALICE, AT, BOB, calls, charge, check, cost, give, held, hold, route, spent, tokens, usd

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Used


def filled() -> MemoryLedger:
    """A ledger with limits of all units, charges of two days and models, and an uncertain one."""
    ledger = MemoryLedger()
    give(ledger, GLOBAL, usd(10_000), calls(50, 0, 2 * AT))
    give(ledger, ALICE, usd(100), tokens(500))
    give(ledger, BOB)
    for amount in range(1, 9):
        charge(ledger, amount, GLOBAL, ALICE, model=f"m{amount % 2}", day=20_000 + amount % 3)
    charge(ledger, 7, GLOBAL, BOB)
    doubtful = hold(ledger, 20, GLOBAL, ALICE)
    ledger.settle(doubtful.id, Used(11, 3, 4), AT, "timed out")
    return ledger


def take_over(target: Any, source: MemoryLedger) -> None:
    charges = [(one, route(source, *one.accounts, model=one.model)) for one in source.uncertain()]
    target.restore(source.accounts(), source.rollups(), charges)


def known(ledger: Any) -> Any:
    """What one can ask a ledger for, without the versions, which are each ledger's own."""
    accounts = [
        (one.id, one.explicit, one.slots, one.usd, one.tokens, one.calls, one.models) for one in ledger.accounts()
    ]
    return accounts, sorted(ledger.rollups(), key=repr), ledger.uncertain()


def test_everything_that_one_ledger_knew_is_known_to_the_other(ledger: Any) -> None:
    source = filled()
    for _ in range(2):  # repeating it changes nothing
        take_over(ledger, source)
        assert known(ledger) == known(source)
        check(ledger)


def test_what_was_taken_over_goes_on_as_if_it_had_always_been_here(ledger: Any) -> None:
    source = filled()
    take_over(ledger, source)
    before = spent(ledger, ALICE)
    charge(ledger, 5, GLOBAL, ALICE)
    assert spent(ledger, ALICE) == before + 5
    [doubtful] = ledger.uncertain()
    ledger.correct(doubtful.id, Used(1, 1, 1), AT)
    assert (spent(ledger, ALICE), ledger.uncertain()) == (before + 5 - 10, [])
    assert spent(source, ALICE) == before
    check(ledger)


def test_what_was_taken_over_is_on_disk(journal: JournalLedger) -> None:
    source = filled()
    take_over(journal, source)
    journal.close()
    again = JournalLedger(journal.directory)
    assert known(again) == known(source)
    again.close()


def test_accounts_with_calls_in_flight_are_not_taken_over(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    open_hold = hold(ledger, 10, ALICE)
    with pytest.raises(LedgerError, match="'alice' has calls in flight"):
        take_over(ledger, filled())
    ledger.release(open_hold.id, AT)
    busy = filled()
    hold(busy, 1, BOB)
    with pytest.raises(LedgerError, match="'bob' has calls in flight"):
        take_over(ledger, busy)
    assert ledger.rollups() == []


def test_nor_are_those_whose_calls_in_flight_cost_nothing_but_tokens(ledger: Any) -> None:
    give(ledger, BOB, tokens(100))
    ledger.hold(ledger.new_id(), route(ledger, BOB), cost(0, tokens=60), AT)
    with pytest.raises(LedgerError, match="'bob' has calls in flight"):
        take_over(ledger, filled())
    check(ledger)


def test_accounts_that_are_gone_are_taken_over_once_their_calls_have_ended(ledger: Any) -> None:
    give(ledger, BOB, usd(100))
    one = hold(ledger, 10, BOB)
    ledger.delete(BOB)
    with pytest.raises(LedgerError, match="'bob' has calls in flight"):
        take_over(ledger, filled())
    ledger.settle(one.id, Used(4), AT)
    take_over(ledger, filled())
    assert ledger.read(BOB).usd == 7
    check(ledger)


# In Redis a hold is of the process that spoke to it, whatever its id says.
@pytest.mark.parametrize("ledger", ["memory", "journal", "sqlite", "postgresql", "http"], indirect=True)
def test_holds_of_a_process_elsewhere_are_charged_when_its_lease_has_run_out(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(100))
    ledger.renew("elsewhere", 60)
    hold(ledger, 10, GLOBAL, id="elsewhere.1")
    assert ledger.sweep() == 0
    assert held(ledger) == 10
    ledger.renew("elsewhere", 0)
    ledger.sweep()  # unless the background has done it
    assert (held(ledger), [one.reason for one in ledger.uncertain()]) == (0, ["the process died"])
    check(ledger)


def test_a_lease_outlives_the_process_that_wrote_it_down(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(100))
    journal.renew("elsewhere", 60)
    hold(journal, 10, GLOBAL, id="elsewhere.1")
    journal.close()
    again = JournalLedger(journal.directory)
    assert held(again) == 10
    again.renew("elsewhere", 0)
    again.sweep()
    assert held(again) == 0
    again.close()
