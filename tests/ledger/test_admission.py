"""Who gets how much: `admit`, the one decision about money."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import ALICE, AT, calls, charge, check, cost, give, hold, route, tokens, usd

from budgeted.ledger.accounts import CALLS, GLOBAL, TOKENS, USD, Slot
from budgeted.ledger.admission import Ask, Refused, admit
from budgeted.ledger.spending_records import Used

amounts = st.integers(0, 10**6)
slots = st.builds(
    Slot,
    limit=st.just("x"),
    unit=st.sampled_from([USD, TOKENS, CALLS]),
    amount=amounts,
    start=st.sampled_from([0, 10]),
    end=st.just(20),
    spent=amounts,
    held=amounts,
)
asks = st.builds(
    Ask,
    usd=st.integers(0, 10**5),
    usd_rate=st.integers(0, 10**5),
    tokens=st.integers(0, 10**4),
    tokens_rate=st.integers(0, 4),
    least=st.integers(0, 5000),
    most=st.integers(0, 10**5),
    whole=st.booleans(),
    floor=st.integers(0, 5000),
)


@given(asks, st.lists(slots, max_size=4), st.data())
def test_what_is_granted_fits_every_hard_limit_and_a_refusal_names_one_where_it_does_not(
    ask: Ask, limits: list[Slot], data: st.DataObject
) -> None:
    """The smallest grant counts everywhere; nobody with an output cap of his own gets less than it."""
    soft = data.draw(st.lists(st.booleans(), min_size=len(limits), max_size=len(limits)))
    places = [(slot, 10, 20) for slot in limits]
    granted = admit(ask, places, soft)
    left = [s.amount - s.spent - s.held if s.start == 10 else s.amount for s in limits]
    if isinstance(granted, Refused):
        slot = limits[granted.index]
        assert not soft[granted.index]
        assert granted.requested > left[granted.index]
        assert (granted.limit, granted.unit, granted.amount) == (slot.limit, slot.unit, slot.amount)
        idle = slot.amount - granted.spent
        assert (granted.reason == "spent") == (granted.requested > idle)
        return
    assert 0 <= granted <= ask.most
    assert granted == ask.most or not ask.whole
    for i, slot in enumerate(limits):
        if soft[i] or (slot.unit == USD and ask.usd == ask.usd_rate == 0):
            continue
        assert ask.need(slot.unit, granted) <= left[i]
        if granted < ask.most:
            assert granted >= min(ask.least, max(ask.floor, 256), ask.most)


@given(asks, st.lists(slots, max_size=4))
def test_a_request_without_a_cap_gets_at_most_a_quarter_beyond_its_floor(ask: Ask, limits: list[Slot]) -> None:
    """Beyond the floor, no limit that the output counts on gives more than a quarter of what it has left."""
    granted = admit(ask, [(slot, 10, 20) for slot in limits])
    if isinstance(granted, Refused) or ask.whole or granted <= max(ask.least, 1):  # nobody is granted nothing
        return
    for slot in limits:
        left = slot.amount - slot.spent - slot.held if slot.start == 10 else slot.amount
        if not ask.fixed(slot.unit):
            assert ask.need(slot.unit, granted) <= left // 4


def test_a_fixed_cost_above_a_quarter_does_not_clamp_the_output_of_another_unit() -> None:
    """Less output would not make the fixed cost smaller."""
    ask = Ask(usd=60, tokens_rate=1, most=1000, least=256, whole=False)
    limits = [(Slot("usd", USD, 100, 0, 20), 0, 20), (Slot("tokens", TOKENS, 100_000, 0, 20), 0, 20)]
    assert admit(ask, limits) == 1000


def test_a_ledger_grants_the_smallest_over_all_accounts(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(10**9))
    give(ledger, ALICE, tokens(8000))
    ask = Ask(usd=10, usd_rate=1000, tokens=100, tokens_rate=1, least=500, most=100_000, whole=False)
    first = ledger.hold("x.1", route(ledger, GLOBAL, ALICE), ask, AT)
    assert (first.granted, first.tokens, first.usd) == (1900, 2000, 1910)
    second = ledger.hold("x.2", route(ledger, GLOBAL, ALICE), ask, AT)
    assert second.granted == 1400
    check(ledger)


@pytest.mark.parametrize(
    ("least", "floor", "granted"),
    [(4096, 0, 500), (300, 1500, 500), (4096, 1500, 1500), (1200, 1500, 1200), (4096, 3000, None)],
    ids=["a quarter", "no less than a quarter", "the floor", "fewer are enough", "too much"],
)
def test_a_small_account_lowers_what_is_worth_having_to_a_quarter_but_not_below_its_floor(
    ledger: Any, least: int, floor: int, granted: int | None
) -> None:
    give(ledger, ALICE, usd(2000))
    ask = Ask(usd_rate=1000, least=least, most=100_000, whole=False, floor=floor)
    held = ledger.hold("x.1", route(ledger, ALICE), ask, AT)
    if granted is None:
        assert (held.reason, held.requested, held.affordable) == ("spent", floor, 2000)
    else:
        assert held.granted == granted
    check(ledger)


@pytest.mark.parametrize(("least", "granted"), [(10, 20), (50, 50), (80, 80), (0, 20), (256, None), (4096, None)])
def test_a_floor_below_256_means_what_it_says(ledger: Any, least: int, granted: int | None) -> None:
    give(ledger, ALICE, usd(80))
    ask = Ask(usd_rate=1000, least=least, most=100_000, whole=False)
    held = ledger.hold("x.1", route(ledger, ALICE), ask, AT)
    assert getattr(held, "granted", None) == granted
    if granted is None:
        assert (held.requested, held.affordable) == (256, 80)
    check(ledger)


def test_nobody_is_granted_nothing(ledger: Any) -> None:
    give(ledger, ALICE, usd(2))
    ask = Ask(usd_rate=1000, least=0, most=100_000, whole=False)
    assert ledger.hold("x.1", route(ledger, ALICE), ask, AT).granted == 1
    check(ledger)


@pytest.mark.parametrize("whole", [True, False])
def test_what_costs_nothing_passes_limits_in_usd_that_are_overrun_and_no_others(ledger: Any, whole: bool) -> None:
    give(ledger, GLOBAL, usd(100), tokens(1000))
    give(ledger, ALICE, usd(100), calls(3))
    late = charge(ledger, 90, GLOBAL, ALICE)
    ledger.correct(late, Used(500, 1, 1), AT)
    free = Ask(tokens=10, tokens_rate=1, least=50, most=400, whole=whole)
    assert ledger.hold("x.1", route(ledger, GLOBAL, ALICE), free, AT).usd == 0
    assert isinstance(hold(ledger, 1, GLOBAL, ALICE), Refused)
    large = msgspec.structs.replace(free, tokens=2000)
    assert ledger.hold("x.2", route(ledger, GLOBAL, ALICE), large, AT).limit == "tokens"
    assert ledger.hold("x.3", route(ledger, GLOBAL, ALICE), free, AT).usd == 0
    refused = ledger.hold("x.4", route(ledger, GLOBAL, ALICE), free, AT)
    assert (refused.account, refused.limit, refused.reason) == (ALICE, "calls", "held")
    check(ledger)


def test_a_refusal_says_whose_limit_and_whether_waiting_helps(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(1000), calls(2))
    give(ledger, ALICE, usd(100))
    hold(ledger, 80, GLOBAL, ALICE)
    refused = hold(ledger, 30, GLOBAL, ALICE)
    assert (refused.account, refused.reason, refused.held, refused.requested, refused.index) == (
        ALICE,
        "held",
        80,
        30,
        2,
    )
    hold(ledger, 1, GLOBAL)
    refused = hold(ledger, 1, GLOBAL)
    assert (refused.account, refused.limit, refused.reason) == (GLOBAL, "calls", "held")
    refused = hold(ledger, 2000, GLOBAL)
    assert (refused.limit, refused.reason) == ("usd", "spent")
    check(ledger)


def test_soft_limits_count_and_refuse_nothing(ledger: Any) -> None:
    give(ledger, ALICE, usd(100))
    hard = route(ledger, ALICE)
    soft = type(hard).make(hard.legs, hard.versions, hard.day, "p", "m", [True])
    one = ledger.hold("x.1", soft, cost(500), AT)
    assert one.usd == 500
    assert isinstance(ledger.hold("x.2", hard, cost(1), AT), Refused)
    check(ledger)
