"""Real agents and SDKs that are not Python, and a simulated provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import node_packages
import pytest
from gateways import gateway, upstreams_of
from node_packages import Programs

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def packages() -> Path:
    """What npm has installed."""
    if node_packages.MISSING is not None:
        pytest.skip(f"{node_packages.MISSING}: it runs agents and SDKs that are not Python")
    return node_packages.install()


@pytest.fixture(scope="module")
def programs(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(packages, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture(scope="module")
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("agents", ledger="memory://", max_budget="$20") as made:
        yield made


@pytest.fixture(scope="module")
def url(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[str]:
    settings = GatewaySettings(upstreams=upstreams_of(provider), open=True)
    with gateway(manager, settings) as address:
        yield address
