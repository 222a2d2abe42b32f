"""Holds and corrections that meet what few do: limits that came later, limits of calls, periods that overlap."""

from __future__ import annotations

from typing import Any

from ledgers import AT, GLOBAL, NEVER, calls, charge, check, give, held, hold, route, spent

from budgeted.ledger.accounts import OUTPUT_TOKENS, USD, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.spending_records import Used


def test_a_correction_counts_in_limits_of_output_and_rolling_ones_that_came_after_the_charge(ledger: Any) -> None:
    give(ledger, GLOBAL)
    first = charge(ledger, 10, GLOBAL)
    rolling = LimitSpec("rolling", USD, 100, 0, NEVER, 0, 3600, 0, AT)
    give(ledger, GLOBAL, LimitSpec("out", OUTPUT_TOKENS, 100, 0, NEVER, 0), rolling)
    assert (spent(ledger, limit="out"), spent(ledger, limit="rolling")) == (1, 10)
    ledger.correct(first, Used(4, 1, 31), AT + 1)
    assert (spent(ledger, limit="out"), spent(ledger, limit="rolling")) == (31, 4)
    assert ledger.read(GLOBAL).slots[1].terms.past == ((AT, AT, 4),)
    check(ledger)


def test_what_is_set_aside_is_no_call_and_charged_to_nobody(ledger: Any) -> None:
    give(ledger, GLOBAL, calls(1))
    ask = Ask(usd=60, uncertain_output=0, within="x.1")
    ledger.hold("x.1", route(ledger, GLOBAL), ask, AT)
    assert held(ledger, limit="calls") == 0
    check(ledger)
    within = Ask(usd=10, uncertain_output=0, within="x.1")
    assert not isinstance(ledger.hold("x.2", route(ledger, GLOBAL), within, AT), Refused)
    assert held(ledger, limit="calls") == 1
    ledger.settle("x.2", Used(10), AT)
    check(ledger)
    ledger.renew("x", 0)
    ledger.sweep()
    account = ledger.read(GLOBAL)
    assert (account.usd, account.calls, account.held, spent(ledger, limit="calls")) == (10, 1, 0, 1)
    assert not ledger.uncertain()
    check(ledger)


def test_a_period_that_begins_before_the_last_one_has_ended_takes_nothing_away(ledger: Any) -> None:
    day = 24 * 3600
    give(ledger, GLOBAL, LimitSpec("usd/day", USD, 100, AT, AT + day, -1, 0, 50, day))
    charge(ledger, 70, GLOBAL)
    sooner = (AT + day // 4, AT + day + day // 4)  # as in another time zone
    assert hold(ledger, 131, GLOBAL, period=sooner).amount == 130
    assert hold(ledger, 130, GLOBAL, period=sooner).usd == 130
    check(ledger)
