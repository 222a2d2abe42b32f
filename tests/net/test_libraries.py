"""What sends to providers without a hook of ours: all of it reaches the simulated provider, which bills it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from libraries import CALLS

from budgeted import BudgetExceededError, BudgetManager, register_price
from budgeted.testing import PRICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from net_calls import NetCall

    from budgeted.testing import SimulatedProvider

# What libraries warn of is their business; so is what they leave open.
pytestmark = [pytest.mark.net, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("call", [pytest.param(call, id=call.name) for call in CALLS])
def test_an_unmetered_call_is_answered_and_billed(call: NetCall, provider: SimulatedProvider) -> None:
    text = call.run(provider)
    assert provider.wait_idle()
    (billed,) = provider.bill
    assert (billed.model, billed.stream) == (call.model, call.streams and call.purpose != "speech")
    assert billed.nano_usd > 0
    assert (billed.reported, billed.delivered) == (call.tells, True)
    if call.purpose in ("chat", "completion"):
        assert len(text.split()) == billed.usage.output_tokens > 0
    else:
        assert text


LATER = ("replicate_polled",)
"""What tells what it used in another answer, which is asked for once it is done."""


@pytest.fixture
def managing(provider: SimulatedProvider, nothing_registered: None) -> Iterator[Callable[[float], BudgetManager]]:
    """Makes managers of so many USD, for whom the models cost at the provider what they cost there."""
    for model in {call.model for call in CALLS}:
        rates = PRICES[model]
        if rates.tiers:  # known, and by more than can be said in a line
            continue
        register_price(model, input=rates.input, output=rates.output, per_call=rates.per_unit, base_url=provider.url)
    made: list[BudgetManager] = []

    def make(usd: float) -> BudgetManager:
        made.append(BudgetManager(ledger="memory://", max_budget=usd))
        return made[-1]

    yield make
    for manager in made:
        assert manager.balance().held == 0
        assert manager.ledger.open_holds() == []
        manager.close()


@pytest.mark.parametrize("call", [pytest.param(call, id=call.name) for call in CALLS])
def test_a_call_that_may_cost_more_than_is_left_is_not_sent(
    call: NetCall, provider: SimulatedProvider, managing: Callable[[float], BudgetManager]
) -> None:
    manager = managing(0.0001)
    with manager.budget("alice"), pytest.raises(BudgetExceededError):  # itself, and not in what a library makes of it
        call.run(provider)
    assert provider.bill == []
    assert [request.path for request in provider.requests if request.path != "/identity/token"] == []
    assert manager.balance().spent == 0


@pytest.mark.parametrize("call", [pytest.param(call, id=call.name) for call in CALLS])
def test_a_call_is_charged_what_it_is_billed(
    call: NetCall, provider: SimulatedProvider, managing: Callable[[float], BudgetManager]
) -> None:
    manager = managing(0.5)
    with manager.budget("alice") as block:
        assert call.run(provider)
    assert provider.wait_idle()
    assert block.calls == len(provider.bill) == 1
    spent = round(manager.balance().spent * 1e9)
    if call.tells and call.name not in LATER:
        assert (spent, manager.uncertain()) == (provider.billed_nano(), [])
    else:
        assert spent >= provider.billed_nano()
        assert manager.uncertain() or spent == provider.billed_nano()
