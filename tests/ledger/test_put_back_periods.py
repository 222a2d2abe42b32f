"""Limits that a wrong clock has put into a later period, and that are put back into the one that it is."""

from __future__ import annotations

from typing import Any

from ledgers import ALICE, AT, calls, check, cost, give, held, hold, route, spent, tokens, usd

from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.spending_records import Used

DAY = 86_400
TODAY = 20_000
NOW = (TODAY * DAY, (TODAY + 1) * DAY)
LATER = ((TODAY + 400) * DAY, (TODAY + 401) * DAY)


def limits() -> tuple[Any, ...]:
    return usd(1000, "usd/day", *NOW, since=TODAY), calls(5, *NOW, since=TODAY), tokens(500, *NOW), usd(10**6)


def daily(ledger: Any, amount: int, period: tuple[int, int], *, settled: bool = True) -> Any:
    """A call of both accounts in a day's period."""
    legs_day = period[0] // DAY
    made = route(ledger, GLOBAL, ALICE, day=legs_day)
    legs = [
        type(leg)(leg.account, tuple((one, *((0, 2**62) if one == "usd" else period)) for one, _, _ in leg.limits))
        for leg in made.legs
    ]
    found = ledger.hold(
        ledger.new_id(),
        type(made).make(legs, made.versions, legs_day, made.provider, made.model),
        cost(amount, tokens=10),
        AT,
    )
    if settled and not isinstance(found, Refused):
        ledger.settle(found.id, Used(amount, 5, 5), AT)
    return found


def test_a_limit_is_put_back_with_all_that_was_spent(ledger: Any) -> None:
    """What was charged before the clock was wrong, and what was charged while it was."""
    give(ledger, GLOBAL, *limits())
    give(ledger, ALICE, *limits())
    daily(ledger, 300, NOW)
    daily(ledger, 200, LATER)
    assert [slot.start for slot in ledger.read(ALICE).slots] == [LATER[0], LATER[0], LATER[0], 0]
    for account in (GLOBAL, ALICE):
        assert ledger.set_periods(account, limits()) == 3
        assert ledger.set_periods(account, limits()) == 0
    for account in (GLOBAL, ALICE):
        assert [(slot.start, slot.end) for slot in ledger.read(account).slots] == [NOW, NOW, NOW, (0, 2**62)]
        assert spent(ledger, account, "usd/day") == 500
        assert spent(ledger, account, "calls") == 2
        assert spent(ledger, account, "tokens") == 10  # which counts nothing of the past: at least what it had
        assert spent(ledger, account, "usd") == 500
    assert isinstance(daily(ledger, 501, NOW), Refused)
    assert not isinstance(daily(ledger, 500, NOW), Refused)
    check(ledger)


def test_a_limit_in_its_period_stays_as_it_is(ledger: Any) -> None:
    give(ledger, GLOBAL, *limits())
    give(ledger, ALICE, *limits())
    daily(ledger, 300, NOW)
    before = ledger.read(ALICE)
    assert ledger.set_periods(ALICE, limits()) == 0
    assert ledger.set_periods("u:nobody", limits()) == 0
    assert ledger.read(ALICE) == before


def test_calls_in_flight_count_in_the_period_that_is_put_back(local_ledger: Any) -> None:
    """Those that were opened before it, and in the later one, whenever they end."""
    ledger = local_ledger
    give(ledger, GLOBAL, *limits())
    give(ledger, ALICE, *limits())
    first = daily(ledger, 100, NOW, settled=False)
    second = daily(ledger, 200, LATER, settled=False)
    assert ledger.set_periods(ALICE, limits()) == 3
    assert ledger.set_periods(GLOBAL, limits()) == 3
    check(ledger)
    assert held(ledger, ALICE, "usd/day") == 300
    assert isinstance(daily(ledger, 701, NOW), Refused)
    ledger.settle(second.id, Used(150, 1, 1), AT)
    ledger.settle(first.id, Used(90, 1, 1), AT)
    assert (spent(ledger, ALICE, "usd/day"), held(ledger, ALICE, "usd/day")) == (240, 0)
    assert (spent(ledger, GLOBAL, "calls"), held(ledger, GLOBAL, "calls")) == (2, 0)
    check(ledger)
    assert hold(ledger, 1, GLOBAL, ALICE)
