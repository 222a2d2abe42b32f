"""Limits that are more than USD, tokens or calls per period: other units, rolling ones, what is kept, what is added."""

from __future__ import annotations

from typing import Any

from ledgers import ALICE, AT, BOB, GLOBAL, NEVER, check, give, held, hold, route, spent, usd

from budgeted.ledger.accounts import CALLS, INPUT_TOKENS, OUTPUT_TOKENS, USD, Amendment, LimitSpec, stated_amount
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.spending_records import Used

HOUR = 3600
DAY = 24 * HOUR
START = AT - AT % DAY


def rolling(amount: int, window: int = DAY, unit: int = USD, since: int = -1) -> LimitSpec:
    return LimitSpec("rolling", unit, amount, 0, NEVER, since, window, 0, AT)


def kept(amount: int, keep: int, start: int = START) -> LimitSpec:
    return LimitSpec("usd/day", USD, amount, start, start + DAY, -1, 0, keep, DAY)


def pay(ledger: Any, amount: int, *names: str, at: int = AT, **more: Any) -> None:
    """A call that costs so much, or fails the test if it is refused."""
    found = hold(ledger, amount, *names, at=at, **more)
    assert not isinstance(found, Refused), found
    ledger.settle(found.id, Used(amount, 3, 2), at)


def ask_for(ledger: Any, ask: Ask, *names: str, at: int = AT, id: str | None = None) -> Any:
    return ledger.hold(id or ledger.new_id(), route(ledger, *names), ask, at)


# -- tokens of input, and of output


def test_tokens_of_input_and_of_output_are_limited_each_by_its_own(ledger: Any) -> None:
    give(ledger, GLOBAL, LimitSpec("in", INPUT_TOKENS, 100, 0, NEVER), LimitSpec("out", OUTPUT_TOKENS, 50, 0, NEVER))
    first = ask_for(ledger, Ask(tokens=60, tokens_rate=1, least=20, most=20), GLOBAL)
    assert (held(ledger, limit="in"), held(ledger, limit="out")) == (60, 20)
    refused = ask_for(ledger, Ask(tokens=41, tokens_rate=1, most=1), GLOBAL)
    assert isinstance(refused, Refused)
    assert (refused.limit, refused.unit, refused.requested, refused.reason) == ("in", INPUT_TOKENS, 41, "held")
    refused = ask_for(ledger, Ask(tokens=1, tokens_rate=2, most=16), GLOBAL)
    assert (refused.limit, refused.unit, refused.requested, refused.affordable) == ("out", OUTPUT_TOKENS, 32, 15)
    ledger.settle(first.id, Used(5, 55, 10), AT)
    assert [(slot.spent, slot.held) for slot in ledger.read(GLOBAL).slots] == [(55, 0), (10, 0)]
    check(ledger)


def test_output_is_shortened_to_what_a_limit_of_output_has_left(ledger: Any) -> None:
    give(ledger, GLOBAL, LimitSpec("out", OUTPUT_TOKENS, 10_000, 0, NEVER))
    ask = Ask(tokens=60, tokens_rate=1, least=400, most=8000, whole=False)
    assert ask_for(ledger, ask, GLOBAL).granted == 2500


def test_a_new_limit_of_output_counts_calls_in_flight_as_if_all_their_tokens_were_output(ledger: Any) -> None:
    give(ledger, GLOBAL)
    first = ask_for(ledger, Ask(tokens=60, tokens_rate=1, most=20), GLOBAL)
    give(ledger, GLOBAL, LimitSpec("out", OUTPUT_TOKENS, 1000, 0, NEVER, 0))
    assert held(ledger, limit="out") == 80
    ledger.settle(first.id, Used(5, 55, 10), AT)
    assert (held(ledger, limit="out"), spent(ledger, limit="out")) == (0, 10)
    check(ledger)


# -- rolling limits


def test_a_charge_counts_in_a_rolling_limit_until_its_window_has_passed(ledger: Any) -> None:
    give(ledger, GLOBAL, rolling(100))
    pay(ledger, 60, GLOBAL)
    pay(ledger, 30, GLOBAL, at=AT + HOUR)
    refused = hold(ledger, 11, GLOBAL, at=AT + DAY - 1)
    assert (refused.reason, refused.spent, refused.end) == ("spent", 90, AT + DAY)
    pay(ledger, 70, GLOBAL, at=AT + DAY)
    assert isinstance(hold(ledger, 1, GLOBAL, at=AT + DAY + HOUR - 1), Refused)
    pay(ledger, 30, GLOBAL, at=AT + DAY + HOUR)
    check(ledger)


def test_charges_that_came_close_together_leave_a_rolling_limit_together(ledger: Any) -> None:
    give(ledger, GLOBAL, rolling(100, window=6000))
    for i in range(100):
        pay(ledger, 1, GLOBAL, at=AT + i)
    assert isinstance(hold(ledger, 1, GLOBAL, at=AT + 6000 + 98), Refused)
    [slot] = ledger.read(GLOBAL).slots
    assert slot.terms.past == ((AT, AT + 99, 100),)
    pay(ledger, 100, GLOBAL, at=AT + 6000 + 99)


def test_what_is_held_counts_in_a_rolling_limit_and_is_charged_when_the_call_ends(ledger: Any) -> None:
    give(ledger, GLOBAL, rolling(100))
    first = hold(ledger, 80, GLOBAL)
    assert hold(ledger, 21, GLOBAL, at=AT + 2 * DAY).reason == "held"
    ledger.settle(first.id, Used(50), AT + HOUR)
    assert isinstance(hold(ledger, 51, GLOBAL, at=AT + DAY), Refused)
    pay(ledger, 100, GLOBAL, at=AT + DAY + HOUR)
    check(ledger)


def test_a_clock_set_back_takes_nothing_out_of_a_rolling_limit(ledger: Any) -> None:
    give(ledger, GLOBAL, rolling(100))
    pay(ledger, 60, GLOBAL)
    pay(ledger, 40, GLOBAL, at=AT - 10 * DAY)
    assert isinstance(hold(ledger, 1, GLOBAL, at=AT + DAY - 1), Refused)
    pay(ledger, 100, GLOBAL, at=AT + DAY)


def test_what_is_corrected_down_counts_less_and_what_is_corrected_up_counts_from_now_on(ledger: Any) -> None:
    give(ledger, GLOBAL, rolling(100))
    first = hold(ledger, 60, GLOBAL)
    ledger.settle(first.id, Used(60), AT)
    pay(ledger, 10, GLOBAL, at=AT + 2 * HOUR)
    ledger.correct(first.id, Used(20), AT + 3 * HOUR)
    assert hold(ledger, 71, GLOBAL, at=AT + 4 * HOUR).spent == 30
    ledger.correct(first.id, Used(50), AT + 5 * HOUR)
    assert hold(ledger, 41, GLOBAL, at=AT + DAY - 1).spent == 60
    assert hold(ledger, 61, GLOBAL, at=AT + DAY).spent == 40
    check(ledger)


def test_a_correction_of_what_a_rolling_limit_has_forgotten_changes_nothing_of_it(ledger: Any) -> None:
    give(ledger, GLOBAL, rolling(100))
    first = hold(ledger, 60, GLOBAL)
    ledger.settle(first.id, Used(60), AT)
    pay(ledger, 10, GLOBAL, at=AT + DAY)
    ledger.correct(first.id, Used(0), AT + DAY)
    assert hold(ledger, 91, GLOBAL, at=AT + DAY).spent == 10
    pay(ledger, 5, GLOBAL, at=AT + 3 * DAY)
    ledger.correct(first.id, Used(70), AT + 3 * DAY)
    assert hold(ledger, 96, GLOBAL, at=AT + 3 * DAY).spent == 5


def test_a_rolling_limit_that_is_new_counts_the_past_as_if_just_charged(ledger: Any) -> None:
    give(ledger, GLOBAL)
    pay(ledger, 60, GLOBAL)
    give(ledger, GLOBAL, rolling(100, since=19_999))
    assert hold(ledger, 41, GLOBAL, at=AT + DAY - 1).spent == 60
    pay(ledger, 100, GLOBAL, at=AT + DAY)


def test_calls_and_tokens_roll_as_money_does_and_a_reset_forgets_them(ledger: Any) -> None:
    give(ledger, GLOBAL, rolling(2, window=60, unit=CALLS))
    pay(ledger, 1, GLOBAL)
    pay(ledger, 1, GLOBAL, at=AT + 30)
    assert hold(ledger, 1, GLOBAL, at=AT + 59).end == AT + 60
    pay(ledger, 1, GLOBAL, at=AT + 60)
    ledger.reset(GLOBAL, AT + 61)
    pay(ledger, 1, GLOBAL, at=AT + 61)
    pay(ledger, 1, GLOBAL, at=AT + 61)
    check(ledger)


# -- what a period leaves for the next one


def test_what_a_period_leaves_is_carried_into_the_next_one_up_to_a_limit(ledger: Any) -> None:
    give(ledger, GLOBAL, kept(100, 50))
    pay(ledger, 70, GLOBAL)
    later = (START + DAY, START + 2 * DAY)
    refused = hold(ledger, 131, GLOBAL, period=later)
    assert (refused.amount, refused.requested) == (130, 131)
    pay(ledger, 130, GLOBAL, period=later)
    [slot] = ledger.read(GLOBAL).slots
    assert (slot.amount, stated_amount(slot), slot.terms.carried, slot.spent) == (130, 100, 30, 130)
    last = (START + 2 * DAY, START + 3 * DAY)
    assert isinstance(hold(ledger, 101, GLOBAL, period=last), Refused)
    pay(ledger, 100, GLOBAL, period=last)
    check(ledger)


def test_periods_that_nobody_spent_in_leave_all_they_had(ledger: Any) -> None:
    give(ledger, GLOBAL, kept(100, 350))
    pay(ledger, 90, GLOBAL)
    assert hold(ledger, 1000, GLOBAL, period=(START + 3 * DAY, START + 4 * DAY)).amount == 100 + 10 + 200
    assert hold(ledger, 1000, GLOBAL, period=(START + 9 * DAY, START + 10 * DAY)).amount == 100 + 350


def test_what_calls_in_flight_hold_as_a_period_ends_is_not_carried_over(ledger: Any) -> None:
    give(ledger, GLOBAL, kept(100, 100))
    first = hold(ledger, 60, GLOBAL)
    later = (START + DAY, START + 2 * DAY)
    pay(ledger, 140, GLOBAL, period=later)
    ledger.settle(first.id, Used(10), AT + DAY)
    assert isinstance(hold(ledger, 1, GLOBAL, period=later), Refused)
    check(ledger)


def test_an_amount_that_is_stated_anew_keeps_what_was_carried_over(ledger: Any) -> None:
    give(ledger, GLOBAL, kept(100, 50))
    pay(ledger, 1, GLOBAL, period=(START + DAY, START + 2 * DAY))
    give(ledger, GLOBAL, kept(200, 20, START + DAY))
    [slot] = ledger.read(GLOBAL).slots
    assert (slot.amount, slot.terms.keep, slot.spent) == (220, 20, 1)


# -- what is added for one period


def test_what_is_added_for_a_period_ends_with_it_and_is_not_carried_over(ledger: Any) -> None:
    give(ledger, GLOBAL, kept(100, 50))
    assert ledger.amend(GLOBAL, Amendment(raised=("usd/day", 25, START, START + DAY)))
    pay(ledger, 110, GLOBAL)
    assert hold(ledger, 16, GLOBAL).amount == 125
    later = (START + DAY, START + 2 * DAY)
    assert hold(ledger, 101, GLOBAL, period=later).amount == 100
    pay(ledger, 100, GLOBAL, period=later)
    assert not ledger.amend(GLOBAL, Amendment(raised=("usd/day", 25, START, START + DAY)))
    assert not ledger.amend(GLOBAL, Amendment(raised=("usd/week", 25, START, START + DAY)))
    check(ledger)


def test_to_add_to_a_later_period_begins_it(ledger: Any) -> None:
    give(ledger, GLOBAL, kept(100, 0))
    pay(ledger, 100, GLOBAL)
    later = (START + DAY, START + 2 * DAY)
    assert ledger.amend(GLOBAL, Amendment(raised=("usd/day", 25, *later)))
    pay(ledger, 125, GLOBAL, period=later)
    check(ledger)


def test_limits_that_are_stated_again_keep_what_was_added(ledger: Any) -> None:
    give(ledger, GLOBAL, kept(100, 0))
    ledger.amend(GLOBAL, Amendment(raised=("usd/day", 25, START, START + DAY)))
    give(ledger, GLOBAL, kept(100, 0), usd(1000))
    assert hold(ledger, 126, GLOBAL).amount == 125


# -- what else an account knows


def test_an_account_is_told_to_whom_it_belongs_and_whether_it_is_stopped(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    before = route(ledger, ALICE)
    assert ledger.amend(ALICE, Amendment(belongs_to="u:team", stopped="an audit"))
    assert isinstance(ledger.hold(ledger.new_id(), before, Ask(usd=1), AT), Stale)
    account = ledger.read(ALICE)
    assert (account.belongs_to, account.stopped, len(account.slots)) == ("u:team", "an audit", 1)
    assert ledger.amend(ALICE, Amendment(stopped=""))
    account = ledger.read(ALICE)
    assert (account.belongs_to, account.stopped) == ("u:team", "")
    assert ledger.amend(BOB, Amendment(belongs_to="u:team"))
    assert not ledger.read(BOB).explicit
    check(ledger)


def test_a_call_in_flight_ends_after_its_account_was_stopped(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    first = hold(ledger, 60, ALICE)
    ledger.amend(ALICE, Amendment(stopped="an audit"))
    assert ledger.settle(first.id, Used(50), AT)
    assert (spent(ledger, name=ALICE), held(ledger, name=ALICE)) == (50, 0)
    check(ledger)


# -- what several users of one call pay


def test_reports_count_apart_what_more_than_one_user_of_a_call_pays(ledger: Any) -> None:
    for name in (GLOBAL, ALICE, BOB, "u:carol", "b:one", "b:two"):
        give(ledger, name)
    pay(ledger, 1, GLOBAL)
    pay(ledger, 10, GLOBAL, ALICE)
    pay(ledger, 100, GLOBAL, ALICE, BOB)
    pay(ledger, 1000, GLOBAL, ALICE, BOB, "u:carol", "b:one", "b:two")
    sums: dict[str, int] = {}
    for row in ledger.rollups():
        sums[row.account] = sums.get(row.account, 0) + row.usd
    users = sum(amount for name, amount in sums.items() if name.startswith("u:"))
    again = sum(amount for name, amount in sums.items() if name.startswith("o:u"))
    assert (users, again, users - again, sums[GLOBAL]) == (1110 + 1100 + 1000, 2100, 1110, 1111)
    assert {name: amount for name, amount in sums.items() if name[0] == "o"} == {
        "o:u1": 1100,
        "o:u2": 1000,
        "o:b1": 1000,
    }
    check(ledger)
