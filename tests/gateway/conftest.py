"""A gateway for a module: the tests of one each have a project of their own in mind, told apart by their users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateways import OF_AWS, gateway, upstreams_of

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture(scope="module")
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("gateway", ledger="memory://", max_budget="$1000", wait=5) as made:
        yield made


@pytest.fixture(scope="module")
def url(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[str]:
    """The address of an open gateway."""
    settings = GatewaySettings(upstreams=upstreams_of(provider), open=True)
    with gateway(manager, settings, environment=OF_AWS) as address:
        yield address
