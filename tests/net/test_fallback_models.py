"""A call falls back to another model only where its request can ask for that."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from budgeted import BudgetManager, UnpricedModelError, register_price
from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.net

DEAR, CHEAP = "tests/dear", "tests/cheap"
MESSAGES = [{"role": "user", "content": "Name a city."}]
OTHERS = {
    f"/v1/models/{DEAR}/predictions": {"input": {"prompt": "Name a city.", "max_tokens": 100}},
    f"/hf-inference/models/{DEAR}/pipeline/feature-extraction": {"inputs": "Name a city."},
}


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture
def manager(provider: SimulatedProvider, nothing_registered: None) -> Iterator[BudgetManager]:
    register_price(DEAR, input=1000, output=1000, per_call=1)
    register_price(CHEAP, input="0.001", output="0.001", per_call="0.00001")
    with BudgetManager(ledger="memory://", max_budget="0.01", fallback=CHEAP, wait=0) as made:
        yield made
        assert made.ledger.open_holds() == []


def test_another_model_is_written_where_the_body_names_it(manager: BudgetManager, provider: SimulatedProvider) -> None:
    with manager.budget("alice"):
        asked = {"model": DEAR, "messages": MESSAGES, "max_tokens": 100}
        assert httpx.post(f"{provider.openai_url}/chat/completions", json=asked).status_code == 200
    assert [billed.model for billed in provider.bill] == [CHEAP]


@pytest.mark.parametrize("path", OTHERS)
def test_a_request_that_cannot_ask_for_another_model_is_not_sent_as_if_it_had(
    path: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    with manager.budget("alice"), pytest.raises(UnpricedModelError, match="cannot be asked for"):
        httpx.post(provider.url + path, json=OTHERS[path])
    assert provider.requests == []
    assert manager.balance().spent == 0
