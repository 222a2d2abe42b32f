"""Every provider through a gateway, by its own SDK: charged as it bills, refused in its words, capped in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clocks import Clock
from gateways import OF_AWS, every_upstream_of, gateway
from sdks_behind import SDKS, opened

from budgeted import BudgetManager
from budgeted.gateway.callers import Caller, Headers, OpenCallers
from budgeted.gateway.settings import GatewaySettings
from budgeted.money import NANO
from budgeted.testing import SimulatedProvider, unmetered

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),  # Google's SDK, of aiohttp
    pytest.mark.filterwarnings("ignore:The model:DeprecationWarning"),
]

WAYS = [pytest.param(sdk, way, id=f"{sdk}-{way}") for sdk, one in SDKS.items() for way in one.ways]

Clients = Callable[[str, str], Any]


class Counting(OpenCallers):
    """Counts what is asked, whatever becomes of it."""

    asked = 0

    async def caller(self, headers: Headers) -> Caller:
        self.asked += 1
        return await super().caller(headers)


@pytest.fixture(scope="module")
def manager() -> Iterator[BudgetManager]:
    """At noon, as what DeepSeek bills depends on the hour."""
    with BudgetManager("gateway", ledger="memory://", max_budget="$1000", wait=5, clock=Clock()) as made:
        yield made


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider(prices={"deepseek-chat": ("0.27", "1.1", "0.07")}) as simulated:
        yield simulated


@pytest.fixture(scope="module")
def callers() -> Counting:
    return Counting()


@pytest.fixture(scope="module")
def clients(manager: BudgetManager, provider: SimulatedProvider, callers: Counting) -> Iterator[Clients]:
    """Gives an SDK's client of a user."""
    made: dict[tuple[str, str], Any] = {}
    with gateway(
        manager, GatewaySettings(upstreams=every_upstream_of(provider), open=True), callers, OF_AWS
    ) as address:

        def client(sdk: str, user: str) -> Any:
            if (sdk, user) not in made:
                made[sdk, user] = SDKS[sdk].client(address, {"x-budgeted-user": user})
            return made[sdk, user]

        yield client
        for one in (*made.values(), *opened):
            getattr(one, "close", lambda: None)()
        opened.clear()


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider) -> Iterator[None]:
    provider.reset()
    with unmetered():
        yield


@pytest.mark.parametrize(("sdk", "way"), WAYS)
def test_what_is_billed_is_charged(
    sdk: str, way: str, clients: Clients, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    before = manager.balance("rich").spent
    SDKS[sdk].ways[way](clients(sdk, "rich"))
    assert len(provider.bill) == 1
    balance = manager.balance("rich")
    assert balance.held == 0
    assert round((balance.spent - before) * NANO) == provider.billed_nano()
    assert sdk == "ollama" or balance.spent > before


@pytest.mark.parametrize("sdk", SDKS)
def test_a_refusal_is_the_sdks_own_error_with_the_reason_and_is_not_tried_again(
    sdk: str, clients: Clients, manager: BudgetManager, provider: SimulatedProvider, callers: Counting
) -> None:
    manager.set_limits("poor", 0.0000001)
    one = SDKS[sdk]
    for way in one.ways if sdk != "ollama" else ():
        client, before = clients(sdk, "poor"), callers.asked
        with pytest.raises(one.error, match="user 'poor' has"):
            one.ways[way](client)
        assert callers.asked == before + 1, way
    assert not provider.requests


@pytest.mark.parametrize("sdk", [sdk for sdk, one in SDKS.items() if one.cap])
def test_a_cap_is_written_where_the_provider_looks_for_it(
    sdk: str, clients: Clients, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    one = SDKS[sdk]
    manager.set_limits("thin", manager.balance("thin").spent + one.room)
    one.ways[one.plain](clients(sdk, "thin"))
    found: Any = provider.requests[0].body
    for name in one.cap:
        found = found[name]
    assert isinstance(found, int)
    assert 0 < found < 8000
